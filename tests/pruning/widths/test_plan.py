"""Widths from ratios and targets, and the errors for what can't be asked."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compressvqa.errors import PruneError
from compressvqa.pruning import prune
from compressvqa.stages import PruneStage


class Net(nn.Module):
    """Two tied layers, a free one, and an output."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.back, self.body = nn.Linear(4, 40), nn.Linear(30, 40), nn.Linear(40, 30)
        self.head = nn.Linear(40, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.back(self.body(x).relu()))


def pruned(**settings: Any) -> Any:
    return prune(Net(), (torch.randn(3, 4),), **settings)


def widths(**settings: Any) -> dict[str, int]:
    kept: dict[str, int] = pruned(**settings).plan.kept
    return kept


def test_ratios_are_the_share_removed() -> None:
    assert widths(ratios=0.3) == {"stem": 28, "body": 21}
    assert widths(ratios={"body": 0.9}) == {"stem": 40, "body": 3}
    assert widths(ratios={"b*": 0.5}) == {"stem": 20, "body": 15}
    assert widths(ratios={"*": 0.5, "body": 0.1}) == {"stem": 20, "body": 27}
    assert widths(ratios=1.0) == {"stem": 1, "body": 1}
    assert widths(ratios=1.0, min_channels=4) == {"stem": 4, "body": 4}


def test_a_conflict_inside_a_group_is_said_and_the_smallest_ratio_wins() -> None:
    result = pruned(ratios={"stem": 0.5, "back": 0.2})
    assert result.plan.kept["stem"] == 32
    assert any("stem 0.5" in note and "back 0.2" in note for note in result.plan.notes)


def test_round_to_a_runtime_is_to_the_widths_that_it_likes() -> None:
    for runtime, multiple in (("native", 4), ("openvino", 16)):
        for share in (0.2, 0.45, 0.7):
            found = widths(ratios=share, round_to=runtime)
            assert found == widths(ratios=share, round_to=multiple)
            assert all(width % multiple == 0 or width in (30, 40) for width in found.values())  # or whole
    # What a recipe keeps is the number: it stays what it was, whatever runtimes come to like.
    kept = PruneStage.Config(name="smaller", rule=None, target_macs=0.5, round_to="openvino")
    assert kept.model_dump(mode="json")["round_to"] == 16


def test_round_to_is_to_the_nearest_and_never_to_zero() -> None:
    assert widths(ratios=0.5, round_to=8) == {"stem": 24, "body": 16}
    assert widths(ratios=0.99, round_to=8) == {"stem": 8, "body": 8}
    # 38 is nearer to the whole 40 than to 32.
    assert widths(ratios={"stem": 0.05, "body": 0.4}, round_to=16) == {"stem": 40, "body": 16}
    kept = widths(target_params=0.3, round_to=8)
    assert all(width % 8 == 0 for width in kept.values())


@pytest.mark.parametrize("target", [0.9, 0.5, 0.2, 0.1])
@pytest.mark.parametrize("which", ["target_params", "target_macs"])
def test_a_target_is_met_and_not_exceeded(which: str, target: float) -> None:
    result = pruned(**{which: target})
    before, after = result.plan.params if which == "target_params" else result.plan.macs
    # One channel of this small network is up to 80 of its 2,700 parameters.
    assert target - 85 / before <= after / before <= target
    if which == "target_params":
        assert after == sum(p.numel() for p in result.model.parameters())


def test_with_ratios_a_target_keeps_their_shape() -> None:
    kept = widths(ratios={"body": 0.5}, target_params=0.7)
    assert kept["stem"] == 40
    assert kept["body"] < 22


def test_protected_layers_stay() -> None:
    assert widths(ratios=0.5, protect=["back"]) == {"body": 15}
    assert "protected by 'back'" in pruned(ratios=0.5, protect=["back"]).plan.frozen["stem"]


def test_the_plan_is_frozen_and_readable() -> None:
    result = pruned(ratios=0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.plan.dead = ()
    assert "stem         40    20" in str(result.plan)
    assert "head   whole: the network returns these channels" in str(result.plan)
    assert "equal to the zeroed network within" in str(result)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"nothing was asked for \(try: ratios=0.5"),
        ({"ratios": {"steem": 0.5}}, r"ratios: 'steem' matches no layer that makes channels \(try: stem"),
        ({"ratios": {"head": 0.5}}, r"'head' can't be pruned: the network returns these channels"),
        ({"ratios": 0.5, "protect": ["bdy"]}, r"protect: 'bdy' matches no layer .*body"),
        ({"ratios": 1.5}, r"share removed, from 0 to 1, not 1.5"),
        ({"ratios": {"stem": -0.1}}, r"stem: a ratio is the share removed"),
        ({"target_params": 0.0}, r"target_params must be a share in \(0, 1\], not 0.0"),
        ({"target_macs": 14}, r"target_macs must be a share"),
        (
            {"target_params": 0.001},
            r"can't reach target_params=0.001 \(the least is 0.00\d+\); kept whole: head \(the net",
        ),
        ({"ratios": 0.5, "round_to": 0}, r"round_to must be a whole number of at least 1, native or openvino, not 0"),
        ({"ratios": 0.5, "round_to": "eager"}, r"round_to must be .* native or openvino, not 'eager'"),
        ({"ratios": 0.5, "importance": "l3"}, r"unknown importance 'l3'"),
    ],
)
def test_mistakes_are_one_clear_line(settings: dict[str, Any], message: str) -> None:
    from compressvqa.errors import CompressVQAError

    with pytest.raises(CompressVQAError, match=message) as caught:
        pruned(**settings)
    assert "\n" not in str(caught.value)


def test_taylor_needs_gradients() -> None:
    with pytest.raises(PruneError, match="run a backward pass first"):
        pruned(ratios=0.5, importance="taylor")
    net = Net()
    net(torch.randn(8, 4)).square().sum().backward()
    assert prune(net, (torch.randn(3, 4),), ratios=0.5, importance="taylor").max_error is not None


def test_random_importance_is_seeded() -> None:
    first, second = (pruned(ratios=0.5, importance="random", seed=s).removed for s in (1, 1))
    assert first == second != pruned(ratios=0.5, importance="random", seed=2).removed


def test_the_least_important_channels_go() -> None:
    net = Net()
    with torch.no_grad():
        for channel in (3, 17, 29):
            for tensor in (net.body.weight, net.body.bias, net.back.weight.T):
                tensor[channel] *= 1e-3
    assert prune(net, (torch.randn(3, 4),), ratios={"body": 0.1}).removed["body"] == (3, 17, 29)


def test_both_targets_are_met_at_both_ends() -> None:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 120, 3), nn.Conv2d(120, 160, 3, stride=4), nn.Conv2d(160, 180, 3))
    net = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    inputs = (torch.randn(1, 3, 24, 24),)
    for params, macs in ((0.5, 0.3), (0.3, 0.38), (0.4, 0.4)):
        plan = prune(net, inputs, target_params=params, target_macs=macs).plan
        assert 0.98 * params <= plan.params[1] / plan.params[0] <= params
        assert 0.98 * macs <= plan.macs[1] / plan.macs[0] <= macs
    # With all channels of the first layer, 0.3 of the parameters do 0.43 of the work: more is not to be had.
    plan = prune(net, inputs, target_params=0.3, target_macs=0.5).plan
    assert plan.params[1] / plan.params[0] >= 0.98 * 0.3
    assert len(plan.notes) == 1 and "is kept, target_params binds" in plan.notes[0]


def test_zeros_are_what_goes_and_nothing_is_lost() -> None:
    net, x = Net().eval(), torch.randn(5, 4)
    with torch.no_grad():
        for channel in (0, 7, 31):
            for tensor in (net.stem.weight, net.stem.bias, net.back.weight, net.back.bias):
                tensor[channel] = 0
            net.body.weight[:, channel] = 0
            net.head.weight[:, channel] = 0
        net.body.weight[4] = 0  # its bias and its reader are not zero
    result = prune(net, (x,), ratios="zeros")
    assert result.plan.kept == {"stem": 37, "body": 30}
    assert result.removed == {"stem": (0, 7, 31), "back": (0, 7, 31)}
    assert torch.allclose(result.model(x), net(x), atol=1e-6)
    # Nothing but zeros goes, so widths are rounded up.
    rounded = prune(net, (x,), ratios="zeros", round_to=2)
    assert rounded.plan.kept == {"stem": 38, "body": 30} and "zero channels that stay: stem 1" in rounded.plan.notes


def test_without_zeros_there_is_nothing_to_remove() -> None:
    with pytest.raises(
        PruneError, match=r"found no channel whose parameters are all exactly zero \(try: a group spars"
    ):
        pruned(ratios="zeros")


def test_a_global_ranking_takes_from_the_group_of_small_scores() -> None:
    """Half of body's channels are nearly nothing beside its others, stem's are alike: body gives more."""
    net = Net()
    with torch.no_grad():
        for tensor in (net.body.weight, net.body.bias, net.back.weight.T):
            tensor[::2] *= 1e-3
    local = prune(net, (torch.randn(3, 4),), ratios=0.3)
    ranked = prune(net, (torch.randn(3, 4),), ratios=0.3, scope="global")
    assert local.plan.kept == {"stem": 28, "body": 21}
    assert ranked.plan.kept["body"] == 15 and ranked.plan.kept["stem"] == 34  # 21 of 70 channels are gone
    assert all(channel % 2 == 0 for channel in ranked.removed["body"])
    met = prune(net, (torch.randn(3, 4),), target_params=0.4, scope="global").plan
    assert 0.4 - 85 / met.params[0] <= met.params[1] / met.params[0] <= 0.4
    assert met.kept["body"] >= 3  # no more than 90 % of a group go
    assert prune(net, (torch.randn(3, 4),), target_params=0.4, scope="global", max_ratio=0.5).plan.kept["body"] == 15


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_latency": 0.0}, r"target_latency must be a share in \(0, 1\], not 0.0"),
        (
            {"target_latency": 0.5, "runtime": "fast"},
            "runtime must be eager, compile, onnxruntime, openvino, native or a function .*, not 'fast'",
        ),
        ({"target_latency": 0.5, "runtime": lambda model, inputs: 3}, "the runtime returned int, not a function"),
        ({"ratios": "zeros", "target_latency": 0.5}, "removes just what is zero"),
        ({"ratios": 0.5, "scope": "world"}, "scope must be local or global, not 'world'"),
        ({"ratios": 0.5, "max_ratio": 2.0}, r"max_ratio must be a share in \[0, 1\], not 2.0"),
    ],
)
def test_new_mistakes_are_one_clear_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PruneError, match=message) as caught:
        pruned(**settings)
    assert "\n" not in str(caught.value)
