"""Random networks from a grammar of hard patterns: each is refused by name, or equals the zeroed network."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning.exam import TOLERANCE, attempt, examine
from pruning.grammar import PRODUCTIONS, build, sentence
from pruning.reference import difference, gone_slots, zeroed


@given(seed=st.integers(0, 10**6), ratio=st.sampled_from([0.25, 0.5, 0.75]))
@settings(max_examples=40)
def test_pruned_equals_zeroed(seed: int, ratio: float) -> None:
    examine(build(seed), seed, ratios=ratio, importance="random")


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_a_target_is_met(seed: int) -> None:
    outcome = attempt(net := build(seed), net, seed, target_macs=0.7)
    if outcome.pruned is None:
        assert "can't reach" in str(outcome.refusal) or "no channel can be removed" in str(outcome.refusal)
        return
    before, after = outcome.pruned.plan.macs
    assert after <= 0.7 * before


@pytest.mark.parametrize("kind", sorted(PRODUCTIONS))
def test_every_production_can_be_pruned(kind: str) -> None:
    """Between two plain layers: something goes, and what is kept is kept for a reason."""
    net = sentence(["Conv", kind, "Conv"], 0)
    assert net.kinds == ["Conv", kind, "Conv"]
    outcome = examine(net, 0, ratios=0.5)
    assert outcome.pruned is not None
    assert outcome.pruned.removed
    assert all(outcome.pruned.plan.frozen.values())


@pytest.mark.parametrize("form", ["pair", "dict", "list"])
def test_every_form_of_calling(form: str) -> None:
    net = sentence(["Residual", "FoldView"], 1, form)
    outcome = examine(net, 1, ratios=0.5)
    assert outcome.pruned is not None
    removed = set(outcome.pruned.removed)
    assert {"stem", "steps.0.layer.0"} <= removed  # also where `head` reads the same width: the form says that it won't
    if form == "pair":
        assert outcome.pruned.model.head.in_features == net.head.in_features


def test_the_reference_sees_a_wrong_channel() -> None:
    """What all of the above rests on: other channels than those that went make another network."""
    net = sentence(["Residual", "LastNorm", "Conv"], 3)
    pruned = attempt(net, net, 3, ratios=0.25, importance="random").pruned
    assert pruned is not None
    right = gone_slots(pruned)
    name, dim = "steps.2.layer.weight", 0
    others = [i for i in range(net.steps[2].out) if i not in right[name, dim]]
    small, inputs = pruned.model.double(), net.example(9)
    assert difference(small, zeroed(net, right), inputs) <= TOLERANCE
    bias, positions = ("steps.2.layer.bias", 0), set(others[: len(right[name, dim])])
    wrong = right | {(name, dim): positions} | ({bias: positions} if bias in right else {})
    assert difference(small, zeroed(net, wrong), inputs) > 1e-3
