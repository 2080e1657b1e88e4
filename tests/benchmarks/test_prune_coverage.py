"""The coverage benchmark's judge, against networks whose answer is known, and its processes."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import torch
from pruning.patterns import PATTERNS
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from pruning_coverage.judge import UnjudgedError, judge, positions, shaken
from pruning_coverage.measure import apart, macs, returned_layers
from pruning_coverage.peer import pruned_copy

from compressvqa.pruning import prune

torch.set_num_threads(1)


def network(name):
    torch.manual_seed(0)
    model = shaken(PATTERNS[name]().eval())
    return model, model.inputs()


def test_torch_pruning_is_silently_wrong_on_folded_frames():
    """facts.md, section 5: it removes input channels 3, 4, 5 where 1, 5, 9 is right."""
    model, inputs = network("FoldView")
    small = pruned_copy(model, inputs, returned_layers(model, inputs))
    assert judge(model, small, inputs).outcome == "silently wrong"


@pytest.mark.parametrize("name", ["DenseCat", "Pyramid", "InvertedResidual"])
def test_torch_pruning_is_right_on_plain_networks(name):
    model, inputs = network(name)
    small = pruned_copy(model, inputs, returned_layers(model, inputs))
    assert judge(model, small, inputs).outcome == "right"
    assert macs(small, inputs) < 0.7 * macs(model, inputs)


@pytest.mark.parametrize("name", ["FoldView", "ChannelsLast", "GroupNormed", "ChannelShuffle", "PatchMerging"])
def test_the_judge_finds_our_verified_networks_right(name):
    model, inputs = network(name)
    assert judge(model, prune(model, inputs, target_macs=0.5).model, inputs).outcome == "right"


def test_a_mistake_by_hand_is_seen_and_a_crash_is_not_taken_for_it():
    torch.manual_seed(0)
    model = shaken(nn.Sequential(nn.Linear(3, 8), nn.GroupNorm(2, 8), nn.ReLU(), nn.Linear(8, 1)))
    inputs = (torch.rand(4, 3),)

    def without(out: list[int], read: list[int]) -> nn.Module:
        small = shaken(nn.Sequential(nn.Linear(3, 8), nn.GroupNorm(2, 8), nn.ReLU(), nn.Linear(8, 1)))
        small.load_state_dict(model.state_dict())
        for layer in (small[0], small[1]):
            layer.weight, layer.bias = nn.Parameter(layer.weight[out]), nn.Parameter(layer.bias[out])
        small[1].num_channels, small[3].weight = len(out), nn.Parameter(small[3].weight[:, read])
        return small

    even, other = [0, 2, 3, 5, 6, 7], [0, 1, 3, 5, 6, 7]
    assert judge(model, without(even, even), inputs).outcome == "right"
    assert judge(model, without(even, other), inputs).outcome == "silently wrong"
    # Two channels of one group of the normalisation: the groups would be others.
    assert judge(model, without([2, 3, 4, 5, 6, 7], [2, 3, 4, 5, 6, 7]), inputs).outcome == "silently wrong"
    assert judge(model, without(even, even[:5]), inputs).outcome == "broken"


def test_an_output_that_feels_nothing_is_not_judged():
    torch.manual_seed(0)
    model = shaken(nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 1), nn.Hardtanh(-1e-9, 1e-9)))
    inputs = (torch.rand(4, 3) + 5,)
    small = prune(model, inputs, ratios=0.5).model
    assert judge(model, small, inputs).outcome == "not judged"


def test_positions():
    before = torch.rand(4, 5, 2)
    index = [[0, 3], [1, 2, 4], [0, 1]]
    assert positions(before, before[index[0]][:, index[1]]) == index
    with pytest.raises(UnjudgedError, match="not found again"):
        positions(before, before[[0, 3]][:, [1, 2]] + 1)
    with pytest.raises(UnjudgedError, match="not found again"):
        positions(torch.ones(4), torch.ones(2))  # any two of them


def test_a_measurement_that_never_ends_is_ended_and_a_crash_is_written_down():
    def forever():
        while True:
            time.sleep(0.01)

    assert apart(forever, 1, 0.3)["outcome"] == "did not end"
    assert apart(lambda: {"outcome": "fine"}, 1, 30) == {"outcome": "fine"}
    assert "ZeroDivisionError" in apart(lambda: {"x": 1 // 0}, 1, 30)["said"]
