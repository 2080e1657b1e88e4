"""What is counted of scores: broken orders along ladders, identical clips, correlation with VMAF."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from robustness_parts.scores import Item


@dataclass(frozen=True)
class Broken:
    """A rung that has a higher score than a better one of the same ladder.

    Args:
        content, codec: the ladder.
        better, worse: qualities of the two rungs, neighbours in the ladder.
        scores: of the two, in this order; the second is higher.
        labels: VMAF of the two.
    """

    content: str
    codec: str
    better: int
    worse: int
    scores: tuple[float, float]
    labels: tuple[float, float]

    @property
    def rise(self) -> float:
        """By how much the worse rung is ahead."""
        return self.scores[1] - self.scores[0]


def ladders(items: Sequence[Item], scores: Sequence[float]) -> tuple[int, int, list[Broken]]:
    """Neighbouring rungs in all, those with equal scores, and those in the wrong order, the worst first."""
    together: dict[tuple[str, str], list[tuple[Item, float]]] = {}
    for item, score in zip(items, scores, strict=True):
        together.setdefault((item.content, item.codec), []).append((item, score))
    pairs, tied, broken = 0, 0, []
    for (content, codec), rungs in together.items():
        rungs.sort(key=lambda rung: rung[0].quality)
        for (better, high), (worse, low) in itertools.pairwise(rungs):
            pairs += 1
            tied += high == low
            if low > high:
                labels = better.label, worse.label
                broken.append(Broken(content, codec, better.quality, worse.quality, (high, low), labels))
    return pairs, tied, sorted(broken, key=lambda one: -one.rise)


def tops(items: Sequence[Item], scores: Sequence[float], whole: dict[str, float]) -> dict[str, Any]:
    """Scores of references beside themselves: their range, and encodes that are ahead of their own reference."""
    values = list(whole.values())
    return {
        "lowest": min(values),
        "highest": max(values),
        "ahead": sum(score > whole[item.content] for item, score in zip(items, scores, strict=True)),
        "ahead_of_any": sum(score > min(values) for score in scores),
        "n": len(scores),
    }


def srocc(items: Sequence[Item], scores: Sequence[float], codec: str | None = None) -> float | None:
    """Spearman's correlation with VMAF, of one encoder's encodes or of all; None where one of them does not vary."""
    kept = [(item.label, s) for item, s in zip(items, scores, strict=True) if codec in (None, item.codec)]
    labels, values = (np.array(column, float) for column in zip(*kept, strict=True))
    if len(labels) < 3 or np.ptp(labels) == 0 or np.ptp(values) == 0:
        return None
    return float(spearmanr(values, labels).statistic)


def judged(items: Sequence[Item], scores: Sequence[float], whole: dict[str, float]) -> dict[str, Any]:
    """Everything that is counted of one network under one condition."""
    pairs, tied, broken = ladders(items, scores)
    return {
        "pairs": pairs,
        "tied": tied,
        "wrong": len(broken),
        "broken": [vars(one) | {"rise": one.rise} for one in broken],
        "identical": tops(items, scores, whole),
        "finite": bool(np.isfinite([*scores, *whole.values()]).all()),
        "range": [min(scores), max(scores)],
        "srocc": srocc(items, scores),
        "codecs": {codec: srocc(items, scores, codec) for codec in dict.fromkeys(item.codec for item in items)},
    }
