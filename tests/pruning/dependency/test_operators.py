"""Operators between two layers: the channels pass, and the result is the network with those channels zeroed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pruning.reference import difference, gone_slots, zeroed
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torchvision.ops import DeformConv2d, roi_align

from compressvqa.cost import profile
from compressvqa.pruning import Pruned, prune
from compressvqa.pruning.verification import verify

WIDTH = 8
Body = Callable[["Between", Tensor], Tensor]


class Between(nn.Module):
    """A layer, something in between, and a layer."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.side = body, nn.Linear(5, WIDTH)
        self.a, self.b, self.head = nn.Linear(5, WIDTH), nn.Linear(WIDTH, 6), nn.Linear(6, 1)
        self.table = nn.Parameter(torch.randn(3, WIDTH))
        self.register_buffer("step", torch.tensor(0.1))

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return self.head(self.b(self.body(self, self.a(x).relu())).relu()).flatten(1).mean(1)


def inputs(steps: int = 6, batch: int = 2, seed: int = 1) -> tuple[Tensor]:
    return (torch.randn(batch, steps, 5, generator=torch.Generator().manual_seed(seed)),)


def halves(net: nn.Module, given: tuple[Tensor, ...], layers: tuple[str, ...] = ("a",), **asked: object) -> Pruned:
    """About half of the layers' channels go, and nothing else tells the result from the zeroed network."""
    pruned = prune(net.eval(), given, ratios=dict.fromkeys(layers, 0.5), **asked)
    for layer in layers:
        assert pruned.removed[layer], f"{layer} kept its channels: {pruned.plan.frozen}"
        whole, left = net.get_submodule(layer).weight.shape[0], pruned.model.get_submodule(layer).weight.shape[0]
        assert 0.4 * whole <= left <= 0.7 * whole
    reference, small = zeroed(net, gone_slots(pruned)), pruned.model.double()
    for again in (given, tuple(torch.cat([t, t.flip(0) * 0.7]) for t in given)):
        assert difference(small, reference, again) < 1e-9
    return pruned


def _spread(t: Tensor, count: int) -> Tensor:
    """Which of `count` groups each step belongs to."""
    return (torch.arange(t.shape[1]) % count)[None, :, None].expand_as(t)


def _masked(t: Tensor) -> Tensor:
    t = t.clone()
    t[t < 0.4] = 0.1
    return t


def _tokens(n: Between, t: Tensor) -> Tensor:
    t = t.clone()
    t[t.sum(-1) > t.sum(-1).mean()] = n.table[0]
    return t


def _places(n: Between, t: Tensor) -> Tensor:
    t = t.clone()
    t[:, torch.tensor([0, 2, 3])] = n.table + t[:, :3]
    return t


def _packed(n: Between, t: Tensor) -> Tensor:
    lengths = torch.full((len(t),), t.shape[1]) - torch.arange(len(t))
    data, *rest = pack_padded_sequence(t, lengths, batch_first=True)
    packed = torch.nn.utils.rnn.PackedSequence(data * 2 + 1, *rest)
    return pad_packed_sequence(packed, batch_first=True, padding_value=0.5)[0]


def _rotated(t: Tensor) -> Tensor:
    """Steps in pairs as complex numbers, turned."""
    pairs = torch.view_as_complex(t.transpose(1, 2).unflatten(2, (-1, 2)).contiguous())
    turned = pairs * torch.polar(torch.ones(pairs.shape[-1]), torch.arange(pairs.shape[-1]) / 3.0).to(pairs)
    return torch.view_as_real(turned.conj().resolve_conj()).flatten(2).transpose(1, 2)


def _parts(f: Tensor) -> Tensor:
    return f.real.abs() + f.imag.abs() + f.abs()


PASSING: dict[str, Body] = {
    "top-k": lambda n, t: t.topk(2, 1)[0],
    "k-th value": lambda n, t: t.kthvalue(2, 1, keepdim=True)[0],
    "gather": lambda n, t: t.gather(1, t.argsort(1)[:, :3]),
    "take along": lambda n, t: torch.take_along_dim(t, t.argmax(1, keepdim=True), 1),
    "scatter": lambda n, t: t.new_zeros(len(t), 9, t.shape[2]).scatter(1, _spread(t, 7), t),
    "scatter add": lambda n, t: t.new_zeros(len(t), 2, t.shape[2]).scatter_add(1, _spread(t, 2), t),
    "scatter mean": lambda n, t: t.new_zeros(len(t), 2, t.shape[2]).scatter_reduce(1, _spread(t, 2), t, "mean"),
    "index add": lambda n, t: t.new_zeros(len(t), 2, t.shape[2]).index_add(1, torch.arange(t.shape[1]) % 2, t),
    "index copy": lambda n, t: t.new_ones(len(t), 9, t.shape[2]).index_copy(1, torch.arange(t.shape[1]), t),
    "index fill": lambda n, t: t.index_fill(1, torch.tensor([1, 3]), 0.5),
    "index put, elements": lambda n, t: _masked(t),
    "index put, tokens": _tokens,
    "index put, places": _places,
    "mask of tokens": lambda n, t: torch.stack([u[u.sum(-1) > u.sum(-1).mean()].mean(0) for u in t])[:, None],
    "mask of rows": lambda n, t: t[torch.ones(t.shape[:2], dtype=torch.bool)].view(len(t), -1, t.shape[-1]),
    "index of pairs": lambda n, t: t[torch.arange(len(t)), t.sum(2).argmax(1)][:, None],
    "bucketize": lambda n, t: t * torch.bucketize(t, torch.tensor([0.2, 0.5])).to(t),
    "searchsorted": lambda n, t: t + torch.searchsorted(torch.tensor([0.2, 0.5]).to(t), t).to(t),
    "packed": _packed,
    "complex": lambda n, t: _rotated(t),
    "fft of time": lambda n, t: torch.fft.irfft(torch.fft.rfft(t, dim=1) * 1j, n=t.shape[1], dim=1),
    "real and imaginary": lambda n, t: _parts(torch.fft.fft(t, dim=1)),
    "fake quantise": lambda n, t: torch.fake_quantize_per_tensor_affine(t, 0.1, 0, -128, 127),
    "fake quantise, learnt": lambda n, t: torch.fake_quantize_per_tensor_affine(
        t.float(), n.step.float(), torch.tensor(0), -128, 127
    ).to(t),
    "distances": lambda n, t: torch.cdist(t, t) @ t,
    "large distances": lambda n, t: torch.cdist(t.repeat(1, 6, 1), t.repeat(1, 6, 1))[:, :6, : t.shape[1]] @ t,
    "gated": lambda n, t: F.glu(torch.cat([t, n.side(n.x)], -1), -1),
    "unfold and fold": lambda n, t: F.fold(
        F.unfold(t.transpose(1, 2)[..., None], (2, 1)), (t.shape[1], 1), (2, 1)
    ).squeeze(-1).transpose(1, 2),
    "pool and back": lambda n, t: F.max_unpool2d(
        *F.max_pool2d(t.transpose(1, 2)[..., None], (2, 1), return_indices=True), (2, 1)
    ).squeeze(-1).transpose(1, 2),
    "grid": lambda n, t: F.grid_sample(
        t.transpose(1, 2)[..., None], torch.linspace(-0.9, 0.9, 8).view(1, 4, 1, 2).to(t).expand(len(t), -1, -1, -1),
        align_corners=False,
    ).squeeze(-1).transpose(1, 2),
    "regions": lambda n, t: roi_align(
        t.transpose(1, 2)[..., None].expand(-1, -1, -1, 4).contiguous(),
        [torch.tensor([[0.0, 0.0, 3.0, 3.0]]).to(t)] * len(t), (2, 2),
    ).flatten(2).transpose(1, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", PASSING)
def test_channels_pass(name: str) -> None:
    halves(Between(PASSING[name]), inputs())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (lambda n, t: t.topk(3, 2)[0].mean(2, keepdim=True) * t, "every channel has a part"),
        (lambda n, t: t.index_add(2, torch.tensor([0, 1]), t[..., :2]), "picked by number"),
        (lambda n, t: t.gather(2, (t[..., :1] > 0).long().expand_as(t)), "picked by number"),
        (lambda n, t: torch.fft.fft(t, dim=2).real, "every channel has a part"),
        (lambda n, t: t.masked_scatter(t > 0.5, t.flip(1)), "one after another"),
        (lambda n, t: t + torch.rand_like(t) * 0, "can't follow"),
    ],
    ids=["top-k", "index add", "gather", "fft", "masked scatter", "random"],
)
def test_channels_that_are_mixed_or_picked_are_kept(body: Body, reason: str) -> None:
    net = Between(body).eval()
    pruned = prune(net, inputs(), ratios=0.5)
    assert "a" not in pruned.removed
    assert any(reason in why for name, why in pruned.plan.frozen.items() if name.startswith("a")), pruned.plan.frozen


class Packed(nn.Module):
    """Recurrent layers on sequences of several lengths, with or without a projection."""

    def __init__(self, layer: nn.Module, wide: int) -> None:
        super().__init__()
        self.a, self.recurrent, self.head = nn.Linear(5, WIDTH), layer, nn.Linear(wide, 1)

    def forward(self, x: Tensor) -> Tensor:
        lengths = x.shape[1] - torch.arange(len(x))
        y = pack_padded_sequence(self.a(x).relu(), lengths, batch_first=True)
        y, _ = self.recurrent(y)
        return self.head(pad_packed_sequence(y, batch_first=True)[0]).mean((1, 2))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("both", [False, True])
def test_packed_sequences(kind: type[nn.RNNBase], both: bool) -> None:
    torch.manual_seed(0)
    layer = kind(WIDTH, 6, num_layers=2, bidirectional=both, batch_first=True)
    net = Packed(layer, 12 if both else 6).eval()
    pruned = prune(net, inputs(), ratios=0.5)
    assert (pruned.model.recurrent.input_size, pruned.model.recurrent.hidden_size) == (WIDTH // 2, 3)
    assert difference(pruned.model.double(), zeroed(net, gone_slots(pruned)), inputs(seed=2)) < 1e-9


@pytest.mark.parametrize("both", [False, True])
def test_recurrent_layers_with_a_projection(both: bool) -> None:
    torch.manual_seed(0)
    net = Packed(nn.LSTM(WIDTH, 8, 2, bidirectional=both, proj_size=6, batch_first=True), 12 if both else 6).eval()
    pruned = prune(net, inputs(), ratios=0.5)
    small = pruned.model.recurrent
    assert (small.input_size, small.hidden_size, small.proj_size) == (4, 4, 3)
    # One module makes the cell and the state that is handed on: the parts are found again by their values.
    found = verify(net, pruned.model, inputs())
    assert found, found.status
    assert len(found.kept["recurrent.weight_hr_l1"][0]) == 3
    smaller = prune(net, inputs(), target_macs=0.5)
    assert (profile(net, inputs()).macs, profile(smaller.model, inputs()).macs) == smaller.plan.macs


class Deformable(nn.Module):
    """A deformable convolution whose offsets (and mask) a layer makes."""

    def __init__(self, groups: int = 1, offsets: int = 1, mask: bool = False) -> None:
        super().__init__()
        self.a, self.offset = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, 18 * offsets, 3, padding=1)
        self.mask = nn.Conv2d(WIDTH, 9 * offsets, 1) if mask else None
        self.deform, self.head = DeformConv2d(WIDTH, 12, 3, padding=1, groups=groups), nn.Conv2d(12, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).relu()
        mask = None if self.mask is None else self.mask(y).sigmoid()
        return self.head(self.deform(y, self.offset(y), mask).relu()).mean((1, 2, 3))


@pytest.mark.parametrize("settings", [{}, {"mask": True}, {"offsets": 2}, {"groups": 2}, {"groups": 4, "offsets": 2}])
def test_deformable_convolutions_are_pruned_and_counted(settings: dict[str, int]) -> None:
    torch.manual_seed(0)
    net, x = Deformable(**settings).eval(), torch.randn(2, 3, 7, 6)
    pruned = halves(net, (x,), ("a", "deform"))
    smaller = prune(net, x, target_macs=0.6)
    whole, left = profile(net, x), profile(smaller.model, x)
    assert (whole.macs, left.macs) == smaller.plan.macs
    assert not whole.unsupported
    # By hand: positions x outputs x inputs of a group x taps.
    assert whole.by_module["deform"] == 2 * 7 * 6 * 12 * (WIDTH // settings.get("groups", 1)) * 9
    assert pruned.removed["deform"]


def test_bilinear_layers_are_pruned_and_counted() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.c = nn.Linear(5, 8), nn.Linear(5, 6)
            self.b, self.head = nn.Bilinear(8, 6, 10), nn.Linear(10, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.b(self.a(x).relu(), self.c(x)).relu()).mean((1, 2))

    torch.manual_seed(0)
    net = Pair().eval()
    pruned = halves(net, inputs(), ("a", "b", "c"))
    assert (pruned.model.b.in1_features, pruned.model.b.in2_features, pruned.model.b.out_features) == (4, 3, 5)
    smaller = prune(net, inputs(), target_macs=0.5)
    assert (profile(net, inputs()).macs, profile(smaller.model, inputs()).macs) == smaller.plan.macs
