"""Area under the ROC curve, with what each example contributes to its error (DeLong's placements)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from compressvqa.errors import DataError
from compressvqa.metrics.values import Array, Values, finite


@dataclass(frozen=True)
class Roc:
    """An area under the ROC curve.

    Attributes:
        area: chance that a positive example is above a negative one, ties counting one half.
        positive: (m,), contributions of the positive examples to the area's error. Sums of squares of contributions are
            variances, sums of products of two metrics' contributions are covariances: DeLong's.
        negative: (n,), those of the negative examples.
    """

    area: float
    positive: Array = field(repr=False)
    negative: Array = field(repr=False)

    @property
    def standard_error(self) -> float:
        """DeLong's, of independent examples; nan where one side has a single example."""
        return float(np.sqrt(self.positive @ self.positive + self.negative @ self.negative))


def roc(positive: Values, negative: Values) -> Roc:
    """Area under the ROC curve from ranks.

    Source: DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
    characteristic curves", Biometrics 44 (1988), equations 3 to 6; sorted instead of all pairs being looked at, as Sun
    and Xu (IEEE Signal Processing Letters 21, 2014) show.

    Args:
        positive: (m,), scores of the examples that should be above.
        negative: (n,), of those that should be below.

    Raises:
        DataError: one side is empty, or NaN or infinite values.

    >>> roc([3, 4, 5], [1, 2, 4]).area.__round__(4)
    0.8333
    """
    above, below = finite(positive, "scores"), finite(negative, "scores")
    if not above.size or not below.size:
        raise DataError(f"an ROC curve of {above.size} positive and {below.size} negative examples")
    placed_above = _share_below(above, below)
    placed_below = 1 - _share_below(below, above)
    area = float(placed_above.mean())
    return Roc(area, _contributions(placed_above - area), _contributions(placed_below - area))


def delong(positive: Array, negative: Array) -> tuple[Array, Array]:
    """Areas of several metrics on the same examples, and their covariance.

    Args:
        positive: (k, m), scores of k metrics.
        negative: (k, n).

    Returns:
        areas (k,) and covariance (k, k). Areas i and j differ by z = (A_i - A_j) / sqrt(C_ii + C_jj - 2 C_ij).

    Raises:
        DataError: as `roc`.
    """
    curves = [roc(above, below) for above, below in zip(positive, negative, strict=True)]
    up, down = np.stack([curve.positive for curve in curves]), np.stack([curve.negative for curve in curves])
    return np.array([curve.area for curve in curves]), up @ up.T + down @ down.T


def hanley_mcneil_error(area: float, positives: int, negatives: int) -> float:
    """Standard error of an area from its size alone, for scores that fall off exponentially.

    Source: Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
    Radiology 143 (1982), equation 1.

    >>> round(hanley_mcneil_error(0.9, 50, 60), 4)
    0.0317
    """
    two_above, two_below = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (positives - 1) * (two_above - area**2) + (negatives - 1) * (two_below - area**2)
    return float(np.sqrt(spread / (positives * negatives)))


def _share_below(values: Array, others: Array) -> Array:
    """For each value the share of others below it, ties counting one half."""
    ordered, order = np.sort(others), np.argsort(values)
    ascending = values[order]  # so that the search walks through memory once
    share = np.empty(values.size)
    twice = np.searchsorted(ordered, ascending, "left") + np.searchsorted(ordered, ascending, "right")
    share[order] = twice / (2 * others.size)
    return share


def _contributions(deviations: Array) -> Array:
    n = deviations.size
    return deviations / np.sqrt(n * (n - 1)) if n > 1 else np.full(1, np.nan)
