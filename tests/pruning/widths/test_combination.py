"""A target is met by some combination of coarse and fine widths wherever trying all of them finds one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from compressvqa.pruning.widths.allocation import LocalAllocation
from compressvqa.pruning.widths.budget import NEAR, Budget, meet
from compressvqa.pruning.widths.cost import NetworkCost, Products
from compressvqa.pruning.widths.limits import Coupling


def network(units: list[int], generator: np.random.Generator) -> tuple[list[Coupling], NetworkCost]:
    """Couplings with these numbers of units, and work that is a sum of products of pairs of them."""
    count = len(units)
    couplings = [Coupling((i,), (f"layer{i}",), (1,), n, 1, 1) for i, n in enumerate(units)]
    pairs = [(i, j) for i in range(count) for j in range(i, count)]
    factors = generator.uniform(0.1, 1, len(pairs)) / [units[i] * units[j] for i, j in pairs]
    sizes, per_channel = np.ones((len(pairs), 8)), np.zeros((len(pairs) * 8, count))
    for row, pair in enumerate(pairs):
        for d, i in enumerate(pair):
            sizes[row, d] = units[i]
            per_channel[row * 8 + d, i] = 1
    work = Products(factors * 1e6, sizes, per_channel)
    return couplings, NetworkCost(work, work, work.at(np.zeros(count)), work.at(np.zeros(count)))


@pytest.mark.parametrize("units", [[4, 24], [3, 6, 16], [4, 4, 12], [2, 3, 5, 8], [6, 6, 6], [40, 3]], ids=str)
def test_where_any_combination_meets_a_target_one_is_found(units: list[int]) -> None:
    generator = np.random.default_rng(0)
    for target in (0.9, 0.75, 0.6, 0.5, 0.4, 0.25):
        couplings, cost = network(units, generator)
        budget = Budget(cost, params=None, macs=target)
        found, notes = meet(couplings, LocalAllocation(couplings, [0.5] * len(units)), budget, [])
        share = budget.used(couplings, found)["macs"]
        every = (np.array(c) for c in itertools.product(*(range(1, n + 1) for n in units)))
        best = max(u for c in every if (u := budget.used(couplings, c)["macs"]) <= 1)
        assert share <= 1
        assert share >= (NEAR if best >= NEAR else best - 0.02), f"{share:.3f} of {target} where {best:.3f} is possible"
        assert bool(notes) == (share < NEAR)


def test_what_may_not_shrink_stays_whole() -> None:
    couplings, cost = network([4, 24, 6], np.random.default_rng(1))
    budget = Budget(cost, params=None, macs=0.7)
    found, _ = meet(couplings, LocalAllocation(couplings, [0.5, 0.5, 1.0]), budget, [])
    assert found[2] == 6
    assert NEAR <= budget.used(couplings, found)["macs"] <= 1


def test_the_combination_is_near_to_widths_that_shrink_alike() -> None:
    """Two layers alike: neither is left whole while the other is cut to almost nothing."""
    couplings, cost = network([8, 8, 64], np.random.default_rng(2))
    budget = Budget(cost, params=None, macs=0.5)
    found, _ = meet(couplings, LocalAllocation(couplings, [0.5] * 3), budget, [])
    assert abs(int(found[0]) - int(found[1])) <= 2
