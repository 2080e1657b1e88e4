"""Some frames of a file, decoded from the key frames before them: the rest of the file is not looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av.error

from compressvqa.errors import DataError
from compressvqa.video.container import open_video, reason
from compressvqa.video.decode import SILENT
from compressvqa.video.packets import Packets, entry_packets

# A picture of these that says that nothing builds on it is built on by nothing. One of HEVC says so of its own layer.
LEAVES = frozenset({"h264"})


def jumped(
    path: Path, wanted: int | None, packets: Packets, numbers: Sequence[int], *,
    threads: int = 0, opened: Callable[[Any], None] | None = None,
) -> Iterator[Any]:  # fmt: skip
    """PyAV's frames with these numbers, the same that decoding the whole file gives.

    Args:
        path: the file.
        wanted: which of its video streams.
        packets: what its packets say, see `packets_of`.
        numbers: of frames in the order of display, rising.
        threads: decoder threads, 0: as many as the decoder likes.
        opened: called with the stream once the file is open.

    Raises:
        DataError: a frame does not come, or is damaged; the file is then to be read from its beginning.
    """
    needed = frozenset(numbers)
    with open_video(path, wanted) as (container, stream):
        if opened is not None:
            opened(stream)
        context = stream.codec_context
        stream.thread_type, context.thread_count = "AUTO", threads
        if context.codec.canonical_name in SILENT:
            context.options = {"err_detect": "explode"}
        size = context.width, context.height
        held: dict[int, Any] = {}
        source: Iterator[Any] = iter(())
        place = -1  # of the packet that comes next; -1: none was read
        for number in numbers:
            entry = packets.entry(number)
            if number not in held and entry > place:
                source, place = entry_packets(container, stream, packets, entry), entry
            while number not in held:
                packet = next(source, None)
                if packet is not None:
                    place = packets.places.get(packet.pts, place) + 1
                for frame in _frames(context, packet, packets, needed, path):
                    if frame.is_corrupt or (frame.width, frame.height) != size:
                        raise DataError("has a damaged frame, or frames of several sizes", where=path)
                    held[int(packets.numbers[packets.places[frame.pts]])] = frame
                if packet is None and number not in held:
                    raise DataError(f"frame {number} does not decode", where=path)
            yield held.pop(number)


def _frames(context: Any, packet: Any, packets: Packets, needed: frozenset[int], path: Path) -> Iterator[Any]:
    """Those of a packet's frames that are needed; of no packet, those that the decoder still holds."""

    def is_needed(moment: int | None) -> bool:
        return moment in packets.places and int(packets.numbers[packets.places[moment]]) in needed

    if packets.codec in LEAVES and packet is not None:
        context.skip_frame = "DEFAULT" if is_needed(packet.pts) else "NONREF"
    try:
        found = context.decode(packet)
    except (av.error.FFmpegError, EOFError) as error:
        raise DataError(f"does not decode ({reason(error)})", where=path) from error
    yield from (frame for frame in found if is_needed(frame.pts))
