"""How near a network's scores are to another's on the same clips: what compression changed, whatever viewers say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # a part of it is imported when it is first used

from compressvqa.errors import DataError
from compressvqa.metrics.correlation import pearson
from compressvqa.metrics.values import Values, finite


@dataclass(frozen=True)
class Agreement:
    """Agreement of raw scores with those of the network that they should stand in for.

    Attributes:
        srocc: Spearman's rank correlation; ties share their mean rank. nan where one side is constant.
        plcc: Pearson's correlation without any fit. nan where one side is constant.
        mae: mean absolute difference, on the scale of the scores.
        n: number of items.
    """

    srocc: float
    plcc: float
    mae: float
    n: int


def agreement(scores: Values, teacher: Values) -> Agreement:
    """Compares scores with those of another network, item by item.

    Nothing is fitted: a small network that replaces a large one is read on the large one's scale. Scores that
    rank alike on another scale show in `plcc` and `mae`.

    Args:
        scores: (n,), of the small network.
        teacher: (n,), of the large one, of the same items in the same order.

    Raises:
        DataError: lengths differ, fewer than two items, NaN or infinite values.

    >>> found = agreement([1.0, 2.0, 4.0, 3.0], [2.0, 3.0, 5.0, 4.0])
    >>> round(found.srocc, 6), round(found.plcc, 6), found.mae
    (1.0, 1.0, 1.0)
    """
    x, y = finite(scores, "scores"), finite(teacher, "scores of the teacher")
    if x.size != y.size:
        raise DataError(f"{x.size} scores for {y.size} of the teacher")
    if x.size < 2:
        raise DataError(f"a correlation needs two items at least, not {x.size}")
    constant = bool(np.ptp(x) == 0 or np.ptp(y) == 0)
    return Agreement(
        srocc=float("nan") if constant else float(scipy.stats.spearmanr(x, y).statistic),
        plcc=float("nan") if constant else pearson(x, y),
        mae=float(np.abs(x - y).mean()),
        n=x.size,
    )
