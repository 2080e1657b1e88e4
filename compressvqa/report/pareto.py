"""The Pareto front: which of many networks are worth their cost."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float | None, float | None]]) -> list[int]:
    """Places of the points that no other point beats, from the cheapest to the dearest.

    A point beats another where it costs no more and is no worse, and is better in one of the two. Equal points don't
    beat each other: all of them are on the front.

    Args:
        points: (cost, accuracy) each; lower cost and higher accuracy are better. A point with None or a value that
            is not finite is never on the front.

    >>> pareto_front([(1, 0.7), (2, 0.9), (3, 0.8), (None, 0.99), (2, 0.9)])
    [0, 1, 4]
    """
    known = [
        (float(cost), float(accuracy), place)
        for place, (cost, accuracy) in enumerate(points)
        if cost is not None and accuracy is not None and math.isfinite(cost) and math.isfinite(accuracy)
    ]
    known.sort(key=lambda point: (point[0], -point[1], point[2]))
    front: list[tuple[float, float, int]] = []
    for point in known:
        # Sorted by cost, so only the best of the cheaper ones can beat a point; an equal point is kept.
        if not front or point[1] > front[-1][1] or point[:2] == front[-1][:2]:
            front.append(point)
    return [place for _, _, place in front]
