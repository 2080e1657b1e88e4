"""torch-pruning beside us: its importances on our groups choose what its own pruner chooses, `cv.verify` sees both."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import torch_pruning as tp
from torch import Tensor, nn
from torch_pruning.pruner import importance as peer

import compressvqa as cv
from compressvqa.errors import PruneError, RegistryError
from compressvqa.registry import importances

NAMES = [name.removeprefix("torch-pruning/") for name in importances.names("torch-pruning/*")]
X = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Plain(nn.Module):
    """Convolutions with batch norms, one of them depthwise, and linear layers that read a flattened map."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.norm_a = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.depth, self.norm_b = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16)
        self.b, self.norm_c = nn.Conv2d(16, 12, 1), nn.BatchNorm2d(12)
        self.c, self.norm_d, self.head = nn.Linear(48, 20), nn.LayerNorm(20), nn.Linear(20, 2)
        for norm in (self.norm_a, self.norm_b, self.norm_c, self.norm_d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm_b(self.depth(F.relu(self.norm_a(self.a(x))))))
        x = F.adaptive_avg_pool2d(F.relu(self.norm_c(self.b(x))), 2)
        return self.head(self.norm_d(self.c(x.flatten(1))))


def network() -> nn.Module:
    """With gradients of a loss."""
    net = Plain().eval()
    net(X).square().sum().backward()
    return net


def theirs(net: nn.Module, importance: Any) -> nn.Module:
    """A copy, pruned to half by torch-pruning's own pruner."""
    copied = copy.deepcopy(net)
    for parameter, other in zip(copied.parameters(), net.parameters(), strict=True):
        parameter.grad = None if other.grad is None else other.grad.clone()
    pruner = tp.pruner.BasePruner(
        copied,
        X,
        importance=importance,
        pruning_ratio=0.5,
        ignored_layers=[copied.head],
        in_channel_groups={},  # its defaults are dictionaries that all pruners of a process share
        out_channel_groups={},
    )
    pruner.step()
    return copied


def test_the_names_are_its_classes() -> None:
    assert set(NAMES) == {"Magnitude", "GroupMagnitude", "Taylor", "GroupTaylor", "BNScale", "LAMP", "FPGM", "Random"}
    assert all(hasattr(peer, f"{name}Importance") for name in NAMES)
    assert importances["torch-pruning/Taylor"].facts["gradients"]


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"Random"}))
def test_our_choice_by_its_importance_is_its_own(name: str) -> None:
    net = network()
    found = cv.verify(net, theirs(net, getattr(peer, f"{name}Importance")()), X)
    assert found.passed, found
    ours = cv.prune(net, X, ratios=0.5, importance=f"torch-pruning/{name}", protect=["head"])
    for path in ("a", "depth", "b", *(["c"] if name != "BNScale" else [])):  # it leaves alone what has no batch norm
        assert ours.removed[path] == found.removed[path]
    assert cv.verify(net, ours.model, X).removed == ours.removed


@pytest.mark.parametrize(
    "settings",
    [
        {"p": 1},
        {"p": 1, "bias": True, "group_reduction": "max", "normalizer": "max"},
        {"group_reduction": "first", "normalizer": None},
        {"group_reduction": "prod", "normalizer": "sum", "target_types": [nn.modules.batchnorm._BatchNorm, nn.Conv2d]},
        {"normalizer": "gaussian"},
    ],
)
def test_its_objects_are_taken_with_their_settings(settings: dict[str, Any]) -> None:
    net, made = network(), tp.importance.GroupMagnitudeImportance(**settings)
    found = cv.verify(net, theirs(net, made), X, power=False)
    ours = cv.prune(net, X, ratios=0.5, importance=made, protect=["head"])
    # The first layer of a group is, for torch-pruning, the one that it met last: here a depthwise one, which it skips.
    for path in ("b",) if settings.get("group_reduction") == "first" else ("a", "b"):
        assert ours.removed[path] == found.removed[path]


def test_a_hessian_is_taken_with_what_it_gathered() -> None:
    def gathered(net: nn.Module) -> Any:
        made = tp.importance.GroupHessianImportance()
        for loss in net(X).square().sum(1):
            net.zero_grad()
            loss.backward(retain_graph=True)
            made.accumulate_grad(net)
        return made

    net = Plain().eval()
    made = gathered(net)
    before = [p.grad.clone() for p in net.parameters()]
    ours = cv.prune(net, X, ratios=0.5, importance=made, protect=["head"])
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), before, strict=True))
    again = cv.prune(net, X, ratios=0.5, importance=made, protect=["head"])
    assert again.removed == ours.removed
    other = copy.deepcopy(net)
    criterion = gathered(other)
    pruner = tp.pruner.BasePruner(other, X, importance=criterion, pruning_ratio=0.5, ignored_layers=[other.head],
                                  in_channel_groups={}, out_channel_groups={})  # fmt: skip
    pruner.step()
    assert cv.verify(net, other, X, power=False).removed == ours.removed


def test_random_is_repeated_and_leaves_no_trace() -> None:
    net, state = network(), torch.get_rng_state()
    first, second, third = (
        cv.prune(net, X, ratios=0.5, importance="torch-pruning/Random", seed=seed).removed for seed in (0, 0, 1)
    )
    assert first == second != third
    assert torch.equal(state, torch.get_rng_state())


def test_what_can_not_be_honoured_is_said() -> None:
    net = network()
    for wish, error, said in [
        ("torch-pruning/Hessian", PruneError, "accumulate_grad"),
        ("torch-pruning/Activation", PruneError, "'activation'"),
        ("torch-pruning/Nothing", RegistryError, "unknown importance"),
        (peer.OBDCImportance(), PruneError, "looks at hooks"),
        (tp.importance.GroupMagnitudeImportance(group_reduction="gate"), PruneError, "group_reduction='gate'"),
        (3, PruneError, "a registered name, an Importance"),
    ]:
        with pytest.raises(error, match=said):
            cv.prune(net, X, ratios=0.5, importance=wish)
    net.zero_grad()
    with pytest.raises(PruneError, match="'torch-pruning/GroupTaylor' needs gradients"):
        cv.prune(net, X, ratios=0.5, importance="torch-pruning/GroupTaylor")


def test_a_function_is_a_criterion() -> None:
    def last(weights: list[Tensor], gradients: list[Tensor | None]) -> Tensor:
        return torch.arange(len(weights[0])).float()

    assert cv.prune(network(), X, ratios={"a": 0.5}, importance=last).removed["a"] == tuple(range(8))


class Divides(Plain):
    """A number of channels in the forward, which no pruner of layers sees."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_b(self.depth(F.relu(self.norm_a(self.a(x)))))
        x = F.adaptive_avg_pool2d(self.norm_c(self.b(x / x.shape[1])), 2)
        return self.head(self.norm_d(self.c(x.flatten(1))))


def test_its_silent_mistakes_are_seen() -> None:
    net = Divides().eval()
    found = cv.verify(net, theirs(net, tp.importance.MagnitudeImportance()), X)
    assert not found.passed and found.status.startswith("off by")
