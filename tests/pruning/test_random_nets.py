"""Random networks from a grammar of hard patterns: whatever is pruned equals the zeroed network."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from compressvqa.errors import PruneError
from compressvqa.pruning import prune

FRAMES = 2


class Step(nn.Module):
    """One production of the grammar: (frames * batch, width, h, w) to (frames * batch, new width, h', w')."""

    def __init__(self, kind: str, width: int, draw: random.Random) -> None:
        super().__init__()
        self.kind, self.width = kind, width
        out = 4 * draw.randint(1, 3)
        build: dict[str, Callable[[], int]] = {
            "conv": lambda: self.add(nn.Conv2d(width, out, 3, padding=1), out),
            "strided": lambda: self.add(nn.Conv2d(width, out, 2, stride=2, bias=False), out),
            "grouped": lambda: self.add(nn.Conv2d(width, out, 3, padding=1, groups=2), out),
            "depthwise": lambda: self.add(nn.Conv2d(width, 2 * width, 3, padding=1, groups=width), 2 * width),
            "transposed": lambda: self.add(nn.ConvTranspose2d(width, out, 2, stride=2), out),
            "batch norm": lambda: self.add(nn.BatchNorm2d(width), width),
            "group norm": lambda: self.add(nn.GroupNorm(draw.choice([1, 2, width]), width), width),
            "layer norm": lambda: self.add(nn.LayerNorm(width), width),
            "residual": lambda: self.add(nn.Conv2d(width, width, 3, padding=1), width),
            "twice": lambda: 2 * width,
            "dense": lambda: self.add(nn.Conv2d(width, out, 1), width + out),
            "gate": lambda: width // 2,
            "excite": lambda: self.add(nn.Conv2d(width, width, 1), width),
            "unshuffle": lambda: 4 * width,
            "shuffle": lambda: width // 4,
            "mix": lambda: width,
            "tokens": lambda: self.add(nn.Linear(width, out), out),
            "borrowed": lambda: self.add(nn.Linear(width, out), out),
            "scale": lambda: self.add(nn.BatchNorm1d(width), width),
            "activation": lambda: width,
            "fold": lambda: self.add(nn.Conv2d(FRAMES * width, width, 1), width),
            "attend": lambda: self.add(nn.Linear(width, 3 * width), width),
            "correlate": lambda: width,
        }
        self.activation = draw.choice([F.relu, F.gelu, torch.sigmoid, torch.tanh, torch.abs, F.silu])
        self.out = build[kind]()

    def add(self, layer: nn.Module, out: int) -> int:
        self.layer = layer
        for name in ("running_mean", "weight"):
            if isinstance(getattr(layer, name, None), Tensor):
                getattr(layer, name).data.normal_()
        return out

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        if self.kind in ("conv", "strided", "grouped", "depthwise", "transposed", "batch norm", "group norm"):
            return self.layer(x) / 3
        if self.kind == "layer norm":
            return self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        if self.kind == "residual":
            return x + self.layer(x) / 3
        if self.kind == "twice":
            return torch.cat([x, x.flip(1).abs()], 1)
        if self.kind == "dense":
            return torch.cat([x, self.layer(x)], 1)
        if self.kind == "gate":
            a, b = x.chunk(2, 1)
            return a * b.sigmoid()
        if self.kind == "excite":
            return x * self.layer(x.mean((2, 3), keepdim=True)).sigmoid()
        if self.kind == "unshuffle":
            x = x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4)
            return x.reshape(n, 4 * c, h // 2, w // 2)
        if self.kind == "shuffle":
            return F.pixel_shuffle(x, 2)
        if self.kind == "mix":
            return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        if self.kind == "tokens":
            return self.layer(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (h, w))
        if self.kind == "borrowed":
            return F.conv2d(x, self.layer.weight[:, :, None, None] * 0.3, self.layer.bias)
        if self.kind == "scale":
            return x * self.layer.weight[:, None, None] + self.layer.bias.view(1, -1, 1, 1)
        if self.kind == "activation":
            return self.activation(x)
        if self.kind == "fold":
            folded = self.layer(x.reshape(n // FRAMES, FRAMES * c, h, w))
            return folded.repeat_interleave(FRAMES, 0) + x
        if self.kind == "attend":
            q, k, v = self.layer(x.flatten(2).transpose(1, 2)).chunk(3, -1)
            return F.scaled_dot_product_attention(q, k, v, scale=0.1).transpose(1, 2).unflatten(2, (h, w))
        return x * (x * x.roll(1, 0)).sum(1, keepdim=True).tanh()


class RandomNet(nn.Module):
    """A stem, some steps, and a head."""

    def __init__(self, kinds: list[str], seed: int) -> None:
        super().__init__()
        draw = random.Random(seed)
        self.stem, self.steps, width, side = nn.Conv2d(3, 8, 3, padding=1), nn.ModuleList(), 8, 8
        for kind in kinds:
            if width > 48 and kind in ("depthwise", "twice", "unshuffle", "dense"):
                continue
            if width % 8 and kind in ("gate", "shuffle"):
                continue
            if (side <= 2 and kind in ("strided", "unshuffle")) or (side >= 16 and kind in ("transposed", "shuffle")):
                continue
            self.steps.append(Step(kind, width, draw))
            side = (
                side // 2
                if kind in ("strided", "unshuffle")
                else side * 2
                if kind in ("transposed", "shuffle")
                else side
            )
            width = self.steps[-1].out
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for step in self.steps:
            x = step(x)
        return self.head(x.mean((2, 3)))


KINDS = [
    "activation", "attend", "batch norm", "borrowed", "conv", "correlate", "dense", "depthwise", "excite", "fold",
    "gate", "group norm", "grouped", "layer norm", "mix", "residual", "scale", "shuffle", "strided", "tokens",
    "transposed", "twice", "unshuffle",
]  # fmt: skip


@given(kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=7), seed=st.integers(0, 999))
@settings(max_examples=40)
def test_pruned_equals_zeroed(kinds: list[str], seed: int) -> None:
    torch.manual_seed(seed)
    net = RandomNet(kinds, seed)
    try:
        pruned = prune(net, (torch.randn(2 * FRAMES, 3, 8, 8),), ratios=0.5, importance="random", seed=seed)
    except PruneError as error:
        assert "no channel can be removed" in str(error) or "nothing would be removed" in str(error)
        return
    assert pruned.max_error is not None
    assert pruned.max_error <= 1e-5
    # What the labels say is right by itself; the verifier had nothing to take back. Only "mix" holds a hidden number,
    # the 2 of its view, which is in the way when no more than two channels are left to choose from.
    assert pruned.plan.notes == () or "mix" in kinds


@pytest.mark.parametrize("kind", KINDS)
def test_every_production_can_be_pruned(kind: str) -> None:
    torch.manual_seed(0)
    pruned = prune(RandomNet([kind, "conv"], 0), (torch.randn(2 * FRAMES, 3, 8, 8),), ratios=0.5)
    assert pruned.removed
    assert pruned.plan.notes == ()
