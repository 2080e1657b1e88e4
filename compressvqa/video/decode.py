"""The whole frames of one video stream, in order of display, and where they end to be whole.

What decodes without an error is what there is. A container's promises (frame counts, durations, edit lists) decide
nothing here; bytes that are missing and errors of the decoder do.

A decoder with several threads reports errors late, out of place, or not at all. So files are decoded fast first, and
again with one thread where anything is odd: only then is it said what is wrong and where.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av.error

from compressvqa.video.container import open_video, reason
from compressvqa.video.info import Damage

# Decoders that hand on a picture with errors patched over and say so to nobody, unless they are asked to be strict.
SILENT = frozenset({"h264", "hevc"})


class Walk:
    """One pass over a stream; iterated once, it gives frames up to the first that is not whole.

    Args:
        path: the file.
        wanted: which of its video streams, as `choose` takes it.
        threads: decoder threads, 0: as many as the decoder likes.
        strict: whether errors that a decoder would patch over end the pass too.
        opened: called with the stream before the first packet.

    Attributes:
        frames: how many frames were given so far.
        packets: how many packets should have given one.
        hidden: frames that the container says not to show (edit lists).
        empty: packets without content: the frame before is shown longer.
        lost: packets at the beginning that build on what is not there.
        gaps: numbers of frames at which a transport stream misses packets.
        places: (packets,), the byte at which each packet begins; -1 where the container does not say.
        order: (packets,), the moment at which each is decoded, in seconds; None where the container does not say.
        ordered: whether the container states these only (AVI); frames are shown at the same ones, in another order.
        damage: why it ended early; None if it did not.
        at_end: whether the damage is in the last packet.
        reached: the latest moment of any stream, in seconds; None if the file does not say.
    """

    def __init__(
        self, path: Path, wanted: int | None, *, threads: int, strict: bool, opened: Callable[[Any], None] | None = None
    ) -> None:
        self.path, self.wanted, self.threads, self.strict, self.opened = path, wanted, threads, strict, opened
        self.frames = self.packets = self.hidden = self.empty = self.lost = 0
        self.gaps: list[int] = []
        self.places: list[int] = []
        self.order: list[float | None] = []
        self.ordered = False
        self.damage: Damage | None = None
        self.at_end = False
        self.reached: float | None = None
        self._size: tuple[int, int] | None = None
        self._key: int | None = None  # moment of the first key frame that decoded
        self._keyed = False

    @property
    def odd(self) -> bool:
        """Whether a closer look is due."""
        return bool(self.damage is not None or self.gaps or self.lost or self.frames != self.packets)

    def __iter__(self) -> Iterator[Any]:
        with open_video(self.path, self.wanted) as (container, stream):
            if self.opened is not None:
                self.opened(stream)
            context = stream.codec_context
            stream.thread_type = "AUTO"
            context.thread_count = self.threads
            if self.strict and context.codec.canonical_name in SILENT:
                context.options = {"err_detect": "explode"}
            transport = container.format.name == "mpegts"
            self.ordered = container.format.name == "avi"
            packets = container.demux()
            while self.damage is None:
                try:
                    packet = next(packets)
                except StopIteration:
                    return
                except (av.error.FFmpegError, EOFError) as error:
                    yield from self._rest(context, None)
                    self._damaged(f"can't be read on after frame {self.frames - 1} ({reason(error)})")
                    return
                self._note_end(packet)
                if packet.stream is not stream:
                    continue
                last = packet.size == 0 and packet.dts is None and packet.pts is None
                if not last:
                    self._count(packet, transport)
                if packet.size or last:  # a decoder takes an empty packet for the end
                    yield from self._decoded(packet, context, transport)
            with contextlib.suppress(av.error.FFmpegError, EOFError):
                self.at_end = not any(rest.size for rest in packets if rest.stream is stream)

    def packets_only(self) -> Iterator[Any]:
        """The packets of the stream, counted as frames and not decoded.

        Raises:
            FFmpegError: the file can't be read on.
        """
        with open_video(self.path, self.wanted) as (container, stream):
            for packet in container.demux():
                self._note_end(packet)
                if packet.stream is stream and (packet.size or packet.dts is not None or packet.pts is not None):
                    self._count(packet, container.format.name == "mpegts")
                    yield packet
        self.frames = self.packets

    def _count(self, packet: Any, transport: bool) -> None:
        if packet.is_discard or packet.size == 0:
            self.hidden += packet.is_discard
            self.empty += packet.size == 0
            return
        self.packets += 1
        self.places.append(-1 if packet.pos is None else packet.pos)
        self.order.append(None if packet.dts is None else float(packet.dts * packet.time_base))
        if packet.is_corrupt and transport:
            self.gaps.append(self.frames)

    def _decoded(self, packet: Any, context: Any, transport: bool) -> Iterator[Any]:
        # Elsewhere than in a transport stream it means that bytes of the packet are missing.
        if packet.is_corrupt and not transport:
            yield from self._rest(context, packet.pts)
            self._damaged(f"is cut off at frame {self.frames}")
            return
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, EOFError) as error:
            if self._may_fail(packet):
                self.lost += 1
                return
            yield from self._rest(context, packet.pts)
            self._damaged(f"frame {self.frames} is damaged and does not decode ({reason(error)})")
            return
        if packet.is_keyframe and not self._keyed:
            self._keyed, self._key = True, packet.pts
        for frame in frames:
            if not self._is_whole(frame):
                return
            yield frame
            self.frames += 1

    def _may_fail(self, packet: Any) -> bool:
        """Whether a packet builds on pictures from before the file's first one: then it is cut, not damaged."""
        if not self._keyed:
            return not packet.is_keyframe
        return self._key is not None and packet.pts is not None and packet.pts < self._key

    def _rest(self, context: Any, before: int | None) -> Iterator[Any]:
        """Frames that the decoder still holds, those that are shown before a moment only."""
        try:
            held = context.decode(None)
        except (av.error.FFmpegError, EOFError):
            return
        for frame in held:
            if (before is None or frame.pts is None or frame.pts < before) and self._is_whole(frame):
                yield frame
                self.frames += 1

    def _is_whole(self, frame: Any) -> bool:
        size = frame.width, frame.height
        self._size = self._size or size
        if frame.is_corrupt:
            self._damaged(f"frame {self.frames} is damaged: the file is cut off or broken")
        elif size != self._size:
            old = f"{self._size[0]}x{self._size[1]}"
            self._damaged(f"the frame size changes at frame {self.frames}, from {old} to {size[0]}x{size[1]}")
        return self.damage is None

    def _damaged(self, what: str) -> None:
        self.damage = self.damage or Damage(self.frames, what)

    def _note_end(self, packet: Any) -> None:
        if packet.pts is not None and packet.time_base is not None:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            self.reached = end if self.reached is None else max(end, self.reached)
