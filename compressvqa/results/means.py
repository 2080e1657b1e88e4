"""Means over data sets, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Mean:
    """A figure over several data sets, with the ends of its confidence interval where all of them have one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float] | None:
        """Both ends of the interval, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def mean_of(figures: Sequence[tuple[float, float | None, float | None]]) -> Mean:
    """The plain mean of figures and its interval, the data sets taken as independent samples.

    The distances from value to end are combined as standard errors are: the root of their squares' sum, over the
    number of data sets.

    Args:
        figures: (value, low, high) each.

    >>> mean_of([(0.5, 0.2, 0.8), (0.75, 0.35, None)])
    Mean(value=0.625, low=0.375, high=None)
    """
    count = len(figures)
    value = sum(figure[0] for figure in figures) / count
    ends: list[float | None] = []
    for side, sign in ((1, -1), (2, 1)):
        known = [(figure[side], figure[0]) for figure in figures]
        squares = [(end - middle) ** 2 for end, middle in known if end is not None]
        ends.append(value + sign * math.sqrt(sum(squares)) / count if len(squares) == count else None)
    return Mean(value, *ends)
