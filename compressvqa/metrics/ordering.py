"""Whether a metric puts things in the right order: pairs with a known better side, ladders with a known order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np
import scipy  # a part of it is imported when it is first used

from compressvqa.errors import DataError
from compressvqa.metrics.values import Values, finite


def pair_accuracy(scores_a: Values, scores_b: Values, label: Values) -> float:
    """Share of pairs that are put in the right order.

    Args:
        scores_a: (n,), higher is better.
        scores_b: (n,).
        label: (n,), above 0.5 where a is truly better and below where b is; pairs at 0.5 say nothing and are left out.

    Returns:
        0 to 1; a tie of the scores counts one half; nan when no pair has a better side.

    Raises:
        DataError: lengths differ, or NaN or infinite values.

    >>> pair_accuracy([3.0, 1.0, 2.0], [1.0, 2.0, 2.0], [1, 1, 0])
    0.5
    """
    a, b, truth = finite(scores_a, "scores"), finite(scores_b, "scores"), finite(label, "labels")
    if not a.shape == b.shape == truth.shape:
        raise DataError(f"{a.size} and {b.size} scores and {truth.size} labels don't make pairs")
    decided = truth != 0.5
    if not decided.any():
        return float("nan")
    agreement = np.sign(a - b)[decided] * np.sign(truth - 0.5)[decided]
    return float(np.mean((agreement + 1) / 2))


def srocc_within(scores: Values, labels: Values, contents: Sequence[Hashable]) -> float:
    """Spearman's correlation inside each content, averaged over contents.

    What separates it from the correlation over all items is a scale that contents share: a score with an offset for
    each content orders every content's versions well, and the whole set badly.

    Args:
        scores: (n,).
        labels: (n,).
        contents: for each item, what it shows.

    Returns:
        -1 to 1; scores that are all alike count 0; contents of fewer than three items, or whose labels are all alike,
        are left out; nan where none is left.

    Raises:
        DataError: lengths differ, or NaN or infinite values.

    >>> srocc_within([1, 2, 3, 9, 8, 7], [1, 2, 3, 1, 2, 3], list("aaabbb"))
    0.0
    """
    values, truth = finite(scores, "scores"), finite(labels, "labels")
    if not values.size == truth.size == len(contents):
        raise DataError(f"{values.size} scores, {truth.size} labels and {len(contents)} contents")
    places: defaultdict[Hashable, list[int]] = defaultdict(list)
    for place, content in enumerate(contents):
        places[content].append(place)
    found = []
    for kept in places.values():
        if len(kept) >= 3 and np.ptp(truth[kept]) > 0:
            ranks = scipy.stats.rankdata(values[kept]), scipy.stats.rankdata(truth[kept])
            found.append(float(np.corrcoef(*ranks)[0, 1]) if np.ptp(values[kept]) > 0 else 0.0)
    return float(np.mean(found)) if found else float("nan")


def ladder_accuracy(
    scores: Values, ladders: Sequence[tuple[str, int] | None], *, higher_is_better: bool = True
) -> float:
    """Share of neighbouring rungs that are put in the right order.

    A ladder is a series of encodes of one content whose order is known without any viewer: one codec, one size,
    falling rate.

    Args:
        scores: (n,).
        ladders: for each score, (name of its ladder, rung), rung 0 being the best; or None.
        higher_is_better: direction of the scores.

    Returns:
        0 to 1; a tie of the scores counts one half; items that share a rung are each compared with each of the next
        rung's; nan where no ladder has two rungs.

    Raises:
        DataError: lengths differ, or NaN or infinite values.

    >>> ladder_accuracy([90, 80, 82, 70], [("x264", 0), ("x264", 1), ("x264", 2), None])
    0.5
    """
    values = finite(scores, "scores")
    if len(ladders) != values.size:
        raise DataError(f"{len(ladders)} places on ladders for {values.size} scores")
    rungs: defaultdict[str, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for value, place in zip(values.tolist(), ladders, strict=True):
        if place is not None:
            rungs[place[0]][int(place[1])].append(value)
    better, worse = [], []
    for ladder in rungs.values():
        order = sorted(ladder)
        for upper, lower in pairwise(order):
            better += [a for a in ladder[upper] for _ in ladder[lower]]
            worse += [b for _ in ladder[upper] for b in ladder[lower]]
    if not better:
        return float("nan")
    return pair_accuracy(better, worse, np.full(len(better), 1.0 if higher_is_better else 0.0))
