"""Frames of a reference and of its distorted files, in step: scaled, held, cut as the pairing says, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from compressvqa.errors import DataError
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.compare import Sight
from compressvqa.video.form import as_read
from compressvqa.video.frames import Planes
from compressvqa.video.read import read_frames
from compressvqa.video.reformat import Reformatter


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


def blocks(
    reference: Clip | None, distorted: Sequence[Clip], sights: Sequence[Sight], pairing: Pairing, *, block: int
) -> Iterator[FrameBlock]:
    """Blocks of consecutive frames; only one block is held in memory, and the reference is decoded once.

    Args:
        reference: the reference; None for no-reference scores.
        distorted: its distorted files.
        sights: what `look` said of each. They must read the reference by one and the same matrix.
        pairing: how they are brought together. With `subsample` n every n-th block is handed out: whole blocks are
            left out, not single frames, so that motion inside a block is as networks learnt it.
        block: frames of a block; the last one may be shorter.

    Raises:
        DataError: a file can't be read, or ends before the look at it said.
    """
    held: list[Planes] = []
    sides: list[list[Planes]] = [[] for _ in distorted]
    first = 0
    for number, (r, row) in enumerate(_in_step(reference, distorted, sights, pairing)):
        if (number // block) % pairing.subsample == 0:
            if r is not None:
                held.append(r)
            for side, planes in zip(sides, row, strict=True):
                if planes is not None:
                    side.append(planes)
        if (number + 1) % block == 0:
            if any(sides):
                yield FrameBlock(first, None if reference is None else held, sides)
            held, sides, first = [], [[] for _ in distorted], number + 1
    if any(sides):
        yield FrameBlock(first, None if reference is None else held, sides)


def _in_step(
    reference: Clip | None, distorted: Sequence[Clip], sights: Sequence[Sight], pairing: Pairing
) -> Iterator[tuple[Planes | None, list[Planes | None]]]:
    left = None if reference is None else _reference_frames(reference, sights, pairing)
    right = [_distorted_frames(clip, sight, pairing) for clip, sight in zip(distorted, sights, strict=True)]
    live = set(range(len(distorted)))
    number = 0
    while live:
        live -= {side for side in live if sights[side].frames is not None and number >= (sights[side].frames or 0)}
        if not live:
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
        raise DataError(f"has {number} frames, {pairing.frames} were asked for", where=short.path)
    both = d is None and (reference is None or r is None)
    if not both and pairing.length == "refuse":
        raise DataError(f"ends after {number} frames and the other video goes on", where=short.path,
                        hint="cut both to the same frames, or give a number of frames")  # fmt: skip


def _reference_frames(clip: Clip, sights: Sequence[Sight], pairing: Pairing) -> Iterator[Planes]:
    stop = None if pairing.frames is None else pairing.skip_reference + pairing.frames
    info = sights[0].reference
    if info is None or any(sight.reference is None or sight.reference.colour != info.colour for sight in sights):
        raise ValueError("these files do not read their reference alike")
    decoded = read_frames(clip, start=pairing.skip_reference, stop=stop)
    return (as_read(planes, info) for planes in decoded)


def _distorted_frames(clip: Clip, sight: Sight, pairing: Pairing) -> Iterator[Planes]:
    stop = None
    if pairing.frames is not None and sight.hold is None:
        stop = pairing.skip_distorted + pairing.frames
    decoded = read_frames(clip, start=pairing.skip_distorted, stop=stop)
    frames: Iterator[Planes] = (as_read(planes, sight.distorted) for planes in decoded)
    if sight.hold is not None:
        frames = held_frames(frames, sight.hold)
    wanted = sight.reference
    if wanted is not None and (wanted.height, wanted.width) != (sight.distorted.height, sight.distorted.width):
        return map(Reformatter((wanted.height, wanted.width)), frames)
    return frames


def held_frames(frames: Iterator[Planes], hold: Fraction) -> Iterator[Planes]:
    """What a player shows at the start of each reference frame, `hold` distorted frames in each.

    >>> "".join(held_frames(iter("abc"), Fraction(1, 2))), "".join(held_frames(iter("abcdef"), Fraction(2)))
    ('aabbcc', 'ace')
    """
    shown = 0  # reference frames so far
    for number, frame in enumerate(frames):
        while shown * hold.numerator // hold.denominator == number:
            yield frame
            shown += 1
