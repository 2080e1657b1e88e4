"""Tracing leaves a network as it was, and does not guess."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from compressvqa.errors import PruneError
from compressvqa.pruning import find_groups, prune, trace


class Counter(nn.Module):
    """Writes into a buffer on every call, and fails when asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 3)
        self.register_buffer("calls", torch.zeros(2))
        self.fail = False

    def forward(self, x: Tensor) -> Tensor:
        self.calls[0] += 1
        self.calls.add_(1)
        y = self.b(self.norm(self.a(x)))
        if self.fail:
            raise ValueError("asked to")
        return y


@pytest.mark.parametrize("fail", [False, True])
def test_a_network_is_left_as_it_was(fail: bool) -> None:
    net, x = Counter(), torch.randn(2, 3, 8, 8)
    net.train()
    net.norm.eval()
    net.a.weight.requires_grad_(False)
    net(x).sum().backward()
    before = copy.deepcopy(net.state_dict())
    gradient = net.b.weight.grad.clone()
    modes = [m.training for m in net.modules()]
    net.fail = fail
    if fail:
        with pytest.raises(PruneError, match=r"the network raises ValueError: .*asked to"):
            trace(net, (x,))
    else:
        trace(net, (x,))
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert [p.requires_grad for p in net.parameters()] == [False, True, True, True, True, True]
    assert torch.equal(net.b.weight.grad, gradient)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks
    assert torch.is_grad_enabled()


def test_pruning_keeps_flags_and_types() -> None:
    net = Counter().double().train()
    net.a.weight.requires_grad_(False)
    pruned = prune(net, (torch.randn(2, 3, 8, 8, dtype=torch.double),), ratios=0.5).model
    assert pruned.a.weight.dtype == torch.double
    assert not pruned.a.weight.requires_grad
    assert pruned.b.weight.requires_grad
    assert all(p.grad is None for p in pruned.parameters())
    assert pruned.training
    assert pruned.norm.num_features == pruned.a.out_channels == pruned.b.in_channels == 3


def test_no_tensor_returned() -> None:
    class Silent(nn.Linear):
        def forward(self, x: Tensor) -> str:  # type: ignore[override]
            return "good"

    with pytest.raises(PruneError, match="returned no tensor"):
        trace(Silent(2, 2), (torch.ones(1, 2),))


def test_meta_device() -> None:
    """A network that does not fit into memory can be traced without its numbers."""
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(4, 1 << 16), nn.ReLU(), nn.Linear(1 << 16, 1 << 16), nn.Linear(1 << 16, 2))
    groups = find_groups(trace(net, (torch.empty(1, 4, device="meta"),)))
    assert [(g.name, g.channels, g.frozen is None) for g in groups] == [
        ("0", 1 << 16, True), ("2", 1 << 16, True), ("3", 2, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "mix",
    [
        lambda y: y.cumsum(1),
        lambda y: y.sort(1).values,
        lambda y: y.amax(1, keepdim=True) + y,
        lambda y: y.roll(1, 1),
        lambda y: y[:, torch.randperm(y.shape[1])],
        lambda y: torch.fft.fft(y, dim=1).abs(),
        lambda y: y.log_softmax(1),
        lambda y: y * y.mean(1, keepdim=True),
        lambda y: y + torch.arange(y.shape[1])[:, None, None],
        lambda y: torch.cdist(y.flatten(2), y.flatten(2)).unsqueeze(-1),
        lambda y: y.unfold(1, 2, 2).flatten(1, 2),
        lambda y: torch.where(y > y.median(), y, 0 * y),
        lambda y: y.masked_fill(y == y.max(), 0.0),
        lambda y: y * y.std(),
        lambda y: y.prod(1, keepdim=True).expand_as(y),
        lambda y: torch.linalg.vector_norm(y + 1, dim=1, keepdim=True).expand_as(y),
    ],
)
def test_channels_that_are_mixed_are_kept(mix: Callable[[Tensor], Tensor]) -> None:
    class Mixes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 6, 3), nn.LazyConv2d(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(mix(self.a(x)))

    net = Mixes()
    net(torch.randn(2, 3, 5, 5))
    (group,) = (g for g in find_groups(trace(net, (torch.randn(2, 3, 5, 5),))) if "a" in g.producers)
    assert group.frozen
