"""One metric on one data set: every figure that a table of results holds."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

from compressvqa.errors import DataError
from compressvqa.metrics.correlation import Correlation, correlation, pearson
from compressvqa.metrics.intervals import Interval, intervals
from compressvqa.metrics.krasula import Column, analyse_pairs, pair_rule, usable
from compressvqa.metrics.ordering import ladder_accuracy
from compressvqa.metrics.values import Array, Values, finite


def judge(
    scores: Values,
    mos: Values,
    *,
    higher_is_better: tuple[bool, bool],
    std: Column | None = None,
    ratings: Column | None = None,
    ci: Column | None = None,
    contents: Sequence[Hashable] | None = None,
    ladders: Sequence[tuple[str, int] | None] | None = None,
    gap: float | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Judges scores against human scores or a proxy's.

    Args:
        scores: (n,).
        mos: (n,), the ground truth.
        higher_is_better: direction of the scores, and of the ground truth.
        std: (n,), standard deviations of the ratings of each item. A column with a gap (None) counts as missing, here
            and below.
        ratings: (n,), numbers of ratings.
        ci: (n,), half widths of 95 % confidence intervals.
        contents: (n,), content of each item: confidence intervals then draw whole contents.
        ladders: for each item (name of its ladder, rung), or None.
        gap: difference of ground truth from which a pair differs, where neither std and ratings nor ci are known.
        resamples: for the confidence intervals; 0 leaves them out.
        seed: of the resamples.

    Returns:
        n; srocc, plcc, krocc, each with _low and _high: signs turned so that positive means agreement with the ground
        truth (plcc, after a mapping that may fall, is negative where the mapping runs against the directions given);
        rmse, outlier_ratio (by std where known, else by ci, else by the errors), fit and fit_parameters of the
        4-parameter logistic mapping; logistic5 with plcc, rmse, outlier_ratio and parameters; different_similar_auc,
        better_worse_auc, better_worse_correct; ladder_accuracy. A figure that can't be had is None: correlations of
        constants or of fewer than two items, areas where pairs are all of one kind or nothing says which differ.

    Raises:
        DataError: lengths differ, or NaN or infinite values; the first position is named.

    >>> row = judge([30, 35, 40, 45, 50], [5, 4.1, 3, 2.2, 1], higher_is_better=(False, True))
    >>> round(row["srocc"], 6), row["n"], row["better_worse_auc"] is None
    (1.0, 5, True)
    """
    x, y = finite(scores, "scores"), finite(mos, "human scores")
    if x.shape != y.shape:
        raise DataError(f"{x.size} scores for {y.size} human scores")
    spread, counts, limits = usable(std), usable(ratings), usable(ci)
    row: dict[str, Any] = dict.fromkeys(KEYS)
    row["n"] = x.size
    if ladders is not None:
        row["ladder_accuracy"] = _number(ladder_accuracy(x, ladders, higher_is_better=higher_is_better[0]))
    if x.size < 2:
        return row
    outliers = {"std": spread} if spread is not None else {"ci": limits}
    sign = 1 if higher_is_better[0] == higher_is_better[1] else -1
    found = correlation(x, y, "logistic4", **outliers)
    turns = {"srocc": sign, "krocc": sign, "plcc": _turn(found, x, sign)}
    ranges = (
        intervals(x, y, "logistic4", resamples=resamples, seed=seed, contents=contents, only=list(turns))
        if resamples
        else {}
    )
    for name, turn in turns.items():
        row[name] = _number(turn * getattr(found, name))
        row[f"{name}_low"], row[f"{name}_high"] = _turned(ranges.get(name), turn)
    row |= {"rmse": _number(found.rmse), "outlier_ratio": _number(found.outlier_ratio)}
    row |= {"fit": found.fit, "fit_parameters": list(found.parameters)}
    wider = correlation(x, y, "logistic5", **outliers)
    row["logistic5"] = {
        "plcc": _number(_turn(wider, x, sign) * wider.plcc),
        "rmse": _number(wider.rmse),
        "outlier_ratio": _number(wider.outlier_ratio),
        "parameters": list(wider.parameters),
    }
    if pair_rule(std=spread, ratings=counts, ci=limits, gap=gap) is not None:
        pairs = analyse_pairs(
            x, y, higher_is_better=higher_is_better, std=spread, ratings=counts, ci=limits, gap=gap, seed=seed
        )
        row["different_similar_auc"] = pairs.different_similar and pairs.different_similar.value
        row["better_worse_auc"] = pairs.better_worse and pairs.better_worse.value
        row["better_worse_correct"] = pairs.better_worse_correct
    return row


KEYS = (
    "n",
    *(f"{name}{end}" for name in ("srocc", "plcc", "krocc") for end in ("", "_low", "_high")),
    *("rmse", "outlier_ratio", "fit", "fit_parameters", "logistic5"),
    *("different_similar_auc", "better_worse_auc", "better_worse_correct", "ladder_accuracy"),
)


def _turn(found: Correlation, x: Array, sign: int) -> int:
    """1 where the mapping runs the way that the directions say, -1 where it runs against them."""
    return -sign if pearson(x, found.fitted) < 0 else sign


def _turned(interval: Interval | None, turn: int) -> tuple[float | None, float | None]:
    if interval is None:
        return None, None
    ends = sorted((turn * interval.low, turn * interval.high))
    return _number(ends[0]), _number(ends[1])


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
