"""Frames of a reference and of its distorted files, in step: scaled, held, cut as the pairing says, block by block."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compressvqa.errors import DataError
from compressvqa.plurals import count
from compressvqa.video.bars import Edges
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.compare import Sight
from compressvqa.video.drift import Watch, cells_of, describe, events, thumbnail
from compressvqa.video.frames import Planes
from compressvqa.video.read import is_read_in_parts

MOST_EVENTS = 100  # that are kept with a score


@dataclass(frozen=True)
class FrameBlock:
    """Some consecutive frames of every file.

    Args:
        first: number of the first frame in the compared part.
        reference: the reference's frames, None where there is no reference.
        distorted: for each distorted file the same frames; fewer, or none, where it ended.
    """

    first: int
    reference: list[Planes] | None
    distorted: list[list[Planes]]


def stacked(frames: Sequence[Planes], out: Tensor | None = None) -> Tensor:
    """Frames as RGB, (1, T, 3, H, W), float32 in [0, 1]; written to the first T frames of `out` if that is given."""
    shape = (1, len(frames), 3, *frames[0].size)
    clip = torch.empty(shape) if out is None else out[:, : len(frames)]
    for number, planes in enumerate(frames):
        planes.to_rgb(out=clip[0, number])
    return clip


class Blocks:
    """Blocks of consecutive frames; only one block is held in memory, and the reference is decoded once.

    Args:
        reference: the reference; None for no-reference scores.
        distorted: its distorted files.
        sights: what `look` said of each; those of one call read the reference alike (see `reading`).
        pairing: how they are brought together. With `subsample` n every n-th block is handed out: whole blocks are
            left out, not single frames, so that motion inside a block is as networks learnt it.
        block: frames of a block; the last one may be shorter.
        check: whether tiny pictures of all frames are held against each other, to see that the files are in step.
        only: numbers of the blocks that are handed out, of those that `subsample` leaves; the rest of the files is not
            read (see `in_parts`), and not checked. None: all.

    Raises:
        DataError: (when iterated) a file can't be read, or ends before the look at it said.
    """

    def __init__(
        self,
        reference: Clip | None,
        distorted: Sequence[Clip],
        sights: Sequence[Sight],
        pairing: Pairing,
        *,
        block: int,
        check: bool = True,
        only: Sequence[int] | None = None,
    ) -> None:
        self._only = only
        self._reference, self._distorted, self._sights = reference, distorted, sights
        self._pairing, self._block, self._check = pairing, block, check
        # Frames that are compared by time repeat on one side: they are in step by their clocks.
        watched = [check and reference is not None and not sight.by_time for sight in sights]
        self._watches = [Watch() if one else None for one in watched]
        self._edges: list[Edges | None] = [None for _ in sights]

    def __iter__(self) -> Iterator[FrameBlock]:
        return self._all() if self._only is None else self._some(self._only)

    def _some(self, only: Sequence[int]) -> Iterator[FrameBlock]:
        """Blocks that are read each by itself."""
        begins = [number * self._block * self._pairing.subsample for number in only]
        ends = [sight.frames or 0 for sight in self._sights]
        runs = [[range(min(first, end), min(first + self._block, end)) for first in begins] for end in ends]
        most = [range(first, min(first + self._block, max(ends))) for first in begins]
        left = None if self._reference is None else self._sights[0].left(self._reference, self._pairing).runs(most)
        right = [
            sight.right(clip, self._pairing).runs(its)
            for clip, sight, its in zip(self._distorted, self._sights, runs, strict=True)
        ]
        for place, run in enumerate(most):
            held = None if left is None else _taken(left, len(run), self._reference)
            sides = [
                _taken(frames, len(its[place]), clip)
                for frames, its, clip in zip(right, runs, self._distorted, strict=True)
            ]
            yield FrameBlock(run.start, held, sides)

    def _all(self) -> Iterator[FrameBlock]:
        reference, block = self._reference, self._block
        held: list[Planes] = []
        sides: list[list[Planes]] = [[] for _ in self._distorted]
        first = 0
        rows = _in_step(reference, self._distorted, self._sights, self._pairing)
        for number, (r, row) in enumerate(rows):
            self._watch(r, row)
            if (number // block) % self._pairing.subsample == 0:
                if r is not None:
                    held.append(r)
                for side, planes in zip(sides, row, strict=True):
                    if planes is not None:
                        side.append(planes)
            if (number + 1) % block == 0:
                if any(sides):
                    yield FrameBlock(first, None if reference is None else held, sides)
                held, sides, first = [], [[] for _ in self._distorted], number + 1
        if any(sides):
            yield FrameBlock(first, None if reference is None else held, sides)

    def _watch(self, r: Planes | None, row: Sequence[Planes | None]) -> None:
        if r is None or not self._check:
            return
        small = thumbnail(r)
        for side, planes in enumerate(row):
            if planes is None:
                continue
            picture = thumbnail(planes)
            watch = self._watches[side]
            if watch is not None:
                watch.push(small, picture)
            edges = self._edges[side] = self._edges[side] or Edges(cells_of(*r.size))
            edges.push(small, picture)

    def said(self, side: int) -> dict[str, Any]:
        """What was seen of one distorted file once all blocks are through, for the settings of its score; often {}."""
        watch, edges = self._watches[side], self._edges[side]
        bars = None if edges is None else edges.note()
        notes = [] if bars is None else [bars]
        found = [] if watch is None else list(events(watch.offsets()))
        if not found:
            return {"notes": notes} if notes else {}
        skips = [self._pairing.skip_reference, self._pairing.skip_distorted]
        shown = self._sights[side].shown
        if shown is not None:  # brought in step by an offset: the check begins there
            skips = [skip + int(numbers[0]) for skip, numbers in zip(skips, shown, strict=True)]
        return {
            "notes": [*notes, describe(found, *skips, way=self._pairing.align != "frames")],
            "out_of_step": [asdict(event) for event in found[:MOST_EVENTS]],
        }


def blocks(
    reference: Clip | None,
    distorted: Sequence[Clip],
    sights: Sequence[Sight],
    pairing: Pairing,
    *,
    block: int,
    check: bool = True,
    only: Sequence[int] | None = None,
) -> Blocks:
    """As `Blocks`."""
    return Blocks(reference, distorted, sights, pairing, block=block, check=check and only is None, only=only)


def in_parts(reference: Clip | None, distorted: Sequence[Clip], sights: Sequence[Sight]) -> bool:
    """Whether single blocks of these files can be read: by number, as many as are known, and none deinterlaced."""
    if any(sight.shown is not None or not sight.frames for sight in sights):
        return False
    if any(one.fields != "progressive" for sight in sights for one in sight.treatments):
        return False
    return all(is_read_in_parts(clip) for clip in (reference, *distorted) if clip is not None)


def _taken(frames: Iterator[Planes], number: int, clip: Clip | None) -> list[Planes]:
    """So many frames, or the error that there are fewer."""
    found = list(itertools.islice(frames, number))
    if len(found) < number:
        raise DataError("has fewer frames than its packets say", where=None if clip is None else clip.path)
    return found


def reading(sight: Sight) -> Hashable:
    """Which frames of the reference a comparison reads, and how: those alike are read side by side."""
    return None if sight.reference is None else sight.reference.colour, _picks(sight), sight.treatments[0]


def _picks(sight: Sight) -> bytes | None:
    """The reference frames that are compared, None where that is every one from the first on."""
    if sight.shown is None or np.array_equal(sight.shown[0], np.arange(len(sight.shown[0]))):
        return None
    return sight.shown[0].tobytes()


def _in_step(
    reference: Clip | None, distorted: Sequence[Clip], sights: Sequence[Sight], pairing: Pairing
) -> Iterator[tuple[Planes | None, list[Planes | None]]]:
    if len({reading(sight) for sight in sights}) > 1:
        raise ValueError("these files do not read their reference alike")
    left = None
    if reference is not None:
        numbers = sights[0].shown[0] if sights[0].shown is not None and _picks(sights[0]) is not None else None
        left = sights[0].left(reference, pairing).frames(pairing.frames, numbers)
    right = [
        sight.right(clip, pairing).frames(pairing.frames, None if sight.shown is None else sight.shown[1])
        for clip, sight in zip(distorted, sights, strict=True)
    ]
    live = set(range(len(distorted)))
    number = 0
    while live:
        live -= {side for side in live if sights[side].frames is not None and number >= (sights[side].frames or 0)}
        if not live:
            for reader in (left, *right):  # whoever has read a file to its end knows what it holds
                if reader is not None:
                    next(reader, None)
            break
        r = None if left is None else next(left, None)
        row: list[Planes | None] = [None] * len(distorted)
        for side in sorted(live):
            row[side] = next(right[side], None)
            if row[side] is None or (r is None and left is not None):
                _check_end(reference, distorted[side], r, row[side], number, pairing)
                live.discard(side)
                row[side] = None
        if live:
            yield r, row
            number += 1
    if number == 0:
        skipped = f"{pairing.skip_reference} and {pairing.skip_distorted}"
        raise DataError(f"no frame is left after skipping {skipped}", where=(reference or distorted[0]).path)


def _check_end(
    reference: Clip | None, distorted: Clip, r: Planes | None, d: Planes | None, number: int, pairing: Pairing
) -> None:
    """One of the two has no more frames: is that where it should end?"""
    short = distorted if d is None else reference
    assert short is not None
    if number == 0:
        return
    if pairing.frames is not None:
        raise DataError(f"has {count(number, 'frame')}, {pairing.frames} were asked for", where=short.path)
    both = d is None and (reference is None or r is None)
    if not both and pairing.length == "refuse":
        raise DataError(f"ends after {count(number, 'frame')} and the other video goes on", where=short.path,
                        hint="cut both to the same frames, or give a number of frames")  # fmt: skip
