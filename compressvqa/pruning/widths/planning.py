"""How wide every group becomes: ratios and targets -> `PruningPlan`. Nothing is cut here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from compressvqa.errors import PruneError
from compressvqa.pruning.cutting.choice import ChannelScores
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.names import compact
from compressvqa.pruning.settings import Settings, kept_share
from compressvqa.pruning.widths.allocation import Allocation, GlobalAllocation, LocalAllocation
from compressvqa.pruning.widths.budget import Budget, meet
from compressvqa.pruning.widths.cost import NetworkCost
from compressvqa.pruning.widths.limits import Coupling, Units, couplings_of, nearest, widths_of
from compressvqa.pruning.widths.multiples import few, not_rounded
from compressvqa.pruning.widths.plan import PruningPlan
from compressvqa.pruning.widths.shares import must_match, shares_kept


def make_plan(
    groups: Sequence[Group],
    cost: NetworkCost,
    settings: Settings,
    *,
    dead: Sequence[str] = (),
    scores: ChannelScores | None = None,
) -> PruningPlan:
    """Widths for all groups.

    Args:
        groups: all groups, also frozen ones.
        cost: cost of widths, with one column per group that is not frozen, in their order.
        settings: what is asked for. Layers that `ratios` do not name keep all. With a target, ratios only say how the
            groups relate: kept shares become kept**t. A latency is no concern of a plan.
        dead: paths of modules that are removed.
        scores: importance of the channels; needed for scope "global" and for zeros.

    Raises:
        PruneError: a path matches nothing, or a target can't be reached.
    """
    free = [g for g in groups if g.frozen is None]
    budget = Budget(cost, params=settings.target_params, macs=settings.target_macs)
    couplings, tied = couplings_of(groups, settings)
    notes: list[str] = []
    if settings.ratios == "zeros":
        assert scores is not None
        units, notes = _zeros(couplings, free, scores)
        asked = np.array([b.units for b in couplings]) > units
    else:
        allocation, said = _allocation(groups, free, couplings, settings, scores)
        asked = allocation.may_shrink()
        if budget:
            units, notes = meet(couplings, allocation, budget, groups)
        else:
            units, notes = _by_ratio(couplings, allocation, settings)
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
    return replace(plan, notes=(*notes, *not_rounded(groups, free, widths, settings.round_to, shrinking)))


def least_macs(groups: Sequence[Group], cost: NetworkCost, settings: Settings, scores: ChannelScores) -> float:
    """The smallest `target_macs` that `make_plan` can meet with these settings, in (0, 1]."""
    free = [g for g in groups if g.frozen is None]
    couplings, _ = couplings_of(groups, settings)
    allocation, _ = _allocation(groups, free, couplings, settings, scores)
    ideal = allocation.at(1.0, np.ones(len(couplings)))
    gone = widths_of(couplings, [b.units for b in couplings]) - widths_of(couplings, nearest(couplings, ideal))
    return min(1.0, (cost.macs.at(gone) + 1) / max(cost.macs_before, 1))


def _allocation(
    groups: Sequence[Group],
    free: Sequence[Group],
    couplings: Sequence[Coupling],
    settings: Settings,
    scores: ChannelScores | None,
) -> tuple[Allocation, list[str]]:
    """How the couplings relate, and what there is to say about it."""
    if settings.scope == "global":
        assert scores is not None
        return GlobalAllocation(couplings, free, scores.of, scores.comparable), []
    asked = 0.5 if settings.ratios is None else settings.ratios
    if not isinstance(asked, Mapping):
        return LocalAllocation(couplings, [kept_share(asked, "ratios")] * len(couplings)), []
    for path in asked:
        must_match(path, groups, free)
    keep, notes = [], []
    for coupling in couplings:
        wanted = {p: k for i in coupling.members for p, k in shares_kept(free[i], asked).items()}
        if len(set(wanted.values())) > 1:
            alike = {k: [path for path, other in wanted.items() if other == k] for k in wanted.values()}
            said = ", ".join(f"{paths} {1 - k:g}" for k, same in alike.items() for paths in compact(same))
            name = coupling.names[0]
            notes.append(f"{name}: tied layers ask for different ratios ({said}), the smallest is used")
        keep.append(max(wanted.values(), default=1.0))
    return LocalAllocation(couplings, keep), notes


def _by_ratio(couplings: Sequence[Coupling], allocation: Allocation, settings: Settings) -> tuple[Units, list[str]]:
    """Units without a target: each coupling its share, or the share of all channels that a global ranking gives."""
    exponents, notes = np.ones(len(couplings)), []
    if isinstance(allocation, GlobalAllocation):
        ratio, largest = settings.ratios, settings.largest_ratio
        total = sum(b.units * sum(b.sizes) for b in couplings)
        asked = (1 - kept_share(ratio, "ratios")) * total
        if asked > allocation.removable:
            share = allocation.removable / max(total, 1)
            notes.append(f"ratios={ratio:g}: only {share:.4g} can go, max_ratio={largest:g} keeps the rest")
        ideal = allocation.at(min(1.0, asked / max(allocation.removable, 1e-9)), exponents)
    else:
        ideal = allocation.at(1 / 64, exponents)
    units = nearest(couplings, ideal)
    return units, notes


def _zeros(couplings: Sequence[Coupling], free: Sequence[Group], scores: ChannelScores) -> tuple[Units, list[str]]:
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
    return np.array(units, dtype=np.int64), [f"zero channels that stay: {few(left)}"] if left else []
