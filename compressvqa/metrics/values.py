"""What every statistic takes: numbers in one row, all of them finite, as many of one kind as of the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from compressvqa.errors import DataError

Values = npt.ArrayLike | Tensor | Sequence[float]
Array = npt.NDArray[np.float64]


def finite(values: Values, what: str) -> Array:
    """The values as float64, (n,).

    Raises:
        DataError: one is NaN or infinite; the first position is named.
    """
    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64).reshape(-1)
    wrong = np.flatnonzero(~np.isfinite(array))
    if wrong.size:
        raise DataError(f"{wrong.size} of {array.size} {what} are NaN or infinite, the first at position {wrong[0]}")
    return array


def pair(scores: Values, mos: Values) -> tuple[Array, Array]:
    """Scores and human scores of the same items, two or more.

    Raises:
        DataError: lengths differ, fewer than two items, NaN or infinite values.
    """
    x, y = finite(scores, "scores"), finite(mos, "human scores")
    if x.shape != y.shape:
        raise DataError(f"{x.size} scores for {y.size} human scores")
    if x.size < 2:
        raise DataError(f"a correlation needs two items at least, not {x.size}")
    return x, y


def beside(values: Values, n: int, what: str) -> Array:
    """One value for each of `n` scores, none below zero: standard deviations, confidence intervals, numbers of ratings.

    Raises:
        DataError: another number of values, a negative one, NaN or infinite values.
    """
    array = finite(values, what)
    if array.size != n:
        raise DataError(f"{array.size} {what} for {n} scores")
    if (array < 0).any():
        raise DataError(f"{what} can't be negative", where=f"position {int(np.flatnonzero(array < 0)[0])}")
    return array
