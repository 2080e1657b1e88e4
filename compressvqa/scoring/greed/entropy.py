"""Entropy of 5x5 blocks of band-pass coefficients that follow a generalised Gaussian, and its scaling."""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy  # a part of it is imported when it is first used

from compressvqa.scoring.greed.filters import Array

BLOCK = 5
NOISE_VARIANCE = 0.1  # of the neural noise, in squared steps of an 8 bit picture
_SHAPES = np.arange(0.2, 10, 0.001)


def gaussian_window(radius: int, deviation: float) -> Array:
    """A Gaussian on -radius..radius that sums to 1.

    >>> gaussian_window(1, 1.0).round(3).tolist()
    [0.274, 0.452, 0.274]
    """
    weights: Array = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation) ** 2)
    weights /= weights.sum()
    return weights


# A block's variance weighs its middle most.
_WINDOW = np.outer(gaussian_window(BLOCK // 2, BLOCK / 6), gaussian_window(BLOCK // 2, BLOCK / 6))


def shape_of_kurtosis(kurtosis: Array) -> Array:
    """The shape of a generalised Gaussian with some kurtosis, 0.2 to 10.

    ``kurtosis = G(5/s) G(1/s) / G(3/s) ** 2`` with the gamma function G, solved for s in a table.

    >>> shape_of_kurtosis(np.array([3.0, 6.0])).round(4).tolist()  # a Gaussian, a Laplacian
    [2.0, 1.0]
    """
    # Where nothing varies there is no kurtosis; its entropy is scaled by a variance of 0 then.
    known = np.nan_to_num(kurtosis, nan=np.inf, posinf=np.inf)
    shape: Array = np.interp(known, _kurtoses()[::-1], _SHAPES[::-1])
    return shape


@cache
def _kurtoses() -> Array:
    """Of the shapes in the table."""
    of = scipy.special.gammaln
    kurtoses: Array = np.exp(of(5 / _SHAPES) + of(1 / _SHAPES) - 2 * of(3 / _SHAPES))
    return kurtoses


def ggd_entropy(shape: Array, deviation: Array) -> Array:
    """Differential entropy, in nats, of a generalised Gaussian.

    ``1/s - log(s / (2 b G(1/s)))`` with the scale ``b = deviation * sqrt(G(1/s) / G(3/s))``.

    Args:
        shape: its shape s, above 0; 2 is a Gaussian.
        deviation: its standard deviation, above 0.

    >>> float(ggd_entropy(np.array(2.0), np.array(1.0)).round(4))  # log(2 pi e) / 2
    1.4189
    """
    scale = deviation * np.exp((scipy.special.gammaln(1 / shape) - scipy.special.gammaln(3 / shape)) / 2)
    entropy: Array = 1 / shape - np.log(shape / (2 * scale)) + scipy.special.gammaln(1 / shape)
    return entropy


def scaled_entropy(bands: Array) -> Array:
    """``log(1 + variance) * entropy`` of every block of some bands.

    The shape is that of the whole band: its kurtosis, corrected for the noise variance W of a band of variance V by
    ``(V / (V - W)) ** 2``. The variance is the block's, weighted by a Gaussian. A block without any variation has 0.

    Args:
        bands: (..., H, W) coefficients of mean near 0; rows and columns beyond whole blocks are left out.

    Returns:
        (..., H // 5, W // 5).
    """
    rows, columns = bands.shape[-2] // BLOCK, bands.shape[-1] // BLOCK
    used = bands[..., : rows * BLOCK, : columns * BLOCK]
    centred = used - used.mean(axis=(-2, -1), keepdims=True)
    squares = centred**2
    variance = squares.mean(axis=(-2, -1))
    fourth = (squares**2).mean(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        kurtosis = fourth / variance**2 * (variance / (variance - NOISE_VARIANCE)) ** 2
        shape = shape_of_kurtosis(kurtosis)[..., None, None]
        blocks = (used**2).reshape(*used.shape[:-2], rows, BLOCK, columns, BLOCK)
        local = np.einsum("...aibj,ij->...ab", blocks, _WINDOW)
        scaled = np.log1p(local) * ggd_entropy(shape, np.sqrt(local))
    return np.where(local > 0, scaled, 0.0)
