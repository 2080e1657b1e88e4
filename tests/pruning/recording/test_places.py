"""Widths that a forward reads wherever people keep them: each network is held against the naive reference."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import enum
import functools
import math
import types
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pydantic
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from einops.layers.torch import Rearrange
from pruning.reference import difference, gone_slots, zeroed
from torch import Tensor, nn

from compressvqa.pruning import prune, trace
from compressvqa.pruning.recording.integers import Int

C = 12
X = (torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(3)),)


@dataclasses.dataclass
class Plain:
    width: int = C


@dataclasses.dataclass(frozen=True)
class Frozen:
    width: int = C


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    width: int = C


@dataclasses.dataclass
class Nested:
    inner: Frozen = Frozen()
    stages: tuple[Plain, ...] = (Plain(), Plain())


class OfClass:
    width = C


class Reads:
    """Hides its width behind a property."""

    def __init__(self) -> None:
        self._width = C

    @property
    def width(self) -> int:
        return self._width


class Validated(pydantic.BaseModel):
    width: int = pydantic.Field(C, gt=0)
    model_config = pydantic.ConfigDict(frozen=True)


class Attributed(dict[str, Any]):
    """A dictionary whose entries are attributes."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(name)


Named = namedtuple("Named", "width depth")

# What is held as `self.held`, and how the forward reads the width from it.
HELD: dict[str, tuple[Any, Any]] = {
    "attribute": (lambda: C, lambda h: h),
    "dataclass": (Plain, lambda h: h.width),
    "frozen dataclass": (Frozen, lambda h: h.width),
    "dataclass with slots": (Slotted, lambda h: h.width),
    "nested dataclass": (Nested, lambda h: h.inner.width),
    "dataclass in a tuple in a dataclass": (Nested, lambda h: h.stages[1].width),
    "simple namespace": (lambda: types.SimpleNamespace(width=C), lambda h: h.width),
    "argparse": (lambda: argparse.Namespace(width=C), lambda h: h.width),
    "dict": (lambda: {"width": C}, lambda h: h["width"]),
    "dict of lists": (lambda: {"stages": [{"width": C}, {"width": 3}]}, lambda h: h["stages"][0]["width"]),
    "dict with attributes": (lambda: Attributed(width=C), lambda h: h.width),
    "list": (lambda: [C, 4], lambda h: h[0]),
    "tuple": (lambda: (4, C), lambda h: h[1]),
    "named tuple": (lambda: Named(C, 2), lambda h: h.width),
    "torch.Size": (lambda: torch.Size([2, C]), lambda h: h[-1]),
    "class attribute of a config": (OfClass, lambda h: h.width),
    "property of a config": (Reads, lambda h: h.width),
    "pydantic": (Validated, lambda h: h.width),
    "numpy integer": (lambda: np.int64(C), lambda h: h),
    "numpy array": (lambda: np.array([C, 3]), lambda h: h[0]),
    # numpy's product is another function while a network is traced, so it is looked up then.
    "product of a numpy array": (lambda: np.array([3, C // 3]), lambda h: np.prod(h)),  # noqa: PLW0108
    "np.prod": (lambda: [3, C // 3], lambda h: np.prod(h)),  # noqa: PLW0108
    "math.prod": (lambda: [3, C // 3], math.prod),
    "sum": (lambda: [C // 2, C // 2], sum),
    "max": (lambda: [4, C], max),
    "twice a half": (lambda: C // 2, lambda h: h << 1),
    "half of twice": (lambda: 2 * C, lambda h: h >> 1),
    "rounded up": (lambda: C // 2, lambda h: -(-2 * h // 1)),
    "rounded": (lambda: C, lambda h: abs(round(math.floor(math.ceil(+h))))),
    "divmod": (lambda: 2 * C, lambda h: divmod(h, 2)[0]),
    "copied config": (Plain, lambda h: dataclasses.asdict(dataclasses.replace(h))["width"]),
    "numbered dict": (lambda: {0: {1: C}}, lambda h: h[0][1]),
    "ordered": (lambda: OrderedDict(width=C), lambda h: next(iter(h.values()))),
}


class Holder(nn.Module):
    """A width that is held somewhere, given to a view."""

    def __init__(self, held: Any, read: Any) -> None:
        super().__init__()
        self.held, self._read = held, [read]
        self.a, self.b = nn.Conv2d(3, C, 3), nn.Linear(C, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu().view(len(x), self._read[0](self.held), -1).mean(2))


def pruned_right(net: nn.Module, *, layer: str = "a", ratio: float = 0.5, **settings: Any) -> nn.Module:
    """The network without part of a layer's channels, held against the naive reference on other inputs as well."""
    torch.manual_seed(0)
    for module in net.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    before = copy.deepcopy(net).eval()
    pruned = prune(net, X, ratios={layer: ratio}, **settings)
    assert layer in pruned.removed
    reference = zeroed(before, gone_slots(pruned))
    small = copy.deepcopy(pruned.model).double().eval()
    for shape in ((2, 3, 6, 6), (3, 3, 6, 6)):
        assert difference(small, reference, (torch.randn(shape),)) < 1e-9
    return pruned.model


@pytest.mark.parametrize("where", HELD)
def test_a_width_is_followed_wherever_it_is_held(where: str) -> None:
    made, read = HELD[where]
    held = made()
    net = Holder(held, read)
    kept = copy.deepcopy(held)
    small = pruned_right(net)
    assert read(small.held) == C // 2 and type(read(small.held)) is type(read(held))
    assert net.held is held and getattr(held, "__dict__", None) == getattr(kept, "__dict__", None)
    assert not isinstance(read(held), Int) and read(held) == C


class Refuses(dict[str, int]):
    """A dictionary that can't be written to."""

    def __setitem__(self, key: str, value: int) -> None:
        raise TypeError("frozen")

    def __reduce__(self) -> Any:
        return type(self), (dict(self),)


class Odd(tuple[int, ...]):
    """A tuple that is made in a way of its own."""

    def __new__(cls, a: int, b: int) -> Odd:
        return super().__new__(cls, (a, b))

    def __getnewargs__(self) -> tuple[int, ...]:
        return tuple(self)


@pytest.mark.parametrize("held", [Refuses(width=C), Odd(C, 3)])
def test_what_cannot_be_written_to_hides_no_other_number(held: Any) -> None:
    class Two(Holder):
        def __init__(self) -> None:
            super().__init__(held, None)
            self.c = nn.Conv2d(3, C, 3)
            self.width = C

        def forward(self, x: Tensor) -> Tensor:
            one = self.a(x).view(len(x), self.width, -1).mean(2)
            width = self.held["width"] if isinstance(self.held, dict) else self.held[0]
            return self.b(one) + self.c(x).view(len(x), width, -1).mean(2)[:, :2]

    pruned = prune(Two(), X, ratios=0.5)
    assert pruned.model.a.out_channels == C // 2 and pruned.model.c.out_channels == C
    assert "given as a plain 12 in view at test_places.py:" in pruned.plan.frozen["c"]


def test_one_config_for_two_networks_and_two_modules() -> None:
    config = Plain()
    one, other = (Holder(config, lambda h: h.width) for _ in range(2))
    small = pruned_right(one)
    assert small.held.width == C // 2 and config.width == C and one.held is other.held is config
    other(*X)

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = (Holder(config, lambda h: h.width) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) + self.b(x)

    pruned = prune(Two(), X, ratios=0.5).model
    assert pruned.a.held is pruned.b.held and pruned.a.held.width == pruned.b.a.out_channels == C // 2


def test_the_config_is_as_it_was_after_an_error() -> None:
    held = {"widths": [C], "more": types.SimpleNamespace(width=C)}

    def fail(h: Any) -> int:
        h["seen"] = [h["widths"][0] + 1]
        raise RuntimeError("no")

    net = Holder(held, fail)
    with pytest.raises(Exception, match="no"):
        trace(net, X)
    assert type(held["widths"][0]) is type(held["more"].width) is int and "seen" not in held
    assert type(net.a.out_channels) is int


class ClassWidth(Holder):
    """The width is a number of the class, for all networks."""

    width = C
    table = {"width": C}  # noqa: RUF012  (people write it so)
    listed = [C, 3]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__(None, lambda h: self.width)
        self._read = None

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).relu().view(len(x), self.width, -1)
        return self.b(y.view(len(x), self.table["width"], -1).view(len(x), self.listed[0], -1).mean(2))


def test_a_class_attribute_is_set_for_one_network_only() -> None:
    net = ClassWidth()
    small = pruned_right(net)
    assert small.width == small.table["width"] == small.listed[0] == C // 2
    assert ClassWidth.width == ClassWidth.table["width"] == ClassWidth.listed[0] == C
    assert net.width == C and "table" not in vars(net)


class Middle(nn.Module):
    """A layer, something in the middle, and a head."""

    def __init__(self, middle: Any, **held: Any) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, C, 3), nn.Linear(C, 2), C
        self.middle = [middle]
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.middle[0](self, self.a(x).relu()))


def mean(y: Tensor) -> Tensor:
    return y.mean((2, 3))


def assert_c(s: Any, y: Tensor) -> Tensor:
    assert y.shape[1] == s.c
    return mean(y)


def raise_c(s: Any, y: Tensor) -> Tensor:
    if y.shape != (len(y), s.c, *y.shape[2:]):
        raise ValueError
    return mean(y)


def filled(s: Any, y: Tensor) -> Tensor:
    e = torch.empty(len(y), s.c, dtype=y.dtype)
    e[:] = mean(y)
    return e


def added(s: Any, y: Tensor) -> Tensor:
    state = y.new_zeros(len(y), s.c)
    for k in range(3):
        state = state * 0.5 + mean(y) * k
    return state


def beside(s: Any, y: Tensor) -> Tensor:
    wide = torch.cat([mean(y), torch.zeros(len(y), s.c, dtype=y.dtype)], 1)
    return wide[:, : s.c] + wide[:, s.c :]


MIDDLES: dict[str, Any] = {
    "zeros": lambda s, y: mean(y) + torch.zeros(1, s.c, dtype=y.dtype),
    "zeros with spatial": lambda s, y: mean(y + torch.zeros(1, s.c, 1, 1, dtype=y.dtype)),
    "ones": lambda s, y: mean(y) * torch.ones(s.c, dtype=y.dtype),
    "full": lambda s, y: mean(y) * torch.full((1, s.c), 2.0, dtype=y.dtype),
    "full of the number": lambda s, y: mean(y) * torch.full((s.c,), 2, dtype=y.dtype),
    "new_zeros": lambda s, y: mean(y) + y.new_zeros(len(y), s.c),
    "new_ones": lambda s, y: mean(y) * y.new_ones((s.c,)),
    "new_full": lambda s, y: mean(y) * y.new_full((s.c,), 3.0),
    "new_empty filled": lambda s, y: y.new_empty(len(y), s.c).copy_(mean(y)),
    "empty filled": filled,
    "state": added,
    "zeros beside": beside,
    "zeros of the layer's width": lambda s, y: mean(y) + torch.zeros(1, s.a.out_channels, dtype=y.dtype),
    "zeros of the next layer's width": lambda s, y: mean(y) + torch.zeros(1, s.b.in_features, dtype=y.dtype),
    "identity": lambda s, y: mean(y) @ torch.eye(s.c, dtype=y.dtype),
    "expand": lambda s, y: mean(y)[..., None].expand(len(y), s.c, 3).sum(2),
    "expand one": lambda s, y: mean(y) * s.kernel[:1, :1, 0, 0].to(y).expand(len(y), s.c),
    "repeat": lambda s, y: mean(y) * torch.full((1, 1), 2.0, dtype=y.dtype).repeat(1, s.c),
    "tile": lambda s, y: mean(y) * torch.full((1, 1), 2.0, dtype=y.dtype).tile((1, s.c)),
    "repeat_interleave": lambda s, y: mean(y) * torch.full((1, 1), 2.0, dtype=y.dtype).repeat_interleave(s.c, 1),
    "broadcast_to": lambda s, y: mean(y) * torch.full((1, 1), 2.0, dtype=y.dtype).broadcast_to(1, s.c),
    "narrow": lambda s, y: mean(torch.cat([y, y], 1).narrow(1, 0, s.c)),
    "narrow the second": lambda s, y: mean(torch.cat([y, y], 1).narrow(1, s.c, s.c)),
    "from the end": lambda s, y: mean(torch.cat([y, y * 2], 1)[:, -s.c :]),
    "split": lambda s, y: mean(torch.cat([y, y * 2], 1).split(s.c, 1)[1]),
    "split of a share": lambda s, y: mean(torch.cat([p * k for k, p in enumerate(y.split(s.c // 3, 1))], 1)),
    "chunk": lambda s, y: mean(torch.cat([p * k for k, p in enumerate(y.chunk(s.n, 1))], 1)),
    "tensor_split": lambda s, y: mean(torch.cat([p * k for k, p in enumerate(y.tensor_split(s.n, 1))], 1)),
    "unflatten": lambda s, y: y.flatten(1).unflatten(1, (s.c, -1)).mean(2),
    "view_as": lambda s, y: mean(y.flatten(2).flatten(1).view_as(y)),
    "layer norm": lambda s, y: F.layer_norm(mean(y), (s.c,)) * 0 + mean(y),
    "reshape into the batch": lambda s, y: y.reshape(len(y) * s.c, 1, *y.shape[2:]).mean((2, 3)).view(len(y), s.c),
    "asserted": assert_c,
    "raised": raise_c,
    "depthwise kernel repeated": lambda s, y: mean(F.conv2d(y, s.kernel.to(y).repeat(s.c, 1, 1, 1), groups=s.c)),
    "depthwise kernel of the data's width": lambda s, y: mean(
        F.conv2d(y, s.kernel.to(y).expand(y.shape[1], -1, -1, -1), groups=y.shape[1])
    ),
    "ones as a kernel": lambda s, y: mean(F.conv2d(y, torch.ones(s.c, 1, 3, 3, dtype=y.dtype), groups=s.c)),
    "padded with zeros": lambda s, y: F.pad(mean(y), (0, s.c))[:, : s.c],
}


@pytest.mark.parametrize("middle", MIDDLES)
def test_every_argument_that_is_a_size(middle: str) -> None:
    net = Middle(MIDDLES[middle], n=3, kernel=torch.randn(1, 1, 3, 3))
    small = pruned_right(net)
    assert small.a.out_channels == C // 2 and net.c == C


class Width(enum.IntEnum):
    C = C


# Numbers that only some networks can follow: kept whole, in one line that says which number it is and where.
KEPT: dict[str, tuple[Any, str]] = {
    "a scale": (lambda s, y: (y.view(len(y), s.c, -1) * s.c**-0.5).mean(2), "c, also a scale at test_places.py:"),
    "a root": (lambda s, y: y.view(len(y), s.c, -1).mean(2) / math.sqrt(s.c), "c, also a scale at test_places.py:"),
    "arithmetic": (lambda s, y: y.view(len(y), s.c, -1).mean(2) / s.c, "c, a number in the arithmetic at div"),
    "a global": (lambda s, y: y.view(len(y), C, -1).mean(2), "given as a plain 12 in view at test_places.py:"),
    "made by int": (lambda s, y: y.reshape(len(y), int(s.c * 1.0), -1).mean(2), "plain 12 in reshape at test_places"),
    "an enum": (lambda s, y: y.view(len(y), Width.C, -1).mean(2), "plain 12 in view at test_places.py:"),
    "a table of sizes": (lambda s, y: {C: mean}[y.shape[1]](y), "size 1 of x - 12., compared at test_places.py:"),
}


@pytest.mark.parametrize("middle", KEPT)
def test_what_cannot_follow_is_kept_and_said(middle: str) -> None:
    forward, words = KEPT[middle]
    net = Middle(forward)
    net.first = nn.Conv2d(3, 3, 1)
    from compressvqa.errors import PruneError

    with pytest.raises(PruneError, match=words):
        prune(net, X, ratios={"a": 0.5})


def test_decisions_by_a_width_are_said() -> None:
    net = Middle(lambda s, y: mean(y) if y.shape[1] > 2 and s.c >= 3 else y.amax((2, 3)))
    pruned = prune(net, X, ratios={"a": 0.5})
    assert any("decides by a width that became smaller at test_places.py:" in note for note in pruned.plan.notes)


def test_partial_functions_and_closures() -> None:
    width, before = C, [0]

    def closed(y: Tensor) -> Tensor:
        return y.reshape(len(y), width, -1).mean(2)

    def default(y: Tensor, width: int = C) -> Tensor:
        return y.reshape(len(y), width, -1).mean(2)

    for apply in (
        closed,
        default,
        functools.partial(default, width=C),
        functools.partial(lambda width, y: y.reshape(len(y), width, -1).mean(2), C),
    ):
        net = Middle(lambda s, y: s.apply(y), apply=apply)
        small = pruned_right(net)
        assert net.apply is apply
        net(*X), small(*X)
        before[0] += 1
    net = Middle(lambda s, y: s.norm(mean(y)) + mean(y), norm=functools.partial(F.layer_norm, normalized_shape=(C,)))
    assert prune(net, X, ratios={"a": 0.5}).model.norm.keywords["normalized_shape"] == (C // 2,)
    assert net.norm.keywords["normalized_shape"] == (C,)


def test_norms_without_weights_and_layers_that_fold() -> None:
    class Norms(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, C, 3), nn.Linear(C, 2)
            self.layer = nn.LayerNorm(C, elementwise_affine=False)
            self.rms = nn.RMSNorm(C, elementwise_affine=False)
            self.group = nn.GroupNorm(3, C, affine=False)

        def forward(self, x: Tensor) -> Tensor:
            y = self.group(self.a(x)).mean((2, 3))
            return self.b(self.layer(y) + self.rms(y))

    net = Norms().eval()
    small = prune(net, X, ratios=0.5).model
    assert small.layer.normalized_shape == small.rms.normalized_shape == (C // 2,)
    assert net.layer.normalized_shape == (C,) and type(net.group.num_groups) is int

    heads = nn.Sequential(nn.Conv2d(3, C, 3), Rearrange("b (g c) h w -> b g c (h w)", g=3), nn.Flatten(1, 2))
    heads = nn.Sequential(heads, Rearrange("b c n -> b n c"), nn.Linear(C, 2))
    small = prune(heads, X, ratios={"0.0": 0.5}).model
    again = copy.deepcopy(small)
    torch.testing.assert_close(again(*X), small(*X))
    assert small[0][0].out_channels == C // 2
