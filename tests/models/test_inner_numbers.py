"""Numbers inside configs that pruning set anew come back with a saved network."""

from __future__ import annotations

import functools
import types

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pruning.recording.test_places import HELD, C
from torch import Tensor, nn

import compressvqa as cv
from compressvqa.errors import WeightsError
from compressvqa.models.changes import Changes
from compressvqa.registry import models

CONFIG = types.SimpleNamespace(width=C)


@pytest.fixture
def register():
    """Registers a network's class for one test."""
    yield models.register("test-net", mode="NR", inputs="tensors")
    models._entries.pop("test-net", None)


def round_trip(net: nn.Module, folder) -> nn.Module:
    x = torch.randn(2, 3, 6, 6)
    small = cv.prune(net.eval(), (x,), ratios={"a": 0.5}).model.eval()
    loaded = cv.load(cv.save(small, folder)).eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), small(x), rtol=0, atol=0)
    assert loaded.a.out_channels == C // 2
    return loaded


@pytest.mark.parametrize("where", HELD)
def test_every_place(where, register, tmp_path):
    made, read = HELD[where]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.held = made()
            self.a, self.b = nn.Conv2d(3, C, 3), nn.Linear(C, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).relu().view(len(x), read(self.held), -1).mean(2))

    register(Net)
    assert read(round_trip(cv.create_model("test-net"), tmp_path / "net").held) == C // 2


def test_classes_partials_and_a_config_of_all(register, tmp_path):
    class Part(nn.Module):
        width = C

        def __init__(self, config) -> None:
            super().__init__()
            self.config = config

        def forward(self, y: Tensor) -> Tensor:
            return y.view(len(y), self.width, -1).view(len(y), self.config.width, -1)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, C, 3), nn.Linear(C, 2)
            self.one, self.two, width = Part(CONFIG), Part(CONFIG), C
            self.norm = functools.partial(F.layer_norm, normalized_shape=(C,))
            self.mean = lambda y: y.view(len(y), width, -1).mean(2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.mean(self.two(self.one(self.a(x))))
            return self.b(self.norm(y) + y)

    register(Net)
    loaded = round_trip(cv.create_model("test-net"), tmp_path / "net")
    assert loaded.one.config is loaded.two.config is not CONFIG and CONFIG.width == C
    assert loaded.one.width == C // 2 and Part.width == C


@pytest.mark.parametrize("numbers", [[], {"a": []}, {"a": {"b": [[1]]}}, {"a": {"b": [[[], "x"]]}}])
def test_damaged_numbers(numbers):
    with pytest.raises(WeightsError, match=r"no valid changes\.numbers"):
        Changes.from_dict({"numbers": numbers}, where="x")
