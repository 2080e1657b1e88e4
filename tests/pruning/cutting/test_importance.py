"""Importances against torch-pruning's and against what is worked out by hand on real networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn import functional

import compressvqa as cv
from compressvqa.errors import PruneError
from compressvqa.pruning import Importance, find_groups, prune, trace
from compressvqa.pruning.cutting import importance
from compressvqa.pruning.cutting.activations import mean_activations
from compressvqa.pruning.cutting.choice import ChannelScores

IMAGES = (torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)),)


def network() -> nn.Sequential:
    """The first convolution's channels are scaled by a batch norm and read by a second one."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 5, 3), nn.Flatten())
    with torch.no_grad():
        net[1].weight.copy_(torch.linspace(-1, 1.3, 8))
    return net.eval()


def scores(net: nn.Module, name: str, inputs: Any = IMAGES, batches: Any = None, group: str = "0") -> Tensor:
    facts = trace(net, inputs)
    found = next(g for g in find_groups(facts) if g.name == group)
    return ChannelScores(net, Importance(name, batches), inputs, torch.Generator()).of(found)


def peer(criterion: Callable[..., Any], net: nn.Module) -> Tensor:
    """What torch-pruning's criterion says of the first layer's outputs."""
    graph = tp.DependencyGraph().build_dependency(net, example_inputs=IMAGES)
    result = criterion(graph.get_pruning_group(net[0], tp.prune_conv_out_channels, idxs=list(range(8))))
    assert isinstance(result, Tensor)
    return result


def test_bn_scale_is_torch_pruning_s() -> None:
    net = network()
    assert torch.allclose(scores(net, "bn_scale"), peer(tp.importance.BNScaleImportance(), net))


def test_lamp_is_torch_pruning_s_where_one_layer_holds_the_channels() -> None:
    """torch-pruning adds up layers of different sizes without rescaling, so only one layer may have a say."""
    torch.manual_seed(1)
    weight = torch.randn(8, 3, 3, 3)
    net = network()
    with torch.no_grad():
        net[0].weight.copy_(weight)
        net[3].weight.zero_()
        net[1].weight.zero_()
    theirs = peer(tp.importance.LAMPImportance(), net)
    ours = importance.lamp([weight.flatten(1)], [None])
    assert torch.allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 4), (6, 1), (8, 27)])
def test_lamp_and_fpgm_are_their_formulas(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    squares = weight.square().sum(1)
    lamp = torch.stack([s / squares[squares >= s].sum() for s in squares])
    assert torch.allclose(importance.lamp([weight], [None]), lamp)
    distances = torch.stack([sum((a - b).norm() for b in weight) + torch.zeros(()) for a in weight])
    fpgm = importance.fpgm([weight], [None])
    assert torch.allclose(fpgm * distances.mean(), distances, atol=1e-5)


def test_fpgm_removes_a_channel_that_others_can_replace() -> None:
    """A ring of channels, and one at its centre: the smallest norm is not at the centre, the median is."""
    angles = torch.arange(6) * torch.pi / 3
    ring = torch.stack([angles.cos(), angles.sin()], 1) + torch.tensor([3.0, 0.0])
    weight = torch.cat([ring, torch.tensor([[3.0, 0.0]])])
    assert importance.fpgm([weight], [None]).argmin() == 6
    assert importance.l2([weight], [None]).argmin() == 3


def test_activation_is_what_the_next_layer_reads() -> None:
    net = network()
    batches = [(torch.rand(3, 3, 8, 8),), (torch.rand(1, 3, 8, 8),)]
    with torch.no_grad():
        read = torch.cat([net[2](net[1](net[0](x))) for (x,) in batches]).abs().mean((0, 2, 3))
    assert torch.allclose(scores(net, "activation", batches=batches), read / read.mean(), rtol=1e-5)
    # Without data of its own it looks at the inputs.
    assert torch.equal(scores(net, "activation"), scores(net, "activation", batches=[IMAGES]))


class Odd(nn.Module):
    """Grouped, transposed, parametrised and shared layers, and a weight used outside its own module."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.grouped = nn.Conv2d(4, 6, 1, groups=2)
        self.up = nn.ConvTranspose2d(6, 5, 2, stride=2)
        self.normed = torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(5, 4, 1))
        self.inner = nn.Linear(4, 7)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = self.normed(self.up(self.grouped(x)))
        return functional.linear(x.mean((2, 3)), self.inner.weight, self.inner.bias)


def test_activations_of_odd_layers_are_those_that_hooks_see() -> None:
    net, x = Odd().eval(), torch.randn(2, 4, 4, 4)
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name in ("grouped", "up", "normed"):
        hook = lambda module, args, out, name=name: seen.setdefault(name, []).append((args[0], out))
        getattr(net, name).register_forward_hook(hook)
    found = mean_activations(net, [(x,)])

    def mean(name: str, side: int) -> Tensor:
        rows = torch.cat([pair[side].detach().movedim(1, 0).flatten(1) for pair in seen[name]], 1)
        return rows.abs().double().mean(1)

    assert len(seen["up"]) == 2
    for (name, dim), side in {
        ("up", 0): 0,
        ("up", 1): 1,
        ("normed", 1): 0,
        ("normed", 0): 1,
        ("grouped", 0): 1,
    }.items():
        assert torch.allclose(found[f"{name}.weight", dim], mean(name, side))
    # A grouped layer's input index stands for one channel in each of its two groups.
    assert torch.allclose(found["grouped.weight", 1], mean("grouped", 0).reshape(2, 2).mean(0))
    assert found["inner.weight", 0].shape == (7,)
    assert net.training is False and not torch.nn.utils.parametrize._cache


@pytest.mark.parametrize("name", ["lamp", "fpgm", "activation", "l2"])
def test_any_importance_prunes_our_own_network(name: str) -> None:
    net = cv.create_model("rankdvqa", widths=(4, 4, 6, 6, 8, 8), merge_width=8, mlp_width=8)
    pruned = prune(net, cv.example_inputs(net, size=96), target_macs=0.5, importance=name)
    assert pruned.max_error is not None and pruned.max_error <= 1e-5
    assert pruned.plan.macs[1] <= 0.5 * pruned.plan.macs[0]


def test_what_an_importance_cannot_judge_is_said() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.b = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)
            self.c = nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.b(self.norm(self.a(x)).relu()))

    pruned = prune(Mixed(), IMAGES, ratios=0.5, importance="bn_scale")
    assert pruned.plan.notes == ("importance 'bn_scale' needs norms with a scale, there are none: b judged by 'l1'",)
    with pytest.raises(PruneError, match="'bn_scale' needs norms with a scale, there are none"):
        prune(Mixed(), IMAGES, ratios={"b": 0.5}, importance="bn_scale")


def test_a_plugin_of_the_plain_signature_and_one_that_asks_for_parts() -> None:
    from compressvqa.registry import importances

    kept = dict(importances._entries)
    try:

        @cv.register_importance("test-plain")
        def plain(weights: list[Tensor], gradients: list[Tensor | None]) -> Tensor:
            """Falls with the place."""
            return torch.arange(len(weights[0]), 0, -1).float()

        @cv.register_importance("test-parts")
        def by_role(weights: list[Tensor], gradients: list[Tensor | None], *, parts: Any) -> Tensor:
            """Sums what makes the channels."""
            return sum(
                w.sum(1) for w, p in zip(weights, parts, strict=True) if p.role == "out" and p.layer is nn.Conv2d
            )

        net = network()
        assert prune(net, IMAGES, ratios=0.25, importance="test-plain").removed["0"] == (6, 7)
        assert torch.allclose(scores(net, "test-parts"), net[0].weight.sum((1, 2, 3)), atol=1e-6)
    finally:
        importances._entries.clear()
        importances._entries.update(kept)
