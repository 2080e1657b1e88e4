"""How well a metric tells pairs apart as viewers do: different from similar, and better from worse.

Source: Krasula, Fliegel, Le Callet and Klima, "On the accuracy of objective image and video quality models: New
methodology for performance evaluation", QoMEX 2016. No mapping is fitted, and pairs that viewers could not tell apart
don't count as errors of the metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt
import scipy  # a part of it is imported when it is first used

from compressvqa.errors import DataError
from compressvqa.metrics.roc import Roc, roc
from compressvqa.metrics.values import Array, Values, beside, finite

Integers = npt.NDArray[np.int64]
Column = Sequence["float | None"] | Values  # of a manifest: None where an item lacks it
_Z95 = 1.959963984540054
MOST_PAIRS = 2_000_000  # beyond, pairs are drawn: the areas' own errors are far larger than what drawing adds


@dataclass(frozen=True)
class Area:
    """An area under the ROC curve with its 95 % confidence interval.

    Attributes:
        value: 0 to 1, 0.5 for a metric that knows nothing.
        low: lower end; nan where there are too few pairs.
        high: upper end.
        standard_error: with the items as what was drawn: two pairs that share an item are not independent.
        standard_error_pairs: DeLong's, as if pairs were independent; too small, and given for comparison with papers.
    """

    value: float
    low: float
    high: float
    standard_error: float
    standard_error_pairs: float


@dataclass(frozen=True)
class PairAnalysis:
    """A metric against viewers, pair by pair.

    Attributes:
        rule: how pairs were called different, in words.
        pairs: how many were looked at.
        drawn: whether they were drawn from more.
        different: how many the ground truth tells apart.
        similar: how many it does not.
        different_similar: area of telling different from similar pairs by the size of the score difference; None where
            all pairs are of one kind.
        better_worse: area of telling the better of a different pair by the score difference; None without different
            pairs.
        better_worse_correct: share of different pairs whose better one has the better score; a tie is wrong, as in the
            paper's software. None without different pairs.
    """

    rule: str
    pairs: int
    drawn: bool
    different: int
    similar: int
    different_similar: Area | None
    better_worse: Area | None
    better_worse_correct: float | None


@dataclass(frozen=True)
class PairTest:
    """Whether two metrics differ in one of the three figures.

    Attributes:
        difference: that of a minus that of b.
        z: difference over its standard error, in which items are what was drawn.
        p_value: two-sided.
    """

    difference: float
    z: float
    p_value: float


@dataclass(frozen=True)
class _Pairs:
    first: Integers
    second: Integers
    verdict: Integers  # 1: first is better, -1: worse, 0: similar
    items: int
    rule: str
    drawn: bool


@dataclass(frozen=True)
class _Figure:
    """A figure and what every pair (by number) contributes to its error."""

    value: float
    numbers: Integers = field(repr=False)
    contributions: Array = field(repr=False)


def analyse_pairs(
    scores: Values,
    mos: Values,
    *,
    higher_is_better: tuple[bool, bool] = (True, True),
    std: Values | None = None,
    ratings: Values | None = None,
    ci: Values | None = None,
    gap: float | None = None,
    alpha: float = 0.05,
    most_pairs: int = MOST_PAIRS,
    seed: int = 0,
) -> PairAnalysis:
    """Looks at all pairs of items.

    Which pairs differ is said by the viewers: a z-test of the two human scores, one-sided either way as ITU-T J.149 and
    the paper's software have it, so that |z| is 1.645 or more. Standard errors are `std` / sqrt(`ratings`), or `ci` /
    1.96 where those are missing. Without either, as for a proxy, pairs differ whose ground truth is `gap` or more
    apart.

    Args:
        scores: (n,).
        mos: (n,), human scores or a proxy's.
        higher_is_better: direction of the scores, and of the human scores.
        std: (n,), standard deviations of the ratings of each item.
        ratings: (n,), how many ratings each item has.
        ci: (n,), half widths of the 95 % confidence intervals of the human scores.
        gap: difference of ground truth from which two items count as different.
        alpha: level of the z-test.
        most_pairs: beyond, that many pairs are drawn.
        seed: of the drawing.

    Raises:
        DataError: lengths differ, NaN, infinite or negative values, or nothing says which pairs differ.
    """
    x, pairs = _prepared(scores, mos, higher_is_better, std, ratings, ci, gap, alpha, most_pairs, seed)
    different, better, correct = _figures(x, pairs)
    return PairAnalysis(
        rule=pairs.rule,
        pairs=pairs.verdict.size,
        drawn=pairs.drawn,
        different=int(np.count_nonzero(pairs.verdict)),
        similar=int(np.count_nonzero(pairs.verdict == 0)),
        different_similar=None if different is None else _area(different, pairs),
        better_worse=None if better is None else _area(better, pairs),
        better_worse_correct=None if correct is None else correct.value,
    )


def compare_pairs(
    scores_a: Values,
    scores_b: Values,
    mos: Values,
    *,
    higher_is_better: tuple[bool, bool, bool] = (True, True, True),
    std: Values | None = None,
    ratings: Values | None = None,
    ci: Values | None = None,
    gap: float | None = None,
    alpha: float = 0.05,
    most_pairs: int = MOST_PAIRS,
    seed: int = 0,
) -> dict[str, PairTest | None]:
    """Whether two metrics tell pairs apart differently well.

    The areas are compared as DeLong's correlated curves are, but with the variance summed over items instead of pairs
    (a dyadic cluster-robust variance: Aronow, Samii and Assenova 2015). The paper's own software takes pairs as
    independent, which calls far too many differences significant.

    Args:
        scores_a: (n,).
        scores_b: (n,).
        mos: (n,).
        higher_is_better: directions of a, of b and of the human scores.
        std: as in `analyse_pairs`.
        ratings: as there.
        ci: as there.
        gap: as there.
        alpha: level of the z-test that says which pairs differ.
        most_pairs: as there.
        seed: as there.

    Returns:
        {"different_similar", "better_worse", "better_worse_correct": test}; None where `analyse_pairs` has no figure.

    Raises:
        DataError: as `analyse_pairs`.
    """
    rules = (std, ratings, ci, gap, alpha, most_pairs, seed)
    a, pairs = _prepared(scores_a, mos, (higher_is_better[0], higher_is_better[2]), *rules)
    b, _ = _prepared(scores_b, mos, (higher_is_better[1], higher_is_better[2]), *rules)
    found: dict[str, PairTest | None] = {}
    for name, one, other in zip(_NAMES, _figures(a, pairs), _figures(b, pairs), strict=True):
        if one is None or other is None:
            found[name] = None
            continue
        error = _item_error(_Figure(0.0, one.numbers, one.contributions - other.contributions), pairs)
        difference = one.value - other.value
        z = (
            0.0
            if abs(difference) < 1e-12
            else float(np.divide(difference, error) if error > 0 else np.inf * difference)
        )
        found[name] = PairTest(difference, z, float(2 * scipy.stats.norm.sf(abs(z))))
    return found


_NAMES = ("different_similar", "better_worse", "better_worse_correct")


def pair_rule(
    *,
    std: Column | None = None,
    ratings: Column | None = None,
    ci: Column | None = None,
    gap: float | None = None,
    alpha: float = 0.05,
) -> str | None:
    """How `analyse_pairs` calls pairs different, in words, given these columns; None where nothing says it.

    >>> pair_rule(gap=6.0)
    'ground truth 6 or more apart'
    >>> pair_rule(std=[0.5, 0.7], ratings=[24, 24], gap=6.0)
    'z-test of the human scores, 95 % either way, standard errors from std and ratings'
    """
    test = f"z-test of the human scores, {100 * (1 - alpha):g} % either way, standard errors from "
    if usable(std) is not None and usable(ratings) is not None:
        return test + "std and ratings"
    if usable(ci) is not None:
        return test + "confidence intervals"
    return None if gap is None else f"ground truth {gap:g} or more apart"


def usable(values: Column | None) -> Array | None:
    """A column of a manifest, None where it is missing for any item."""
    if values is None or (isinstance(values, Sequence) and any(value is None for value in values)):
        return None
    return finite(cast(Values, values), "values")


# --- which pairs differ
# --------------------------------------------------------------------------------------------------


def _prepared(
    scores: Values,
    mos: Values,
    higher_is_better: tuple[bool, bool],
    std: Values | None,
    ratings: Values | None,
    ci: Values | None,
    gap: float | None,
    alpha: float,
    most_pairs: int,
    seed: int,
) -> tuple[Array, _Pairs]:
    x, y = finite(scores, "scores"), finite(mos, "human scores")
    if x.shape != y.shape:
        raise DataError(f"{x.size} scores for {y.size} human scores")
    x, y = x if higher_is_better[0] else -x, y if higher_is_better[1] else -y
    first, second, drawn = _all_pairs(x.size, most_pairs, seed)
    difference = y[first] - y[second]
    rule = pair_rule(std=std, ratings=ratings, ci=ci, gap=gap, alpha=alpha)
    error = _standard_errors(x.size, std, ratings, ci)
    if error is not None:
        limit = float(scipy.stats.norm.ppf(1 - alpha)) * np.sqrt(error[first] ** 2 + error[second] ** 2)
        far = (np.abs(difference) >= limit) & (difference != 0)
    elif gap is not None and gap > 0:
        far = np.abs(difference) >= gap
    elif gap is not None:
        raise DataError(f"a gap of {gap:g} separates nothing", hint="a difference of ground truth above 0")
    else:
        raise DataError("nothing says which pairs differ", hint="std and ratings, ci, or gap")
    verdict = np.where(far, np.sign(difference), 0).astype(np.int64)
    return x, _Pairs(first, second, verdict, x.size, rule or "", drawn)


def _standard_errors(n: int, std: Values | None, ratings: Values | None, ci: Values | None) -> Array | None:
    if std is not None and ratings is not None:
        counts = beside(ratings, n, "numbers of ratings")
        if (counts < 1).any():
            raise DataError("an item without ratings", where=f"position {int(np.flatnonzero(counts < 1)[0])}")
        return beside(std, n, "standard deviations") / np.sqrt(counts)
    return None if ci is None else beside(ci, n, "confidence intervals") / _Z95


def _all_pairs(n: int, most: int, seed: int) -> tuple[Integers, Integers, bool]:
    if n * (n - 1) // 2 <= most:
        first, second = np.triu_indices(n, 1)
        return first, second, False
    drawn = np.random.default_rng(seed).integers(0, n, (2, most))
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    number = np.sort(low[low < high] * n + high[low < high])
    number = number[np.append(True, np.diff(number) > 0)]
    return number // n, number % n, True


# --- figures and their errors
# --------------------------------------------------------------------------------------------


def _figures(x: Array, pairs: _Pairs) -> tuple[_Figure | None, _Figure | None, _Figure | None]:
    difference = x[pairs.first] - x[pairs.second]
    far, near = np.flatnonzero(pairs.verdict), np.flatnonzero(pairs.verdict == 0)
    if not far.size:
        return None, None, None
    different = None
    if near.size:
        curve: Roc = roc(np.abs(difference[far]), np.abs(difference[near]))
        different = _Figure(curve.area, np.concatenate([far, near]), np.concatenate([curve.positive, curve.negative]))
    # Each pair stands on both sides, turned round, as in the paper's software: which item of a pair comes first is
    # arbitrary. It is one pair all the same, so both its contributions belong together.
    towards = difference[far] * pairs.verdict[far]
    curve = roc(towards, -towards)
    better = _Figure(curve.area, far, curve.positive + curve.negative)
    right = (towards > 0).astype(np.float64)
    return different, better, _Figure(float(right.mean()), far, (right - right.mean()) / far.size)


def _area(figure: _Figure, pairs: _Pairs) -> Area:
    error = _item_error(figure, pairs)
    half = _Z95 * error
    return Area(
        figure.value,
        max(0.0, figure.value - half) if np.isfinite(half) else float("nan"),
        min(1.0, figure.value + half) if np.isfinite(half) else float("nan"),
        error,
        float(np.sqrt(figure.contributions @ figure.contributions)),
    )


def _item_error(figure: _Figure, pairs: _Pairs) -> float:
    """Standard error with products of the contributions of all pairs that share an item."""
    each = figure.contributions
    by_item = np.bincount(pairs.first[figure.numbers], each, pairs.items)
    by_item += np.bincount(pairs.second[figure.numbers], each, pairs.items)
    alone = float(each @ each)  # counted twice above: a pair shares both of its items with itself
    return float(np.sqrt(max(float(by_item @ by_item) - alone, alone)))
