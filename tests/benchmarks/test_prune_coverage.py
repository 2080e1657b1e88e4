"""The coverage benchmark: its networks run, torch-pruning is judged as we are, a measurement ends."""

from __future__ import annotations

import sys
import time
from functools import cache
from pathlib import Path

import pytest
import torch
from pruning.patterns import PATTERNS

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: names of tests come first

from pruning_coverage import tables
from pruning_coverage.case import CorpusCase, redrawn
from pruning_coverage.judging import Call, distinct, judge, settle
from pruning_coverage.measure import apart, macs, returned_layers
from pruning_coverage.networks import cases
from pruning_coverage.ours import attempt
from pruning_coverage.peer import pruned_copy

torch.set_num_threads(1)
FAMILIES = ("scores", "unreached", "integers", "heads", "operators", "structures")


@cache
def corpus():
    """All networks by name; found when a test runs, since they are registered then."""
    return {case.name: case for case in cases()}


def network(name):
    torch.manual_seed(0)
    model = distinct(PATTERNS[name]().eval())
    return model, model.inputs()


def fresh(inputs):
    return [Call(inputs), Call(redrawn(inputs, 5))]


def test_torch_pruning_is_silently_wrong_on_folded_frames():
    """facts.md, section 5: it removes input channels 3, 4, 5 where 1, 5, 9 is right."""
    model, inputs = network("FoldView")
    small = pruned_copy(model, inputs, returned_layers(model, inputs))
    assert judge(model, small, fresh(inputs)).outcome == "silently wrong"


@pytest.mark.parametrize("name", ["DenseCat", "Pyramid", "InvertedResidual"])
def test_torch_pruning_is_right_on_plain_networks(name):
    model, inputs = network(name)
    small = pruned_copy(model, inputs, returned_layers(model, inputs))
    assert judge(model, small, fresh(inputs)).outcome == "right"
    assert macs(small, inputs) < 0.7 * macs(model, inputs)


def test_the_corpus_has_four_hundred_networks_and_each_name_once():
    named = [case.name for case in cases()]
    assert len(set(named)) == len(named) >= 400
    assert {case.family for case in cases("siamese/*")} == {"siamese"}
    assert all("resnet" in case.name for case in cases("resnet"))


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_of_the_corpus_answer_their_calls_with_numbers_that_move(family):
    """A call that the original can't answer, or an answer that never moves, would make the judge blind."""
    for case in (c for c in corpus().values() if c.family == family):
        assert isinstance(case, CorpusCase)
        model = case.build()
        for call in case.calls(model):
            model.train(call.train)
            with torch.no_grad():
                out = (getattr(model, call.method) if call.method else model)(*call.args)
            first = torch.utils._pytree.tree_leaves(out)[0]
            assert bool(torch.isfinite(first).all()), case.name


@pytest.mark.parametrize("name", ["pattern/FoldView", "scores/LearntLins", "structures/Maxout", "integers/OutChannels"])
def test_an_attempt_is_right_and_near_the_target(name):
    row = attempt(corpus()[name]).row
    assert row["outcome"] == "right", row
    assert row["by_ratio"] or abs(row["share"] - 0.5) <= 0.025


def test_a_siamese_network_is_judged_on_two_different_pictures():
    case = corpus()["siamese/pattern/DenseCat"]
    model = case.build()
    reference, distorted = case.inputs(model)
    assert not torch.equal(reference, distorted)
    assert all(not torch.equal(*call.args) for call in case.calls(model))


def test_the_table_counts_every_outcome_and_the_claim_can_fail():
    def row(name, outcome, share=0.5, expected=""):
        mine = {"outcome": outcome, "share": share, "by_ratio": False, "said": "why", "prune_s": 1.0, "verified_s": 3.0}
        mine |= {
            "params": 10**6 if name == "good0" else 10,
            "notes": ["stem: kept whole after all"] * (name == "good1"),
        }
        other = {"outcome": "right", "prune_s": 4.0 if name == "good0" else 2.0, "copy_s": 0.5, "share": 0.5}
        return {"name": name, "family": "f", "expected": expected, "threads": 1, "ours": mine, "torch_pruning": other}

    good = [row(f"good{n}", "right") for n in range(40)] + [row("door", "refused as it should", expected="x")]
    found = tables.summary(good)
    assert tables.failures(found) == []
    assert (found["pruned"], found["to_be_pruned"], found["time_ratio"][1], found["proof_ratio"][1]) == (40, 40, 0.5, 2)
    assert (found["time_ratio_copied"][1], found["time_ratio_large"][1]) == (0.4, 0.25)
    assert tables.summary([row("good1", "right")])["proof_ratio_one"] == [] and found["proof_ratio_worst"][0] == 2
    for outcome in ("silently wrong", "broken", "left traces", "crashed"):
        said = tables.failures(tables.summary([*good, row("bad", outcome)]))
        assert any("bad" in s for s in said), outcome
    many = [*good, *(row(f"off{n}", "right, little went", 0.9) for n in range(2))]
    assert any("under 97 %" in s for s in tables.failures(tables.summary(many)))
    assert "| f | 41 | 40 |" in tables.document(good, found, "a machine.")


def test_a_measurement_that_never_ends_is_ended_and_a_crash_is_written_down():
    def forever():
        while True:
            time.sleep(0.01)

    assert apart(forever, 1, 0.3)["outcome"] == "did not end"
    assert apart(lambda: {"outcome": "fine"}, 1, 30)["outcome"] == "fine"
    assert "ZeroDivisionError" in apart(lambda: {"x": 1 // 0}, 1, 30)["said"]


def test_a_settled_network_has_the_statistics_of_its_inputs_and_no_value_twice():
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm2d(32, momentum=0.3)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), norm).eval()
    with torch.no_grad():
        model[0].bias[:5] = -9  # channels that are off
    x = torch.rand(2, 3, 16, 16) + 1
    settle(distinct(model), (x,))
    assert not norm.training and norm.momentum == 0.3
    for held in (norm.running_mean, norm.running_var):
        assert len(held.unique()) == 32 and held.isfinite().all()
    seen = model[:2](x).transpose(0, 1).flatten(1)
    assert norm.running_mean.mean() == pytest.approx(float(seen.mean()), rel=1e-4)
    on = seen.mean(1) > 0
    assert on.any() and torch.equal(norm.running_mean[on].argsort(), seen.mean(1)[on].argsort())
    assert (norm.running_var > 0).all()
