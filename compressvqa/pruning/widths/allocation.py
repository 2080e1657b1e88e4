"""How much of each coupling goes when a little or a lot of the whole goes: families of widths, by one level.

An allocation answers ``at(level, exponents)``: the number of units, not yet rounded, that every coupling keeps, from
all of them at level 0 down to the fewest at level 1. `exponents`, one for each coupling and all 1 as a rule, let some
give more than others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.widths.limits import Coupling

Numbers = NDArray[np.float64]
_STEEPEST = 64.0


class Allocation(Protocol):
    """See the module."""

    def at(self, level: float, exponents: Numbers) -> Numbers:
        """Units kept by every coupling."""

    def may_shrink(self) -> NDArray[np.bool_]:
        """Which couplings ever lose something."""


class LocalAllocation:
    """Every coupling has a share to keep of its own; the level raises the shares to an exponent.

    Args:
        couplings: the couplings.
        keep: the share kept of each, in [0, 1].
    """

    def __init__(self, couplings: Sequence[Coupling], keep: Sequence[float]) -> None:
        self._units = np.array([b.units for b in couplings], dtype=np.float64)
        # A share of zero would stay zero for any exponent.
        self._shares = np.maximum(np.array(keep, dtype=np.float64), 0.5 / np.maximum(self._units, 1))

    def at(self, level: float, exponents: Numbers) -> Numbers:
        """Units * share ** (64 * level * exponent)."""
        kept: Numbers = self._units * self._shares ** (_STEEPEST * level * exponents)
        return kept

    def may_shrink(self) -> NDArray[np.bool_]:
        """Bundles with a share below 1."""
        found: NDArray[np.bool_] = self._shares < 1
        return found


class GlobalAllocation:
    """One ranking of all units of all couplings; the level is the share of the removable channels that goes.

    Scores become comparable by dividing a group's scores by their mean, unless the criterion says that its scores are
    comparable as they are. In a group the channels go from the lowest score on; a unit of several channels, or of
    several groups of a coupling, counts with the mean of its channels. Units below a coupling's least are not ranked.

    Args:
        couplings: the couplings.
        groups: the groups that may shrink.
        score_of: (channels,) scores of a group.
        comparable: whether scores are used as they are.
    """

    def __init__(
        self,
        couplings: Sequence[Coupling],
        groups: Sequence[Group],
        score_of: Callable[[Group], object],
        comparable: bool,
    ) -> None:
        self._units = np.array([b.units for b in couplings], dtype=np.float64)
        scores, owners, weights = [], [], []
        for number, coupling in enumerate(couplings):
            gone = coupling.units - coupling.least
            members = [groups[i] for i in coupling.members]
            per_unit = [
                _ranked(score_of(g), comparable).reshape(-1, size).mean(1)
                for g, size in zip(members, coupling.sizes, strict=True)
            ]
            scores.append(np.mean(per_unit, axis=0)[:gone])
            owners.append(np.full(gone, number))
            weights.append(np.full(gone, float(sum(coupling.sizes))))
        self._scores = np.concatenate(scores) if scores else np.zeros(0)
        self._owners = np.concatenate(owners) if owners else np.zeros(0, dtype=np.int64)
        self._weights = np.concatenate(weights) if weights else np.zeros(0)
        self._sorted: tuple[bytes, NDArray[np.int64], Numbers] | None = None  # the ranking for the last exponents

    @property
    def removable(self) -> float:
        """How many channels may go in all."""
        return float(self._weights.sum())

    def at(self, level: float, exponents: Numbers) -> Numbers:
        """Units left when the lowest-ranked channels are gone; a coupling's scores are divided by its exponent."""
        key = exponents.tobytes()
        if self._sorted is None or self._sorted[0] != key:
            order = np.argsort(self._scores / exponents[self._owners], kind="stable")
            self._sorted = (key, self._owners[order], np.cumsum(self._weights[order]))
        _, owners, channels = self._sorted
        reached = int(np.searchsorted(channels, level * self.removable * (1 + 1e-12), side="right"))
        gone = np.bincount(owners[:reached], minlength=len(self._units))
        kept: Numbers = self._units - gone
        return kept

    def may_shrink(self) -> NDArray[np.bool_]:
        """Bundles that have a unit in the ranking."""
        found: NDArray[np.bool_] = np.bincount(self._owners, minlength=len(self._units)) > 0
        return found


def _ranked(scores: object, comparable: bool) -> Numbers:
    """A group's scores, rising, on the scale of all groups."""
    values = np.sort(np.asarray(scores, dtype=np.float64))
    mean = values.mean()
    return values if comparable or mean <= 0 else values / mean
