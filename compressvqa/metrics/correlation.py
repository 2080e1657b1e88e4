"""What scores are worth against human scores: correlations, errors after a fit, and whether a difference is real."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.stats
from torch import Tensor

from compressvqa.errors import DataError

Values = npt.ArrayLike | Tensor | Sequence[float]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Correlation:
    """Agreement of scores with human scores.

    Attributes:
        srocc: Spearman's rank correlation of the raw scores; ties share their mean rank.
        plcc: Pearson's correlation after the fit.
        krocc: Kendall's tau-b of the raw scores.
        rmse: root mean square error after the fit, on the scale of the human scores.
        outlier_ratio: share of items with |error| above two standard deviations: of the human score of that item
            where `std` was given, of the errors otherwise.
        fit: mapping used before plcc, rmse and outlier_ratio: "logistic4", "linear" or "none". Where a logistic
            mapping can't be fitted (fewer than five items, no convergence) it is "linear", whatever was asked for.
        n: number of items.
        fitted: the scores after the mapping, in the order given.
    """

    srocc: float
    plcc: float
    krocc: float
    rmse: float
    outlier_ratio: float
    fit: str
    n: int
    fitted: Array = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """As JSON would hold it."""
        named = ("srocc", "plcc", "krocc", "rmse", "outlier_ratio", "fit", "n")
        return {name: getattr(self, name) for name in named} | {"fitted": self.fitted.tolist()}


def correlation(scores: Values, mos: Values, fit: str = "logistic4", *, std: Values | None = None) -> Correlation:
    """Correlates scores with human scores.

    Args:
        scores: (n,), of a network or metric; higher better or worse, the sign of srocc says which.
        mos: (n,), of viewers.
        fit: "logistic4", the monotone mapping (b0 - b1) / (1 + exp((b2 - x) / |b3|)) + b1 that RankDVQA's paper and
            VQEG use; "linear"; or "none".
        std: (n,), standard deviation of each human score, for the outlier ratio.

    Returns:
        The figures; nan where one side is constant, since a constant has no correlation.

    Raises:
        DataError: lengths differ, fewer than two items, NaN or infinite values, or an unknown fit.

    >>> found = correlation([1, 2, 3, 4, 5, 6], [1.0, 1.2, 2.9, 4.8, 5.0, 5.1])
    >>> found.srocc, found.fit, found.plcc > 0.999
    (1.0, 'logistic4', True)
    """
    x, y = _pair(scores, mos)
    if fit not in _FITS:
        raise DataError(f"unknown fit {fit!r}", hint=", ".join(_FITS))
    fitted, used = _FITS[fit](x, y)
    error = fitted - y
    if std is not None:
        limits = 2 * _finite(std, "std")
        if limits.shape != x.shape:
            raise DataError(f"{limits.size} standard deviations for {x.size} scores")
    else:
        limits = np.full_like(x, 2 * error.std())
    constant = bool(np.ptp(x) == 0 or np.ptp(y) == 0)
    return Correlation(
        srocc=float("nan") if constant else float(scipy.stats.spearmanr(x, y).statistic),
        plcc=_pearson(fitted, y),
        krocc=float("nan") if constant else float(scipy.stats.kendalltau(x, y).statistic),
        rmse=float(np.sqrt(np.mean(error**2))),
        outlier_ratio=float(np.mean(np.abs(error) > limits)),
        fit=used,
        n=x.size,
        fitted=fitted,
    )


def f_test(scores_a: Values, scores_b: Values, mos: Values, alpha: float = 0.05, *, fit: str = "logistic4") -> int:
    """Whether one metric follows the viewers better than another: F-test on the residual variances after the fit.

    As VQEG does it: the larger variance over the smaller is compared with the F distribution's 1 - `alpha` quantile;
    each variance has n - p degrees of freedom, p the number of parameters of the mapping. It assumes normal residuals.

    Returns:
        1 when a is better, -1 when b is better, 0 when no difference is shown.

    Raises:
        DataError: as `correlation`, or too few items for the mapping.
    """
    freedom, errors = [], []
    for scores in (scores_a, scores_b):
        found = correlation(scores, mos, fit)
        freedom.append(found.n - _PARAMETERS[found.fit])
        errors.append(found.n * found.rmse**2)
    if min(freedom) < 1:
        raise DataError(f"too few items for an F-test after a {fit} fit", hint=f"at least {_PARAMETERS[fit] + 1}")
    a, b = errors[0] / freedom[0], errors[1] / freedom[1]
    if a == b:
        return 0
    small, large = (0, 1) if a < b else (1, 0)
    if min(a, b) > 0:
        limit = scipy.stats.f.ppf(1 - alpha, freedom[large], freedom[small])
        if max(a, b) / min(a, b) <= limit:
            return 0
    return 1 if a < b else -1


def pair_accuracy(scores_a: Values, scores_b: Values, label: Values) -> float:
    """Share of pairs that are put in the right order.

    Args:
        scores_a: (n,), higher is better.
        scores_b: (n,).
        label: (n,), above 0.5 where a is truly better and below where b is; pairs at 0.5 say nothing and are left out.

    Returns:
        0 to 1; a tie of the scores counts one half; nan when no pair has a better side.

    Raises:
        DataError: lengths differ, or NaN or infinite values.

    >>> pair_accuracy([3.0, 1.0, 2.0], [1.0, 2.0, 2.0], [1, 1, 0])
    0.5
    """
    a, b, truth = _finite(scores_a, "scores"), _finite(scores_b, "scores"), _finite(label, "labels")
    if not a.shape == b.shape == truth.shape:
        raise DataError(f"{a.size} and {b.size} scores and {truth.size} labels don't make pairs")
    decided = truth != 0.5
    if not decided.any():
        return float("nan")
    agreement = np.sign(a - b)[decided] * np.sign(truth - 0.5)[decided]
    return float(np.mean((agreement + 1) / 2))


# --- input --------------------------------------------------------------------------------------------------------


def _finite(values: Values, what: str) -> Array:
    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64).reshape(-1)
    wrong = np.flatnonzero(~np.isfinite(array))
    if wrong.size:
        raise DataError(f"{wrong.size} of {array.size} {what} are NaN or infinite, the first at position {wrong[0]}")
    return array


def _pair(scores: Values, mos: Values) -> tuple[Array, Array]:
    x, y = _finite(scores, "scores"), _finite(mos, "human scores")
    if x.shape != y.shape:
        raise DataError(f"{x.size} scores for {y.size} human scores")
    if x.size < 2:
        raise DataError(f"a correlation needs two items at least, not {x.size}")
    return x, y


def _pearson(x: Array, y: Array) -> float:
    # Below rounding, a fitted curve is constant: its correlation would be that of noise.
    if np.ptp(x) <= 1e-12 * max(1.0, float(np.abs(x).max())) or np.ptp(y) == 0:
        return float("nan")
    return float(scipy.stats.pearsonr(x, y).statistic)


# --- mappings: (scores, mos) -> (fitted scores, name of the mapping used) -------------------------------------------


def _logistic4(x: Array, high: float, low: float, middle: float, width: float) -> Array:
    """(b0 - b1) / (1 + exp((b2 - x) / |b3|)) + b1, in a form that can't overflow."""
    half: Array = 0.5 * (1 + np.tanh((x - middle) / (2 * max(abs(width), 1e-12))))
    return (high - low) * half + low


def _fit_logistic4(x: Array, y: Array) -> tuple[Array, str]:
    if x.size < 5 or np.ptp(x) == 0:
        return _fit_linear(x, y)
    z = (x - x.mean()) / x.std()  # so that one set of starts suits every scale
    rising = np.corrcoef(z, y)[0, 1] >= 0 if np.ptp(y) else True
    high, low = (y.max(), y.min()) if rising else (y.min(), y.max())
    best: Array | None = None
    for middle in (float(np.median(z)), 0.0, *np.quantile(z, (0.2, 0.8))):
        for width in (0.5, 0.1, 2.0):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of the covariance, which is not used
                    found, _ = scipy.optimize.curve_fit(_logistic4, z, y, p0=(high, low, middle, width), maxfev=5000)
            except RuntimeError:  # no convergence from this start
                continue
            fitted = _logistic4(z, *found)
            if np.isfinite(fitted).all() and (best is None or np.sum((fitted - y) ** 2) < np.sum((best - y) ** 2)):
                best = fitted
    return (best, "logistic4") if best is not None else _fit_linear(x, y)


def _fit_linear(x: Array, y: Array) -> tuple[Array, str]:
    if np.ptp(x) == 0:
        return np.full_like(y, y.mean()), "linear"
    slope, offset = np.polyfit(x - x.mean(), y, 1)
    return slope * (x - x.mean()) + offset, "linear"


def _no_fit(x: Array, y: Array) -> tuple[Array, str]:
    del y
    return x.copy(), "none"


_FITS: dict[str, Callable[[Array, Array], tuple[Array, str]]] = {
    "logistic4": _fit_logistic4,
    "linear": _fit_linear,
    "none": _no_fit,
}
_PARAMETERS = {"logistic4": 4, "linear": 2, "none": 0}
