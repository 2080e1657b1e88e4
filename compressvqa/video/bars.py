"""Black bars around a picture: where the picture lies within them, by the rule of ffmpeg's cropdetect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from compressvqa.video.box import Box
from compressvqa.video.frames import Planes

# A line whose mean luma is not above this (8-bit codes above black) in any frame is a bar; cropdetect's 24 is code 24.
DARK = 8.0
# Above this a picture is surely there.
LIT = 32.0
# Where two pictures should be equally large, so many pixels are the blur of an edge.
EDGE = 8


def find_picture(frames: Iterable[Planes]) -> Box | None:
    """The part of the pictures that is not black in every frame; None if all of it is black.

    It begins and ends on whole chroma samples of 4:2:0, inside of what was found.
    """
    rows = columns = None
    for planes in frames:
        luma = planes.y.astype(np.float32)
        means = luma.mean(axis=1), luma.mean(axis=0)
        colour = planes.colour
        black = 0 if colour.full_range else 16 * 2.0 ** (colour.bitdepth - 8)
        levels = [(mean - black) / 2.0 ** (colour.bitdepth - 8) for mean in means]
        rows = levels[0] if rows is None else np.maximum(rows, levels[0])
        columns = levels[1] if columns is None else np.maximum(columns, levels[1])
    if rows is None or columns is None:
        return None
    ends = [_ends(side) for side in (columns, rows)]
    if None in ends:
        return None
    (left, right), (top, bottom) = ends  # type: ignore[misc]  # neither is None
    return Box(right - left, bottom - top, left, top)


def _ends(levels: Any) -> tuple[int, int] | None:
    lit = np.flatnonzero(levels > DARK)
    if not len(lit):
        return None
    first, last = int(lit[0]), int(lit[-1]) + 1
    whole = len(levels)
    return first + first % 2, last if last == whole else last - last % 2


def alike(reference: Box, distorted: Box, sizes: tuple[tuple[int, int], tuple[int, int]]) -> tuple[Box, Box]:
    """Two boxes that were found apart, made equally large where they miss that by the blur of an edge.

    Args:
        reference: found in the reference.
        distorted: found in the distorted file.
        sizes: (width, height) of the whole pictures.
    """
    r, d = reference, distorted
    width, w_left = _snapped((r.width, r.left, sizes[0][0]), (d.width, d.left, sizes[1][0]))
    height, tops = _snapped((r.height, r.top, sizes[0][1]), (d.height, d.top, sizes[1][1]))
    return Box(width[0], height[0], w_left[0], tops[0]), Box(width[1], height[1], w_left[1], tops[1])


def _snapped(r: tuple[int, int, int], d: tuple[int, int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Lengths and starts along one side: (length, start, whole) of each."""
    if r[0] == d[0] or abs(r[0] - d[0]) > EDGE:
        return (r[0], d[0]), (r[1], d[1])
    length = max(r[0], d[0])
    if length > min(r[2], d[2]):
        length = min(r[0], d[0])  # a picture that was padded to whole blocks of a coder
    starts = []
    for own, start, whole in (r, d):
        # Blur is on both sides, padding is at the end.
        moved = 0 if own == whole else (own - length) // 4 * 2
        starts.append(min(max(0, start + moved), whole - length))
    return (length, length), (starts[0], starts[1])


class Edges:
    """Whether one of two videos has black bars that the other lacks, told by their tiny pictures.

    Args:
        shape: (rows, columns) of the tiny pictures.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._lightest: list[Any] = [None, None]

    def push(self, reference: Any, distorted: Any) -> None:
        """Takes the next `compressvqa.video.drift.thumbnail` of each."""
        for side, picture in enumerate((reference, distorted)):
            before = self._lightest[side]
            self._lightest[side] = picture if before is None else np.maximum(before, picture)

    def note(self) -> str | None:
        """A sentence where bars are on one side only, else None."""
        if any(lightest is None for lightest in self._lightest):
            return None
        r, d = (lightest.reshape(self._shape) for lightest in self._lightest)
        for one, other, name in ((d, r, "the distorted video"), (r, d, "the reference")):
            for axis, where in ((1, "above or below"), (0, "left or right")):
                dark, light = one.max(axis=axis), other.max(axis=axis)
                ends = [0, -1]
                if dark.max() > LIT and any(dark[end] < DARK and light[end] > LIT for end in ends):
                    return f"{name} has black bars {where} its picture that the other one lacks (--crop auto)"
        return None
