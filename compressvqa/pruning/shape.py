"""How much of each bundle goes when a little or a lot of the whole goes: families of widths with one dial.

A shape answers ``at(dial, powers)``: the number of units, not yet rounded, that every bundle keeps, from all of them at
dial 0 down to the fewest at dial 1. `powers`, one for each bundle and all 1 as a rule, let some give more than others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from compressvqa.pruning.bundles import Bundle
from compressvqa.pruning.groups import Group

Numbers = NDArray[np.float64]
_STEEPEST = 64.0


class Shape(Protocol):
    """See the module."""

    def at(self, dial: float, powers: Numbers) -> Numbers:
        """Units kept by every bundle."""

    def may_shrink(self) -> NDArray[np.bool_]:
        """Which bundles ever lose something."""


class Local:
    """Every bundle has a share to keep of its own; the dial raises the shares to a power.

    Args:
        bundles: the bundles.
        keep: the share kept of each, in [0, 1].
    """

    def __init__(self, bundles: Sequence[Bundle], keep: Sequence[float]) -> None:
        self._units = np.array([b.units for b in bundles], dtype=np.float64)
        # A share of zero would stay zero for any power.
        self._shares = np.maximum(np.array(keep, dtype=np.float64), 0.5 / np.maximum(self._units, 1))

    def at(self, dial: float, powers: Numbers) -> Numbers:
        """Units * share ** (64 * dial * power)."""
        kept: Numbers = self._units * self._shares ** (_STEEPEST * dial * powers)
        return kept

    def may_shrink(self) -> NDArray[np.bool_]:
        """Bundles with a share below 1."""
        found: NDArray[np.bool_] = self._shares < 1
        return found


class Global:
    """One ranking of all units of all bundles; the dial is the share of the removable channels that goes.

    Scores become comparable by dividing a group's scores by their mean, unless the criterion says that its scores are
    comparable as they are. In a group the channels go from the lowest score on; a unit of several channels, or of
    several groups of a bundle, counts with the mean of its channels. Units below a bundle's least are not ranked.

    Args:
        bundles: the bundles.
        groups: the groups that may shrink.
        score_of: (channels,) scores of a group.
        comparable: whether scores are used as they are.
    """

    def __init__(
        self, bundles: Sequence[Bundle], groups: Sequence[Group], score_of: Callable[[Group], object], comparable: bool
    ) -> None:
        self._units = np.array([b.units for b in bundles], dtype=np.float64)
        scores, owners, weights = [], [], []
        for number, bundle in enumerate(bundles):
            gone = bundle.units - bundle.least
            members = [groups[i] for i in bundle.members]
            per_unit = [
                _ranked(score_of(g), comparable).reshape(-1, size).mean(1)
                for g, size in zip(members, bundle.sizes, strict=True)
            ]
            scores.append(np.mean(per_unit, axis=0)[:gone])
            owners.append(np.full(gone, number))
            weights.append(np.full(gone, float(sum(bundle.sizes))))
        self._scores = np.concatenate(scores) if scores else np.zeros(0)
        self._owners = np.concatenate(owners) if owners else np.zeros(0, dtype=np.int64)
        self._weights = np.concatenate(weights) if weights else np.zeros(0)
        self._sorted: tuple[bytes, NDArray[np.int64], Numbers] | None = None  # the ranking for the last powers

    @property
    def removable(self) -> float:
        """How many channels may go in all."""
        return float(self._weights.sum())

    def at(self, dial: float, powers: Numbers) -> Numbers:
        """Units left when the lowest-ranked channels are gone; a bundle's scores are divided by its power."""
        key = powers.tobytes()
        if self._sorted is None or self._sorted[0] != key:
            order = np.argsort(self._scores / powers[self._owners], kind="stable")
            self._sorted = (key, self._owners[order], np.cumsum(self._weights[order]))
        _, owners, channels = self._sorted
        reached = int(np.searchsorted(channels, dial * self.removable * (1 + 1e-12), side="right"))
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
