"""Operators that nobody knows: what they do to channels is found out by trying them; where they mix, channels stay."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pruning.reference import difference, gone_slots, zeroed
from torch import Tensor, nn

from compressvqa.pruning import prune, trace

LIBRARY = torch.library.Library("compressvqa_probing", "DEF")
STATE = {"calls": 0}


def counted(x: Tensor) -> Tensor:
    STATE["calls"] += 1
    return x * STATE["calls"]


def operator(schema: str, work: Callable[..., object]) -> Callable[..., Tensor]:
    LIBRARY.define(schema)
    name = schema.partition("(")[0]
    LIBRARY.impl(name, work, "CPU")
    found: Callable[..., Tensor] = getattr(torch.ops.compressvqa_probing, name)
    return found


def neighbours(x: Tensor) -> Tensor:
    return x + 1e-3 * F.pad(x, (0, 0, 0, 0, 1, 0))[:, :-1]


def one_pair(x: Tensor) -> Tensor:
    """Channel 2 has a little of channel 6; all others stand alone."""
    return torch.cat([x[:, :2], x[:, 2:3] + 1e-2 * x[:, 6:7] if x.shape[1] > 6 else x[:, 2:3], x[:, 3:]], 1)


def loud(x: Tensor) -> Tensor:
    """Channels are mixed only where numbers are large."""
    return torch.where(x.abs().amax() > 100, x + x.mean(1, keepdim=True), 2 * x)


SQUASH = operator("squash(Tensor x) -> Tensor", lambda x: x * torch.sigmoid(1.7 * x))
SCALE = operator("scale(Tensor x, Tensor w) -> Tensor", lambda x, w: x * w.view(1, -1, 1, 1))
LAYER = operator("layer(Tensor x, Tensor w, Tensor b) -> Tensor", lambda x, w, b: (x @ w.t() + b).contiguous())
LAST = operator("last(Tensor x) -> Tensor", lambda x: x.permute(0, 2, 3, 1).contiguous())
PEAK = operator("peak(Tensor x) -> (Tensor, Tensor)", lambda x: (x.relu() + 0, x.amax((2, 3))))
ENERGY = operator("energy(Tensor x) -> Tensor", lambda x: x.square().sum(1, keepdim=True))
LENGTHS = operator("lengths(Tensor x, *, Tensor n) -> Tensor", lambda x, n: x * n.to(x).view(-1, 1, 1, 1))

PASSES: dict[str, Callable[[Probed, Tensor], Tensor]] = {
    "elementwise": lambda n, x: SQUASH(x),
    "a weight": lambda n, x: SCALE(x, n.weight),
    "a layer": lambda n, x: LAYER(x.permute(0, 2, 3, 1), n.wide.weight, n.wide.bias).permute(0, 3, 1, 2),
    "another place": lambda n, x: LAST(x).permute(0, 3, 1, 2),
    "two results": lambda n, x: PEAK(x)[0] * PEAK(x)[1][..., None, None],
    "a sum of zeros": lambda n, x: x * ENERGY(x),
    "whole numbers": lambda n, x: LENGTHS(x, n=torch.arange(1, len(x) + 1)),
}
HIDES: dict[str, Callable[[Tensor], Tensor]] = {
    "the place": operator("place(Tensor x) -> Tensor", lambda x: x * torch.arange(x.shape[1]).to(x).view(1, -1, 1, 1)),
    "a mean": operator("mean(Tensor x) -> Tensor", lambda x: x - x.mean(1, keepdim=True)),
    "the number": operator("number(Tensor x) -> Tensor", lambda x: x / math.sqrt(x.shape[1])),
    "neighbours": operator("neighbours(Tensor x) -> Tensor", neighbours),
    "one pair": operator("one_pair(Tensor x) -> Tensor", one_pair),
    "large numbers": operator("loud(Tensor x) -> Tensor", loud),
    "another order": operator("order(Tensor x) -> Tensor", lambda x: x.flip(1).contiguous()),
    "a multiple": operator("multiple(Tensor x) -> Tensor", lambda x: x * (1 if x.shape[1] % 8 == 0 else 0.5)),
    "chance": operator("chance(Tensor x) -> Tensor", lambda x: x + 0.1 * torch.rand_like(x)),
    "a state": operator("state(Tensor x) -> Tensor", counted),
    "a threshold": operator("top(Tensor x) -> Tensor", lambda x: torch.where(x >= x.amax(1, keepdim=True), x, 0 * x)),
}


class Probed(nn.Module):
    """Two convolutions and an operator between them."""

    def __init__(self, body: Callable[[Probed, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.wide, self.weight = body, nn.Linear(8, 8), nn.Parameter(torch.rand(8) + 0.5)
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3), nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.body(self, self.a(x).relu())).relu()).mean((1, 2, 3))


X = torch.randn(2, 3, 8, 7, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", PASSES)
def test_what_passes_channels_is_found_out_and_said(name: str) -> None:
    net = Probed(PASSES[name]).eval()
    pruned = prune(net, X, ratios=0.5)
    assert len(pruned.removed["a"]) == 4
    assert pruned.trace.probed_ops
    assert not pruned.trace.unknown_ops
    assert any(note.startswith("probed: ") for note in pruned.plan.notes)
    assert difference(pruned.model.double(), zeroed(net, gone_slots(pruned)), (X * 3,)) < 1e-12


@pytest.mark.parametrize("name", HIDES)
def test_what_hides_anything_keeps_its_channels(name: str) -> None:
    facts = trace(Probed(lambda n, x: HIDES[name](x)).eval(), X)
    assert [u.operator for u in facts.unknown_ops]
    assert not facts.probed_ops


def test_a_layer_that_only_probing_knows_loses_rows_and_columns() -> None:
    net = Probed(PASSES["a layer"]).eval()
    pruned = prune(net, X, ratios={"wide": 0.5, "a": 0.25})
    assert pruned.model.wide.weight.shape == (4, 6)
    assert difference(pruned.model.double(), zeroed(net, gone_slots(pruned)), (X,)) < 1e-12


def test_a_target_says_what_it_does_not_count() -> None:
    pruned = prune(Probed(PASSES["elementwise"]).eval(), X, target_macs=0.5)
    assert any("does not count the work of compressvqa_probing::squash" in note for note in pruned.plan.notes)


def test_probing_leaves_no_trace() -> None:
    before = torch.get_rng_state()
    net = Probed(PASSES["elementwise"]).eval()
    state = torch.get_rng_state()
    trace(net, X)
    assert torch.equal(torch.get_rng_state(), state)
    torch.set_rng_state(before)
    assert X.dtype == torch.float32
