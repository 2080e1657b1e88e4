"""Widths for a latency: found by cutting and measuring, since fewer operations need not be faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from compressvqa.errors import TargetError
from compressvqa.pruning.widths.plan import PruningPlan
from compressvqa.pruning.widths.runtimes import Timing

_MOST_TRIES = 12
_AIM = 0.97  # of the target: a little below, since the next measurement may be a little above
_GOOD = 0.06  # widths count as found when two measurements are this near to the aim
_NEAR = 0.1  # what a target promises


@dataclass(frozen=True)
class Found:
    """What a search ended with.

    Args:
        plan: the widths.
        timing: a measurement of them that had no part in choosing them.
        notes: what there is to say.
    """

    plan: PruningPlan
    timing: Timing
    notes: tuple[str, ...]


def find(
    target: float,
    plan_at: Callable[[float], PruningPlan],
    measure: Callable[[PruningPlan, float], Timing],
    least: float,
    most: float = 1.0,
) -> Found:
    """The widths that keep a share of the latency.

    Candidates are plans for a share of the MACs. A line through all measured points, where late ones and those near the
    target weigh most, says which share to try next, so that a wrong measurement on a busy machine is outvoted by later
    ones. A candidate that is near enough is measured once more, and only that figure is reported.

    Args:
        target: share of the latency to keep, in (0, 1].
        plan_at: the plan for a share of the MACs.
        measure: times a plan; ``measure(plan, share)`` knows the figure well near `share`.
        least: the smallest share of the MACs that widths allow.
        most: the largest share that may be tried.

    Raises:
        PruneError: the narrowest widths take longer than the target, by more than 10 %.
    """
    aim = _AIM * target
    points = [(1.0, 1.0)]  # (share of MACs, share of latency)
    best: tuple[float, PruningPlan] | None = None
    narrowest = False
    share = min(most, max(least, aim))
    for _ in range(_MOST_TRIES):
        plan = plan_at(share)
        timing = measure(plan, aim)
        points.append((share, timing.share))
        if _off(timing, aim) <= _GOOD:
            timing = measure(plan, aim)
            if _off(timing, aim) <= _GOOD:
                return Found(plan, timing, ())
            points.append((share, timing.share))
        if best is None or _off(timing, aim) < best[0]:
            best = (_off(timing, aim), plan)
        narrowest = timing.share > aim and share <= least
        widest = timing.share < aim and share >= most
        if widest:  # as fast as asked without a cut more, whatever a narrower one's measurement says
            best = (_off(timing, aim), plan)
        if narrowest or widest:
            break
        share = min(most, max(least, _next(points, aim)))
    assert best is not None
    plan = best[1]
    timing = measure(plan, aim)
    if narrowest and timing.share > (1 + _NEAR) * target:
        raise TargetError(
            f"can't reach target_latency={target:g}: the narrowest network takes {timing.share:.2f} of the time",
            hint="a larger target",
        )
    if _off(timing, target) <= _NEAR:
        return Found(plan, timing, ())
    why = "no widths that were tried are nearer"
    if timing.share < target and share >= most:
        why = "another target binds" if most < 1 else "it is faster than that already"
    return Found(plan, timing, (f"target_latency={target:g}: {timing.share:.3g} is kept, {why}",))


def _off(timing: Timing, share: float) -> float:
    return abs(timing.share / share - 1)


def _next(points: Sequence[tuple[float, float]], aim: float) -> float:
    """Where a line through the points meets the aim, not more than three times away from the last one."""
    macs, shares = np.array(points).T
    age = np.arange(len(points))[::-1]
    slope, start = np.polyfit(macs, shares, 1, w=0.8**age / (0.05 + np.abs(np.log(shares / aim))))
    last = float(macs[-1])
    found = float((aim - start) / slope) if slope > 0 else last * aim / float(shares[-1])
    return min(3 * last, max(last / 3, found))
