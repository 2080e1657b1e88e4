"""Every hard pattern: the groups are the ones worked out by hand, and the pruned network equals the zeroed one."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
import torch
from pruning.nets import REGISTRY, Net

from compressvqa.pruning import find_groups, prune, trace
from compressvqa.pruning.recording.running import run, tensors_of


@pytest.fixture(params=sorted(name for name in REGISTRY if not name.startswith("_")))
def net(request: pytest.FixtureRequest) -> Net:
    torch.manual_seed(0)
    return REGISTRY[request.param]()


def test_groups(net: Net) -> None:
    facts = trace(net, net.inputs())
    groups = [g for g in find_groups(facts) if not facts.is_dead(g.producers)]
    found: Counter[tuple[str, ...]] = Counter()
    for group in groups:
        if group.frozen is None:
            found[tuple(group.producers)] += group.channels
    assert dict(found) == net.expected_groups
    for path, word in net.frozen.items():
        reasons = [g.frozen for g in groups if path in g.producers]
        assert reasons
        assert all(reason is not None and word in reason for reason in reasons), reasons
    assert tuple(facts.dead) == net.dead
    assert tuple(u.operator for u in facts.unknown_ops) == net.unknown


def test_pruned_equals_zeroed(net: Net) -> None:
    if not net.expected_groups:
        pytest.skip("nothing can go")
    before = copy.deepcopy(net.state_dict())
    pruned = prune(net, net.inputs(), ratios=0.5)
    assert pruned.max_error is not None
    assert pruned.max_error <= 1e-5
    assert pruned.removed
    assert sum(p.numel() for p in pruned.model.parameters()) == pruned.plan.params[1] < pruned.plan.params[0]
    assert all(torch.equal(a, before[key]) for key, a in net.state_dict().items())
    # The layers' own notes of their widths fit, so a second pruning works as well.
    with torch.no_grad():
        shapes = [t.shape for t in tensors_of(run(pruned.model.eval(), net.inputs()))]
        assert shapes == [t.shape for t in tensors_of(run(net.eval(), net.inputs()))]
    again = prune(pruned.model, net.inputs(), ratios=0.34, min_channels=1) if _can_shrink(pruned.model, net) else None
    assert again is None or (again.max_error is not None and again.max_error <= 1e-5)


def _can_shrink(model: torch.nn.Module, net: Net) -> bool:
    groups = find_groups(trace(model, net.inputs()))
    return any(g.frozen is None and round(g.channels * 0.66) < g.channels for g in groups)
