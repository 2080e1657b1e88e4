"""The temporal filter bank of ST-GREED: a wavelet packet of three levels, without decimation."""

from __future__ import annotations

import functools
import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

LEVELS = 3
# Analysis filters of the biorthogonal 2.2 spline wavelet (Cohen, Daubechies and Feauveau 1992; also LeGall's 5/3), laid
# into six taps each as wavelet toolboxes do, so that all bands of the packet are aligned in time. The authors' program
# reads its filters from files that could not be compared with these.
LOW = math.sqrt(2) / 8 * np.array([0.0, -1, 2, 6, 2, -1])
HIGH = math.sqrt(2) / 4 * np.array([0.0, 1, -2, 1, 0, 0])


@functools.cache
def filter_bank(levels: int = LEVELS) -> Array:
    """The band-pass filters, lowest band first; the low-pass band is left out.

    The filter of a band is the convolution of one analysis filter a level, each stretched by the decimation before it
    (Mallat, "A Wavelet Tour of Signal Processing", chapter 8). ST-GREED takes three levels: seven bands.

    Args:
        levels: levels of the packet.

    Returns:
        (2 ** levels - 1, 5 * (2 ** levels - 1) + 1); no filter passes a constant.

    >>> filter_bank().shape, float(abs(filter_bank().sum(axis=1)).max()) < 1e-12
    ((7, 36), True)
    """
    bank = []
    for band in range(1, 2**levels):
        # High-pass filtering and decimation turn a spectrum round, so bands follow each other in Gray code.
        path = band ^ (band >> 1)
        made = np.ones(1)
        for level in range(levels):
            chosen = HIGH if path >> (levels - 1 - level) & 1 else LOW
            stretched = np.zeros((len(chosen) - 1) * 2**level + 1)
            stretched[:: 2**level] = chosen
            made = np.convolve(made, stretched)
        bank.append(made)
    return np.stack(bank)
