"""Whether one metric follows the viewers better than another: the F-test of residual variances, for two or for many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy  # a part of it is imported when it is first used

from compressvqa.errors import DataError
from compressvqa.metrics.fits import PARAMETERS, fit_scores
from compressvqa.metrics.values import Array, Values, finite, pair

NORMAL_KURTOSIS = (2.0, 4.0)  # VQEG's range within which residuals count as normal


@dataclass(frozen=True)
class Residuals:
    """What is left of the human scores after the mapping.

    Attributes:
        variance: sum of squares over n - p, p the number of parameters of the mapping.
        freedom: n - p.
        kurtosis: fourth moment over the squared second, 3 for a normal distribution; nan where nothing is left.
    """

    variance: float
    freedom: int
    kurtosis: float

    @property
    def normal(self) -> bool:
        """Whether the kurtosis is between 2 and 4, as VQEG asks before an F-test."""
        return bool(NORMAL_KURTOSIS[0] <= self.kurtosis <= NORMAL_KURTOSIS[1])


@dataclass(frozen=True)
class FTestTable:
    """F-tests between all metrics of one data set.

    Attributes:
        outcome: {row: {column: 1 where the row is better than the column, -1 where it is worse, 0 otherwise}}.
        p_values: {row: {column: p-value}}, 1 on the diagonal. Without correction that of the larger variance over the
            smaller, as VQEG's rule has it; with "holm" twice as large, for either direction, and corrected.
        alpha: level of each test, or of all together where corrected.
        correction: "none" or "holm".
        residuals: {name: residuals}.
    """

    outcome: dict[str, dict[str, int]]
    p_values: dict[str, dict[str, float]]
    alpha: float
    correction: str
    residuals: dict[str, Residuals]

    @property
    def not_normal(self) -> tuple[str, ...]:
        """Metrics whose residuals are not normal: an F-test with one of them is not to be trusted."""
        return tuple(name for name, value in self.residuals.items() if not value.normal)


def f_test(scores_a: Values, scores_b: Values, mos: Values, alpha: float = 0.05, *, fit: str = "logistic4") -> int:
    """Whether one metric follows the viewers better than another: F-test on the residual variances after the fit.

    As VQEG does it: the larger variance over the smaller is compared with the F distribution's 1 - `alpha` quantile;
    each variance has n - p degrees of freedom, p the number of parameters of the mapping. It assumes normal residuals,
    and independent ones: those of two metrics on the same items rise and fall together, which makes it find less.

    Returns:
        1 when a is better, -1 when b is better, 0 when no difference is shown.

    Raises:
        DataError: as `correlation`, or too few items for the mapping.
    """
    a, b = residuals(scores_a, mos, fit), residuals(scores_b, mos, fit)
    return _outcome(a, b, _p_value(a, b), alpha)


def f_test_matrix(
    scores: Mapping[str, Values],
    mos: Values,
    baseline: str,
    alpha: float = 0.05,
    *,
    fit: str = "logistic4",
) -> dict[str, int]:
    """F-tests of many metrics against one, as Table I of the RankDVQA-mini paper shows them.

    Args:
        scores: {name: (n,)}, each higher or lower better.
        mos: (n,), human scores.
        baseline: one of the names.
        alpha: level of each test, not corrected for their number: as the paper's.
        fit: as in `correlation`.

    Returns:
        {name: 1 superior to the baseline, -1 inferior, 0 no difference shown}, the baseline's own among them.

    Raises:
        DataError: an unknown baseline, or as `f_test`.
    """
    if baseline not in scores:
        raise DataError(f"no scores of the baseline {baseline!r}", hint=", ".join(scores))
    left = {name: residuals(values, mos, fit) for name, values in scores.items()}
    base = left[baseline]
    return {name: _outcome(value, base, _p_value(value, base), alpha) for name, value in left.items()}


def f_test_table(
    scores: Mapping[str, Values],
    mos: Values,
    alpha: float = 0.05,
    *,
    fit: str = "logistic4",
    correction: Literal["none", "holm"] = "none",
) -> FTestTable:
    """F-tests between every two metrics.

    Args:
        scores: {name: (n,)}.
        mos: (n,), human scores.
        alpha: level.
        fit: as in `correlation`.
        correction: "holm" holds the chance of even one false finding among all pairs, in either direction, at alpha;
            "none" tests each alone by VQEG's rule, which finds a difference where there is none in 2 alpha of cases.

    Raises:
        DataError: an unknown correction, or as `f_test`.
    """
    if correction not in ("none", "holm"):
        raise DataError(f"unknown correction {correction!r}", hint="none, holm")
    left = {name: residuals(values, mos, fit) for name, values in scores.items()}
    names = list(left)
    pairs = [(a, b) for index, a in enumerate(names) for b in names[index + 1 :]]
    p_values = np.array([_p_value(left[a], left[b]) for a, b in pairs])
    if correction == "holm":
        p_values = holm(np.minimum(2 * p_values, 1))
    outcome = {a: dict.fromkeys(names, 0) for a in names}
    table = {a: dict.fromkeys(names, 1.0) for a in names}
    for (a, b), p in zip(pairs, p_values.tolist(), strict=True):
        table[a][b] = table[b][a] = p
        outcome[a][b] = _outcome(left[a], left[b], p, alpha)
        outcome[b][a] = -outcome[a][b]
    return FTestTable(outcome, table, alpha, correction, left)


def residuals(scores: Values, mos: Values, fit: str = "logistic4") -> Residuals:
    """Variance and kurtosis of the human scores around the mapped scores.

    Raises:
        DataError: as `correlation`, or too few items for the mapping.
    """
    x, y = pair(scores, mos)
    mapping = fit_scores(x, y, fit)
    error = mapping.fitted - y
    freedom = x.size - PARAMETERS[mapping.name]
    if freedom < 1:
        raise DataError(f"too few items for an F-test after a {fit} fit", hint=f"at least {PARAMETERS[fit] + 1}")
    squares = float(error @ error)
    if squares <= x.size * (1e-9 * float(y.std())) ** 2:  # rounding of a perfect fit is not a variance to compare
        return Residuals(0.0, freedom, float("nan"))
    centred = error - error.mean()
    second = float(np.mean(centred**2))
    return Residuals(squares / freedom, freedom, float(np.mean(centred**4)) / second**2 if second > 0 else float("nan"))


def holm(p_values: Values | Sequence[float]) -> Array:
    """p-values corrected for their number (Holm 1979): as many tests as given hold their level together.

    Args:
        p_values: (k,), of single tests.

    Returns:
        (k,), in the same order; a test is significant where its value is below alpha.

    Raises:
        DataError: a value outside 0 to 1.

    >>> holm([0.01, 0.04, 0.03, 0.005]).round(3).tolist()
    [0.03, 0.06, 0.06, 0.02]
    """
    values = finite(p_values, "p-values")
    if ((values < 0) | (values > 1)).any():
        raise DataError("a p-value lies between 0 and 1")
    order = np.argsort(values, kind="stable")
    grown = np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(grown, 1)
    return corrected


def _p_value(a: Residuals, b: Residuals) -> float:
    small, large = (a, b) if a.variance <= b.variance else (b, a)
    if small.variance == large.variance:
        return 0.5
    if small.variance == 0:
        return 0.0
    return float(scipy.stats.f.sf(large.variance / small.variance, large.freedom, small.freedom))


def _outcome(a: Residuals, b: Residuals, p_value: float, alpha: float) -> int:
    if a.variance == b.variance or p_value >= alpha:
        return 0
    return 1 if a.variance < b.variance else -1
