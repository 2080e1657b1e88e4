"""Structures that people write: each network loses half of its channels and equals the naive reference."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange, reduce, repeat
from einops.layers.torch import Rearrange, Reduce
from pruning.reference import difference, gone_slots, zeroed
from torch import Tensor, nn

from compressvqa.pruning import prune, verify

X = (torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)),)


def half(net: nn.Module, **settings: Any) -> Any:
    """The result of pruning, held against the naive reference on inputs of another number and size."""
    before = copy.deepcopy(net).eval()
    pruned = prune(net.eval(), X, ratios=0.5, **settings)
    reference, small = zeroed(before, gone_slots(pruned)), copy.deepcopy(pruned.model).double()
    for shape in ((2, 3, 8, 8), (3, 3, 8, 8), (1, 3, 10, 8)):
        assert difference(small, reference, (torch.randn(shape),)) < 1e-9
    return pruned


class Conv(nn.Conv2d):
    def __init__(self, inputs: int, outputs: int, **settings: Any) -> None:
        super().__init__(inputs, outputs, 3, padding=1, **settings)


class Net(nn.Module):
    """A convolution, something, and a head."""

    def __init__(self, width: int = 16, out: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.c, self.a, self.head = width, Conv(3, width), nn.Linear(out or width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.a(x).relu()).mean((2, 3)))

    def middle(self, y: Tensor) -> Tensor:
        raise NotImplementedError


# -- channel shuffles --------------------------------------------------------------------------------------------------


class Shuffle(Net):
    def __init__(self, how: Any, groups: int, each: int) -> None:
        super().__init__(groups * each)
        self.how, self.g, self.b = how, groups, Conv(groups * each, groups * each)
        self.shuffle = nn.ChannelShuffle(groups)
        self.layer = Rearrange("b (g c) h w -> b (c g) h w", g=groups)

    def middle(self, y: Tensor) -> Tensor:
        return self.b(self.how(self, y)).relu()


def by_view(s: Any, y: Tensor) -> Tensor:
    b, c, h, w = y.shape
    return y.view(b, s.g, c // s.g, h, w).transpose(1, 2).reshape(b, c, h, w)


def by_open_view(s: Any, y: Tensor) -> Tensor:
    return y.view(y.shape[0], s.g, -1, *y.shape[2:]).transpose(1, 2).flatten(1, 2)


SHUFFLES = {
    "view": by_view,
    "open view": by_open_view,
    "unflatten": lambda s, y: y.unflatten(1, (s.g, -1)).transpose(1, 2).flatten(1, 2),
    "einops": lambda s, y: rearrange(y, "b (g c) h w -> b (c g) h w", g=s.g),
    "einops layer": lambda s, y: s.layer(y),
    "function": lambda s, y: F.channel_shuffle(y, s.g),
    "layer": lambda s, y: s.shuffle(y),
}


@pytest.mark.parametrize("how", SHUFFLES)
@pytest.mark.parametrize(("groups", "each"), [(17, 2), (3, 10), (4, 4)])
def test_channel_shuffles(how: str, groups: int, each: int) -> None:
    pruned = half(Shuffle(SHUFFLES[how], groups, each))
    assert pruned.model.a.out_channels == groups * each // 2 and pruned.model.g == groups


# -- mixtures of kernels -----------------------------------------------------------------------------------------------


class Mixture(Net):
    """Kernels mixed for each picture, laid into groups of one convolution."""

    def __init__(self, how: Any, experts: int = 3) -> None:
        super().__init__(16, 12)
        self.how, self.experts = how, experts
        self.kernels = nn.Parameter(torch.randn(experts, 12, 16, 3, 3) / 12)
        self.route, self.norm = nn.Linear(16, experts), nn.BatchNorm2d(12)

    def middle(self, y: Tensor) -> Tensor:
        b, c, h, w = y.shape
        kernels = self.how(self, torch.softmax(self.route(y.mean((2, 3))), 1), b, c)
        y = F.conv2d(y.reshape(1, b * c, h, w), kernels, padding=1, groups=b)
        return self.norm(y.view(b, -1, h, w)).relu()


MIXTURES = {
    "product": lambda s, r, b, c: (r @ s.kernels.view(s.experts, -1)).view(-1, c, 3, 3),
    "mm": lambda s, r, b, c: torch.mm(r, s.kernels.flatten(1)).view(b * s.kernels.shape[1], c, 3, 3),
    "sum": lambda s, r, b, c: (r[..., None, None, None, None] * s.kernels).sum(1).flatten(0, 1),
    "einsum": lambda s, r, b, c: torch.einsum("bk,koihw->boihw", r, s.kernels).reshape(-1, c, 3, 3),
    "loop": lambda s, r, b, c: sum(
        r[:, k, None, None, None, None] * s.kernels[k] for k in range(s.experts)
    ).flatten(0, 1),
}  # fmt: skip


@pytest.mark.parametrize("how", MIXTURES)
def test_mixtures_of_kernels(how: str) -> None:
    small = half(Mixture(MIXTURES[how])).model
    assert small.kernels.shape == (3, 6, 8, 3, 3) and small.norm.num_features == 6


# -- outer products, flattened -----------------------------------------------------------------------------------------


class Outer(nn.Module):
    """Bilinear pooling: each pair of channels of two layers is a column of the next."""

    def __init__(self, how: Any, columns: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = Conv(3, 8), Conv(3, 6), Conv(3, 4)
        self.read, self.head, self.how = nn.Linear(columns, 10), nn.Linear(10, 2), how

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.read(self.how(self, x)).relu())


def pooled(one: Tensor, other: Tensor) -> Tensor:
    one, other = one.relu().flatten(2), other.relu().flatten(2)
    return (one @ other.mT / one.shape[2]).flatten(1)


def signed_root(y: Tensor) -> Tensor:
    return F.normalize(y.sign() * (y.abs() + 1e-5).sqrt())


OUTER: dict[str, tuple[Any, int]] = {
    "two means": (lambda s, x: torch.einsum("bi,bj->bij", mean(s.a(x)), mean(s.b(x))).flatten(1), 48),
    "by broadcasting": (lambda s, x: (mean(s.a(x))[:, :, None] * mean(s.b(x))[:, None]).reshape(len(x), -1), 48),
    "two layers": (lambda s, x: pooled(s.a(x), s.b(x)), 48),
    "with itself": (lambda s, x: pooled(*[s.a(x)] * 2), 64),
    "with its root": (lambda s, x: signed_root(pooled(s.a(x), s.b(x))), 48),
    "with itself and its root": (lambda s, x: signed_root(pooled(*[s.a(x)] * 2)), 64),
    "of three": (lambda s, x: torch.einsum(
        "bi,bj,bk->bijk", mean(s.a(x)), mean(s.b(x)), mean(s.c(x))).flatten(1), 192),
}  # fmt: skip


def mean(y: Tensor) -> Tensor:
    return y.relu().mean((2, 3))


@pytest.mark.parametrize("how", OUTER)
def test_outer_products(how: str) -> None:
    forward, columns = OUTER[how]
    small = half(Outer(forward, columns)).model
    factors = {48: 4 * 3, 64: 4 * 4, 192: 4 * 3 * 2}
    assert small.read.weight.shape == (5, factors[columns])


@pytest.mark.parametrize("how", ["two layers", "with itself", "of three"])
@pytest.mark.parametrize("target", ["target_params", "target_macs"])
def test_the_cost_of_outer_products_is_known(how: str, target: str) -> None:
    forward, columns = OUTER[how]
    net = Outer(forward, columns).eval()
    pruned = prune(net, X, **{target: 0.4})
    assert pruned.plan.params[1] == sum(p.numel() for p in pruned.model.parameters())
    # An einsum of three factors without a sum is no product of matrices below: torch multiplies them one by one.
    after = pruned.complexity_after
    assert pruned.plan.macs[1] == (after.macs_conv_linear if how == "of three" else after.macs)


# -- shortcuts padded with zeros ---------------------------------------------------------------------------------------


class Shortcut(nn.Module):
    """Option A of residual networks."""

    def __init__(self, how: str, planes: int = 16, inputs: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.head = Conv(3, inputs), nn.Linear(planes, 2)
        self.first, self.second = Conv(inputs, planes, stride=2), Conv(planes, planes)
        self.inputs, self.planes = inputs, planes
        self.shortcut = {
            "closure": lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4), "constant", 0),
            "attribute": lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, *[(self.planes - x.shape[1]) // 2] * 2)),
            "after": lambda x: F.pad(F.avg_pool2d(x, 2), (0, 0, 0, 0, 0, self.planes - self.inputs)),
            "zeros": self.zeros,
            "zeros_like": lambda x: torch.cat([F.avg_pool2d(x, 2), torch.zeros_like(x[..., ::2, ::2])], 1),
            "times zero": lambda x: torch.cat([x[..., ::2, ::2], x[..., ::2, ::2].mul(0)], 1),
        }[how]

    def zeros(self, x: Tensor) -> Tensor:
        y = F.avg_pool2d(x, 2)
        return torch.cat([y, y.new_zeros(len(y), self.planes - y.shape[1], *y.shape[2:])], 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).relu()
        return self.head((self.second(self.first(y).relu()) + self.shortcut(y)).relu().mean((2, 3)))


@pytest.mark.parametrize("how", ["closure", "attribute", "after", "zeros", "zeros_like", "times zero"])
def test_shortcuts_padded_with_zeros(how: str) -> None:
    net = Shortcut(how)
    small = half(net).model
    assert (small.a.out_channels, small.second.out_channels) == (4, 8)
    small(*X)  # the copy's shortcut reads the copy's numbers, and the original's those of the original
    assert net(*X).shape == (2, 2) and net.planes == 16


# -- filters that are the same for every channel -----------------------------------------------------------------------


class Filtered(Net):
    def __init__(self, how: Any) -> None:
        super().__init__()
        self.how, self.plain = how, torch.rand(1, 1, 3, 3)
        self.register_buffer("kernel", torch.rand(1, 1, 3, 3))
        self.register_buffer("many", self.kernel.repeat(16, 1, 1, 1))
        self.register_buffer("two", torch.rand(2, 1, 3, 3))

    def middle(self, y: Tensor) -> Tensor:
        return self.how(self, y)


def ssim(s: Any, y: Tensor) -> Tensor:
    kernel = s.kernel.expand(y.shape[1], 1, 3, 3)
    mean = F.conv2d(y, kernel, groups=y.shape[1])
    return (2 * mean + 0.1) / (F.conv2d(y * y, kernel, groups=y.shape[1]) + 0.1)


def sobel(s: Any, y: Tensor) -> Tensor:
    row = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], dtype=y.dtype)
    one = row.view(1, 1, 3, 3).repeat(s.c, 1, 1, 1)
    return (F.conv2d(y, one, groups=s.c) ** 2 + F.conv2d(y, one.mT, groups=s.c) ** 2 + 1e-6).sqrt()


FILTERS = {
    "repeat": lambda s, y: F.conv2d(y, s.kernel.repeat(y.shape[1], 1, 1, 1), groups=y.shape[1]),
    "expand": lambda s, y: F.conv2d(y, s.kernel.expand(s.c, -1, -1, -1), stride=2, groups=s.c),
    "plain": lambda s, y: F.conv2d(y, s.plain.to(y).repeat(s.c, 1, 1, 1), groups=s.c),
    "buffer": lambda s, y: F.conv2d(F.pad(y, (1, 1, 1, 1), mode="reflect"), s.many, groups=s.many.shape[0]),
    "in the batch": lambda s, y: F.conv2d(y.flatten(0, 1)[:, None], s.kernel).unflatten(0, y.shape[:2])[:, :, 0],
    "einops": lambda s, y: F.conv2d(y, repeat(s.kernel, "1 1 h w -> c 1 h w", c=s.c), groups=s.c),
    "ssim": ssim,
    "sobel": sobel,
}


@pytest.mark.parametrize("how", FILTERS)
def test_filters_repeated_for_every_channel(how: str) -> None:
    assert half(Filtered(FILTERS[how])).model.a.out_channels == 8


# -- folds by layers and by einops -------------------------------------------------------------------------------------


class Folded(Net):
    def __init__(self, how: Any) -> None:
        super().__init__()
        self.how, self.g = how, 4
        self.unflatten = nn.Unflatten(1, (4, 4))
        self.apart = Rearrange("b (g c) h w -> b g c h w", g=4)
        self.reduced = Reduce("b (g c) h w -> b g c", "mean", g=4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.how(self, self.a(x).relu()))


FOLDS = {
    "nn.Unflatten": lambda s, y: s.unflatten(y).mean((3, 4)).flatten(1),
    "Rearrange": lambda s, y: s.apart(y).mean((3, 4)).flatten(1),
    "Reduce": lambda s, y: s.reduced(y).flatten(1),
    "reduce": lambda s, y: reduce(y, "b (g c) h w -> b (c g)", "mean", g=s.g),
    "rearrange back": lambda s, y: rearrange(
        rearrange(y, "b (g c) h w -> (b g) c h w", g=s.g).mean((2, 3)), "(b g) c -> b (g c)", g=s.g
    ),
    "view": lambda s, y: y.view(len(y), s.g, -1, 2, y.shape[2] // 2, y.shape[3]).mean((3, 4, 5)).view(len(y), -1),
}  # fmt: skip


@pytest.mark.parametrize("how", FOLDS)
def test_folds(how: str) -> None:
    small = half(Folded(FOLDS[how])).model
    assert small.a.out_channels == 8
    torch.testing.assert_close(copy.deepcopy(small)(*X), small(*X))


# -- iterations until nothing changes ----------------------------------------------------------------------------------


class Settles(Net):
    """A fixed point that is looked for as long as it moves: how long it takes depends on the numbers."""

    def __init__(self, how: Any) -> None:
        super().__init__()
        self.how, self.mix, self.steps = how, nn.Linear(16, 16), 0

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).relu().mean((2, 3))
        z, moves, steps = y, 1.0, 0
        while moves > 1e-3 and steps < 60:
            new = torch.tanh(self.mix(z) / 4 + y)
            moves, z, steps = float(self.how(new - z)), new, steps + 1
        self.__dict__["steps"] = steps
        return self.head(z)


class Then(nn.Sequential):
    """Something cuttable behind it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net, nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))


MOVES = {
    "norm": lambda d: d.norm(),
    "largest": lambda d: d.abs().max(),
    "mean": lambda d: d.abs().mean(),
    "root": lambda d: d.pow(2).mean().sqrt(),
}


@pytest.mark.parametrize("how", MOVES)
def test_iterations_end_where_they_ended_or_the_channels_stay(how: str) -> None:
    pruned = half(Then(Settles(MOVES[how])))
    assert any("decides by its numbers at test_structures.py" in note for note in pruned.plan.notes)
    assert pruned.model[0].mix.out_features == (8 if how == "norm" else 16)


# -- products in the frequencies ---------------------------------------------------------------------------------------


class Spectral(Net):
    """Weights between channels for each of the low frequencies (Li et al., 2021, arXiv 2010.08895)."""

    def __init__(self, how: Any) -> None:
        super().__init__()
        self.how, self.weight = how, nn.Parameter(torch.randn(16, 16, 3, 3) * 0.2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).relu()
        out = torch.zeros(len(y), self.weight.shape[1], *y.shape[2:], dtype=y.dtype)
        out[:, :, :3, :3] = self.how(y[:, :, :3, :3], self.weight)
        return self.head((out + y).relu().mean((2, 3)))


SPECTRAL = {
    "einsum": lambda y, w: torch.einsum("bixy,ioxy->boxy", y, w),
    "matmul": lambda y, w: (y.permute(2, 3, 0, 1) @ w.permute(2, 3, 0, 1)).permute(2, 3, 0, 1),
}


@pytest.mark.parametrize("how", SPECTRAL)
def test_a_matrix_for_each_position(how: str) -> None:
    net = Spectral(SPECTRAL[how])
    small = prune(net, X, ratios=0.5).model
    assert small.weight.shape == (8, 8, 3, 3)
    assert verify(net, small, X).passed
