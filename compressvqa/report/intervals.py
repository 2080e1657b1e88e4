"""Confidence intervals of a run's correlations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from compressvqa.report.results import number


def interval(row: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    """Both ends of the confidence interval of a row's figure, or None."""
    low, high = number(row, f"{key}_low"), number(row, f"{key}_high")
    return None if low is None or high is None else (low, high)


def srocc_interval(srocc: float, n: int) -> tuple[float, float] | None:
    """95 % interval of a rank correlation from `n` independent samples; None where n < 5 or |srocc| = 1.

    Fisher's z with the standard error of Bonett and Wright, Psychometrika 65 (2000), sqrt((1 + r^2 / 2) / (n - 3)).

    >>> [round(end, 3) for end in srocc_interval(0.9, 96) or ()]
    [0.843, 0.937]
    """
    if n < 5 or abs(srocc) >= 1:
        return None
    z, spread = math.atanh(srocc), 1.96 * math.sqrt((1 + srocc**2 / 2) / (n - 3))
    return math.tanh(z - spread), math.tanh(z + spread)


def with_intervals(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a run, each with the interval of its SROCC where it tells on how many clips that was taken.

    >>> with_intervals([{"stage": "a", "srocc": 0.9, "n": 96}])[0]["srocc_low"].__round__(3)
    0.843
    """
    found = []
    for row in rows:
        srocc, n = number(row, "srocc"), row.get("n")
        ends = interval(row, "srocc")
        if ends is None and srocc is not None and isinstance(n, int):
            ends = srocc_interval(srocc, n)
        found.append({**row, **({} if ends is None else {"srocc_low": ends[0], "srocc_high": ends[1]})})
    return found
