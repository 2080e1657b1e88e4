"""Operators that a pruner may have no rule for: each in the middle of a network, between layers that could go."""

# ruff: noqa: D102  (a class is what its name and its forward say)

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pruning_coverage.judging import Call
from pruning_coverage.patterns.base import Network, pictures

WIDTH = 32


class _OnMap(Network):
    """Stem, an operator on its map (batch, 32, 8, 8), a convolution, a head."""

    kind = "operators"
    shape = (2, 3, 8, 8)
    others: ClassVar[tuple[tuple[int, ...], ...]] = ((3, 3, 10, 12), (1, 3, 9, 8))
    wanted: ClassVar[tuple[str, ...]] = ("stem",)
    way: ClassVar[Callable[[Any, Tensor], Tensor]]

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last, self.head = (
            nn.Conv2d(3, WIDTH, 3, padding=1),
            nn.Conv2d(WIDTH, 24, 3, padding=1),
            nn.Linear(24, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(type(self).way(self, self.stem(x).relu())).relu().mean((2, 3)))


class _OnFrames(Network):
    """Vectors of six frames, an operator on (batch, frames, 32), a linear layer, a head."""

    kind = "operators"
    shape = (2, 6, 10)
    others: ClassVar[tuple[tuple[int, ...], ...]] = ((3, 6, 10), (1, 6, 10))
    wanted: ClassVar[tuple[str, ...]] = ("stem",)
    way: ClassVar[Callable[[Any, Tensor], Tensor]]

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last, self.head = nn.Linear(10, WIDTH), nn.Linear(WIDTH, 24), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(type(self).way(self, self.stem(x).relu())).relu())


def _scattered(t: Tensor, how: str) -> Tensor:
    """Six frames added up in two bins, by one of the ways to scatter."""
    bins = torch.tensor([0, 1, 0, 1, 1, 0])
    index, zeros = bins[None, :, None].expand_as(t), t.new_zeros(len(t), 2, t.shape[2])
    ways: dict[str, Callable[[], Tensor]] = {
        "scatter_add": lambda: zeros.scatter_add(1, index, t),
        "scatter_reduce": lambda: zeros.scatter_reduce(1, index, t, "amax", include_self=False),
        "scatter_": lambda: zeros.scatter_(1, index[:, 4:], t[:, 4:]),
        "index_add": lambda: zeros.index_add(1, bins, t),
        "index_add_": lambda: zeros.index_add_(1, bins, t, alpha=0.5),
        "index_copy": lambda: zeros.index_copy(1, torch.tensor([1, 0]), t[:, :2]),
        "index_put": lambda: zeros.index_put((torch.tensor([0]), torch.tensor([1])), t[0, :1]),
        "index_put accumulate": lambda: zeros.index_put(
            (torch.zeros(6, dtype=torch.long), bins), t[0], accumulate=True
        ),
        "index_fill": lambda: t.index_fill(1, torch.tensor([0, 3]), 0.0),
        "masked_scatter": lambda: t.masked_scatter((bins == 0)[None, :, None].expand_as(t), t.flip(1)),
        "select_scatter": lambda: zeros.select_scatter(t[:, 0], 1, 1),
        "slice_scatter": lambda: t.slice_scatter(t[:, :2] * 2, 1, 4, 6),
        "index_reduce": lambda: zeros.index_reduce(1, bins, t, "mean", include_self=False),
    }
    return ways[how]().mean(1)


def _packed(net: Any, t: Tensor) -> Tensor:
    lengths = torch.tensor([6, 3, 5])[: len(t)]
    packed = nn.utils.rnn.pack_padded_sequence(t, lengths, batch_first=True, enforce_sorted=False)
    out, sizes = nn.utils.rnn.pad_packed_sequence(net.recurrent(packed)[0], batch_first=True)
    return out.sum(1) / sizes[:, None].to(t)


def _ranked(t: Tensor) -> Tensor:
    order = t.norm(dim=2).argsort(1)[:, :2, None]
    return t.gather(1, order.expand(-1, -1, t.shape[2])).mean(1)


def _segments(t: Tensor) -> Tensor:
    nested = torch.segment_reduce(t.flatten(0, 1), "mean", lengths=torch.tensor([6] * len(t)), axis=0)
    return nested.view(len(t), -1)


_FRAMES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "topk": lambda n, t: t.topk(2, 1)[0].mean(1),
    "topk rows": lambda n, t: torch.stack([r[r.sum(1).topk(3)[1]].mean(0) for r in t]),
    "sort": lambda n, t: t.sort(1, descending=True)[0][:, :2].mean(1),
    "argsort gather": lambda n, t: _ranked(t),
    "kthvalue": lambda n, t: t.kthvalue(2, 1)[0],
    "median": lambda n, t: t.median(1)[0],
    "quantile": lambda n, t: t.quantile(0.3, 1),
    "cumsum": lambda n, t: t.cumsum(1).mean(1),
    "cummax": lambda n, t: t.cummax(1)[0].mean(1),
    "cumprod": lambda n, t: (t * 0.5 + 0.5).cumprod(1)[:, -1] - 0.5**6,
    "logcumsumexp": lambda n, t: t.logcumsumexp(1).mean(1),
    "logsumexp over time": lambda n, t: t.logsumexp(1),
    "diff": lambda n, t: t.diff(dim=1).abs().mean(1),
    "unfold time": lambda n, t: t.unfold(1, 3, 1).amax(-1).mean(1),
    "take along dim": lambda n, t: torch.take_along_dim(t, t.argsort(1), 1)[:, :3].mean(1),
    "boolean rows": lambda n, t: torch.stack([u[u.sum(-1) > u.sum(-1).mean()].mean(0) for u in t]),
    "masked select frames": lambda n, t: t[:, torch.tensor([True, False, True, True, False, True])].mean(1),
    "real FFT over time": lambda n, t: torch.fft.rfft(t, dim=1).abs().mean(1),
    "FFT and back": lambda n, t: torch.fft.irfft(torch.fft.rfft(t, dim=1) * 0.5, n=6, dim=1).mean(1),
    "complex polar": lambda n, t: torch.view_as_real(torch.polar(t, t * 0)).sum(-1).mean(1),
    "interpolate time": lambda n, t: F.interpolate(t.mT, size=4, mode="linear").mean(2),
    "trapezoid": lambda n, t: torch.trapezoid(t, dim=1),
    "var over time": lambda n, t: t.var(1),
    "weighted by softmax": lambda n, t: (t * t.sum(2, keepdim=True).softmax(1)).sum(1),
    "pairwise products": lambda n, t: torch.einsum("bnc,bmc,bmd->bnd", t, t, t).mean(1),
    "segment reduce": lambda n, t: _segments(t),
    "packed LSTM": _packed,
    "packed GRU": _packed,
    **{h: (lambda n, t, h=h: _scattered(t, h)) for h in (
        "scatter_add", "scatter_reduce", "scatter_", "index_add", "index_add_", "index_copy", "index_put",
        "index_put accumulate", "index_fill", "masked_scatter", "select_scatter", "slice_scatter", "index_reduce",
    )},
}  # fmt: skip


def _rows(y: Tensor) -> Tensor:
    rows, _ = torch.meshgrid(torch.arange(y.shape[2]), torch.arange(y.shape[3]), indexing="ij")
    return 1 + rows.to(y) / 9


def _enlarged(y: Tensor) -> Tensor:
    kernel = torch.ones(1, 1, 2, 2).to(y).expand(y.shape[1], 1, 2, 2)
    return F.conv_transpose2d(y, kernel, stride=2, groups=y.shape[1])


def _first_row_zero(y: Tensor) -> Tensor:
    y[:, :, 0] = 0
    return y


def _blurred(y: Tensor) -> Tensor:
    kernel = torch.tensor([1.0, 2.0, 1.0]).to(y)
    kernel = (kernel[:, None] * kernel / 16)[None, None].repeat(y.shape[1], 1, 1, 1)
    return F.conv2d(F.pad(y, (1, 1, 1, 1), "reflect"), kernel, groups=y.shape[1])


def _sampled(y: Tensor) -> Tensor:
    grid = F.affine_grid(torch.eye(2, 3).to(y).expand(len(y), -1, -1) * 0.9, list(y.shape), align_corners=False)
    return F.grid_sample(y, grid, align_corners=False)


def _gelu_tanh(y: Tensor) -> Tensor:
    return y * torch.sigmoid(1.702 * y)


_MAPS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "FFT of the map": lambda n, y: torch.fft.irfft2(torch.fft.rfft2(y) * 0.7, s=y.shape[-2:]),
    "FFT amplitude": lambda n, y: torch.fft.fft2(y, norm="ortho").abs(),
    "FFT shifted": lambda n, y: torch.fft.ifft2(torch.fft.ifftshift(torch.fft.fftshift(torch.fft.fft2(y)))).real,
    "real and imaginary": lambda n, y: torch.fft.fft2(y, norm="ortho").real + torch.fft.fft2(y, norm="ortho").imag,
    "complex product": lambda n, y: torch.view_as_real(torch.complex(y, y.flip(-1)) * 1j).sum(-1),
    "fake quantise": lambda n, y: torch.fake_quantize_per_tensor_affine(y, 0.02, 0, -128, 127),
    "straight through": lambda n, y: y + ((y * 16).round() / 16 - y).detach(),
    "random like, off": lambda n, y: y + torch.randn_like(y) * 0.0,
    "dropout off": lambda n, y: F.dropout2d(y, 0.5, training=n.training),
    "drop path off": lambda n, y: y if not n.training else y * torch.bernoulli(torch.full((len(y), 1, 1, 1), 0.9)),
    "feature alpha dropout": lambda n, y: F.feature_alpha_dropout(y, 0.3, training=n.training),
    "blur": lambda n, y: _blurred(y),
    "grid sample": lambda n, y: _sampled(y),
    "max pool with indices": lambda n, y: F.max_unpool2d(*F.max_pool2d(y[..., :8, :8], 2, return_indices=True), 2),
    "lp pool": lambda n, y: F.lp_pool2d(y, 2.0, 2),
    "fractional pool": lambda n, y: F.adaptive_max_pool2d(y, (4, 5)),
    "im2col and back": lambda n, y: F.fold(F.unfold(y, 3, padding=1), y.shape[-2:], 3, padding=1) / 9,
    "tensordot": lambda n, y: torch.tensordot(y, torch.ones(y.shape[-1], 5).to(y) / 8, dims=1),
    "histogram over space": lambda n, y: torch.exp(-((y[..., None] - torch.linspace(0, 1, 5).to(y)) ** 2)).mean(-1) * y,
    "maximum of two": lambda n, y: torch.maximum(y, y.roll(1, -1) * 0.5),
    "clamp by tensor": lambda n, y: y.clamp(max=y.mean((2, 3), keepdim=True) * 2),
    "lerp": lambda n, y: torch.lerp(y, y.flip(-1), 0.3),
    "addcmul": lambda n, y: torch.addcmul(y, y, y.flip(-1), value=0.5),
    "rsqrt of energy": lambda n, y: y * torch.rsqrt(y.square().mean((2, 3), keepdim=True) + 1e-2),
    "hardshrink": lambda n, y: F.hardshrink(y, 0.1) + F.softshrink(y, 0.1),
    "prelu": lambda n, y: F.prelu(-y, n.slope),
    "glu halves": lambda n, y: torch.cat([F.glu(torch.cat([y, y.flip(-1)], 1), 1)], 1),
    "quick gelu": lambda n, y: _gelu_tanh(y),
    "meshgrid position": lambda n, y: y * _rows(y),
    "chunk over rows": lambda n, y: torch.cat([c.flip(-1) for c in y.chunk(2, 2)], 2),
    "transpose conv": lambda n, y: _enlarged(y),
    "cosine with the mean": lambda n, y: y * F.cosine_similarity(y, y.mean((2, 3), keepdim=True), dim=1)[:, None],
    "renorm": lambda n, y: y / y.flatten(2).norm(dim=2)[..., None, None].clamp(min=1e-3),
    "roll by data": lambda n, y: y.roll(int(y.shape[-1] // 3), -1) + y,
    "inplace slice": lambda n, y: _first_row_zero(y.clone()),
    "index by a list": lambda n, y: y[:, :, [0, 2, 4]] + y[:, :, [1, 3, 5]],
}  # fmt: skip


class _WithRecurrent(_OnFrames):
    recurrent_kind: ClassVar[type[nn.RNNBase]] = nn.LSTM

    wanted = ("stem", "recurrent")

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = self.recurrent_kind(WIDTH, 20, num_layers=2, bidirectional=True, batch_first=True)
        self.last = nn.Linear(40, 24)


class _WithSlope(_OnMap):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.full((WIDTH,), 0.2))


def _title(name: str) -> str:
    return "".join(w[0].upper() + w[1:] for w in name.replace("_", " ").replace(",", "").split())


for _name, _way in _FRAMES.items():
    _base = _WithRecurrent if "packed" in _name else _OnFrames
    _more: dict[str, Any] = {"recurrent_kind": nn.GRU} if "GRU" in _name else {}
    _space = {"way": staticmethod(_way), "__module__": __name__, "__doc__": f"Frames: {_name}.", **_more}
    type(_title(_name), (_base,), _space)
for _name, _way in _MAPS.items():
    _space = {"way": staticmethod(_way), "__module__": __name__, "__doc__": f"A map: {_name}."}
    type(_title(_name), (_WithSlope if "prelu" in _name else _OnMap,), _space)


class GlobalFilter(_OnMap):
    """A complex weight for every frequency and channel (GFNet)."""

    others = ((3, 3, 8, 8),)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 5, WIDTH, 2) * 0.5)

    @staticmethod
    def way(net: Any, y: Tensor) -> Tensor:
        """The filter."""
        z = torch.fft.rfft2(y.permute(0, 2, 3, 1), dim=(1, 2), norm="ortho") * torch.view_as_complex(net.weight)
        return torch.fft.irfft2(z, s=y.shape[-2:], dim=(1, 2), norm="ortho").permute(0, 3, 1, 2)


class FourierOperator(_OnMap):
    """Complex weights between channels for the low frequencies (FNO)."""

    others = ((3, 3, 10, 12),)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH, 3, 3, dtype=torch.cfloat) * 0.1)

    @staticmethod
    def way(net: Any, y: Tensor) -> Tensor:
        """The product on the low frequencies."""
        spectrum = torch.fft.rfft2(y)
        out = torch.zeros(len(y), net.weight.shape[1], *spectrum.shape[2:], dtype=spectrum.dtype)
        out[:, :, :3, :3] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, :3, :3], net.weight.to(spectrum.dtype))
        return torch.fft.irfft2(out, s=y.shape[-2:]) + y


class FourierConvolution(_OnMap):
    """Real and imaginary parts side by side as channels (fast Fourier convolution)."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.norm = nn.Conv2d(2 * WIDTH, 2 * WIDTH, 1), nn.BatchNorm2d(2 * WIDTH)

    @staticmethod
    def way(net: Any, y: Tensor) -> Tensor:
        """Convolution of the spectrum."""
        b, _, h, w = y.shape
        f = torch.fft.rfftn(y, dim=(-2, -1), norm="ortho")
        f = torch.stack((f.real, f.imag), -1).permute(0, 1, 4, 2, 3).contiguous().view(b, -1, h, w // 2 + 1)
        f = net.norm(net.mix(f)).relu().view(b, -1, 2, h, w // 2 + 1).permute(0, 1, 3, 4, 2).contiguous()
        return y + torch.fft.irfftn(torch.complex(f[..., 0], f[..., 1]), s=(h, w), dim=(-2, -1), norm="ortho")


class Deformable(_OnMap):
    """Deformable convolution; offsets from a layer of their own."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.ops import DeformConv2d

        self.offset, self.deform = nn.Conv2d(WIDTH, 18, 3, padding=1), DeformConv2d(WIDTH, 28, 3, padding=1)
        self.last = nn.Conv2d(28, 24, 3, padding=1)

    @staticmethod
    def way(net: Any, y: Tensor) -> Tensor:
        """Sampled where the offsets point."""
        return net.deform(y, net.offset(y)).relu()


class DeformableModulated(Deformable):
    """With a mask for every tap, in four groups of offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.offset, self.mask = nn.Conv2d(WIDTH, 72, 3, padding=1), nn.Conv2d(WIDTH, 36, 3, padding=1)

    @staticmethod
    def way(net: Any, y: Tensor) -> Tensor:
        """Sampled, and weighted."""
        return net.deform(y, net.offset(y), net.mask(y).sigmoid()).relu()


class RegionPooling(_OnMap):
    """RoI align of fixed boxes."""

    @staticmethod
    def way(net: Any, y: Tensor) -> Tensor:
        """Two regions of every picture."""
        from torchvision.ops import roi_align

        boxes = torch.tensor([[0.0, 0.0, 5.0, 6.0], [2.0, 1.0, 7.0, 7.0]]).to(y)
        return roi_align(y, [boxes] * len(y), output_size=4, aligned=True).unflatten(0, (len(y), 2)).amax(1)


@torch.library.custom_op("coverage::leaky_square", mutates_args=())
def leaky_square(x: Tensor, slope: float) -> Tensor:
    """An operator of a user's own, elementwise; nothing in its name says so."""
    return torch.where(x > 0, x * x, slope * x)


@leaky_square.register_fake
def _leaky_square_like(x: Tensor, slope: float) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("coverage::row_mix", mutates_args=())
def row_mix(x: Tensor) -> Tensor:
    """Mixes rows of a map, and no channels."""
    return x.cumsum(2) - 0.5 * x.flip(2)


@row_mix.register_fake
def _row_mix_like(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("coverage::channel_mix", mutates_args=())
def channel_mix(x: Tensor) -> Tensor:
    """Mixes channels: what goes in one changes the others."""
    return x + 0.1 * x.sum(1, keepdim=True).tanh() * x


@channel_mix.register_fake
def _channel_mix_like(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("coverage::offset", mutates_args=())
def offset(x: Tensor) -> Tensor:
    """Elementwise, and not zero at zero."""
    return (x + 1).square()


@offset.register_fake
def _offset_like(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class CustomElementwise(_OnMap):
    """A user's own operator, elementwise."""

    @staticmethod
    def way(net: Any, y: Tensor) -> Tensor:
        """The operator."""
        return torch.ops.coverage.leaky_square(y, 0.2)


class CustomRows(_OnMap):
    """A user's own operator, which mixes rows."""

    @staticmethod
    def way(net: Any, y: Tensor) -> Tensor:
        """The operator."""
        return torch.ops.coverage.row_mix(y)


class CustomChannels(_OnMap):
    """A user's own operator, which mixes channels through their sum."""

    wanted = ()

    @staticmethod
    def way(net: Any, y: Tensor) -> Tensor:
        """The operator."""
        return torch.ops.coverage.channel_mix(y)


class CustomOffset(_OnMap):
    """A user's own operator, which makes one of zero: what is cut is no zero, and nobody reads it."""

    @staticmethod
    def way(net: Any, y: Tensor) -> Tensor:
        """The operator."""
        return torch.ops.coverage.offset(y)


class MatrixExponential(_OnMap):
    """An operator that mixes whatever it is given, over rows and columns."""

    others = ((3, 3, 8, 8), (1, 3, 10, 10))

    @staticmethod
    def way(net: Any, y: Tensor) -> Tensor:
        """Of every channel's map."""
        return torch.linalg.matrix_exp(y * 0.1)


class SingularValues(_OnMap):
    """Singular values of every channel's map, as features."""

    others = ((3, 3, 8, 8),)

    @staticmethod
    def way(net: Any, y: Tensor) -> Tensor:
        """As a diagonal."""
        return torch.diag_embed(torch.linalg.svdvals(y))


class OwnFunction(_OnMap):
    """A torch.autograd.Function of a user's own."""

    class Gate(torch.autograd.Function):
        """x * sigmoid(x), with its gradient by hand."""

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            """Forward."""
            ctx.save_for_backward(x)
            return x * x.sigmoid()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            """Backward."""
            (x,) = ctx.saved_tensors
            s = x.sigmoid()
            return grad * s * (1 + x * (1 - s))

    @staticmethod
    def way(net: Any, y: Tensor) -> Tensor:
        """Applied."""
        return OwnFunction.Gate.apply(y)


class LengthsGiven(_OnFrames):
    """Packed sequences whose lengths come in as an argument."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.last = nn.GRU(WIDTH, 28, batch_first=True), nn.Linear(28, 24)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y = self.stem(x).relu()
        packed = nn.utils.rnn.pack_padded_sequence(y, lengths, batch_first=True, enforce_sorted=False)
        _, last = self.recurrent(packed)
        return self.head(self.last(last[-1]).relu())

    def inputs(self) -> Any:
        return (*pictures((3, 6, 10)), torch.tensor([6, 2, 4]))

    def calls(self) -> list[Call]:
        return [Call((*pictures((2, 7, 10), seed=9), torch.tensor([3, 7]))), Call(self.inputs())]


class EmbeddingBag(Network):
    """A bag of embeddings: words of a description."""

    kind = "operators"

    def __init__(self) -> None:
        super().__init__()
        self.words, self.last, self.head = (
            nn.EmbeddingBag(40, WIDTH, mode="sum"),
            nn.Linear(WIDTH, 48),
            nn.Linear(48, 1),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.last(self.words(tokens).relu()).relu())

    def inputs(self) -> Any:
        return (torch.arange(12).view(2, 6),)

    def calls(self) -> list[Call]:
        return [Call(self.inputs()), Call(((torch.arange(15) * 7 % 40).view(3, 5),))]


class NestedBilinear(_OnFrames):
    """nn.Bilinear of two vectors."""

    wanted = ("bilinear",)

    def __init__(self) -> None:
        super().__init__()
        self.other, self.bilinear = nn.Linear(10, 20), nn.Bilinear(WIDTH, 20, 24)

    def forward(self, x: Tensor) -> Tensor:
        y, z = self.stem(x).relu().mean(1), self.other(x).relu().amax(1)
        return self.head(self.bilinear(y, z).relu())
