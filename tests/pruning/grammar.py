"""A grammar of random networks, made of the patterns that pruners get wrong.

`build(seed)` draws a sentence: a stem, some productions (each a small module below), a head, and a way to be called.
The normalisations are layers of this file that can be told which channels count, for the reference (reference.py).
"""

# ruff: noqa: N812

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

FRAMES = 4
SIDE = 8  # of the input
PRODUCTIONS: dict[str, type[Step]] = {}

# -- normalisations that can leave channels out of their statistics ---------------------------------------------------


class LayerNorm(nn.LayerNorm):
    """`nn.LayerNorm`; with `keep` (indices) only those channels are normalised, the others are zero."""

    keep: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.keep is None:
            return super().forward(x)
        kept = x[..., self.keep]
        kept = (kept - kept.mean(-1, keepdim=True)) / (kept.var(-1, correction=0, keepdim=True) + self.eps).sqrt()
        out = torch.zeros_like(x)
        out[..., self.keep] = kept * self.weight[self.keep] + (0 if self.bias is None else self.bias[self.keep])
        return out


class RMSNorm(nn.RMSNorm):
    """`nn.RMSNorm` with `keep`, as above."""

    keep: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.keep is None:
            return super().forward(x)
        kept = x[..., self.keep]
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        out = torch.zeros_like(x)
        out[..., self.keep] = kept / (kept.square().mean(-1, keepdim=True) + eps).sqrt() * self.weight[self.keep]
        return out


class GroupNorm(nn.GroupNorm):
    """`nn.GroupNorm` with `keep`, as above; every group is normalised over what it keeps."""

    keep: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.keep is None:
            return super().forward(x)
        out, size = torch.zeros_like(x), self.num_channels // self.num_groups
        for group in range(self.num_groups):
            mine = self.keep[self.keep // size == group]
            if not len(mine):
                continue
            kept = x[:, mine]
            over = tuple(range(1, kept.ndim))
            kept = kept - kept.mean(over, keepdim=True)
            kept = kept / (kept.square().mean(over, keepdim=True) + self.eps).sqrt()
            shape = (-1, *[1] * (x.ndim - 2))
            out[:, mine] = kept * self.weight[mine].view(shape) + self.bias[mine].view(shape)
        return out


# -- productions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a production stands: the channels and the side of its input, and what it may draw from."""

    width: int
    side: int
    draw: random.Random

    def new_width(self) -> int:
        """A width for a new layer."""
        return 4 * self.draw.randint(1, 3)


class Step(nn.Module):
    """(clips * FRAMES, width, side, side) to the same with another width and side; `out` is the new width.

    `multiple` must divide the width; `scale` is what happens to the side; a step that `grows` is not repeated for ever.
    """

    multiple: ClassVar[int] = 1
    scale: ClassVar[float] = 1
    grows: ClassVar[bool] = False
    out: int

    def __init_subclass__(cls) -> None:
        if not cls.__name__.startswith("_"):
            PRODUCTIONS[cls.__name__] = cls


def conv(width: int, out: int, size: int = 1, **settings: Any) -> nn.Conv2d:
    return nn.Conv2d(width, out, size, padding=settings.pop("padding", size // 2), **settings)


class _Layer(Step):
    """One layer that maps channels on dimension 1."""

    def __init__(self, at: Place) -> None:
        super().__init__()
        self.layer, self.out = self.make(at)

    def make(self, at: Place) -> tuple[nn.Module, int]:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Conv(_Layer):
    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        return conv(at.width, out, 3, bias=at.draw.random() < 0.5), out


class Strided(_Layer):
    scale = 0.5

    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        return nn.Conv2d(at.width, out, 2, stride=2), out


class Grouped(_Layer):
    multiple = 4

    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        return conv(at.width, out, 3, groups=at.draw.choice([2, 4])), out


class Depthwise(_Layer):
    grows = True

    def make(self, at: Place) -> tuple[nn.Module, int]:
        times = at.draw.choice([1, 2])
        return conv(at.width, times * at.width, 3, groups=at.width), times * at.width


class Transposed(_Layer):
    scale = 2

    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        groups = at.draw.choice([1, 2]) if at.width % 2 == 0 else 1
        return nn.ConvTranspose2d(at.width, out, 2, stride=2, groups=groups), out


class BatchNorm(_Layer):
    def make(self, at: Place) -> tuple[nn.Module, int]:
        return nn.BatchNorm2d(at.width), at.width


class Grouping(_Layer):
    multiple = 2

    def make(self, at: Place) -> tuple[nn.Module, int]:
        return GroupNorm(at.draw.choice([1, 2, at.width]), at.width), at.width


class InstanceNorm(_Layer):
    def make(self, at: Place) -> tuple[nn.Module, int]:
        return nn.InstanceNorm2d(at.width, affine=True), at.width


class PReLU(_Layer):
    def make(self, at: Place) -> tuple[nn.Module, int]:
        return nn.PReLU(at.draw.choice([1, at.width])), at.width


class WeightNorm(_Layer):
    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        return weight_norm(conv(at.width, out, 3)), out


class SpectralNorm(_Layer):
    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        return spectral_norm(conv(at.width, out)), out


class Frozen(_Layer):
    """A layer without gradients."""

    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        return conv(at.width, out, 3).requires_grad_(False), out

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.layer(x)


class Conv3d(_Layer):
    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        return nn.Conv3d(at.width, out, 3, padding=1), out

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x.unflatten(0, (-1, FRAMES)).transpose(1, 2))
        return y.transpose(1, 2).flatten(0, 1)


class TemporalConv(_Layer):
    """A convolution over frames alone, the pixels in the batch."""

    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        return nn.Conv1d(at.width, out, 3, padding=1), out

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        y = x.view(n // FRAMES, FRAMES, c, h, w).permute(0, 3, 4, 2, 1).reshape(-1, c, FRAMES)
        y = self.layer(y).reshape(n // FRAMES, h, w, -1, FRAMES)
        return y.permute(0, 4, 3, 1, 2).reshape(n, -1, h, w)


class _Last(_Layer):
    """One layer that maps channels on the last dimension."""

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LastNorm(_Last):
    def make(self, at: Place) -> tuple[nn.Module, int]:
        return at.draw.choice([LayerNorm, RMSNorm])(at.width), at.width


class Tokens(_Last):
    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        return nn.Linear(at.width, out), out

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])


class BorrowedConv(_Layer):
    """F.conv2d on the weight of a linear layer that never runs."""

    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        return nn.Linear(at.width, out), out

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.layer.weight[:, :, None, None] * 0.7, self.layer.bias)


class BorrowedLinear(_Layer):
    """F.linear on the flattened weight of a convolution, over frames and channels folded together."""

    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        return nn.Conv2d(at.width, out, 1), out

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x.movedim(1, -1), self.layer.weight.flatten(1), self.layer.bias)
        return y.movedim(-1, 1)


class Standardised(_Layer):
    """A weight that is standardised on the fly."""

    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        return conv(at.width, out, 3), out

    def forward(self, x: Tensor) -> Tensor:
        weight = self.layer.weight
        weight = weight / (weight.flatten(1).std(1)[:, None, None, None] + 1e-3)
        return F.conv2d(x, weight, self.layer.bias, padding=1)


class Residual(_Layer):
    def make(self, at: Place) -> tuple[nn.Module, int]:
        inner = at.new_width()
        return nn.Sequential(
            conv(at.width, inner, 3), nn.BatchNorm2d(inner), nn.ReLU(), conv(inner, at.width)
        ), at.width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(x)


class ScaledResidual(_Layer):
    """A branch behind a layer scale that starts at almost nothing."""

    def make(self, at: Place) -> tuple[nn.Module, int]:
        self.gamma = nn.Parameter(torch.full((at.width, 1, 1), at.draw.choice([1.0, 1e-6])))
        return nn.Sequential(conv(at.width, 8), nn.GELU(), conv(8, at.width)), at.width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma * self.layer(x)


class InPlace(_Layer):
    def make(self, at: Place) -> tuple[nn.Module, int]:
        return conv(at.width, at.width), at.width

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        y[:, :, ::2] *= 0.5
        y += x
        return y.relu_()


class Dense(_Layer):
    grows = True

    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        return conv(at.width, out, 3), at.width + out

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layer(x)], 1)


class Siamese(_Layer):
    """One layer on every frame and on its difference from the frame before."""

    grows = True

    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        return nn.Sequential(conv(at.width, out), nn.Tanh()), 3 * out

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.layer(x), self.layer(x - x.roll(1, 0))
        return torch.cat([a, b, (a - b).abs()], 1)


class Excite(_Layer):
    def make(self, at: Place) -> tuple[nn.Module, int]:
        return nn.Sequential(conv(at.width, 4), nn.ReLU(), conv(4, at.width), nn.Sigmoid()), at.width

    def forward(self, x: Tensor) -> Tensor:
        return x * self.layer(x.mean((2, 3), keepdim=True))


class TopOfFrames(_Layer):
    """Maximum and mean over frames, laid side by side."""

    def make(self, at: Place) -> tuple[nn.Module, int]:
        return conv(2 * at.width, at.width), at.width

    def forward(self, x: Tensor) -> Tensor:
        y = x.unflatten(0, (-1, FRAMES))
        return x + self.layer(torch.cat([y.amax(1), y.mean(1)], 1)).repeat_interleave(FRAMES, 0)


class _Plain(Step):
    """No layer: channels are moved or combined."""

    def __init__(self, at: Place) -> None:
        super().__init__()
        self.out = self.width_from(at.width)

    def width_from(self, width: int) -> int:
        return width


class Activation(Step):
    def __init__(self, at: Place) -> None:
        super().__init__()
        self.out = at.width
        self.function: Callable[[Tensor], Tensor] = at.draw.choice(
            [F.relu, F.gelu, torch.sigmoid, torch.tanh, torch.abs, F.silu, torch.cos, torch.exp, F.softplus]
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x.clamp(-5, 5))


class Twice(_Plain):
    grows = True

    def width_from(self, width: int) -> int:
        return 2 * width

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x.abs()], 1)


class Flipped(Twice):
    """Laid side by side with its channels in the other order."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x.flip(1).abs()], 1)


class Gate(_Plain):
    multiple = 8

    def width_from(self, width: int) -> int:
        return width // 2

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        return a * b.sigmoid()


class UnevenSplit(_Layer):
    """Cut at a number that the network holds."""

    multiple = 4

    def make(self, at: Place) -> tuple[nn.Module, int]:
        self.sizes = [at.width // 4, at.width - at.width // 4]
        return conv(self.sizes[1], self.sizes[1], 3), at.width

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.split(self.sizes, 1)
        return torch.cat([a, self.layer(b).relu()], 1)


class Shuffle(_Plain):
    multiple = 4
    scale = 2

    def width_from(self, width: int) -> int:
        return width // 4

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x, 2)


class Unshuffle(_Plain):
    grows = True
    scale = 0.5

    def width_from(self, width: int) -> int:
        return 4 * width

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)


class ChannelShuffle(_Plain):
    multiple = 4

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class TemporalShift(_Plain):
    """TSM (Lin et al., ICCV 2019): a part of the channels moves to the next frame, a part to the one before."""

    multiple = 4

    def forward(self, x: Tensor) -> Tensor:
        y = x.unflatten(0, (-1, FRAMES))
        fold, shifted = y.shape[2] // 4, torch.zeros_like(y)
        shifted[:, :-1, :fold] = y[:, 1:, :fold]
        shifted[:, 1:, fold : 2 * fold] = y[:, :-1, fold : 2 * fold]
        shifted[:, :, 2 * fold :] = y[:, :, 2 * fold :]
        return shifted.flatten(0, 1)


class Correlate(_Plain):
    """Every frame weighed by how alike it is to its neighbour."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x * x.roll(1, 0)).sum(1, keepdim=True).tanh()


class CostVolume(_Plain):
    """Products of all positions of neighbouring frames: positions become channels."""

    def __init__(self, at: Place) -> None:
        super().__init__(at)
        self.layer = conv(at.side * at.side, at.width)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        volume = torch.einsum("nchw,ncp->nphw", x, x.roll(1, 0).flatten(2))
        return x + self.layer(volume.view(n, h * w, h, w)).tanh()


class UnitLength(_Plain):
    """Features of length one at every position, as perceptual metrics have them."""

    def forward(self, x: Tensor) -> Tensor:
        return x / (x.square().sum(1, keepdim=True) + 1e-3).sqrt()


class Centred(_Plain):
    """A normalisation written by hand: the mean counts the channels. With `keep` it counts only those."""

    keep: Tensor | None = None

    def __init__(self, at: Place) -> None:
        super().__init__(at)
        self.weight = nn.Parameter(torch.rand(at.width) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        mean = (x if self.keep is None else x[:, self.keep]).mean(1, keepdim=True)
        return (x - mean) * self.weight[:, None, None]


class Softmax(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(1)


class ByWidth(_Plain):
    """Divided by a width that the network holds as a number."""

    def __init__(self, at: Place) -> None:
        super().__init__(at)
        self.width = at.width

    def forward(self, x: Tensor) -> Tensor:
        return x / self.width**0.5


class BySize(_Plain):
    """Divided by the width that the tensor has."""

    def forward(self, x: Tensor) -> Tensor:
        return x / x.shape[1] ** 0.5


class HiddenView(_Plain):
    """A view by numbers that the network holds."""

    multiple = 2

    def __init__(self, at: Place) -> None:
        super().__init__(at)
        self.width = at.width

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        return x.reshape(n, 2, self.width // 2, h, w).relu().reshape(n, self.width, h, w)


class PadChannels(_Plain):
    """A shortcut whose missing channels are zeros."""

    grows = True

    def width_from(self, width: int) -> int:
        return width + 4

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, 0, 2, 2))


class Masked(_Plain):
    """Masked by its own values: the mask is a tensor of booleans."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0.1, x, -0.2 * x)


class Buffer(_Plain):
    """Statistics in buffers, one of which only ever divides: zero is no value for it, also where its channel goes."""

    divides = ("std",)

    def __init__(self, at: Place) -> None:
        super().__init__(at)
        self.register_buffer("mean", torch.randn(1, at.width, 1, 1))
        self.register_buffer("std", torch.rand(at.width, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Affine(_Plain):
    """Raw parameters: a scale, a shift, and a position embedding."""

    def __init__(self, at: Place) -> None:
        super().__init__(at)
        self.scale_by = nn.Parameter(torch.randn(at.width))
        self.position = nn.Parameter(torch.randn(1, at.width, at.side, at.side))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale_by[:, None, None] + self.position


class Matrix(_Plain):
    """A raw parameter as a matrix over channels."""

    def __init__(self, at: Place) -> None:
        super().__init__(at)
        self.out = at.new_width()
        self.matrix = nn.Parameter(torch.randn(at.width, self.out) / at.width**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,cd->ndhw", x, self.matrix)


class _Fold(Step):
    """Frames folded into channels, merged, and given back to every frame."""

    def __init__(self, at: Place) -> None:
        super().__init__()
        self.merge, self.out = conv(FRAMES * at.width, at.width), at.width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.merge(self.fold(x)).repeat_interleave(FRAMES, 0)

    def fold(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class FoldView(_Fold):
    def fold(self, x: Tensor) -> Tensor:
        return x.reshape(-1, FRAMES * x.shape[1], *x.shape[2:])


class FoldPermute(_Fold):
    """As einops' `(b t) c h w -> b (c t) h w` runs it."""

    def fold(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.reshape(n // FRAMES, FRAMES, c, h, w).permute(0, 2, 1, 3, 4).reshape(n // FRAMES, c * FRAMES, h, w)


class FoldCat(_Fold):
    def fold(self, x: Tensor) -> Tensor:
        return torch.cat([x[t::FRAMES] for t in range(FRAMES)], 1)


class _Attention(Step):
    """Attention between the positions of a frame; tokens in, tokens out."""

    def __init__(self, at: Place) -> None:
        super().__init__()
        self.out = at.width
        self.make(at)

    def make(self, at: Place) -> None:
        raise NotImplementedError

    def attend(self, tokens: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attend(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])


class OneHead(_Attention):
    def make(self, at: Place) -> None:
        self.qkv = nn.Linear(at.width, 3 * at.width)

    def attend(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(tokens).chunk(3, -1)
        return F.scaled_dot_product_attention(q, k, v, scale=0.3)


class Heads(_Attention):
    """Heads counted by an attribute, their width by the tensor; a table of relative positions."""

    multiple = 4

    def make(self, at: Place) -> None:
        self.heads = at.draw.choice([2, 4])
        self.qkv, self.proj = nn.Linear(at.width, 3 * at.width, bias=False), nn.Linear(at.width, at.width)
        self.table = nn.Parameter(torch.randn(2 * at.side**2 - 1, self.heads))
        place = torch.arange(at.side**2)
        self.register_buffer("index", place[:, None] - place[None] + at.side**2 - 1)

    def attend(self, tokens: Tensor) -> Tensor:
        n, length, _ = tokens.shape
        q, k, v = self.qkv(tokens).reshape(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) * 0.3 + self.table[self.index].permute(2, 0, 1)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, -1))


class HeadWidth(_Attention):
    """Heads and their width both by attributes, with scaled_dot_product_attention, as timm has it."""

    multiple = 4

    def make(self, at: Place) -> None:
        self.heads, self.head_dim = 2, at.width // 2
        self.q, self.k, self.v = (nn.Linear(at.width, at.width) for _ in range(3))
        self.norm, self.proj = LayerNorm(self.head_dim), nn.Linear(at.width, at.width)

    def attend(self, tokens: Tensor) -> Tensor:
        n, length, _ = tokens.shape
        q, k, v = (
            layer(tokens).view(n, length, self.heads, self.head_dim).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        y = F.scaled_dot_product_attention(self.norm(q), k, v)
        return self.proj(y.transpose(1, 2).reshape(n, length, self.heads * self.head_dim))


class Einsum(_Attention):
    multiple = 2

    def make(self, at: Place) -> None:
        self.q, self.v = nn.Linear(at.width, 6), nn.Linear(at.width, at.width)

    def attend(self, tokens: Tensor) -> Tensor:
        q = self.q(tokens)
        weights = torch.einsum("nid,njd->nij", q, q).softmax(-1)
        return torch.einsum("nij,njc->nic", weights, self.v(tokens))


class Multihead(_Attention):
    multiple = 2

    def make(self, at: Place) -> None:
        self.attention = nn.MultiheadAttention(at.width, 2, batch_first=True)

    def attend(self, tokens: Tensor) -> Tensor:
        return self.attention(tokens, tokens, tokens, need_weights=False)[0]


class Encoder(_Attention):
    """PyTorch's own transformer layer, made of nn.MultiheadAttention and norms of its own."""

    multiple = 2

    def make(self, at: Place) -> None:
        self.mlp = nn.Sequential(LayerNorm(at.width), nn.Linear(at.width, 8), nn.GELU(), nn.Linear(8, at.width))
        self.attention, self.norm = nn.MultiheadAttention(at.width, 2, batch_first=True), LayerNorm(at.width)

    def attend(self, tokens: Tensor) -> Tensor:
        y = self.norm(tokens)
        tokens = tokens + self.attention(y, y, y)[0]
        return tokens + self.mlp(tokens)


class _Recurrent(Step):
    """Over the frames of every pixel."""

    kind: ClassVar[type[nn.RNNBase]]

    def __init__(self, at: Place) -> None:
        super().__init__()
        self.hidden, both = at.new_width(), at.draw.random() < 0.3
        layers = at.draw.choice([1, 2])
        self.rnn = self.kind(at.width, self.hidden, layers, batch_first=True, bidirectional=both)
        self.out = self.hidden * (1 + both)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        y = x.unflatten(0, (-1, FRAMES)).permute(0, 3, 4, 1, 2).reshape(-1, FRAMES, c)
        y = self.rnn(y)[0].reshape(n // FRAMES, h, w, FRAMES, -1)
        return y.permute(0, 3, 4, 1, 2).flatten(0, 1)


class GRU(_Recurrent):
    kind = nn.GRU


class LSTM(_Recurrent):
    kind = nn.LSTM


class Nested(_Layer):
    """Features in a dictionary of lists on their way."""

    def make(self, at: Place) -> tuple[nn.Module, int]:
        out = at.new_width()
        return nn.ModuleDict({"a": conv(at.width, out), "b": conv(at.width, out)}), out

    def forward(self, x: Tensor) -> Tensor:
        kept = {name: [layer(x)] for name, layer in self.layer.items()}
        return sum(kept["a"] + kept["b"]).relu()


class DeadBranch(_Layer):
    """Two layers whose result nothing reads, and one that never runs."""

    def make(self, at: Place) -> tuple[nn.Module, int]:
        self.unread = nn.Sequential(conv(at.width, 6), nn.ReLU(), conv(6, 5))
        self.uncalled = nn.Linear(at.width, 3)
        return conv(at.width, at.width), at.width

    def forward(self, x: Tensor) -> Tensor:
        self.unread(x)
        return self.layer(x)


class Branching(_Layer):
    """Which way it goes depends on the data; both ways give the same kind of result."""

    def make(self, at: Place) -> tuple[nn.Module, int]:
        return conv(at.width, at.width), at.width

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if bool(torch.isfinite(x).all()) else x


class Resize(_Layer):
    """Pooled, resized and added."""

    def make(self, at: Place) -> tuple[nn.Module, int]:
        return conv(at.width, at.width), at.width

    def forward(self, x: Tensor) -> Tensor:
        small = self.layer(F.adaptive_avg_pool2d(x, 2))
        return x + F.interpolate(small, size=x.shape[2:], mode="bilinear", align_corners=False)


class Patches(_Layer):
    """Patches unfolded into channels, read by a linear layer, folded back."""

    def make(self, at: Place) -> tuple[nn.Module, int]:
        return nn.Linear(4 * at.width, 4 * at.width), at.width

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(F.unfold(x, 2, stride=2).transpose(1, 2)).transpose(1, 2)
        return F.fold(y, x.shape[2:], 2, stride=2)


# -- whole networks ---------------------------------------------------------------------------------------------------


class RandomNet(nn.Module):
    """A stem, some steps, a head, and one of several ways to be called and to answer."""

    def __init__(self, kinds: list[str], draw: random.Random, form: str) -> None:
        super().__init__()
        self.form, width, side = form, 8, SIDE
        self.stem, self.steps, self.kinds = conv(3, width, 3), nn.ModuleList(), []
        for kind in kinds:
            made = PRODUCTIONS[kind]
            if width % made.multiple or not 2 <= side * made.scale <= 16 or (width > 40 and made.grows):
                continue
            self.steps.append(made(Place(width, side, draw)))
            self.kinds.append(kind)
            width, side = self.steps[-1].out, int(side * made.scale)
        self.head = nn.Linear(width, 2)
        if form == "pair":
            self.compare = nn.Linear(3 * width, 1)

    def features(self, clip: Tensor) -> Tensor:
        x = self.stem(clip.flatten(0, 1))
        for step in self.steps:
            x = step(x)
        return x.mean((2, 3)).unflatten(0, (-1, FRAMES))

    def forward(self, clip: Any, other: Tensor | None = None) -> Any:
        if self.form == "pair":
            assert other is not None
            a, b = self.features(clip), self.features(other)
            return self.compare(torch.cat([a, b, (a - b).abs()], -1)).mean((1, 2))
        if self.form == "dict":
            y = self.features(clip["clip"] * clip["gain"])
            return {"score": self.head(y).mean(1), "frames": [self.head(y)]}
        if self.form == "list":
            clip = clip[0] + clip[1]
        y = self.features(clip)
        return self.head(y), None, torch.tensor([len(y)])

    def example(self, seed: int, clips: int = 2) -> tuple[Any, ...]:
        """What it is called with; other numbers for another seed."""
        generator = torch.Generator().manual_seed(seed)
        clip, other = torch.rand(2, clips, FRAMES, 3, SIDE, SIDE, generator=generator) * 2 - 1
        if self.form == "pair":
            return clip, other
        if self.form == "dict":
            return ({"clip": clip, "gain": torch.tensor(0.5)},)
        return ([clip, other],) if self.form == "list" else (clip,)


FORMS = ("plain", "plain", "plain", "pair", "dict", "list")


def build(seed: int, most: int = 6) -> RandomNet:
    """The network of a seed, in eval mode; its norms have statistics of their own."""
    draw = random.Random(seed)
    kinds = draw.choices(sorted(PRODUCTIONS), k=draw.randint(1, most))
    return sentence(kinds, seed, draw.choice(FORMS))


def sentence(kinds: list[str], seed: int, form: str = "plain") -> RandomNet:
    """A network of these productions, as far as each fits where it stands."""
    torch.manual_seed(seed)
    net = RandomNet(kinds, random.Random(seed), form).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.InstanceNorm2d)):
            module.weight.data.normal_(1, 0.3)
            if getattr(module, "bias", None) is not None:
                module.bias.data.normal_(0, 0.3)
    return net
