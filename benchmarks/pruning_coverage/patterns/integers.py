"""A number of channels, wherever people keep it and in whatever argument it stands.

One network for each: a convolution to 32 channels, an expression that says 32 in its own way, and layers after it. The
number always counts what is cut, so it has to follow.
"""

# ruff: noqa: D102  (a class is what its name and its forward say)

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pruning_coverage.patterns.base import Network

WIDTH = 32
Way = Callable[["_Counted", Tensor], Tensor]


@dataclasses.dataclass
class Config:
    """Settings as a dataclass."""

    width: int = WIDTH
    heads: int = 4


class FrozenConfig(NamedTuple):
    """Settings as a named tuple."""

    width: int = WIDTH


class _Counted(Network):
    """Stem of 32 channels; `way` has to hand on (batch, 32)."""

    kind = "integers"
    shape = (2, 3, 8, 8)
    others = ((1, 3, 9, 7), (3, 3, 10, 12))
    way: ClassVar[Way]
    wanted = ("stem",)
    constant = WIDTH
    groups_of_class: ClassVar[int] = 4

    def __init__(self) -> None:
        super().__init__()
        c = WIDTH
        self.c, self.half, self.per_group = c, c // 2, c // 4
        self.config, self.frozen_config, self.space = Config(), FrozenConfig(), types.SimpleNamespace(width=c)
        self.settings_dict, self.pair, self.sizes = {"width": c, "nested": {"dims": [16, c]}}, (c, -1), [c, c]
        self.size, self.numpy_width, self.dim_tensor = torch.Size((c, 1)), np.int64(c), torch.tensor(c)
        self.stem = nn.Conv2d(3, c, 3)
        self.unflatten, self.flat_norm = nn.Unflatten(1, (4, c // 4)), nn.LayerNorm(c, elementwise_affine=False)
        self.group_norm, self.plain_group_norm = nn.GroupNorm(4, c), nn.GroupNorm(4, c, affine=False)
        self.register_buffer("offset", torch.zeros(1, c))
        self.last, self.head = nn.Linear(c, 24), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(type(self).way(self, self.stem(x).relu())).relu())

    @classmethod
    def named(cls, name: str, way: Way) -> None:
        """Registers one way of saying the number."""
        title = "".join(word.capitalize() for word in name.replace("-", " ").split())
        type(title, (cls,), {"way": staticmethod(way), "__module__": __name__, "__doc__": f"The number as: {name}."})


def _pooled(y: Tensor) -> Tensor:
    return y.mean((2, 3))


def _energy(y: Tensor) -> Tensor:
    """One number a picture, to which a channel of zeros adds nothing."""
    return (y.square().sum((1, 2, 3)) / 500).tanh()


def _assigned(empty: Tensor, value: Tensor) -> Tensor:
    empty[:] = value
    return empty


def _assert_own(net: _Counted, y: Tensor) -> Tensor:
    _, c, _, _ = y.shape
    assert c == net.c, f"{c} channels, not {net.c}"
    return _pooled(y)


def _raise_own(net: _Counted, y: Tensor) -> Tensor:
    if y.shape[1] != net.c:
        raise ValueError(f"wrong width {y.shape[1]}")
    return _pooled(y)


def _torch_check(net: _Counted, y: Tensor) -> Tensor:
    torch._check(y.size(1) == net.config.width)
    return _pooled(y)


def _non_local(net: _Counted, y: Tensor) -> Tensor:
    flat = y.view(len(y), net.c, -1)
    return (flat @ (flat.mT @ flat / net.c**0.5).softmax(-1)).mean(2)


def _written(net: _Counted, y: Tensor) -> Tensor:
    out = y.new_zeros(len(y), net.c)
    for k in range(2):
        out[:, k * net.half : (k + 1) * net.half] = _pooled(y)[:, k * net.half : (k + 1) * net.half]
    return out


def _loop(net: _Counted, y: Tensor) -> Tensor:
    return torch.stack([y[:, k].mean((1, 2)) for k in range(net.c)], 1)


def _einops(pattern: str, **sizes: Any) -> Way:
    def way(net: _Counted, y: Tensor) -> Tensor:
        from einops import rearrange

        read = {name: get(net) if callable(get) else get for name, get in sizes.items()}
        return _pooled(rearrange(rearrange(y, pattern, **read), "b g d h w -> b (g d) h w"))

    return way


def _einops_repeat(net: _Counted, y: Tensor) -> Tensor:
    from einops import repeat

    return _pooled(y) * repeat(_energy(y), "b -> b c", c=net.c)


def _einops_reduce(net: _Counted, y: Tensor) -> Tensor:
    from einops import reduce

    return reduce(y, "b c h w -> b c", "mean", c=net.c)


_WAYS: dict[str, Way] = {
    # where it lives
    "own attribute": lambda n, y: y.view(len(y), n.c, -1).mean(2),
    "dataclass": lambda n, y: y.view(len(y), n.config.width, -1).mean(2),
    "named tuple": lambda n, y: y.reshape(len(y), n.frozen_config.width, -1).mean(2),
    "namespace": lambda n, y: y.view(len(y), n.space.width, -1).mean(2),
    "dictionary": lambda n, y: y.view(len(y), n.settings_dict["width"], -1).mean(2),
    "nested list": lambda n, y: y.view(len(y), n.settings_dict["nested"]["dims"][-1], -1).mean(2),
    "class attribute": lambda n, y: y.view(len(y), n.constant, -1).mean(2),
    "tuple": lambda n, y: y.view(len(y), *n.pair).mean(2),
    "list entry": lambda n, y: y.view(len(y), n.sizes[-1], -1).mean(2),
    "torch size": lambda n, y: _pooled(y).view(len(y), *n.size).squeeze(2),
    "numpy integer": lambda n, y: y.view(len(y), n.numpy_width, -1).mean(2),
    "numpy product": lambda n, y: y.view(len(y), int(np.prod([n.half, 2])), -1).mean(2),
    "tensor item": lambda n, y: y.view(len(y), int(n.dim_tensor), -1).mean(2),
    "out channels": lambda n, y: y.view(len(y), n.stem.out_channels, -1).mean(2),
    "in features of the next": lambda n, y: y.view(len(y), n.last.in_features, -1).mean(2),
    "weight shape": lambda n, y: y.view(len(y), n.stem.weight.size(0), -1).mean(2),
    "length of a bias": lambda n, y: y.view(len(y), len(n.stem.bias), -1).mean(2),
    "normalized shape": lambda n, y: F.layer_norm(_pooled(y), n.flat_norm.normalized_shape),
    "num channels": lambda n, y: y.view(len(y), n.group_norm.num_channels, -1).mean(2),
    # in which argument
    "zeros": lambda n, y: _pooled(y) + torch.zeros(len(y), n.c).to(y),
    "ones": lambda n, y: _pooled(y) * torch.ones(n.c, dtype=y.dtype),
    "full": lambda n, y: _pooled(y) * torch.full((1, n.c), 0.5).to(y),
    "empty filled": lambda n, y: _assigned(torch.empty(len(y), n.c, dtype=y.dtype), _pooled(y)),
    "new zeros": lambda n, y: torch.cat([_pooled(y), y.new_zeros(len(y), n.c)], 1)[:, : n.c],
    "new full": lambda n, y: _pooled(y) - y.new_full((n.config.width,), 0.1),
    "new empty": lambda n, y: _assigned(y.new_empty((len(y), n.c)), _pooled(y)),
    "buffer": lambda n, y: _pooled(y) + n.offset,
    "expand": lambda n, y: _pooled(y) * _energy(y)[:, None].expand(len(y), n.c),
    "expand the map": lambda n, y: y.mean((2, 3), keepdim=True).expand(-1, n.c, 4, 4).amax((2, 3)),
    "repeat": lambda n, y: _pooled(y) * _energy(y).view(-1, 1).repeat(1, n.c),
    "repeat interleave": lambda n, y: _pooled(y) + y.new_tensor([0.1]).repeat_interleave(n.c),
    "split a quotient": lambda n, y: torch.cat(_pooled(y).split(n.c // 4, 1)[::-1], 1),
    "split sizes": lambda n, y: torch.cat(_pooled(y).split([n.half, n.c - n.half], 1), 1),
    "tensor split": lambda n, y: torch.cat(_pooled(y).tensor_split([n.half], 1), 1),
    "narrow": lambda n, y: torch.cat([_pooled(y).narrow(1, 0, n.half), _pooled(y).narrow(1, n.half, n.half)], 1),
    "two halves": lambda n, y: torch.cat([_pooled(y)[:, : n.half], _pooled(y)[:, n.half :].relu()], 1),
    "unflatten module": lambda n, y: n.unflatten(y).flatten(1, 2).mean((2, 3)),
    "unflatten": lambda n, y: y.unflatten(1, (4, n.per_group)).flatten(1, 2).mean((2, 3)),
    "group size": lambda n, y: y.view(len(y), -1, n.per_group, *y.shape[2:]).flatten(1, 2).mean((2, 3)),
    "groups of class": lambda n, y: y.view(len(y), n.groups_of_class, -1, *y.shape[2:]).flatten(1, 2).mean((2, 3)),
    "layer norm without affine": lambda n, y: n.flat_norm(_pooled(y)),
    "functional layer norm": lambda n, y: F.layer_norm(_pooled(y), (n.c,)),
    "layer norm over maps": lambda n, y: F.layer_norm(y, [n.c, *y.shape[2:]]).amax((2, 3)),
    "functional rms norm": lambda n, y: F.rms_norm(_pooled(y), [n.c]),
    "group norm without affine": lambda n, y: n.plain_group_norm(y).amax((2, 3)),
    "functional group norm": lambda n, y: F.group_norm(y, n.config.heads, n.group_norm.weight, n.group_norm.bias).amax(
        (2, 3)
    ),
    "batch of channels": lambda n, y: y.reshape(len(y) * n.c, 1, *y.shape[2:]).mean((1, 2, 3)).view(len(y), n.c),
    "depthwise filter": lambda n, y: _pooled(F.conv2d(y, y.new_full((n.c, 1, 3, 3), 1 / 9), groups=n.c)),
    "filter repeated": lambda n, y: _pooled(
        F.conv2d(y, torch.ones(1, 1, 2, 2).to(y).repeat(n.c, 1, 1, 1) / 4, groups=n.c)
    ),
    "filter expanded": lambda n, y: _pooled(
        F.conv2d(y, torch.ones(1, 1, 2, 2).to(y).expand(n.c, 1, 2, 2), groups=y.shape[1])
    ),
    "identity matrix": lambda n, y: _pooled(y) @ torch.eye(n.c).to(y),
    "range of channels": lambda n, y: _pooled(y)[:, torch.arange(n.c)],
    "loop over channels": _loop,
    "written by halves": _written,
    "asserted": _assert_own,
    "compared and raised": _raise_own,
    "torch check": _torch_check,
    "compared in a branch": lambda n, y: _pooled(y) if y.shape[1] == n.c else y.amax((2, 3)),
    "scale as well": _non_local,
    "scale of a mean": lambda n, y: _pooled(y).view(len(y), n.c, 1).squeeze(2) * n.c**-0.5,
    "sum over the number": lambda n, y: (
        _pooled(y) * (y.sum((1, 2, 3)) / (n.c * y.shape[2] * y.shape[3])).sigmoid()[:, None]
    ),
    "einops groups": _einops("b (g d) h w -> b g d h w", g=4),
    "einops width": _einops("b (g d) h w -> b g d h w", d=lambda n: n.per_group),
    "einops repeat": _einops_repeat,
    "einops reduce": _einops_reduce,
    "unbind": lambda n, y: torch.stack(_pooled(y).unbind(1), 1),
    "flattened by a product": lambda n, y: F.adaptive_avg_pool2d(y, 2).view(-1, n.c * 4).view(-1, n.c, 4).mean(2),
    "as strided": lambda n, y: _pooled(y).contiguous().as_strided((len(y), n.c), (n.c, 1)),
    "mean by hand": lambda n, y: _pooled(y) - (_pooled(y).sum(1, keepdim=True) / n.c),
}
for _name, _way in _WAYS.items():
    _Counted.named(_name, _way)


class EinopsLayer(Network):
    """A Rearrange layer in a Sequential, with the number of groups and the width of one in it."""

    kind = "integers"
    shape = (2, 3, 8, 8)
    others = ((1, 3, 8, 8),)

    def __init__(self) -> None:
        from einops.layers.torch import Rearrange, Reduce

        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, WIDTH, 3, padding=1),
            nn.ReLU(),
            Rearrange("b (g d) h w -> (b g) d h w", g=4, d=WIDTH // 4),
            nn.Conv2d(WIDTH // 4, 12, 3, padding=1),
            nn.ReLU(),
            Reduce("(b g) d h w -> b (g d)", "mean", g=4, d=12),
            nn.Linear(48, 20),
            nn.ReLU(),
            nn.Linear(20, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class SequentialUnflatten(Network):
    """A decoder's first layers: a linear layer whose outputs become a map."""

    kind = "integers"
    shape = (2, 12)
    others = ((3, 12),)

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(12, WIDTH * 9),
            nn.ReLU(),
            nn.Unflatten(-1, (WIDTH, 3, 3)),
            nn.ConvTranspose2d(WIDTH, 20, 2, 2),
            nn.ReLU(),
            nn.Conv2d(20, 1, 3),
            nn.Flatten(),
            nn.Linear(16, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class HiddenState(Network):
    """A recurrent cell written by hand, whose first state has the size of the settings."""

    kind = "integers"
    shape = (2, 5, 10)
    others = ((3, 7, 10),)

    def __init__(self) -> None:
        super().__init__()
        self.config = {"hidden": WIDTH}
        self.inward, self.onward = nn.Linear(10, 3 * WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), self.config["hidden"], dtype=x.dtype)
        for frame in x.unbind(1):
            r, z, n = (self.inward(frame) + self.onward(state)).split(self.config["hidden"], 1)
            state = (1 - z.sigmoid()) * (n + r.sigmoid()).tanh() + z.sigmoid() * state
        return self.head(state)
