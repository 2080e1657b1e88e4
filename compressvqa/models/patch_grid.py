"""Where a picture is cut into the overlapping patches that RankDVQA scores."""

from __future__ import annotations

import math

Patch = tuple[int, int, int, int]  # top, left, height, width

PATCH = 256
# Largest steps down and to the right. At 1080p they give the paper's 16 x 9 patches exactly: (1080 - 256) / 8 and
# (1920 - 256) / 15, rounded up to a pixel.
STRIDE = (103, 111)


def patch_grid(height: int, width: int, *, patch: int = PATCH, stride: tuple[int, int] = STRIDE) -> list[Patch]:
    """Patches (top, left, height, width) that cover a picture, row by row, evenly spaced from edge to edge.

    Neighbours are as near as at 1080p or nearer. A side shorter than a patch is taken whole: the patch is then smaller,
    and neither padded nor resized, since both would change what its distortions look like.

    Args:
        height: rows of the picture.
        width: its columns.
        patch: side of a patch.
        stride: largest step between neighbours (down, right), in pixels.

    >>> len(patch_grid(1080, 1920)), len(patch_grid(2160, 3840))
    (144, 680)
    >>> patch_grid(270, 480, stride=(256, 256))
    [(0, 0, 256, 256), (0, 224, 256, 256), (14, 0, 256, 256), (14, 224, 256, 256)]
    >>> patch_grid(100, 130)
    [(0, 0, 100, 130)]
    """
    return [
        (top, left, min(patch, height), min(patch, width))
        for top in _starts(height, patch, stride[0])
        for left in _starts(width, patch, stride[1])
    ]


def _starts(length: int, patch: int, step: int) -> list[int]:
    room = length - patch
    if room <= 0:
        return [0]
    gaps = math.ceil(room / step)
    return [round(number * room / gaps) for number in range(gaps + 1)]
