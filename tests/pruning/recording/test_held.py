"""Tensors that a module holds as plain attributes are cut like buffers."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pruning.recording.test_places import C, Middle, mean, pruned_right
from torch import Tensor, nn

import compressvqa as cv
from compressvqa.pruning import prune
from compressvqa.pruning.recording.held import held_tensors
from compressvqa.registry import models

HELD: dict[str, Any] = {
    "a table": (lambda s, y: mean(y + s.held), lambda: torch.randn(1, C, 1, 1)),
    "a table of tokens": (lambda s, y: (y.flatten(2).mT + s.held[:, : y.shape[2] * y.shape[3]]).mean(1),
                          lambda: torch.randn(1, 16, C)),
    "a list": (lambda s, y: sum(mean(y * t) for t in s.held), lambda: [torch.randn(C, 1, 1), torch.randn(C, 1, 1)]),
    "a dict": (lambda s, y: mean(y * s.held["scale"][:, None, None] + s.held["shift"][:, None, None]),
               lambda: {"scale": torch.randn(C), "shift": torch.randn(C)}),
    "a tuple in a list": (lambda s, y: mean(y) * s.held[0][1], lambda: [(torch.randn(3), torch.randn(C))]),
    "a mean and a deviation": (lambda s, y: mean((y - s.held[0]) / s.held[1]),
                               lambda: (torch.randn(1, C, 1, 1), torch.rand(1, C, 1, 1) + 1)),
    "a matrix": (lambda s, y: F.linear(mean(y), s.held.to(y)), lambda: torch.randn(C, C)),
    "kernels": (lambda s, y: mean(F.conv2d(y, s.held.to(y), groups=y.shape[1])), lambda: torch.randn(C, 1, 3, 3)),
    "a column of the table only": (lambda s, y: mean(y) * s.held[:, 1], lambda: torch.randn(C, 2)),
}  # fmt: skip


@pytest.mark.parametrize("how", HELD)
def test_held_tensors_are_cut_with_their_channels(how: str) -> None:
    middle, made = HELD[how]
    torch.manual_seed(1)
    net = Middle(middle, held=made(), divides=("held[1]",) if "deviation" in how else ())
    before = copy.deepcopy(net.held)
    small = pruned_right(net)
    shapes = [h.tensor.shape for h in held_tensors(small).values()]
    assert any(C // 2 in shape for shape in shapes) and not any(C in shape for shape in shapes if how != "a matrix")
    for one, other in zip(held_tensors(net).values(), tensors(before), strict=True):
        assert torch.equal(one.tensor, other)


def tensors(held: Any) -> list[Tensor]:
    net = nn.Module()
    net.held = held
    return [h.tensor for h in held_tensors(net).values()]


def test_one_tensor_for_two_modules_stays_one() -> None:
    table = torch.randn(1, C, 1, 1)

    class Adds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pos = table

        def forward(self, y: Tensor) -> Tensor:
            return y + self.pos

    net = nn.Sequential(nn.Conv2d(3, C, 3), Adds(), nn.ReLU(), Adds(), nn.Conv2d(C, 2, 1))
    small = prune(net, (torch.randn(1, 3, 6, 6),), ratios=0.5).model
    assert small[1].pos is small[3].pos and small[1].pos.shape == (1, C // 2, 1, 1)
    assert net[1].pos is table


class Positions(nn.Module):
    """Adds a sinusoidal table to tokens, another per layer from a list."""

    def __init__(self) -> None:
        super().__init__()
        angles = torch.arange(64)[:, None] * torch.exp(torch.arange(C) * (-math.log(1e4) / C))
        self.pos, self.more = angles.sin(), [angles.cos(), {"x": angles.cos() * 2}]
        self.a, self.b = nn.Conv2d(3, C, 3), nn.Linear(C, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).flatten(2).mT
        n = y.shape[1]
        return self.b((y + self.pos[:n] + self.more[0][:n] * self.more[1]["x"][:n]).relu().mean(1))


def test_a_pruned_network_with_tables_comes_back_from_its_folder(tmp_path) -> None:
    models.register("test-net", mode="NR", inputs="tensors")(Positions)
    try:
        net, x = cv.create_model("test-net").eval(), torch.randn(1, 3, 6, 6)
        small = prune(net, (x,), ratios={"a": 0.5}).model
        loaded = cv.load(cv.save(small, tmp_path / "net"))
        assert loaded.pos.shape == loaded.more[0].shape == loaded.more[1]["x"].shape == (64, C // 2)
        with torch.no_grad():
            torch.testing.assert_close(loaded(x), small(x), rtol=0, atol=0)
    finally:
        models._entries.pop("test-net", None)
