"""How far a correlation could be off: bootstrap confidence intervals.

A resample is written as how often it holds each item. Ranks, sums of products and concordant pairs of a resample then
follow from those counts by running sums and matrix products, for many resamples at once and without sorting any of
them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy  # a part of it is imported when it is first used

from compressvqa.errors import DataError
from compressvqa.metrics.fits import fit_scores
from compressvqa.metrics.values import Array, Values, pair

Method = Literal["bca", "percentile"]
Integers = npt.NDArray[np.int64]
Chunks = Iterator[Array]
Statistic = Callable[[Array], Array]  # counts (resamples, items) -> statistic (resamples,)
STATISTICS = ("srocc", "plcc", "krocc", "rmse")

_FEWEST = 3  # units below which nothing can be said
_BLOCKS = 500  # parts that the jackknife leaves out one by one, where there are more units
_PAIRED_ITEMS = 4000  # items above which Kendall's tau, quadratic in them, has an interval from the jackknife alone
_CELLS = 4_000_000  # counts held at once


@dataclass(frozen=True)
class Interval:
    """A confidence interval; low and high are nan, and method "none", where none can be given.

    Attributes:
        low: lower end.
        high: upper end.
        method: "bca", "percentile", "jackknife" or "none".
    """

    low: float
    high: float
    method: str


def intervals(
    scores: Values,
    mos: Values,
    fit: str = "logistic4",
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    contents: Sequence[Hashable] | None = None,
    method: Method = "bca",
    only: Sequence[str] = STATISTICS,
) -> dict[str, Interval]:
    """Bootstrap confidence intervals of what `correlation` gives.

    Items are drawn with replacement, and the statistic is taken of each such resample. "bca" corrects the percentiles
    for bias and for skewness (Efron 1987; Efron and Tibshirani 1993, chapter 14); where its correction is undefined,
    as for a perfect correlation, percentiles are used and `method` says so.

    The mapping is fitted once, to all items, and not again for each resample: plcc and rmse are those of the fitted
    scores, and their intervals leave out what the choice of the mapping adds.

    Args:
        scores: (n,).
        mos: (n,), human scores.
        fit: as in `correlation`.
        level: share of intervals that should hold the true value.
        resamples: how many resamples; their number limits the precision of the ends.
        seed: the same seed gives the same intervals.
        contents: for each item, its content. Clips of one content are not independent, so that intervals over items are
            too narrow for what another choice of contents would give; with `contents`, whole contents are drawn.
            Below about ten contents such intervals are too narrow still.
        method: "bca" or "percentile".
        only: which of srocc, plcc, krocc and rmse.

    Returns:
        {name: interval}. Kendall's tau of more than 4,000 items has an interval from the jackknife's standard error
        instead, since resampling it is quadratic in the items.

    Raises:
        DataError: as `correlation`; or a level, number of resamples or list of contents that makes no sense.

    >>> x = list(range(20))
    >>> found = intervals(x, [v + (-1) ** v * 3 for v in x], "none", only=["srocc"])["srocc"]
    >>> 0.6 < found.low < 0.9 < found.high < 1, found.method
    (True, 'bca')
    """
    x, y = pair(scores, mos)
    if not 0 < level < 1:
        raise DataError(f"a confidence level lies between 0 and 1, not at {level}")
    check_resamples(resamples)
    if method not in ("bca", "percentile"):
        raise DataError(f"unknown method {method!r}", hint="bca, percentile")
    for name in only:
        if name not in STATISTICS:
            raise DataError(f"no interval for {name!r}", hint=", ".join(STATISTICS))
    unit, units = _units(contents, x.size)
    nothing = Interval(float("nan"), float("nan"), "none")
    if units < _FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return dict.fromkeys(only, nothing)
    statistics: dict[str, Statistic] = {}
    if "srocc" in only:
        statistics["srocc"] = _spearman(x, y)
    if "plcc" in only or "rmse" in only:
        fitted = fit_scores(x, y, fit).fitted
        statistics |= {"plcc": _pearson(fitted, y), "rmse": _root_mean_square(fitted - y)}
    if "krocc" in only and x.size <= _PAIRED_ITEMS:
        statistics["krocc"] = _kendall(x, y)
    statistics = {name: value for name, value in statistics.items() if name in only}
    with np.errstate(all="ignore"):  # a resample of one item repeated has no correlation: nan
        whole = {name: float(value(np.ones((1, x.size)))[0]) for name, value in statistics.items()}
        drawn = _over(_resampled(unit, units, resamples, seed), statistics)
        left_out = _over(_without(unit, units, seed), statistics) if method == "bca" else {}
        found = {
            name: _interval(whole[name], drawn[name], left_out.get(name), level) for name in only if name in statistics
        }
        if "krocc" in only and "krocc" not in found:
            found["krocc"] = _large_kendall(x, y, _without(unit, units, seed), level)
    return {name: found[name] for name in only}


def check_resamples(resamples: int) -> None:
    """Refuses a number of resamples that gives no interval.

    Raises:
        DataError: fewer than 100.
    """
    if resamples < 100:
        raise DataError(f"{resamples} resamples are too few for an interval", hint="2000")


def _units(contents: Sequence[Hashable] | None, n: int) -> tuple[Integers, int]:
    if contents is None:
        return np.arange(n), n
    if len(contents) != n:
        raise DataError(f"{len(contents)} contents for {n} scores")
    numbers: dict[Hashable, int] = {}
    unit = np.array([numbers.setdefault(content, len(numbers)) for content in contents])
    return unit, len(numbers)


# --- counts: which items a resample holds, and how often
# -----------------------------------------------------------------


def _resampled(unit: Integers, units: int, resamples: int, seed: int) -> Chunks:
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // max(units, unit.size))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(0, units, (rows, units)) + units * np.arange(rows)[:, None]
        yield np.bincount(drawn.reshape(-1), minlength=rows * units).reshape(rows, units)[:, unit].astype(np.float64)


def _without(unit: Integers, units: int, seed: int) -> Chunks:
    """Every unit left out once; every one of `_BLOCKS` parts where there are more (delete-a-group jackknife)."""
    block = np.arange(units)
    if units > _BLOCKS:
        block = np.random.default_rng(seed).permutation(units) % _BLOCKS
    blocks = min(units, _BLOCKS)
    step = max(1, _CELLS // unit.size)
    for start in range(0, blocks, step):
        yield (block[unit] != np.arange(start, min(start + step, blocks))[:, None]).astype(np.float64)


def _over(chunks: Chunks, statistics: dict[str, Statistic]) -> dict[str, Array]:
    parts: dict[str, list[Array]] = {name: [] for name in statistics}
    for counts in chunks:
        for name, statistic in statistics.items():
            parts[name].append(statistic(counts))
    return {name: np.concatenate(values) for name, values in parts.items()} if statistics else {}


# --- statistics of counts
# ------------------------------------------------------------------------------------------------


def _ranks(values: Array) -> Callable[[Array], Array]:
    """Mean rank of every item in each resample, from running sums over the sorted values."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(group[order]) > 0])

    def ranks(counts: Array) -> Array:
        held = np.add.reduceat(counts[:, order], starts, axis=1)
        return np.asarray((np.cumsum(held, axis=1) - (held - 1) / 2)[:, group])

    return ranks


def _weighted_pearson(counts: Array, x: Array, y: Array) -> Array:
    total = counts.sum(axis=1, keepdims=True)
    dx = x - (counts * x).sum(axis=1, keepdims=True) / total
    dy = y - (counts * y).sum(axis=1, keepdims=True) / total
    weighted = counts * dx
    xx, yy = (weighted * dx).sum(axis=1), (counts * dy * dy).sum(axis=1)
    # Below rounding of the sums, a resample is constant.
    limit = 1e-20 * total[:, 0]
    constant = (xx <= limit * np.abs(x).max() ** 2) | (yy <= limit * np.abs(y).max() ** 2)
    found = np.clip((weighted * dy).sum(axis=1) / np.sqrt(xx * yy), -1, 1)
    return np.where(constant, np.nan, found)


def _spearman(x: Array, y: Array) -> Statistic:
    ranks_x, ranks_y = _ranks(x), _ranks(y)
    return lambda counts: _weighted_pearson(counts, ranks_x(counts), ranks_y(counts))


def _pearson(x: Array, y: Array) -> Statistic:
    if np.ptp(x) <= 1e-12 * np.abs(x).max():  # as `correlation`: a fitted constant
        return lambda counts: np.full(len(counts), np.nan)
    a, b = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    return lambda counts: _weighted_pearson(counts, a, b)


def _root_mean_square(error: Array) -> Statistic:
    return lambda counts: np.sqrt(counts @ error**2 / counts.sum(axis=1))


def _kendall(x: Array, y: Array) -> Statistic:
    """tau-b: pairs of copies of one item are tied in both, as ranks of a resample have it."""
    agree = (np.sign(x[:, None] - x) * np.sign(y[:, None] - y)).astype(np.float32)
    ties_x, ties_y = (np.unique(values, return_inverse=True)[1] for values in (x, y))

    def untied(counts: Array, group: Integers) -> Array:
        order = np.argsort(group, kind="stable")
        held = np.add.reduceat(counts[:, order], np.flatnonzero(np.r_[True, np.diff(group[order]) > 0]), axis=1)
        total = counts.sum(axis=1)
        return np.asarray(total * total - (held * held).sum(axis=1))

    def tau(counts: Array) -> Array:
        # Whole numbers: exact in float32 up to 16 million per sum, and a sum has n terms of a few.
        concordant = ((counts.astype(np.float32) @ agree).astype(np.float64) * counts).sum(axis=1)
        return np.asarray(concordant / np.sqrt(untied(counts, ties_x) * untied(counts, ties_y)))

    return tau


# --- from resamples to an interval
# ---------------------------------------------------------------------------------------


def _interval(whole: float, drawn: Array, left_out: Array | None, level: float) -> Interval:
    kept = drawn[np.isfinite(drawn)]
    if not np.isfinite(whole) or kept.size < 0.9 * drawn.size:
        return Interval(float("nan"), float("nan"), "none")
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    used = "percentile"
    if left_out is not None:
        corrected = _corrected(whole, kept, left_out, tails)
        if np.isfinite(corrected).all():
            tails, used = corrected, "bca"
    low, high = np.quantile(kept, tails)
    return Interval(float(low), float(high), used)


def _corrected(whole: float, drawn: Array, left_out: Array, tails: Array) -> Array:
    """Efron (1987), equations 2.3 and 6.6: shares of resamples below the ends, moved by bias and acceleration."""
    bias = scipy.special.ndtri((np.sum(drawn < whole) + np.sum(drawn <= whole)) / (2 * drawn.size))
    pull = left_out.mean() - left_out
    acceleration = np.sum(pull**3) / (6 * np.sum(pull**2) ** 1.5)
    moved = bias + scipy.special.ndtri(tails)
    return np.asarray(scipy.special.ndtr(bias + moved / (1 - acceleration * moved)))


def _large_kendall(x: Array, y: Array, without: Chunks, level: float) -> Interval:
    parts = []
    for counts in without:
        for row in counts:
            kept = row > 0
            parts.append(scipy.stats.kendalltau(x[kept], y[kept]).statistic)
    values, whole = np.array(parts), float(scipy.stats.kendalltau(x, y).statistic)
    if not np.isfinite(values).all() or abs(whole) >= 1:
        return Interval(float("nan"), float("nan"), "none")
    # On Fisher's scale, where the ends can't leave -1 to 1.
    error = np.sqrt((values.size - 1) * values.var()) / (1 - whole**2)
    half = float(scipy.special.ndtri((1 + level) / 2) * error)
    return Interval(float(np.tanh(np.arctanh(whole) - half)), float(np.tanh(np.arctanh(whole) + half)), "jackknife")
