"""Groups whose widths depend on each other by a number in the forward: `Trace` + groups -> groups with their couplings.

A constraint (constraints.py) says that a number must equal the labels left along a dimension. Where the number follows
by itself, nothing is to be done. Where it ties the widths of groups (the residual width of a transformer is its number
of heads times their width), these groups become a coupling: all keep the same share, in steps in which every constraint
holds. Where no such step exists, the groups are kept whole.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from compressvqa.pruning.dependency.bindings import Key, key_of
from compressvqa.pruning.dependency.constraints import SizeConstraint, along
from compressvqa.pruning.dependency.labels import FREE, Ids
from compressvqa.pruning.recording.integers import Attribute, Origin, SizeOf, evaluate, leaves

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.group import Group
    from compressvqa.pruning.dependency.trace import Trace

Widths = dict[int, int]  # channels kept, by a group's number
_TRIED = 24  # steps of a coupling that are tried, from both ends


@dataclass(frozen=True)
class _Count:
    """A number of labels: those that always stay, and some for each channel of a group."""

    fixed: int
    per_channel: tuple[tuple[int, int], ...]  # (group, labels per channel)

    def at(self, widths: Widths) -> int:
        return self.fixed + sum(each * widths[group] for group, each in self.per_channel)


@dataclass(frozen=True)
class _Equation:
    """What a constraint says about the widths of groups."""

    constraint: SizeConstraint
    wanted: _Count
    leaves: dict[SizeOf | Attribute, tuple[_Count, int, int]]  # what it counts, its number now, that count now

    @property
    def groups(self) -> set[int]:
        counts = [self.wanted, *(count for count, _, _ in self.leaves.values())]
        return {group for count in counts for group, _ in count.per_channel}

    def holds(self, widths: Widths) -> bool:
        def value(leaf: SizeOf | Attribute) -> int:
            count, number, now = self.leaves[leaf]
            new = number * count.at(widths)
            if new % max(now, 1):
                raise ArithmeticError(leaf)
            return new // max(now, 1)

        try:
            return evaluate(self.constraint.origin, value) == self.wanted.at(widths)
        except ArithmeticError:
            return False


def bind(trace: Trace, groups: Sequence[Group]) -> list[Group]:
    """The groups with their couplings; those that no coupling can satisfy are frozen, with the number in the way.

    Args:
        trace: the facts.
        groups: all groups.
    """
    found = list(groups)
    while True:
        equations = _equations(trace, found)
        parts = _parts(equations)
        broken: dict[int, str] = {}
        couplings: dict[int, tuple[str, int, tuple[str, ...]]] = {}
        for members, own in parts:
            most = functools.reduce(math.gcd, [found[g].channels for g in members])
            wrong = _first_wrong(own, found, members, most)
            # Where some widths do not fit, such as those that no number of heads divides, larger steps may.
            smaller = (u for u in _divisors(most) if _first_wrong(own, found, members, u) is None)
            units = most if wrong is None else next(smaller, 1)
            if units > 1:
                said = tuple(dict.fromkeys(_told(trace, equation) for equation in own))
                couplings |= {g: (found[min(members)].name, found[g].channels // units, said) for g in members}
            else:
                equation = wrong or own[0]
                reason = f"their width is a number in the network, {_told(trace, equation)}"
                broken |= dict.fromkeys(equation.groups, reason)
        if not broken:
            return [_bound(group, *couplings.get(g, (None, 1, ()))) for g, group in enumerate(found)]
        found = [replace(group, frozen=broken[g]) if g in broken else group for g, group in enumerate(found)]


def _divisors(number: int) -> list[int]:
    """Those between 1 and the number, from the largest on."""
    return [u for u in range(number // 2, 1, -1) if number % u == 0]


def _bound(group: Group, coupling: str | None, unit: int, numbers: tuple[str, ...]) -> Group:
    return group if coupling is None else replace(group, coupling=coupling, unit=unit, numbers=numbers)


def _told(trace: Trace, equation: _Equation) -> str:
    constraint = equation.constraint
    if constraint.said:
        return f"{constraint.origin}, {constraint.said}"
    return f"{constraint.origin}, at {trace.graph.nodes[constraint.node]}"


def _parts(equations: Sequence[_Equation]) -> list[tuple[set[int], list[_Equation]]]:
    """Equations that share groups, together with these groups."""
    parts: list[tuple[set[int], list[_Equation]]] = []
    for equation in equations:
        members, own = set(equation.groups), [equation]
        for part in [p for p in parts if p[0] & members]:
            parts.remove(part)
            members, own = members | part[0], part[1] + own
        parts.append((members, own))
    return parts


def _first_wrong(
    equations: Sequence[_Equation], groups: Sequence[Group], members: Iterable[int], units: int
) -> _Equation | None:
    """An equation that fails when all groups keep the same number of units, for some number of them."""
    steps = [*range(1, min(units, _TRIED)), *range(max(1, units - _TRIED), units)]
    for step in dict.fromkeys(steps):
        widths = {g: groups[g].channels // units * step for g in members}
        for equation in equations:
            if not equation.holds(widths):
                return equation
    return None


def _equations(trace: Trace, groups: Sequence[Group]) -> list[_Equation]:
    """Constraints that say something about groups that may be cut, and that not every choice of widths meets."""
    run = trace.dependencies
    constraints = run.constraints
    if not constraints:
        return []
    group_of = np.full(len(run.slots) + 1, -1)
    for g, group in enumerate(groups):
        if group.frozen is None:
            slot = group.slots[0]
            group_of[run.classes.find(run.slots.first[slot.leaf][slot.dim] + slot.indices.ravel())] = g
    counts: dict[int, tuple[Ids, _Count]] = {}  # the array is held, so that its id stays its own

    def count(ids: Ids) -> _Count:
        if id(ids) not in counts:
            found = group_of[run.classes.find(ids)]
            which, how_many = np.unique(found[found >= 0], return_counts=True)
            pairs = zip(which.tolist(), how_many.tolist(), strict=True)
            each = tuple((g, many // groups[g].channels) for g, many in pairs)
            rest = len(ids) - sum(many * groups[g].channels for g, many in each)
            counts[id(ids)] = ids, _Count(rest, each)
        return counts[id(ids)][1]

    attributes = run.attributes()
    tables = _Tables(trace)
    equations, seen = [], set()
    for constraint in constraints:
        ids = {leaf: tables.ids(leaf, attributes) for leaf in dict.fromkeys(leaves(constraint.origin))}
        if any((own == FREE).any() for _, own in ids.values()):
            continue  # it follows some other tensor; the check of the pruned network tells whether it is right
        equation = _Equation(
            constraint,
            count(constraint.ids) if constraint.fixed is None else _Count(constraint.fixed, ()),
            {leaf: (count(own), number, len(own)) for leaf, (number, own) in ids.items()},
        )
        key = (equation.wanted, _shape(constraint.origin, equation))
        if key in seen or not equation.groups:
            continue
        seen.add(key)
        if not _always(equation, groups):
            equations.append(equation)
    return equations


def _shape(origin: Origin | int, equation: _Equation) -> object:
    """Equal for constraints that say the same about widths."""
    if isinstance(origin, int):
        return origin
    if isinstance(origin, (SizeOf, Attribute)):
        return equation.leaves[origin]
    return origin.sign, _shape(origin.left, equation), _shape(origin.right, equation)


class _Tables:
    """The labels that a size or an attribute counts."""

    def __init__(self, trace: Trace) -> None:
        self._run = trace.dependencies
        self._sizes: dict[SizeOf, Ids] = {}

    def ids(self, leaf: SizeOf | Attribute, attributes: dict[Key, tuple[int, Ids]]) -> tuple[int, Ids]:
        """(its number now, labels)."""
        if isinstance(leaf, Attribute):
            return attributes.get(key_of(leaf), (leaf.number, np.zeros(leaf.number, dtype=np.int64)))
        if leaf not in self._sizes:
            self._sizes[leaf] = along(self._run.labels_of(leaf.value), leaf.dim)
        return len(self._sizes[leaf]), self._sizes[leaf]


def _always(equation: _Equation, groups: Sequence[Group]) -> bool:
    """Whether the equation holds whatever the widths are, found by trying some that have nothing in common."""
    if all(
        isinstance(leaf, (SizeOf, Attribute)) and count == equation.wanted and number == now
        for leaf, (count, number, now) in equation.leaves.items()
        if leaf is equation.constraint.origin
    ) and isinstance(equation.constraint.origin, (SizeOf, Attribute)):
        return True
    members = sorted(equation.groups)
    for draw in range(4):
        generator = np.random.default_rng(draw)
        widths = {g: int(generator.integers(1, groups[g].channels + 1)) for g in members}
        if not equation.holds(widths):
            return False
    return True
