"""Which widths are allowed. Groups whose numbers of units must stay equal are one `Coupling`; most are one group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressvqa.errors import PruneError
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.settings import Settings
from compressvqa.pruning.widths.cost import Widths

Units = NDArray[np.int64]


@dataclass(frozen=True)
class Coupling:
    """Groups that keep the same number of units.

    Args:
        members: their positions among the groups that may shrink.
        names: their names.
        sizes: channels in a unit of each.
        units: how many units they have.
        least: the fewest units that may stay, >= 1.
        step: units between two allowed numbers.
    """

    members: tuple[int, ...]
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    units: int
    least: int
    step: int

    def nearest(self, units: float) -> int:
        """The allowed number nearest to `units`: a multiple of the step or all, and never fewer than the least."""
        rounded = math.floor(units / self.step + 0.5) * self.step
        whole = rounded >= self.units or self.units - units < abs(rounded - units)
        return max(self.least, self.units if whole else rounded)

    def above(self, units: int) -> int:
        """The next allowed number."""
        return min(self.units, (units // self.step + 1) * self.step)

    def below(self, units: int) -> int:
        """The allowed number before this one."""
        return max(self.least, (units - 1) // self.step * self.step)


def couplings_of(groups: Sequence[Group], settings: Settings) -> tuple[list[Coupling], dict[str, str]]:
    """The couplings of the groups that may shrink, in their order.

    Args:
        groups: all groups, also frozen ones.
        settings: with the limits of widths.

    Returns:
        The couplings, and the reasons, by group name, of groups that are kept because a partner in their coupling is.

    Raises:
        PruneError: a coupling's groups have different numbers of units.
    """
    free = [g for g in groups if g.frozen is None]
    partners: dict[str, list[int]] = {}
    for i, group in enumerate(free):
        partners.setdefault(group.coupling or f"group {group.name}", []).append(i)
    held = {g.coupling: g for g in groups if g.frozen is not None}
    found, kept = [], {}
    for key, members in partners.items():
        coupling = _coupling([free[i] for i in members], tuple(members), settings)
        if key in held:
            reason = f"as many as in {held[key].name}, which is kept: {held[key].frozen}"
            kept.update(dict.fromkeys(coupling.names, reason))
            coupling = Coupling(
                coupling.members, coupling.names, coupling.sizes, coupling.units, coupling.units, coupling.step
            )
        found.append(coupling)
    return found, kept


def _coupling(groups: Sequence[Group], members: tuple[int, ...], settings: Settings) -> Coupling:
    sizes = tuple(g.unit for g in groups)
    counts = {g.channels // size for g, size in zip(groups, sizes, strict=True)}
    names = tuple(g.name for g in groups)
    if len(counts) > 1:
        raise PruneError(f"tied groups have different numbers of units: {sorted(counts)}", where=", ".join(names))
    units = counts.pop()
    # Every layer that makes the channels becomes a multiple: one channel of a grouped layer is several outputs.
    outputs = [size * n for g, size in zip(groups, sizes, strict=True) for n in g.producers.values()]
    step = math.lcm(*(settings.round_to // math.gcd(settings.round_to, n) for n in outputs))
    least = max(1, *(math.ceil(settings.min_channels / size) for size in sizes))
    least = max(least, math.ceil(units * (1 - settings.largest_ratio) - 1e-9))
    return Coupling(members, names, sizes, units, min(units, math.ceil(least / step) * step), step)


def nearest(couplings: Sequence[Coupling], units: NDArray[np.float64]) -> Units:
    """`Coupling.nearest` of every coupling."""
    return np.array([b.nearest(u) for b, u in zip(couplings, units.tolist(), strict=True)], dtype=np.int64)


def widths_of(couplings: Sequence[Coupling], units: Sequence[int] | Units | NDArray[np.float64]) -> Widths:
    """Channels of every group that may shrink, from the units of every coupling."""
    counts = np.asarray(units).tolist()
    widths: list[float] = [0] * sum(len(b.members) for b in couplings)
    for coupling, count in zip(couplings, counts, strict=True):
        for member, size in zip(coupling.members, coupling.sizes, strict=True):
            widths[member] = count * size
    return np.array(widths, dtype=np.asarray(units).dtype)
