"""Where a metric breaks an order that is known for certain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from compressvqa.errors import DataError
from compressvqa.metrics.values import Values, finite


@dataclass(frozen=True)
class Violations:
    """Counts of pairs with a known better side.

    Args:
        pairs: how many there are.
        wrong: of them, those where the worse side has the higher score.
        tied: of them, those with equal scores.
    """

    pairs: int
    wrong: int
    tied: int

    @property
    def share(self) -> float:
        """Wrong and tied pairs of all, in [0, 1]; nan without a pair."""
        return (self.wrong + self.tied) / self.pairs if self.pairs else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Counts and share as plain values."""
        return asdict(self) | {"share": self.share}


def violations(better: Values, worse: Values) -> Violations:
    """Counts the pairs in which a score does not fall from the better side to the worse.

    Args:
        better: (n,) scores of the better sides, higher is better.
        worse: (n,) scores of the worse ones.

    Raises:
        DataError: lengths differ, or NaN or infinite values.

    >>> violations([3.0, 1.0, 2.0], [1.0, 2.0, 2.0])
    Violations(pairs=3, wrong=1, tied=1)
    """
    a, b = finite(better, "scores of better sides"), finite(worse, "scores of worse sides")
    if a.shape != b.shape:
        raise DataError(f"{a.size} better and {b.size} worse sides don't make pairs")
    return Violations(a.size, int((a < b).sum()), int((a == b).sum()))


def top_violations(tops: Values, top_contents: Sequence[str], scores: Values, contents: Sequence[str]) -> Violations:
    """Counts the pairs of a perfect item and any item of another content in which the perfect one is not ahead.

    Args:
        tops: (m,) scores of perfect items: clips that are their own reference.
        top_contents: (m,) what they show.
        scores: (n,) scores of the other items.
        contents: (n,) what they show.

    Raises:
        DataError: lengths differ, or NaN or infinite values.

    >>> top_violations([9.0, 5.0], ["a", "b"], [7.0, 5.0, 1.0], ["a", "a", "b"])
    Violations(pairs=3, wrong=1, tied=1)
    """
    perfect, others = finite(tops, "scores of perfect items"), finite(scores, "scores")
    if perfect.size != len(top_contents) or others.size != len(contents):
        raise DataError(f"{len(top_contents)} and {len(contents)} contents for {perfect.size} and {others.size} scores")
    pairs = wrong = tied = 0
    names = np.array(contents, dtype=object)
    for content in sorted(set(top_contents)):
        ours = perfect[[name == content for name in top_contents]]
        # Counted by position in a sorted row: the pairs of a whole set are millions.
        row = np.sort(others[names != content])
        below, upto = (np.searchsorted(row, ours, side=side) for side in ("left", "right"))
        pairs += ours.size * row.size
        tied += int((upto - below).sum())
        wrong += int((row.size - upto).sum())
    return Violations(pairs, wrong, tied)
