"""Whether two correlations with the same human scores differ: tests that allow for the two metrics being alike.

The test for independent correlations (ITU-T P.1401, section 7.6.1) leaves out that both metrics were taken on the same
items; the more alike they are, the more real differences it misses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy  # a part of it is imported when it is first used

from compressvqa.errors import DataError
from compressvqa.metrics.correlation import pearson
from compressvqa.metrics.fits import fit_scores
from compressvqa.metrics.values import Array, Values, pair

Method = Literal["meng", "williams", "steiger"]
_METHODS = ("meng", "williams", "steiger")


@dataclass(frozen=True)
class CorrelationTest:
    """A test of the difference of two correlations.

    Attributes:
        difference: correlation of a minus that of b.
        statistic: z ("meng", "steiger") or t with n - 3 degrees of freedom ("williams"); above 0 where a's is larger.
        p_value: two-sided.
        method: which test.
        n: number of items.
    """

    difference: float
    statistic: float
    p_value: float
    method: str
    n: int


def compare_correlations(
    scores_a: Values,
    scores_b: Values,
    mos: Values,
    *,
    kind: Literal["srocc", "plcc"] = "srocc",
    method: Method = "meng",
    fit: str = "logistic4",
) -> CorrelationTest:
    """Whether one metric correlates better with the viewers than another, on the same items.

    Args:
        scores_a: (n,). Scores that fall where quality rises have to be negated first.
        scores_b: (n,).
        mos: (n,), human scores.
        kind: "srocc", of ranks, for which the tests hold approximately (Myers and Sirois 2006); or "plcc", after the
            fit.
        method: as in `dependent_correlations`.
        fit: mapping before plcc.

    Raises:
        DataError: as `correlation`; a constant side; fewer than four items; an unknown kind or method.
    """
    a, y = pair(scores_a, mos)
    b, _ = pair(scores_b, mos)
    if kind == "srocc":
        a, b, y = (np.asarray(scipy.stats.rankdata(values), dtype=np.float64) for values in (a, b, y))
    elif kind == "plcc":
        a, b = fit_scores(a, y, fit).fitted, fit_scores(b, y, fit).fitted
    else:
        raise DataError(f"unknown correlation {kind!r}", hint="srocc, plcc")
    found = pearson(a, y), pearson(b, y), pearson(a, b)
    if not np.isfinite(found).all():
        raise DataError("a constant has no correlation to compare")
    return dependent_correlations(*found, a.size, method)


def dependent_correlations(r_a: float, r_b: float, r_ab: float, n: int, method: Method = "meng") -> CorrelationTest:
    """Tests the difference of two correlations that share one side.

    Args:
        r_a: correlation of a with the human scores.
        r_b: correlation of b with them.
        r_ab: correlation of a with b.
        n: number of items, four or more.
        method: "meng", Meng, Rosenthal and Rubin's z (1992, Psychological Bulletin 111, equations 1 to 3);
            "williams", Williams' t as Steiger recommends it (1980, Psychological Bulletin 87, equation 7);
            "steiger", Steiger's z with the mean correlation (1980, equations 10 and 14).

    Raises:
        DataError: fewer than four items, an unknown method, or correlations outside -1 to 1 or that can't occur
            together.

    The example of Meng, Rosenthal and Rubin:

    >>> test = dependent_correlations(0.63, -0.03, -0.19, 15)
    >>> round(test.statistic, 2), round(test.p_value / 2, 4)  # one-sided in the paper
    (1.68, 0.0465)
    """
    if method not in _METHODS:
        raise DataError(f"unknown method {method!r}", hint=", ".join(_METHODS))
    if n < 4:
        raise DataError(f"a test of two correlations needs four items at least, not {n}")
    determinant = 1 + 2 * r_a * r_b * r_ab - r_a**2 - r_b**2 - r_ab**2
    if max(abs(r_a), abs(r_b), abs(r_ab)) > 1 + 1e-12 or determinant < -1e-9:
        raise DataError(f"correlations of {r_a:.4g}, {r_b:.4g} and {r_ab:.4g} can't occur together")
    difference = r_a - r_b
    if abs(difference) < 1e-12:
        return CorrelationTest(0.0, 0.0, 1.0, method, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = float(_STATISTICS[method](np.array([r_a, r_b, r_ab]), max(determinant, 0.0), n))
    if np.isnan(statistic):  # no spread left: both metrics are one, up to rounding
        statistic = float(np.sign(difference)) * float("inf")
    p_value = scipy.stats.t.sf(abs(statistic), n - 3) if method == "williams" else scipy.stats.norm.sf(abs(statistic))
    return CorrelationTest(difference, statistic, float(2 * p_value), method, n)


def _fisher(r: Array) -> Array:
    return np.asarray(np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15)))


def _meng(r: Array, determinant: float, n: int) -> float:
    del determinant
    squares = min(float(np.mean(r[:2] ** 2)), 1 - 1e-15)
    f = min((1 - r[2]) / (2 * (1 - squares)), 1.0)
    h = (1 - f * squares) / (1 - squares)
    z = _fisher(r)
    return float((z[0] - z[1]) * np.sqrt((n - 3) / (2 * (1 - r[2]) * h)))


def _williams(r: Array, determinant: float, n: int) -> float:
    mean = float(np.mean(r[:2]))
    below = 2 * (n - 1) / (n - 3) * determinant + mean**2 * (1 - r[2]) ** 3
    return float((r[0] - r[1]) * np.sqrt((n - 1) * (1 + r[2]) / below))


def _steiger(r: Array, determinant: float, n: int) -> float:
    del determinant
    mean = float(np.mean(r[:2]) ** 2)
    together = (r[2] * (1 - 2 * mean) - 0.5 * mean * (1 - 2 * mean - r[2] ** 2)) / (1 - mean) ** 2
    z = _fisher(r)
    return float((z[0] - z[1]) * np.sqrt((n - 3) / (2 - 2 * together)))


_STATISTICS = {"meng": _meng, "williams": _williams, "steiger": _steiger}
