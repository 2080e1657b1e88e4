"""Whether scores rise or fall with quality, judged by the files themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from compressvqa.opinions.manifest import Item, Manifest

T = TypeVar("T")
# Of each content so many items are compared, from the lowest score to the highest.
ITEMS = 4


def to_compare(manifest: Manifest, missing: set[str], contents: int) -> list[list[Item]]:
    """A few items of each of a few contents whose files are there.

    Args:
        manifest: the data set.
        missing: paths that are not there.
        contents: at most so many contents, spread evenly over the data set.

    Returns:
        Lists of at least two items with one reference.
    """
    scenes: dict[str, list[Item]] = {}
    for item in manifest.items:
        hidden = item.distorted == item.reference
        if item.reference is not None and not hidden and missing.isdisjoint({item.distorted, item.reference}):
            scenes.setdefault(item.reference, []).append(item)
    rows = [sorted(items, key=lambda item: item.mos) for items in scenes.values() if len(items) > 1]
    return [_spread(row, ITEMS) for row in _spread(rows, contents)]


def _spread(values: Sequence[T], count: int) -> list[T]:
    """At most `count` values, evenly over the whole."""
    places = sorted(set(np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int).tolist()))
    return [values[place] for place in places]


def agreement(rows: list[list[Item]], measure: Callable[[Item], float | None]) -> tuple[float, int]:
    """How a measure of quality agrees with the scores of items of one content: Kendall's tau within contents.

    Args:
        rows: items, one list a content.
        measure: higher for what is more like its reference; None where it can't be taken.

    Returns:
        (tau, number of pairs); pairs with equal scores or (within 0.1) equal measures are left out. No pair: tau is 0.
    """
    total, pairs = 0, 0
    for items in rows:
        measured = [(item.mos, value) for item in items if (value := measure(item)) is not None]
        for place, (score, value) in enumerate(measured):
            for other_score, other_value in measured[:place]:
                if score != other_score and abs(value - other_value) > 0.1:
                    total += 1 if (score > other_score) == (value > other_value) else -1
                    pairs += 1
    return (total / pairs if pairs else 0.0), pairs
