"""The hard patterns of the benchmark: groups as worked out by hand, and half of the work removed, proven."""

from __future__ import annotations

import pytest
import torch
from pruning.patterns import PATTERNS, Pattern

from compressvqa.pruning import find_groups, prune, trace


@pytest.fixture(params=sorted(PATTERNS))
def net(request: pytest.FixtureRequest) -> Pattern:
    torch.manual_seed(0)
    return PATTERNS[request.param]().eval()


def test_groups(net: Pattern) -> None:
    if net.expected_groups is None:
        pytest.skip("more than one answer is right")
    facts = trace(net, net.inputs())
    groups = [g for g in find_groups(facts) if not facts.is_dead(g.producers)]
    assert {tuple(g.producers): g.channels for g in groups if g.frozen is None} == net.expected_groups


def test_half_of_the_work_goes(net: Pattern) -> None:
    pruned = prune(net, net.inputs(), target_macs=0.5)
    before, after = pruned.plan.macs
    assert pruned.max_error is not None
    assert pruned.max_error <= 1e-5
    assert 0.48 <= after / before <= 0.5  # widths are whole numbers, and these are small
