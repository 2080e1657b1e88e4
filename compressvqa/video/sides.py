"""The frames of one file as they go into a comparison: those that are asked for, of one size and matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from compressvqa.video.clip import Clip
from compressvqa.video.clock import Numbers
from compressvqa.video.form import as_read
from compressvqa.video.frames import Planes
from compressvqa.video.info import VideoInfo
from compressvqa.video.read import read_frames, read_runs
from compressvqa.video.reformat import Reformatter
from compressvqa.video.treat import AS_STORED, Treatment


@dataclass(frozen=True)
class Side:
    """One of the two files of a comparison.

    Args:
        clip: the file.
        info: its facts, with the matrix that it is read by, of its treated pictures.
        skip: frames left out at its beginning.
        treatment: what is done to its pictures first.
        size: (height, width) to scale to; None: as it is.
    """

    clip: Clip
    info: VideoInfo
    skip: int = 0
    treatment: Treatment = AS_STORED
    size: tuple[int, int] | None = None

    def frames(self, count: int | None = None, numbers: Numbers | None = None) -> Iterator[Planes]:
        """Its frames, counted from the first that is not skipped.

        Args:
            count: so many of them, None: all.
            numbers: those with these numbers, which never fall.

        Raises:
            DataError: the file can't be read.
        """
        if numbers is not None:
            count = int(numbers.max(initial=-1)) + 1
        stop = None if count is None else self.skip + count
        sized = self._shown(read_frames(self.clip, start=self.skip, stop=stop))
        return sized if numbers is None else picked(sized, numbers.tolist())

    def runs(self, runs: Sequence[range]) -> Iterator[Planes]:
        """Its frames in some runs, counted likewise; no deinterlacing, which looks at the frames around.

        Args:
            runs: numbers of frames, rising.

        Raises:
            DataError: the file can't be read, or not in parts.
        """
        return self._shown(read_runs(self.clip, [range(self.skip + run.start, self.skip + run.stop) for run in runs]))

    def _shown(self, stored: Iterator[Planes]) -> Iterator[Planes]:
        frames = self.treatment.frames((as_read(planes, self.info) for planes in stored), self.info.frame_rate)
        return frames if self.size is None else map(Reformatter(self.size), frames)


def picked(frames: Iterator[Any], numbers: Iterable[int]) -> Iterator[Any]:
    """The frames with these numbers, which never fall.

    >>> "".join(picked(iter("abcdef"), [0, 0, 1, 4, 9]))
    'aabe'
    """
    at = -1
    frame: Any = None
    for number in numbers:
        while at < number:
            frame = next(frames, None)
            if frame is None:
                return
            at += 1
        yield frame
