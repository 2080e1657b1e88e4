"""What the packets of a file say of its frames: they are read, and not decoded."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av.error
import numpy as np
import numpy.typing as npt

from compressvqa.errors import DataError
from compressvqa.video import matroska
from compressvqa.video.container import open_video
from compressvqa.video.decode import Walk

CONTAINERS = ("mov", "matroska")  # first names of FFmpeg's demuxers whose packets are pictures, one each
CODECS = frozenset({"h264", "hevc", "vp9", "av1"})
# Of H.264: an IDR picture. Of HEVC: BLA, IDR and CRA pictures. Nothing that is shown after one of these builds on what
# comes before it; of what else a container calls a key frame that is not certain.
ENTRIES = {"h264": range(5, 6), "hevc": range(16, 22)}
KEPT = 8  # tables of files


@dataclass(frozen=True, eq=False)
class Packets:
    """The packets of a stream, one a frame, in the order of decoding.

    Args:
        container: first name of FFmpeg's demuxer.
        codec: name of the codec.
        shown: (frames,), when each is shown, in units of the stream.
        decoded: (frames,), when each is decoded, likewise; as `shown` where the container does not say.
        seconds: (frames,), when each is shown, in seconds.
        entries: places of packets with which decoding can begin, rising.
        walk: what was counted on the way.
    """

    container: str
    codec: str
    shown: npt.NDArray[np.int64]
    decoded: npt.NDArray[np.int64]
    seconds: tuple[float, ...]
    entries: npt.NDArray[np.int64]
    walk: Walk

    @functools.cached_property
    def numbers(self) -> npt.NDArray[np.int64]:
        """(frames,), the number of each packet's frame in the order of display."""
        return np.argsort(np.argsort(self.shown))

    @functools.cached_property
    def places(self) -> dict[int, int]:
        """{when it is shown: place of its packet}."""
        return {int(moment): place for place, moment in enumerate(self.shown)}

    def entry(self, number: int) -> int:
        """The place of the last packet from which on frame `number` can be decoded."""
        return int(self.entries[self.numbers[self.entries] <= number].max())


def packets_of(path: Path, wanted: int | None) -> Packets | None:
    """The packets of a file; None where they do not tell its frames, as in other formats or where anything is odd.

    Args:
        path: a local file.
        wanted: which of its video streams.

    Raises:
        DataError: no video, or no such stream.
        FFmpegError, OSError: it can't be read on.
    """
    state = path.stat()
    return _packets(path, wanted, (state.st_size, state.st_mtime_ns))


@functools.lru_cache(maxsize=KEPT)
def _packets(path: Path, wanted: int | None, state: tuple[int, int]) -> Packets | None:
    del state  # only so that a file that was written anew is read anew
    with open_video(path, wanted) as (container, stream):
        context = stream.codec_context
        codec = "" if context is None else context.codec.canonical_name
        name = container.format.name.split(",")[0]
        if codec not in CODECS or name not in CONTAINERS:
            return None
        head = bytes(context.extradata or b"")
    walk = Walk(path, wanted, threads=1, strict=True)
    shown: list[int] = []
    decoded: list[int] = []
    seconds: list[float] = []
    entries: list[int] = []
    for packet in walk.packets_only():
        if packet.is_corrupt or packet.pts is None or not (shown or packet.is_keyframe):
            return None
        if packet.is_keyframe and _is_entry(packet, codec, head):
            entries.append(len(shown))
        shown.append(packet.pts)
        decoded.append(packet.pts if packet.dts is None else packet.dts)
        seconds.append(float(packet.pts * packet.time_base))
    odd = walk.hidden or walk.empty or len(set(seconds)) != len(seconds) or not seconds
    if odd or matroska.first_fault(path) is not None:
        return None
    return Packets(name, codec, np.asarray(shown), np.asarray(decoded), tuple(seconds), np.asarray(entries, np.int64),
                   walk)  # fmt: skip


def _is_entry(packet: Any, codec: str, head: bytes) -> bool:
    """Whether decoding can begin with a packet that its container calls a key frame."""
    if codec not in ENTRIES:  # a key frame of VP9 and AV1 forgets all that was before it
        return True
    return any(kind in ENTRIES[codec] for kind in _units(bytes(packet), codec, head))


def _units(data: bytes, codec: str, head: bytes) -> Iterator[int]:
    """The types of a packet's NAL units, each of which its length precedes; none where it is written otherwise."""
    at = 4 if codec == "h264" else 21
    if len(head) <= at or head[0] != 1:
        return
    length, place = (head[at] & 3) + 1, 0
    while place + length < len(data):
        size = int.from_bytes(data[place : place + length], "big")
        first = data[place + length]
        yield first & 31 if codec == "h264" else first >> 1 & 63
        place += length + size


def entry_packets(container: Any, stream: Any, packets: Packets, place: int) -> Iterator[Any]:
    """The packets of an open file from the one at a place on, which is one of its `entries`.

    Raises:
        DataError: the file does not lead there.
    """
    # Where MP4 is entered goes by the order of decoding, in Matroska by that of display.
    moments = packets.decoded if packets.container == "mov" else packets.shown
    try:
        container.seek(int(moments[place]), stream=stream)
        found = False
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            at = packets.places.get(packet.pts, -1)
            if not found and at > place:
                break
            found = found or at == place
            if found:
                yield packet
    except (av.error.FFmpegError, EOFError) as error:
        raise DataError(f"can't be read from packet {place} on", where=packets.walk.path) from error
    if not found:
        raise DataError(f"can't be entered at packet {place}", where=packets.walk.path)
