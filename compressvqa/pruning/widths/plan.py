"""How wide every group becomes: ratios and targets -> a frozen, printable `PruningPlan`. Nothing is cut here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compressvqa.errors import PruneError
from compressvqa.module_paths import matches
from compressvqa.pruning.cutting.choice import Scores
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.names import compact, unmatched
from compressvqa.pruning.widths.allocation import Allocation, GlobalAllocation, LocalAllocation
from compressvqa.pruning.widths.budget import Budget, meet
from compressvqa.pruning.widths.cost import Cost, Widths
from compressvqa.pruning.widths.limits import Coupling, Units, WidthLimits, couplings_of, widths_of
from compressvqa.pruning.widths.runtimes import Timing

Ratios = float | Mapping[str, float] | str | None
SCOPES = ("local", "global")
_SHOWN = 8


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
        latency: what was measured, where a latency was asked for.
    """

    widths: tuple[tuple[str, int, int], ...]
    frozen: Mapping[str, str]
    params: tuple[int, int]
    macs: tuple[int, int]
    dead: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    latency: Timing | None = None

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
        lines += [] if self.latency is None else [f"latency: {self.latency}"]
        return "\n".join([*lines, *self.notes])


def make_plan(
    groups: Sequence[Group],
    cost: Cost,
    *,
    ratios: Ratios = None,
    target_params: float | None = None,
    target_macs: float | None = None,
    limits: WidthLimits | None = None,
    dead: Sequence[str] = (),
    scope: str = "local",
    scores: Scores | None = None,
) -> PruningPlan:
    """Widths for all groups.

    Args:
        groups: all groups, also frozen ones.
        cost: cost of widths, with one column per group that is not frozen, in their order.
        ratios: share removed of each group, one for all or by path of a layer, parent or pattern; layers that are not
            named keep all. With a target, ratios only say how the groups relate: kept shares become kept**t. With scope
            "global", one number: the share removed of all channels together. "zeros": what is exactly zero.
        target_params: share of all parameters to keep, in (0, 1]; not exceeded, met within 2 %.
        target_macs: likewise for multiply-accumulates; with both, neither is exceeded.
        limits: rounding and least widths.
        dead: paths of modules that are removed.
        scope: "local" or "global", see `allocation`.
        scores: importance of the channels; needed for scope "global" and for zeros.

    Raises:
        PruneError: a path matches nothing, a number is out of range, things are asked for that exclude each other, or
            a target can't be reached.
    """
    limits = limits or WidthLimits()
    free = [g for g in groups if g.frozen is None]
    budget = Budget(cost, params=target_params, macs=target_macs)
    _check(ratios, budget, scope)
    couplings, tied = couplings_of(groups, limits)
    notes: list[str] = []
    if ratios == "zeros":
        assert scores is not None
        units, notes = _zeros(couplings, free, scores)
        asked = np.array([b.units for b in couplings]) > units
    else:
        allocation, said = _allocation(groups, free, couplings, ratios, scope, scores)
        asked = allocation.may_shrink()
        if budget:
            units, notes = meet(couplings, allocation, budget, groups)
        else:
            units, notes = _by_ratio(couplings, allocation, ratios, limits)
        notes = said + notes
    widths = widths_of(couplings, units)
    gone = np.array([g.channels for g in free], dtype=np.int64) - widths
    plan = PruningPlan(
        widths=tuple((g.name, g.channels, int(w)) for g, w in zip(free, widths, strict=True) if g.name not in tied),
        frozen={g.name: g.frozen or tied[g.name] for g in groups if g.frozen is not None or g.name in tied},
        params=(cost.params_before, cost.params.at(gone)),
        macs=(cost.macs_before, cost.macs.at(gone)),
        dead=tuple(dead),
    )
    shrinking = {name for b, yes in zip(couplings, asked, strict=True) if yes for name in b.names}
    return replace(plan, notes=(*notes, *_not_rounded(groups, free, widths, limits, shrinking)))


def least_macs(
    groups: Sequence[Group], cost: Cost, ratios: Ratios, scope: str, scores: Scores, limits: WidthLimits
) -> float:
    """The smallest `target_macs` that `make_plan` can meet with these settings, in (0, 1]."""
    free = [g for g in groups if g.frozen is None]
    couplings, _ = couplings_of(groups, limits)
    allocation, _ = _allocation(groups, free, couplings, ratios, scope, scores)
    ideal = allocation.at(1.0, np.ones(len(couplings)))
    gone = widths_of(couplings, [b.units - b.nearest(u) for b, u in zip(couplings, ideal, strict=True)])
    return min(1.0, (cost.macs.at(gone) + 1) / max(cost.macs_before, 1))


def _check(ratios: Ratios, budget: Budget, scope: str) -> None:
    if scope not in SCOPES:
        raise PruneError(f"scope is {' or '.join(map(repr, SCOPES))}, not {scope!r}")
    if ratios is None and not budget:
        raise PruneError("nothing was asked for", hint="ratios=0.5, target_params=0.5 or target_macs=0.5")
    if isinstance(ratios, str) and ratios != "zeros":
        raise PruneError(f"ratios are numbers or 'zeros', not {ratios!r}")
    if ratios == "zeros" and (budget or scope == "global"):
        raise PruneError("ratios='zeros' removes just what is zero", hint="no target and scope='local' with it")
    if scope == "global" and isinstance(ratios, Mapping):
        raise PruneError("scope='global' ranks all channels together, so ratios must be one number, or a target")


def _allocation(
    groups: Sequence[Group],
    free: Sequence[Group],
    couplings: Sequence[Coupling],
    ratios: Ratios,
    scope: str,
    scores: Scores | None,
) -> tuple[Allocation, list[str]]:
    """How the couplings relate, and what there is to say about it."""
    if scope == "global":
        assert scores is not None
        return GlobalAllocation(couplings, free, scores.of, scores.comparable), []
    asked = 0.5 if ratios is None else ratios
    if not isinstance(asked, Mapping):
        return LocalAllocation(couplings, [kept_share(asked, "ratios")] * len(couplings)), []
    for path in asked:
        must_match(path, groups, free)
    keep, notes = [], []
    for coupling in couplings:
        wanted = {p: k for i in coupling.members for p, k in _wanted(free[i], asked).items()}
        if len(set(wanted.values())) > 1:
            alike = {k: [path for path, other in wanted.items() if other == k] for k in wanted.values()}
            said = ", ".join(f"{paths} {1 - k:g}" for k, same in alike.items() for paths in compact(same))
            name = coupling.names[0]
            notes.append(f"{name}: tied layers ask for different ratios ({said}), the smallest is used")
        keep.append(max(wanted.values(), default=1.0))
    return LocalAllocation(couplings, keep), notes


def _wanted(group: Group, ratios: Mapping[str, float]) -> dict[str, float]:
    """The share kept that is asked for each layer that makes the group's channels, where one is asked for."""
    wanted = {}
    for producer in group.producers:
        # The longest path that matches is the one that means this layer most.
        named = sorted((p for p in ratios if matches(producer, p)), key=len)
        if named:
            wanted[producer] = kept_share(ratios[named[-1]], named[-1])
    return wanted


def kept_share(ratio: object, where: str) -> float:
    """The share kept for a share removed.

    Raises:
        PruneError: it is no share.
    """
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 <= ratio <= 1:
        raise PruneError(f"a ratio is the share removed, from 0 to 1, not {ratio!r}", where=where)
    return 1.0 - float(ratio)


def _by_ratio(
    couplings: Sequence[Coupling], allocation: Allocation, ratios: Ratios, limits: WidthLimits
) -> tuple[Units, list[str]]:
    """Units without a target: each coupling its share, or the share of all channels that a global ranking gives."""
    exponents, notes = np.ones(len(couplings)), []
    if isinstance(allocation, GlobalAllocation):
        assert isinstance(ratios, (int, float))
        total = sum(b.units * sum(b.sizes) for b in couplings)
        asked = (1 - kept_share(ratios, "ratios")) * total
        if asked > allocation.removable:
            share = allocation.removable / max(total, 1)
            notes.append(f"ratios={ratios:g}: only {share:.4g} can go, max_ratio={limits.max_ratio:g} keeps the rest")
        ideal = allocation.at(min(1.0, asked / max(allocation.removable, 1e-9)), exponents)
    else:
        ideal = allocation.at(1 / 64, exponents)
    units = np.array([b.nearest(u) for b, u in zip(couplings, ideal, strict=True)], dtype=np.int64)
    return units, notes


def _zeros(couplings: Sequence[Coupling], free: Sequence[Group], scores: Scores) -> tuple[Units, list[str]]:
    """Units without the channels whose parameters are all exactly zero.

    Raises:
        PruneError: there are none.
    """
    zeros = [len(scores.zero(g)) for g in free]
    if not any(zeros):
        raise PruneError(
            "ratios='zeros' found no channel whose parameters are all exactly zero",
            hint="a group sparsifier makes them; after L1 sparsity, density_ratios(...)",
        )
    units, left = [], []
    for coupling in couplings:
        gone = min(zeros[i] // size for i, size in zip(coupling.members, coupling.sizes, strict=True))
        # Rounded up: nothing but zeros may go.
        kept = -(-(coupling.units - gone) // coupling.step) * coupling.step
        units.append(min(coupling.units, max(coupling.least, kept)))
        for i, size in zip(coupling.members, coupling.sizes, strict=True):
            stays = zeros[i] - (coupling.units - units[-1]) * size
            left += [f"{free[i].name} {stays}"] if stays else []
    return np.array(units, dtype=np.int64), [f"zero channels that stay: {_few(left)}"] if left else []


def _not_rounded(
    groups: Sequence[Group], free: Sequence[Group], widths: Widths, limits: WidthLimits, shrinking: set[str]
) -> list[str]:
    """Says which layers that were to shrink are no multiple of `round_to` wide after all, and why."""
    if limits.round_to == 1:
        return []
    kept = {g.name: g.channels for g in groups} | {g.name: int(w) for g, w in zip(free, widths, strict=True)}
    wide: dict[str, int] = {}
    for group in groups:
        for path, outputs in group.producers.items():
            wide[path] = wide.get(path, 0) + kept[group.name] * outputs
    said: dict[str, str] = {}
    for group in (g for g in free if g.name in shrinking):
        for path in group.producers:
            if wide[path] % limits.round_to == 0:
                continue
            if any(g.frozen is not None and path in g.producers for g in groups):
                why = "some of its channels can't go"
            elif kept[group.name] < group.channels:
                why = "its other channels are kept"
            else:
                why = "narrower than one multiple" if wide[path] < limits.round_to else "nearest to all"
            said[path] = f"{path} {wide[path]} ({why})"
    return [f"no multiple of round_to={limits.round_to}: {_few(list(said.values()))}"] if said else []


def _few(items: list[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more


def must_match(path: str, groups: Sequence[Group], free: Sequence[Group]) -> None:
    """Checks that a path of `ratios` names a layer that can be pruned.

    Raises:
        PruneError: it names none.
    """
    if any(matches(p, path) for g in free for p in g.producers):
        return
    kept = next((g for g in groups if g.frozen and any(matches(p, path) for p in g.producers)), None)
    if kept is not None:
        raise PruneError(f"{path!r} can't be pruned: {kept.frozen}", where="ratios", hint="leave it out")
    raise unmatched(path, groups, "ratios")
