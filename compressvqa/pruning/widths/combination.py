"""Coarse widths, such as heads, and fine ones together: a combination that uses a target up where steps alone do not.

One head more or less may be worth a tenth of a network. Widths that shrink alike then leave a target far from used up,
since the next step of the coarse ones would exceed it. Here the coarse ones take a few steps up or down from where they
would be, and the fine ones make up for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from compressvqa.pruning.widths.limits import Coupling, Units

_TRIED = 1000  # combinations of coarse widths that are looked at
_SOLVED = 40  # of these, combinations for which the fine widths are worked out
_TIMES = 20  # halvings of the level of the fine widths


def combine(
    couplings: Sequence[Coupling],
    units: Units,
    may_shrink: NDArray[np.bool_],
    at: Callable[[float], Units],
    used: Callable[[Units], float],
    fill: Callable[[Units, NDArray[np.bool_]], Units],
    near: float,
) -> Units:
    """Units that use more of the target than these, those nearest to them that use up enough of it.

    Args:
        couplings: the couplings.
        units: what is to be improved; it exceeds no target.
        may_shrink: which couplings may lose anything.
        at: the units of all couplings at a level, from all of them at 0 to the fewest at 1.
        used: the share of the targets that units use; more than 1 exceeds one.
        fill: gives back single steps to the couplings that are marked while no target is exceeded.
        near: the share of the targets that is enough.
    """
    worth = {int(i): _step(couplings, units, used, int(i)) for i in np.flatnonzero(may_shrink)}
    coarsest = sorted(worth, key=lambda i: -worth[i])
    coarse = [i for i in coarsest[:-1] if worth[i] > 1 - near]  # the finest of all makes up for the others
    fine = may_shrink.copy()
    fine[coarse] = False
    widest, narrowest = at(0.0), at(1.0)
    best, most = units, used(units)
    solved = 0
    for pinned in _nearby(couplings, units, coarse):
        if used(np.where(fine, narrowest, pinned)) > 1:
            continue
        found = np.where(fine, widest, pinned)
        if used(found) > 1:
            solved += 1
            found = fill(np.where(fine, at(_smallest(at, used, fine, pinned)), pinned), fine)
        if used(found) > most:
            best, most = found, used(found)
        if most >= near or solved == _SOLVED:
            break
    return best


def _smallest(
    at: Callable[[float], Units], used: Callable[[Units], float], fine: NDArray[np.bool_], pinned: Units
) -> float:
    """The smallest level of the fine couplings at which no target is exceeded, the others being pinned."""
    low, high = 0.0, 1.0
    for _ in range(_TIMES):
        middle = (low + high) / 2
        low, high = (low, middle) if used(np.where(fine, at(middle), pinned)) <= 1 else (middle, high)
    return high


def _step(couplings: Sequence[Coupling], units: Units, used: Callable[[Units], float], i: int) -> float:
    """What one step of a coupling is worth."""
    wider, narrower = units.copy(), units.copy()
    wider[i] = couplings[i].above(int(units[i]))
    narrower[i] = couplings[i].below(int(units[i]))
    steps = int(wider[i] > units[i]) + int(narrower[i] < units[i])
    return (used(wider) - used(narrower)) / max(steps, 1)


def _nearby(couplings: Sequence[Coupling], units: Units, coarse: Sequence[int]) -> Iterator[Units]:
    """Units with other numbers of the coarse couplings, nearest first; the coarsest may go furthest."""
    choices: list[list[int]] = []
    left = _TRIED
    for place, i in enumerate(coarse):
        room = max(1, int(left ** (1 / (len(coarse) - place))))
        choices.append(_values(couplings[i], int(units[i]))[:room])
        left //= len(choices[-1])
    full = [couplings[i].units for i in coarse]
    now = [int(units[i]) for i in coarse]

    def distance(numbers: tuple[int, ...]) -> float:
        return sum(abs(a - b) / n for a, b, n in zip(numbers, now, full, strict=True))

    for numbers in sorted(itertools.product(*choices), key=distance):
        found = units.copy()
        found[list(coarse)] = numbers
        yield found


def _values(coupling: Coupling, now: int) -> list[int]:
    """The allowed numbers of units, nearest first."""
    found = [coupling.least]
    while found[-1] < coupling.units:
        found.append(coupling.above(found[-1]))
    return sorted(found, key=lambda units: abs(units - now))
