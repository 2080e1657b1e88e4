"""Normalisations that a network writes by hand: pruned as the library's layer is, or kept."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressvqa.pruning import find_groups, prune, trace

INPUTS = (torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)),)


class Normed(nn.Module):
    """Tokens of eight channels, normalised in one of several ways between two linear layers."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.stem, self.head = form, nn.Linear(3, 8), nn.Linear(8, 2)
        self.weight, self.bias = nn.Parameter(torch.rand(8) + 0.5), nn.Parameter(torch.rand(8))

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        if self.form == "layer norm":
            y = F.layer_norm(y, (y.shape[-1],), self.weight, self.bias)
        elif self.form == "layer norm by hand":
            y = y - y.mean(-1, keepdim=True)
            y = y / torch.sqrt(y.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight + self.bias
        elif self.form == "layer norm by var_mean":
            var, mean = torch.var_mean(y, dim=-1, keepdim=True, unbiased=False)
            y = (y - mean) * torch.rsqrt(var + 1e-5) * self.weight + self.bias
        elif self.form == "rms norm":
            y = F.rms_norm(y, (y.shape[-1],), self.weight, 1e-5) + self.bias
        elif self.form == "rms norm by hand":
            y = y * torch.rsqrt((y * y).mean(-1, keepdim=True) + 1e-5) * self.weight + self.bias
        elif self.form == "response norm":  # ConvNeXt V2: the mean itself divides
            size = y.norm(dim=1, keepdim=True)
            y = y + y * (size / (size.mean(-1, keepdim=True) + 1e-6)) * self.weight + self.bias
        elif self.form == "gate":
            y = y * y.mean(-1, keepdim=True).sigmoid() * self.weight
        return self.head(y)


def net(form: str) -> Normed:
    torch.manual_seed(0)
    return Normed(form)


@pytest.mark.parametrize(
    ("by_hand", "layer"),
    [
        ("layer norm by hand", "layer norm"),
        ("layer norm by var_mean", "layer norm"),
        ("rms norm by hand", "rms norm"),
    ],
)
def test_by_hand_is_as_by_the_library(by_hand: str, layer: str) -> None:
    ours, theirs = prune(net(by_hand), INPUTS, ratios=0.5), prune(net(layer), INPUTS, ratios=0.5)
    assert ours.removed == theirs.removed
    assert len(ours.removed["stem"]) == 4
    with torch.no_grad():
        assert torch.allclose(ours.model(*INPUTS), theirs.model(*INPUTS), atol=1e-6)
    assert any("over the channels kept" in note for note in ours.plan.notes)
    assert theirs.plan.notes == ()


@pytest.mark.parametrize("form", ["response norm", "gate"])
def test_any_other_mean_over_channels_keeps_them(form: str) -> None:
    (group,) = (g for g in find_groups(trace(net(form), INPUTS)) if g.name == "stem")
    assert group.frozen is not None and "every channel has a part" in group.frozen


def test_standardised_weights_are_those_of_the_columns_kept() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            weight = weight / (weight.std((1, 2, 3), keepdim=True) + 1e-5)
            return F.conv2d(x, weight, self.bias)

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), Standardised(6, 4, 3), nn.Conv2d(4, 2, 1))
    x = torch.randn(2, 3, 6, 6)
    pruned = prune(network, (x,), ratios=0.5)
    rows = [i for i in range(4) if i not in pruned.removed["2"]]
    columns = [i for i in range(6) if i not in pruned.removed["0"]]
    kept = network[2].weight[rows][:, columns]
    kept = (kept - kept.mean((1, 2, 3), keepdim=True)) / (kept.std((1, 2, 3), keepdim=True) + 1e-5)
    y = F.conv2d(network[1](network[0](x))[:, columns], kept, network[2].bias[rows])
    expected = F.conv2d(y, network[3].weight[:, rows], network[3].bias)
    assert torch.allclose(pruned.model(x), expected, atol=1e-5)


def test_dividing_by_a_buffer_proves_something() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 2, 1)
            self.register_buffer("std", torch.rand(6) + 0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x) / self.std[:, None, None])

    torch.manual_seed(0)
    pruned = prune(Scaled(), (torch.randn(2, 3, 4, 4),), ratios=0.5)
    assert pruned.max_error is not None and pruned.max_error < 1e-5
    assert pruned.model.std.shape == (3,)
    assert pruned.plan.notes == ()
