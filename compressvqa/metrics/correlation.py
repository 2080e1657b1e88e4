"""What scores are worth against human scores: correlations, and errors after a mapping."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy  # a part of it is imported when it is first used

from compressvqa.errors import DataError
from compressvqa.metrics.fits import fit_scores
from compressvqa.metrics.values import Array, Values, beside, pair


@dataclass(frozen=True)
class Correlation:
    """Agreement of scores with human scores.

    Attributes:
        srocc: Spearman's rank correlation of the raw scores; ties share their mean rank.
        plcc: Pearson's correlation after the fit.
        krocc: Kendall's tau-b of the raw scores.
        rmse: root mean square error after the fit, on the scale of the human scores.
        outlier_ratio: share of items whose |error| is above a limit: two standard deviations of the human score of that
            item where `std` was given, its confidence interval where `ci` was, else two standard deviations of the
            errors.
        fit: mapping used before plcc, rmse and outlier_ratio. Where a logistic mapping can't be fitted (too few items,
            a straight line is nearer) it is "linear", whatever was asked for.
        n: number of items.
        parameters: of the mapping, on the scale of the scores as given, in the order of `compressvqa.metrics.Fit`.
        fitted: the scores after the mapping, in the order given.
    """

    srocc: float
    plcc: float
    krocc: float
    rmse: float
    outlier_ratio: float
    fit: str
    n: int
    parameters: tuple[float, ...]
    fitted: Array = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """As JSON would hold it."""
        named = ("srocc", "plcc", "krocc", "rmse", "outlier_ratio", "fit", "n")
        arrays = {"parameters": list(self.parameters), "fitted": self.fitted.tolist()}
        return {name: getattr(self, name) for name in named} | arrays


def correlation(
    scores: Values, mos: Values, fit: str = "logistic4", *, std: Values | None = None, ci: Values | None = None
) -> Correlation:
    """Correlates scores with human scores.

    Args:
        scores: (n,), of a network or metric; higher better or worse, the sign of srocc says which.
        mos: (n,), of viewers.
        fit: "logistic4", the monotone mapping (b0 - b1) / (1 + exp((b2 - x) / |b3|)) + b1 that RankDVQA's paper and
            VQEG use; "logistic5", that of Sheikh, Sabir and Bovik (2006); "linear"; or "none".
        std: (n,), standard deviation of each human score, for the outlier ratio: |error| > 2 std.
        ci: (n,), half width of each human score's 95 % confidence interval, for the outlier ratio of ITU-T P.1401
            (section 7.5.2): |error| > ci. A stricter limit; not together with `std`.

    Returns:
        The figures; nan where one side is constant, since a constant has no correlation.

    Raises:
        DataError: lengths differ, fewer than two items, NaN or infinite values, both limits, or an unknown fit.

    >>> found = correlation([1, 2, 3, 4, 5, 6], [1.0, 1.2, 2.9, 4.8, 5.0, 5.1])
    >>> found.srocc, found.fit, found.plcc > 0.999
    (1.0, 'logistic4', True)
    """
    x, y = pair(scores, mos)
    mapping = fit_scores(x, y, fit)
    error = mapping.fitted - y
    if std is not None and ci is not None:
        raise DataError("the outlier ratio has one limit, not two", hint="give std or ci")
    if std is not None:
        limits = 2 * beside(std, x.size, "standard deviations")
    elif ci is not None:
        limits = beside(ci, x.size, "confidence intervals")
    else:
        limits = np.full_like(x, 2 * error.std())
    constant = bool(np.ptp(x) == 0 or np.ptp(y) == 0)
    return Correlation(
        srocc=float("nan") if constant else float(scipy.stats.spearmanr(x, y).statistic),
        plcc=pearson(mapping.fitted, y),
        krocc=float("nan") if constant else float(scipy.stats.kendalltau(x, y).statistic),
        rmse=float(np.sqrt(np.mean(error**2))),
        outlier_ratio=float(np.mean(np.abs(error) > limits)),
        fit=mapping.name,
        n=x.size,
        parameters=mapping.parameters,
        fitted=mapping.fitted,
    )


def pearson(x: Array, y: Array) -> float:
    """Pearson's correlation, nan where one side is constant up to rounding."""
    # Below rounding, a fitted curve is constant: its correlation would be that of noise.
    if np.ptp(x) <= 1e-12 * max(1e-300, float(np.abs(x).max())) or np.ptp(y) == 0:
        return float("nan")
    return float(scipy.stats.pearsonr(x, y).statistic)
