"""Luma at the two scales of ST-GREED."""

from __future__ import annotations

import functools
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import scipy  # a part of it is imported when it is first used

from compressvqa.scoring.greed.entropy import BLOCK, gaussian_window
from compressvqa.scoring.greed.filters import Array
from compressvqa.video.frames import Planes

Grid: TypeAlias = tuple[int, int]
_Weights: TypeAlias = npt.NDArray[np.float32]
_LOCAL = gaussian_window(3, 7 / 6)


def scales(height: int, width: int) -> tuple[int, int]:
    """The two scales s, at which a picture of ``2 ** -s`` of the size is looked at: 4 and 5, above 1080p 5 and 6."""
    return (4, 5) if min(height, width) <= 1088 else (5, 6)


def grids(height: int, width: int) -> tuple[Grid, Grid]:
    """(height, width) of the small picture of each scale.

    >>> grids(1080, 1920)
    ((67, 120), (33, 60))
    """
    fine, coarse = scales(height, width)
    return (height >> fine, width >> fine), (height >> coarse, width >> coarse)


SMALLEST_SIDE = BLOCK << 5  # one block at scale 5


def small_luma(planes: Planes, wanted: tuple[Grid, Grid]) -> tuple[Array, Array]:
    """Luma averaged over the areas of each grid's samples, on the scale of an 8 bit limited-range picture.

    Codes of any depth and range become those of 8 bit limited range (16..235), with fractions: the noise variance of
    the entropies is in those units. A picture of another size than the reference's is averaged on the reference's grid.

    Returns:
        One picture a grid, float64.
    """
    (fine, coarse), (height, width) = wanted, planes.size
    rows = np.concatenate([_areas(height, fine[0]), _areas(height, coarse[0])])
    strips = rows @ planes.y.astype(np.float32)
    small = strips[: fine[0]] @ _areas(width, fine[1]).T, strips[fine[0] :] @ _areas(width, coarse[1]).T
    steps = 2.0 ** (planes.colour.bitdepth - 8)
    if planes.colour.full_range:
        return tuple(16 + picture.astype(np.float64) * 219 / (256 * steps - 1) for picture in small)  # type: ignore[return-value]
    return tuple(picture.astype(np.float64) / steps for picture in small)  # type: ignore[return-value]


@functools.lru_cache(maxsize=64)
def _areas(samples: int, wanted: int) -> _Weights:
    """(wanted, samples): the share that each sample has in each of `wanted` equal parts of a line."""
    edges = np.arange(samples + 1) * (wanted / samples)
    parts = np.arange(wanted)[:, None]
    shares = np.minimum(edges[1:], parts + 1) - np.maximum(edges[:-1], parts)
    weights: _Weights = np.maximum(shares, 0).astype(np.float32)
    return weights


def without_local_mean(picture: Array) -> Array:
    """A picture less its Gaussian local mean of 7x7 samples; edges are mirrored."""
    mean = scipy.ndimage.correlate1d(
        scipy.ndimage.correlate1d(picture, _LOCAL, axis=0, mode="reflect"), _LOCAL, axis=1, mode="reflect"
    )
    difference: Array = picture - mean
    return difference
