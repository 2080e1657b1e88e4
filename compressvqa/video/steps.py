"""Which frames of two files show the same, found in their pictures: an offset, or frame by frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

import numpy as np

from compressvqa.video.clock import Numbers
from compressvqa.video.drift import Event, Watch, events, thumbnail
from compressvqa.video.frames import Planes

# Frames to either side among which a frame's counterpart is looked for: two seconds of film and more.
REACH = 64


@dataclass(frozen=True, eq=False)
class Steps:
    """Frames that belong together.

    Args:
        reference: numbers of reference frames, rising.
        distorted: numbers of the distorted frames that show the same, rising.
        events: what was found out of step, and taken out.
        tail: frames at the end of the longer file that have no counterpart.
    """

    reference: Numbers
    distorted: Numbers
    events: tuple[Event, ...]
    tail: int

    @property
    def expected(self) -> bool:
        """Whether so long an end without counterpart comes of the offset, and not of a file that was cut."""
        return self.tail <= REACH


def bring_in_step(reference: Iterable[Planes], distorted: Iterable[Planes], mode: Literal["offset", "frames"]) -> Steps:
    """Looks at all frames of both and pairs those that show the same.

    Args:
        reference: frames of the reference.
        distorted: frames of the distorted video, of the reference's size.
        mode: "offset" takes out one offset for the whole; "frames" also leaves out reference frames that the distorted
            video lacks, and distorted frames that repeat what was shown.
    """
    watch = Watch(REACH)
    counts = [0, 0]
    for r, d in zip_longest(reference, distorted):
        counts = [counts[0] + (r is not None), counts[1] + (d is not None)]
        watch.push(None if r is None else thumbnail(r), None if d is None else thumbnail(d))
    offsets = watch.offsets()
    if mode == "offset":
        offsets = np.full(len(offsets), watch.best_offset())
    numbers = np.arange(len(offsets), dtype=np.int64)
    shown = numbers + offsets
    before = np.maximum.accumulate(np.concatenate([[-1], shown[:-1]])) if len(shown) else shown
    kept = (shown > before) & (shown >= 0) & (shown < counts[0])
    left, right = shown[kept], numbers[kept]
    ends = [
        count - 1 - int(side[-1]) if len(side) else count for count, side in zip(counts, (left, right), strict=True)
    ]
    return Steps(left, right, tuple(events(offsets)), max(ends))
