"""The widest widths that exceed no target: an allocation, a cost and targets -> units of every coupling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from compressvqa.errors import TargetError
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.widths.allocation import Allocation, Numbers
from compressvqa.pruning.widths.combination import combine
from compressvqa.pruning.widths.cost import NetworkCost, Products
from compressvqa.pruning.widths.limits import Coupling, Units, nearest, widths_of

NEAR = 0.98  # a target is met when at least this share of it is used
_STRONGEST = math.log(8.0)  # for two targets one coupling's exponent may be multiplied, another's divided by up to 8


class Budget:
    """Targets on the size and work of a network.

    Args:
        cost: as a function of widths, with a column for every group that may shrink.
        params: share of the parameters to keep, in (0, 1], or None.
        macs: share of the multiply-accumulates to keep, in (0, 1], or None.
    """

    def __init__(self, cost: NetworkCost, *, params: float | None, macs: float | None) -> None:
        self.most: dict[str, float] = {}
        self._cost = cost
        for name, share in (("params", params), ("macs", macs)):
            if share is not None:
                self.most[name] = share * self.before(name)

    def __bool__(self) -> bool:
        return bool(self.most)

    def before(self, name: str) -> int:
        """Parameters or MACs of the network as given."""
        return self._cost.params_before if name == "params" else self._cost.macs_before

    def amount(self, name: str) -> Products:
        """Parameters or MACs as a function of the channels that are gone."""
        return self._cost.params if name == "params" else self._cost.macs

    def used(self, couplings: Sequence[Coupling], units: Units | Numbers) -> dict[str, float]:
        """The share used of each target; above 1 it is exceeded."""
        gone = widths_of(couplings, [b.units for b in couplings]) - widths_of(couplings, units)
        return {name: self.amount(name).at(gone) / max(most, 1e-9) for name, most in self.most.items()}


def meet(
    couplings: Sequence[Coupling], allocation: Allocation, budget: Budget, groups: Sequence[Group]
) -> tuple[Units, list[str]]:
    """The most units of an allocation that exceed no target, and what there is to say.

    Widths are rounded to the nearest allowed ones at the smallest level that fits, then single steps are given back to
    the couplings furthest below their ideal; where that leaves a target far from used up, coarse couplings take a few
    steps and fine ones make up for them (`combination.py`). With two targets, couplings that weigh more in the one that
    would be exceeded give more, others less, so that both are used up where the widths allow.

    Args:
        couplings: the couplings.
        allocation: how much of each goes.
        budget: the targets.
        groups: all groups, to say which ones are kept.

    Raises:
        PruneError: the narrowest widths exceed a target.
    """

    known: dict[bytes, float] = {}  # most levels are rounded to the same few widths

    def used(units: Units) -> float:
        key = units.tobytes()
        if key not in known:
            known[key] = max(budget.used(couplings, units).values())
        return known[key]

    def rounded(level: float) -> Units:
        return nearest(couplings, allocation.at(level, exponents))

    exponents = np.ones(len(couplings))
    narrowest = rounded(1.0)
    if used(narrowest) > 1:
        raise _unreachable(couplings, narrowest, budget, groups)
    if used(rounded(0.0)) <= 1:
        return rounded(0.0), []
    if len(budget.most) == 2:
        exponents = _balance(couplings, allocation, budget)
    level = _smallest(lambda d: used(rounded(d)) <= 1, 24)  # to a 16-millionth: finer than any width
    ideal = allocation.at(level, exponents)
    full = np.array([b.units for b in couplings])
    units = _give_back(couplings, rounded(level), ideal, np.minimum(np.ceil(ideal), full), used)
    if used(units) < NEAR:
        units = _give_back(couplings, units, ideal, np.where(allocation.may_shrink(), full, units), used)
    if used(units) < NEAR:

        def fill(given: Units, which: NDArray[np.bool_]) -> Units:
            return _give_back(couplings, given, ideal, np.where(which, full, given), used)

        units = combine(couplings, units, allocation.may_shrink(), rounded, used, fill, NEAR)
    return units, _say(budget.used(couplings, units), budget)


def _smallest(fits: Callable[[float], bool], times: int) -> float:
    """The smallest level that fits, given that 1 does."""
    low, high = 0.0, 1.0
    for _ in range(times):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _balance(couplings: Sequence[Coupling], allocation: Allocation, budget: Budget) -> Numbers:
    """Powers that use both targets up alike, or as nearly as a factor of 8 between exponents allows."""
    full = np.array([float(b.units) for b in couplings])
    least = np.array([float(b.least) for b in couplings])
    lean = np.zeros(len(couplings))
    before = budget.used(couplings, full)
    for i in range(len(couplings)):
        narrower = full.copy()
        narrower[i] = full[i] / 2
        after = budget.used(couplings, narrower)
        saved = {name: (before[name] - after[name]) / before[name] for name in before}
        lean[i] = math.log((saved["macs"] + 1e-9) / (saved["params"] + 1e-9))
    lean = np.clip(lean, -3, 3)
    middle, reach = (lean.max() + lean.min()) / 2, (lean.max() - lean.min()) / 2
    lean = (lean - middle) / max(reach, 1e-6)

    def powers_of(strength: float) -> Numbers:
        # At least 1, so that level 1 still reaches the narrowest widths.
        exponents: Numbers = np.exp(strength * lean - np.min(strength * lean))
        return exponents

    def gap(strength: float) -> float:
        """How much nearer the MACs are to their target than the parameters, where the first of them is met."""
        exponents = powers_of(strength)

        def used(level: float) -> dict[str, float]:
            return budget.used(couplings, np.maximum(allocation.at(level, exponents), least))

        at = used(_smallest(lambda d: max(used(d).values()) <= 1, 20))
        return math.log(max(at["macs"], 1e-9) / max(at["params"], 1e-9))

    bare = gap(0.0)
    if abs(bare) <= 1 - NEAR:
        return np.ones(len(couplings))
    # A positive strength makes the couplings that weigh more in MACs give more, which lowers the gap.
    low, high = 0.0, math.copysign(_STRONGEST, bare)
    if gap(high) * bare < 0:
        for _ in range(14):
            half = (low + high) / 2
            low, high = (half, high) if gap(half) * bare > 0 else (low, half)
    return powers_of(high)


def _give_back(
    couplings: Sequence[Coupling],
    units: Units,
    ideal: Numbers,
    most: Units | Numbers,
    used: Callable[[Units], float],
) -> Units:
    """Widens one coupling by a step at a time, the one furthest below its ideal first, while no target is exceeded."""
    units, stuck = units.copy(), units >= most
    while not stuck.all():
        i = int(np.argmax(np.where(stuck, -np.inf, (ideal - units) / ideal)))
        before = int(units[i])
        units[i] = couplings[i].above(before)
        if used(units) > 1:
            units[i], stuck[i] = before, True
        elif units[i] >= most[i]:
            stuck[i] = True
    return units


def _say(used: Mapping[str, float], budget: Budget) -> list[str]:
    """Which targets are not used up, and why."""
    notes = []
    for name, share in used.items():
        if share >= NEAR:
            continue
        asked = budget.most[name] / budget.before(name)
        binding = max(used, key=lambda n: used[n])
        why = f"target_{binding} binds" if binding != name else "the next allowed widths would exceed it"
        notes.append(f"target_{name}={asked:.4g}: {share * asked:.4g} is kept, {why}")
    return notes


def _unreachable(couplings: Sequence[Coupling], units: Units, budget: Budget, groups: Sequence[Group]) -> TargetError:
    used = budget.used(couplings, units)
    shares = {name: most / budget.before(name) for name, most in budget.most.items()}
    parts = [f"target_{name}={share:.4g} (the least is {used[name] * share:.4f})" for name, share in shares.items()]
    frozen = [f"{g.name} ({g.frozen})" for g in groups if g.frozen]
    shown = "; ".join(frozen[:3]) + (f"; and {len(frozen) - 3} more" if len(frozen) > 3 else "")
    return TargetError(
        f"can't reach {' and '.join(parts)}; kept whole: {shown or 'nothing'}",
        hint="a larger target, a smaller round_to or min_channels, or a larger max_ratio",
    )
