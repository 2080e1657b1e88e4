"""Widths for a latency: found by cutting and measuring, since fewer operations need not be faster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compressvqa.errors import PruneError
from compressvqa.pruning.plan import PruningPlan
from compressvqa.pruning.runtimes import Timing

_MOST_TRIES = 12
_AIM = 0.97  # of the target: a little below, since a fresh measurement may be a little above
_GOOD = 0.04  # a candidate this near to the aim is measured afresh
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

    Candidates are plans for a share of the MACs. A line through the nearest measured ones below and above says which
    share to try next; a candidate that is near enough is measured once more, and only that figure is reported.

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
    below, above = (0.0, 0.0), (1.0, 1.0)  # (share of MACs, share of latency)
    best: tuple[PruningPlan, Timing] | None = None
    narrowest = False
    share = min(most, max(least, aim))
    for _ in range(_MOST_TRIES):
        plan = plan_at(share)
        timing = measure(plan, aim)
        if abs(timing.share / aim - 1) <= _GOOD:
            timing = measure(plan, aim)
            if abs(timing.share / aim - 1) <= 1.5 * _GOOD:
                return Found(plan, timing, ())
        if best is None or abs(timing.share / aim - 1) < abs(best[1].share / aim - 1):
            best = (plan, timing)
        if timing.share > aim:
            above = (share, timing.share)
        else:
            below = (share, timing.share)
        narrowest = timing.share > aim and share <= least
        if narrowest or (timing.share < aim and share >= most):
            break
        share = _between(below, above, aim, least, most)
        if above[0] - below[0] < 2e-3:
            break
    assert best is not None
    plan, _ = best
    timing = measure(plan, aim)
    if narrowest and timing.share > (1 + _NEAR) * target:
        raise PruneError(
            f"can't reach target_latency={target:g}: the narrowest network takes {timing.share:.2f} of the time",
            hint="a larger target",
        )
    off = abs(timing.share / target - 1) > _NEAR
    note = f"target_latency={target:g}: {timing.share:.3g} is kept, no widths that were tried come nearer"
    return Found(plan, timing, (note,) if off else ())


def _between(below: tuple[float, float], above: tuple[float, float], aim: float, least: float, most: float) -> float:
    """Where a line through two points meets the aim, well inside of them."""
    (x0, y0), (x1, y1) = below, above
    part = (aim - y0) / (y1 - y0) if y1 > y0 else 0.5
    x = x0 + (x1 - x0) * min(0.9, max(0.1, part))
    return min(most, max(least, x))
