"""How far a label agrees with the order that a ladder gives: the most that a metric trained on it could reach."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Agreement:
    """Counts over ladders, each best first.

    Args:
        neighbours: pairs of neighbouring rungs.
        neighbours_right: of them, those where the label puts the better rung higher; a tie counts as wrong.
        pairs: all pairs of rungs of one ladder.
        pairs_right: of them, those that are in order.
    """

    neighbours: int
    neighbours_right: int
    pairs: int
    pairs_right: int

    def facts(self) -> dict[str, Any]:
        """The counts and the two shares (None without a pair)."""
        shares = {
            "neighbours_share": self.neighbours_right / self.neighbours if self.neighbours else None,
            "pairs_share": self.pairs_right / self.pairs if self.pairs else None,
        }
        return vars(self) | shares


def agreement(ladders: Sequence[Sequence[float]]) -> Agreement:
    """Counts in how many pairs a higher-is-better label falls from the better rung to the worse.

    Args:
        ladders: for each ladder the labels of its rungs, the best rung first.

    >>> agreement([[95.0, 80.0, 81.0], [70.0, 40.0]])
    Agreement(neighbours=3, neighbours_right=2, pairs=4, pairs_right=3)
    """
    steps = [pair for values in ladders for pair in itertools.pairwise(values)]
    pairs = [pair for values in ladders for pair in itertools.combinations(values, 2)]
    return Agreement(len(steps), sum(a > b for a, b in steps), len(pairs), sum(a > b for a, b in pairs))
