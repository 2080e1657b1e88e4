"""Cutting large frames into tiles, so that memory stays within what a frame of a set size takes."""

from __future__ import annotations

import itertools
import math

MAX_PIXELS = 2048 * 1088  # 1080p and 2K frames are scored whole
SMALLEST_MAX_PIXELS = 512 * 512
ALIGN = 128  # tiles begin on multiples of this: the coarsest stride of RankDVQA's scales times its attention window

Tile = tuple[int, int, int, int]  # top, left, height, width


def tiles(height: int, width: int, max_pixels: int | None) -> list[Tile]:
    """The tiles (top, left, height, width) that a frame is scored in: the frame itself, or a grid that covers it once.

    The grid has as few tiles as keep each within `max_pixels`, as square as can be.

    >>> tiles(1080, 1920, 2048 * 1088), len(tiles(2160, 3840, 2048 * 1088))
    ([(0, 0, 1080, 1920)], 4)
    """
    if max_pixels is None or height * width <= max_pixels:
        return [(0, 0, height, width)]
    grids = [
        (rows * columns, abs(math.log(height / rows * columns / width)), _grid(height, width, rows, columns))
        for rows in range(1, max(1, height // (2 * ALIGN)) + 1)
        for columns in range(1, max(1, width // (2 * ALIGN)) + 1)
    ]
    fitting = [grid for grid in grids if max(h * w for _, _, h, w in grid[2]) <= max_pixels]
    # A strip can be so low that no cut makes it fit: then the finest grid there is.
    return min(fitting)[2] if fitting else max(grids)[2]


def _grid(height: int, width: int, rows: int, columns: int) -> list[Tile]:
    ys, xs = _cuts(height, rows), _cuts(width, columns)
    return [
        (top, left, bottom - top, right - left)
        for top, bottom in itertools.pairwise(ys)
        for left, right in itertools.pairwise(xs)
    ]


def _cuts(length: int, parts: int) -> list[int]:
    """Where a side is cut into equal parts, the cuts moved to multiples of `ALIGN`."""
    return [0, *(round(part * length / parts / ALIGN) * ALIGN for part in range(1, parts)), length]
