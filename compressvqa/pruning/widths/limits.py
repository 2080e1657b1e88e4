"""Which widths are allowed. Groups whose numbers of units must stay equal are one `Coupling`; most are one group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressvqa.errors import PruneError
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.widths.cost import Widths

Units = NDArray[np.int64]


@dataclass(frozen=True)
class WidthLimits:
    """What limits widths.

    Args:
        round_to: layers become multiples of this wide, unless they are kept whole or narrower than one multiple.
        min_channels: every group keeps at least so many channels.
        max_ratio: no group loses a larger share of its channels.

    Raises:
        PruneError: a number is out of range.
    """

    round_to: int = 1
    min_channels: int = 1
    max_ratio: float = 1.0

    def __post_init__(self) -> None:
        for name in ("round_to", "min_channels"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise PruneError(f"{name} must be a whole number of at least 1, not {value!r}")
        if isinstance(self.max_ratio, bool) or not 0 <= self.max_ratio <= 1:
            raise PruneError(f"max_ratio must be a share in [0, 1], not {self.max_ratio!r}")


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
        choices = [rounded, self.units] if rounded < self.units else [self.units]
        return max(self.least, min(choices, key=lambda c: abs(c - units)))

    def above(self, units: int) -> int:
        """The next allowed number."""
        return min(self.units, (units // self.step + 1) * self.step)


def couplings_of(groups: Sequence[Group], limits: WidthLimits) -> tuple[list[Coupling], dict[str, str]]:
    """The couplings of the groups that may shrink, in their order.

    Args:
        groups: all groups, also frozen ones.
        limits: what widths are allowed.

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
        coupling = _coupling([free[i] for i in members], tuple(members), limits)
        if key in held:
            reason = f"as many as in {held[key].name}, which is kept: {held[key].frozen}"
            kept.update(dict.fromkeys(coupling.names, reason))
            coupling = Coupling(
                coupling.members, coupling.names, coupling.sizes, coupling.units, coupling.units, coupling.step
            )
        found.append(coupling)
    return found, kept


def _coupling(groups: Sequence[Group], members: tuple[int, ...], limits: WidthLimits) -> Coupling:
    sizes = tuple(g.unit for g in groups)
    counts = {g.channels // size for g, size in zip(groups, sizes, strict=True)}
    names = tuple(g.name for g in groups)
    if len(counts) > 1:
        raise PruneError(f"tied groups have different numbers of units: {sorted(counts)}", where=", ".join(names))
    units = counts.pop()
    # Every layer that makes the channels becomes a multiple: one channel of a grouped layer is several outputs.
    outputs = [size * n for g, size in zip(groups, sizes, strict=True) for n in g.producers.values()]
    step = math.lcm(*(limits.round_to // math.gcd(limits.round_to, n) for n in outputs))
    least = max(1, *(math.ceil(limits.min_channels / size) for size in sizes))
    least = max(least, math.ceil(units * (1 - limits.max_ratio) - 1e-9))
    return Coupling(members, names, sizes, units, min(units, math.ceil(least / step) * step), step)


def widths_of(couplings: Sequence[Coupling], units: Sequence[int] | Units | NDArray[np.float64]) -> Widths:
    """Channels of every group that may shrink, from the units of every coupling."""
    widths = np.zeros(sum(len(b.members) for b in couplings), dtype=np.asarray(units).dtype)
    for coupling, count in zip(couplings, units, strict=True):
        for member, size in zip(coupling.members, coupling.sizes, strict=True):
            widths[member] = count * size
    return widths
