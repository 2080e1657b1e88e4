"""How wide every group becomes: ratios and targets -> a frozen, printable `PruningPlan`. Nothing is cut here."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressvqa.errors import PruneError
from compressvqa.pruning.cost import Cost, Products, Widths
from compressvqa.pruning.groups import Group, matches

Ratios = float | Mapping[str, float] | None
_NEAR = 0.98  # a target is met when at least this share of it is used


@dataclass(frozen=True)
class PruningPlan:
    """The width of every group.

    Args:
        widths: (group name, channels, channels kept), in network order.
        frozen: reasons by name of the groups that are kept whole.
        params: parameters before and after.
        macs: multiply-accumulates before and after (convolutions, linear layers, products of activations).
        dead: paths of modules that are removed because nothing reads them.
        notes: what was decided on the way and deserves saying.
    """

    widths: tuple[tuple[str, int, int], ...]
    frozen: Mapping[str, str]
    params: tuple[int, int]
    macs: tuple[int, int]
    dead: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> dict[str, int]:
        """Channels kept, by group name."""
        return {name: kept for name, _, kept in self.widths}

    def __str__(self) -> str:
        wide = max([len(name) for name, _, _ in self.widths] + [len(n) for n in self.frozen] + [5])
        lines = [f"{'group':<{wide}}  channels  kept"]
        lines += [f"{name:<{wide}}  {channels:>8}  {kept:>4}" for name, channels, kept in self.widths]
        lines += [f"{name:<{wide}}  whole: {reason}" for name, reason in self.frozen.items()]
        lines += [f"removed, nothing reads it: {path}" for path in self.dead]
        for what, (before, after) in (("parameters", self.params), ("MACs", self.macs)):
            lines.append(f"{what}: {before:,} -> {after:,} ({after / max(before, 1):.2%})")
        return "\n".join([*lines, *self.notes])


@dataclass(frozen=True)
class Widening:
    """What limits widths.

    Args:
        round_to: widths are multiples of this, unless the layer is kept whole or narrower than one multiple.
        min_channels: every group keeps at least so many channels.
    """

    round_to: int = 1
    min_channels: int = 1

    def __post_init__(self) -> None:
        for name in ("round_to", "min_channels"):
            if isinstance(getattr(self, name), bool) or getattr(self, name) < 1:
                raise PruneError(f"{name} must be a whole number of at least 1, not {getattr(self, name)!r}")

    def least(self, group: Group) -> int:
        """The fewest channels that a group may keep."""
        step = self.step(group)
        return min(group.channels, math.ceil(max(self.min_channels, 1) / step) * step)

    def step(self, group: Group) -> int:
        """Channels between two allowed widths: one channel of a grouped layer is several outputs."""
        outputs = max(group.producers.values())
        return self.round_to // math.gcd(self.round_to, outputs)

    def nearest(self, group: Group, width: float) -> int:
        """The allowed width nearest to `width`; never zero."""
        step = self.step(group)
        rounded = math.floor(width / step + 0.5) * step
        choices = [rounded, group.channels] if rounded < group.channels else [group.channels]
        return max(self.least(group), min(choices, key=lambda c: abs(c - width)))

    def below(self, group: Group, width: float) -> int:
        """The largest allowed width that is not above `width`, or the least one."""
        if width >= group.channels:
            return group.channels
        step = self.step(group)
        return max(self.least(group), math.floor(width / step + 1e-9) * step)

    def above(self, group: Group, width: int) -> int:
        """The next allowed width."""
        step = self.step(group)
        return min(group.channels, (width // step + 1) * step)


def make_plan(
    groups: Sequence[Group],
    cost: Cost,
    *,
    ratios: Ratios = None,
    target_params: float | None = None,
    target_macs: float | None = None,
    limits: Widening | None = None,
    dead: Sequence[str] = (),
) -> PruningPlan:
    """Widths for all groups.

    Args:
        groups: all groups, also frozen ones.
        cost: cost of widths, with one column per group that is not frozen, in their order.
        ratios: share removed of each group, one for all or by path of a layer, parent or pattern; layers that are not
            named keep all. With a target, ratios only say how the groups relate: kept shares become kept**t.
        target_params: share of all parameters to keep, in (0, 1]; not exceeded, met within 2 %.
        target_macs: likewise for multiply-accumulates; with both, neither is exceeded.
        limits: rounding and least widths.
        dead: paths of modules that are removed.

    Raises:
        PruneError: a path matches nothing, a number is out of range, or a target can't be reached.
    """
    limits = limits or Widening()
    free = [g for g in groups if g.frozen is None]
    targets = _targets(cost, target_params, target_macs)
    if ratios is None:
        if not targets:
            raise PruneError("nothing was asked for", hint="ratios=0.5, target_params=0.5 or target_macs=0.5")
        ratios = 0.5
    keep, notes = _shares(groups, free, ratios)
    if targets:
        widths = _meet(free, keep, cost, targets, limits, groups)
    else:
        widths = np.array([limits.nearest(g, g.channels * k) for g, k in zip(free, keep, strict=True)], dtype=np.int64)
    gone = _full(free) - widths
    return PruningPlan(
        widths=tuple((g.name, g.channels, int(w)) for g, w in zip(free, widths, strict=True)),
        frozen={g.name: g.frozen for g in groups if g.frozen is not None},
        params=(cost.params_before, cost.params.at(gone)),
        macs=(cost.macs_before, cost.macs.at(gone)),
        dead=tuple(dead),
        notes=tuple(notes),
    )


def _amount(cost: Cost, name: str) -> Products:
    return cost.params if name == "params" else cost.macs


def _full(free: Sequence[Group]) -> Widths:
    return np.array([g.channels for g in free], dtype=np.int64)


def _targets(cost: Cost, params: float | None, macs: float | None) -> dict[str, float]:
    """Most parameters and MACs allowed, by the name of the product in `Cost`."""
    found = {}
    for name, share, before in (("params", params, cost.params_before), ("macs", macs, cost.macs_before)):
        if share is None:
            continue
        if isinstance(share, bool) or not 0 < share <= 1:
            raise PruneError(f"target_{name} must be a share in (0, 1], not {share!r}", hint="0.1 keeps 10 %")
        found[name] = share * before
    return found


def _shares(
    groups: Sequence[Group], free: Sequence[Group], ratios: float | Mapping[str, float]
) -> tuple[list[float], list[str]]:
    """The share kept of each free group, and what there is to say about it."""
    if not isinstance(ratios, Mapping):
        return [_kept(ratios, "ratios")] * len(free), []
    for path in ratios:
        _must_match(path, groups, free)
    keep, notes = [], []
    for group in free:
        asked: dict[str, float] = {}
        for producer in group.producers:
            # The longest path that matches is the one that means this layer most.
            named = sorted((p for p in ratios if matches(producer, p)), key=len)
            if named:
                asked[producer] = _kept(ratios[named[-1]], named[-1])
        share = max(asked.values(), default=1.0)
        if len(set(asked.values())) > 1:
            said = ", ".join(f"{path} {1 - k:g}" for path, k in asked.items())
            notes.append(f"{group.name}: tied layers ask for different ratios ({said}), the smallest is used")
        keep.append(share)
    return keep, notes


def _kept(ratio: float, where: str) -> float:
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 <= ratio <= 1:
        raise PruneError(f"a ratio is the share removed, from 0 to 1, not {ratio!r}", where=where)
    return 1.0 - float(ratio)


def _must_match(path: str, groups: Sequence[Group], free: Sequence[Group]) -> None:
    if any(matches(p, path) for g in free for p in g.producers):
        return
    kept = next((g for g in groups if g.frozen and any(matches(p, path) for p in g.producers)), None)
    if kept is not None:
        raise PruneError(f"{path!r} can't be pruned: {kept.frozen}", where="ratios", hint="leave it out")
    raise unmatched(path, groups, "ratios")


def unmatched(path: str, groups: Sequence[Group], where: str) -> PruneError:
    """The error for a path that names no layer, with near ones."""
    known = sorted({p for g in groups for p in g.producers})
    near = difflib.get_close_matches(path, known, n=3, cutoff=0.3) or known[:3]
    return PruneError(f"{path!r} matches no layer that makes channels", where=where, hint=" or ".join(near))


def _meet(
    free: Sequence[Group],
    keep: Sequence[float],
    cost: Cost,
    targets: Mapping[str, float],
    limits: Widening,
    groups: Sequence[Group],
) -> Widths:
    """The widest widths of the shape keep**t that exceed no target, then single steps given back."""
    full = _full(free)

    def used(widths: Widths) -> float:
        gone = full - widths
        return max(_amount(cost, name).at(gone) / most for name, most in targets.items())

    # A share of zero would stay zero for any t.
    shares = np.array([max(k, 0.5 / g.channels) for g, k in zip(free, keep, strict=True)])

    def widths_at(t: float) -> Widths:
        return np.array([limits.below(g, g.channels * s**t) for g, s in zip(free, shares, strict=True)], dtype=np.int64)

    low, high = 0.0, 64.0
    if used(widths_at(low)) <= 1:
        return widths_at(low)
    if used(widths_at(high)) > 1:
        raise _unreachable(full - widths_at(high), cost, targets, groups)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if used(widths_at(middle)) > 1 else (low, middle)
    ideal = full * shares**high
    widths = _give_back(free, widths_at(high), ideal, np.minimum(np.ceil(ideal), full), used, limits)
    if used(widths) < _NEAR:
        may_grow = np.where(shares < 1, full, widths)
        widths = _give_back(free, widths, ideal, may_grow, used, limits)
    return widths


def _give_back(
    free: Sequence[Group],
    widths: Widths,
    ideal: NDArray[np.float64],
    most: NDArray[np.float64],
    used: Callable[[Widths], float],
    limits: Widening,
) -> Widths:
    """Widens one group by one step at a time, the one furthest below its ideal first, while no target is exceeded."""
    widths, stuck = widths.copy(), np.zeros(len(free), bool)
    while True:
        open_ = [i for i in range(len(free)) if not stuck[i] and widths[i] < most[i]]
        if not open_:
            return widths
        i = max(open_, key=lambda k: (ideal[k] - widths[k]) / ideal[k])
        before = int(widths[i])
        widths[i] = limits.above(free[i], before)
        if used(widths) > 1:
            widths[i], stuck[i] = before, True


def _unreachable(gone: Widths, cost: Cost, targets: Mapping[str, float], groups: Sequence[Group]) -> PruneError:
    parts = []
    for name in targets:
        before = getattr(cost, f"{name}_before")
        parts.append(
            f"target_{name}={targets[name] / before:.4g} (the least is {_amount(cost, name).at(gone) / before:.4f})"
        )
    frozen = [f"{g.name} ({g.frozen})" for g in groups if g.frozen]
    shown = "; ".join(frozen[:3]) + (f"; and {len(frozen) - 3} more" if len(frozen) > 3 else "")
    return PruneError(f"can't reach {' and '.join(parts)}; kept whole: {shown or 'nothing'}", hint="a larger target")
