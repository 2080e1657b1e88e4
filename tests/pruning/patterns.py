"""The hard patterns of video-quality networks, each in a network wide enough that half of its work can go.

Every network is stem -> pattern -> body -> head, so that what a pruner makes of the pattern shows in the score.
`expected_groups` is {producers of a group: its channels}, worked out by hand from the forward beside it; None where
more than one answer is right. The benchmark `prune_coverage.py` prunes them, beside torch-pruning.
"""

# ruff: noqa: RUF012  (tables of constants, read only)

from __future__ import annotations

import importlib.util
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

PATTERNS: dict[str, type[Pattern]] = {}
STEM, BODY = 32, {("body.0",): 48, ("body.2",): 40}
FREE: dict[tuple[str, ...], int] = {("stem",): STEM, **BODY}
FRAMES = 3


class Pattern(nn.Module):
    """Images (2, 3, 8, 8) to a stem of 32 channels; `pattern` hands `reads` channels to the body."""

    expected_groups: ClassVar[dict[tuple[str, ...], int] | None] = FREE
    reads: ClassVar[int] = STEM
    shape: ClassVar[tuple[int, ...]] = (2, 3, 8, 8)

    def __init_subclass__(cls) -> None:
        if not cls.__name__.startswith("_"):
            cls.__doc__ = cls.__doc__ or "A hard pattern."
            PATTERNS[cls.__name__] = cls

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM, 3, padding=1)
        self.body = nn.Sequential(
            nn.Conv2d(self.reads, 48, 3, padding=1), nn.ReLU(), nn.Conv2d(48, 40, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(40, 1)

    def inputs(self) -> Any:
        return (torch.rand(self.shape, generator=torch.Generator().manual_seed(1)),)

    def forward(self, x: Tensor) -> Any:
        return self.score(self.pattern(self.stem(x).relu()))

    def score(self, y: Tensor) -> Tensor:
        return self.head(self.body(y).mean((2, 3)))

    def pattern(self, y: Tensor) -> Tensor:
        raise NotImplementedError


class _Frames(Pattern):
    """Clips (2, 3 frames, 3, 8, 8); the stem sees frames one by one, `pattern` sees (batch * frames, 32, 8, 8)."""

    shape = (2, FRAMES, 3, 8, 8)
    reads = STEM * FRAMES

    def forward(self, x: Tensor) -> Any:
        return self.score(self.pattern(self.stem(x.flatten(0, 1)).relu()))


class _Tokens(Pattern):
    """The 64 positions of the stem's map as tokens (2, 64, 32), back to a map for the body."""

    def pattern(self, y: Tensor) -> Tensor:
        tokens = self.mix(y.flatten(2).transpose(1, 2))
        return tokens.transpose(1, 2).unflatten(2, (8, 8))

    def mix(self, tokens: Tensor) -> Tensor:
        raise NotImplementedError


# --- frames folded into channels ----------------------------------------------------------------------------------


class FoldView(_Frames):
    def pattern(self, y: Tensor) -> Tensor:
        return y.view(-1, FRAMES * y.shape[1], *y.shape[2:])


class FoldReshape(_Frames):
    def pattern(self, y: Tensor) -> Tensor:
        return y.unflatten(0, (-1, FRAMES)).transpose(1, 2).reshape(len(y) // FRAMES, -1, *y.shape[2:])


class FoldPermute(_Frames):
    def pattern(self, y: Tensor) -> Tensor:
        n, c, h, w = y.shape
        return y.view(n // FRAMES, FRAMES, c, h, w).permute(0, 2, 1, 3, 4).flatten(1, 2)


if importlib.util.find_spec("einops"):

    class FoldEinops(_Frames):
        def pattern(self, y: Tensor) -> Tensor:
            from einops import rearrange

            return rearrange(y, "(b t) c h w -> b (c t) h w", t=FRAMES)


class FoldDifference(_Frames):
    """Frames and their differences in one stack of channels."""

    reads = STEM * (2 * FRAMES - 1)

    def pattern(self, y: Tensor) -> Tensor:
        clips = y.unflatten(0, (-1, FRAMES))
        return torch.cat([clips, clips[:, 1:] - clips[:, :-1]], 1).flatten(1, 2)


class FramesAsVolume(_Frames):
    reads = 24
    expected_groups = {**FREE, ("volume",): 24}

    def __init__(self) -> None:
        super().__init__()
        self.volume = nn.Conv3d(STEM, 24, 3, padding=1)

    def pattern(self, y: Tensor) -> Tensor:
        return self.volume(y.unflatten(0, (-1, FRAMES)).transpose(1, 2)).amax(2)


class PixelShuffle(Pattern):
    reads = STEM // 4
    expected_groups = {**FREE, ("stem",): STEM // 4}  # four outputs of the stem make one channel

    def pattern(self, y: Tensor) -> Tensor:
        return F.pixel_shuffle(y, 2)


class PixelUnshuffle(Pattern):
    reads = STEM * 4

    def pattern(self, y: Tensor) -> Tensor:
        return F.pixel_unshuffle(y, 2)


class PatchMerging(Pattern):
    """Four neighbours in one token, as Swin does, with a normalisation over all of them."""

    reads = 24
    expected_groups = {**FREE, ("merge",): 24}

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.merge = nn.LayerNorm(4 * STEM), nn.Linear(4 * STEM, 24, bias=False)

    def pattern(self, y: Tensor) -> Tensor:
        y = y.permute(0, 2, 3, 1)
        four = torch.cat([y[:, 0::2, 0::2], y[:, 1::2, 0::2], y[:, 0::2, 1::2], y[:, 1::2, 1::2]], -1)
        return self.merge(self.norm(four)).permute(0, 3, 1, 2)


class TemporalShift(_Frames):
    """An eighth of the channels comes from the frame before, an eighth from the one after."""

    reads = STEM
    expected_groups = None

    def pattern(self, y: Tensor) -> Tensor:
        clips, fold = y.unflatten(0, (-1, FRAMES)), y.shape[1] // 8
        shifted = torch.zeros_like(clips)
        shifted[:, :-1, :fold] = clips[:, 1:, :fold]
        shifted[:, 1:, fold : 2 * fold] = clips[:, :-1, fold : 2 * fold]
        shifted[:, :, 2 * fold :] = clips[:, :, 2 * fold :]
        return shifted.flatten(0, 1)


class Rolled(_Frames):
    """Frames and rows turned around."""

    reads = STEM

    def pattern(self, y: Tensor) -> Tensor:
        return y.roll(1, 0) + y.flip(-1) + F.pad(y, (1, 1, 0, 0), mode="reflect")[..., 2:]


# --- frames in time -----------------------------------------------------------------------------------------------


class _OverFrames(_Frames):
    """A recurrent layer over the frames' pooled features, whose last state becomes a map again."""

    reads = 24
    expected_groups = None

    def __init__(self, recurrent: nn.RNNBase) -> None:
        super().__init__()
        self.recurrent = recurrent

    def pattern(self, y: Tensor) -> Tensor:
        states, _ = self.recurrent(y.mean((2, 3)).unflatten(0, (-1, FRAMES)))
        return states[:, -1, :, None, None].expand(-1, -1, 8, 8)


class GRUFrames(_OverFrames):
    def __init__(self) -> None:
        super().__init__(nn.GRU(STEM, 24, batch_first=True))


class LSTMFrames(_OverFrames):
    def __init__(self) -> None:
        super().__init__(nn.LSTM(STEM, 24, batch_first=True))


class BidirectionalLSTM(_OverFrames):
    def __init__(self) -> None:
        super().__init__(nn.LSTM(STEM, 12, num_layers=2, bidirectional=True, batch_first=True))


class GRUCell(_Frames):
    reads = 24
    expected_groups = None

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(STEM, 24)

    def pattern(self, y: Tensor) -> Tensor:
        frames, state = y.mean((2, 3)).unflatten(0, (-1, FRAMES)), None
        for k in range(FRAMES):
            state = self.cell(frames[:, k], state)
        assert state is not None
        return state[:, :, None, None].expand(-1, -1, 8, 8)


class FrameWeights(_Frames):
    """Frames weighted by learnt weights: a softmax over time."""

    reads = STEM

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Linear(STEM, 1)

    def pattern(self, y: Tensor) -> Tensor:
        clips = y.unflatten(0, (-1, FRAMES))
        weights = self.weigh(clips.mean((3, 4))).softmax(1)
        return (clips * weights[..., None, None]).sum(1)


# --- weights that are not where one looks for them ----------------------------------------------------------------


class BorrowedConv(Pattern):
    """F.conv2d on the weight of a module that never runs."""

    reads = 24
    expected_groups = {**FREE, ("lent",): 24}

    def __init__(self) -> None:
        super().__init__()
        self.lent = nn.Conv2d(STEM, 24, 3)

    def pattern(self, y: Tensor) -> Tensor:
        return F.conv2d(y, self.lent.weight, self.lent.bias, padding=1).relu()


class BorrowedLinear(_Tokens):
    """F.linear on a module's weight, and back through the same weight transposed: it makes both widths."""

    expected_groups = {**BODY, ("stem", "lent"): STEM, ("lent",): 24}

    def __init__(self) -> None:
        super().__init__()
        self.lent = nn.Linear(STEM, 24)

    def mix(self, tokens: Tensor) -> Tensor:
        return F.linear(F.linear(tokens, self.lent.weight, self.lent.bias).relu(), self.lent.weight.t())


class WeightNorm(Pattern):
    reads = 24
    expected_groups = {**FREE, ("normed",): 24}

    def __init__(self) -> None:
        super().__init__()
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(STEM, 24, 3, padding=1))

    def pattern(self, y: Tensor) -> Tensor:
        return self.normed(y).relu()


class SpectralNorm(Pattern):
    reads = 24
    expected_groups = {**FREE, ("normed",): 24}

    def __init__(self) -> None:
        super().__init__()
        self.normed = nn.utils.parametrizations.spectral_norm(nn.Conv2d(STEM, 24, 3, padding=1))

    def pattern(self, y: Tensor) -> Tensor:
        return self.normed(y).relu()


class StandardizedConv(Pattern):
    """A weight that is standardised before use; a statistic over its inputs keeps the stem."""

    reads = 24
    expected_groups = None

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(STEM, 24, 3, padding=1)

    def pattern(self, y: Tensor) -> Tensor:
        weight = self.conv.weight
        weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / (weight.std((1, 2, 3), keepdim=True) + 1e-6)
        return F.conv2d(y, weight, self.conv.bias, padding=1).relu()


class PredictedWeights(Pattern):
    """A layer whose weights another layer predicts, as in HyperIQA."""

    reads = 6
    expected_groups = None

    def __init__(self) -> None:
        super().__init__()
        self.predict = nn.Linear(STEM, 6 * STEM)

    def pattern(self, y: Tensor) -> Tensor:
        weights = self.predict(y.mean((2, 3))).view(-1, 6, STEM)
        return (weights @ y.flatten(2)).unflatten(2, (8, 8)).relu()


class TiedLayers(Pattern):
    """One weight in two layers, which goes by its first name; the residual ties all of them."""

    expected_groups = {**BODY, ("stem", "first"): STEM}

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(STEM, STEM, 3, padding=1), nn.Conv2d(STEM, STEM, 3, padding=1)
        self.second.weight = self.first.weight

    def pattern(self, y: Tensor) -> Tensor:
        return y + self.second(self.first(y).relu())


# --- kinds of convolutions ----------------------------------------------------------------------------------------


class GroupedConv(Pattern):
    """Four groups of eight: input i of one group goes with input i of the others, and so do the outputs."""

    reads = 24
    expected_groups = {**FREE, ("stem",): 8, ("grouped",): 6}

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(STEM, 24, 3, padding=1, groups=4)

    def pattern(self, y: Tensor) -> Tensor:
        return self.grouped(y).relu()


class DepthwiseConv(Pattern):
    reads = 24
    expected_groups = {**BODY, ("stem", "depth"): STEM, ("point",): 24}

    def __init__(self) -> None:
        super().__init__()
        self.depth, self.point = nn.Conv2d(STEM, STEM, 3, padding=1, groups=STEM), nn.Conv2d(STEM, 24, 1)

    def pattern(self, y: Tensor) -> Tensor:
        return self.point(self.depth(y).relu()).relu()


class TransposedConv(Pattern):
    reads = 24
    expected_groups = {**FREE, ("down",): 20, ("up",): 24}

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(STEM, 20, 2, stride=2), nn.ConvTranspose2d(20, 24, 2, stride=2)

    def pattern(self, y: Tensor) -> Tensor:
        return self.up(self.down(y).relu()).relu()


class InvertedResidual(Pattern):
    """Wide, depthwise, narrow, and added in place to what came in."""

    expected_groups = {**BODY, ("stem", "narrow"): STEM, ("wide", "depth"): 64}

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(STEM, 64, 1), nn.Conv2d(64, STEM, 1)
        self.depth, self.norm = nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.BatchNorm2d(64)

    def pattern(self, y: Tensor) -> Tensor:
        y = y.clone()
        y += self.narrow(F.relu6(self.norm(self.depth(F.relu6(self.wide(y)))), inplace=True))
        return y


class SqueezeExcite(Pattern):
    expected_groups = {**BODY, ("stem", "excite"): STEM, ("squeeze",): 16}

    def __init__(self) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(STEM, 16, 1), nn.Conv2d(16, STEM, 1)

    def pattern(self, y: Tensor) -> Tensor:
        return y * self.excite(self.squeeze(F.adaptive_avg_pool2d(y, 1)).relu()).sigmoid()


class Pyramid(Pattern):
    """Two scales, the small one resized and added."""

    reads = 24
    expected_groups = {**FREE, ("small",): 20, ("lateral", "top"): 24}

    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Conv2d(STEM, 20, 3, stride=2, padding=1)
        self.lateral, self.top = nn.Conv2d(STEM, 24, 1), nn.Conv2d(20, 24, 1)

    def pattern(self, y: Tensor) -> Tensor:
        small = self.top(self.small(y).relu())
        return self.lateral(y) + F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)


# --- parts of networks that gradients do not show -----------------------------------------------------------------


class Siamese(Pattern):
    """Reference and distorted through one backbone, then both and their difference."""

    reads = 3 * STEM

    def forward(self, x: Tensor, y: Tensor) -> Any:
        a, b = self.stem(x).relu(), self.stem(y).relu()
        return self.score(torch.cat([a, b, (a - b).abs()], 1))

    def inputs(self) -> Any:
        return (*super().inputs(), torch.rand(self.shape, generator=torch.Generator().manual_seed(2)))


class FrozenBackbone(Pattern):
    def __init__(self) -> None:
        super().__init__()
        self.stem.requires_grad_(False)

    def pattern(self, y: Tensor) -> Tensor:
        return y.detach()


class NoGradBackbone(Pattern):
    def forward(self, x: Tensor) -> Any:
        with torch.no_grad():
            y = self.stem(x).relu()
        return self.score(y)


class AllFrozen(Pattern):
    """Every weight frozen: a graph of gradients has nothing in it."""

    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)

    def pattern(self, y: Tensor) -> Tensor:
        return y


class DeadBranch(Pattern):
    def __init__(self) -> None:
        super().__init__()
        self.unused, self.uncalled = nn.Conv2d(STEM, 16, 3), nn.Linear(STEM, 8)

    def pattern(self, y: Tensor) -> Tensor:
        self.unused(y)
        return y


# --- parameters without a layer -----------------------------------------------------------------------------------


class PositionEmbedding(_Tokens):
    def __init__(self) -> None:
        super().__init__()
        self.position, self.token = nn.Parameter(torch.randn(1, 65, STEM)), nn.Parameter(torch.randn(1, 1, STEM))

    def mix(self, tokens: Tensor) -> Tensor:
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1) + self.position
        return tokens[:, 1:] * tokens[:, :1].sigmoid()


class LayerScale(Pattern):
    expected_groups = {**BODY, ("stem", "branch"): STEM}

    def __init__(self) -> None:
        super().__init__()
        self.branch, self.scale = nn.Conv2d(STEM, STEM, 3, padding=1), nn.Parameter(torch.full((STEM, 1, 1), 1e-5))

    def pattern(self, y: Tensor) -> Tensor:
        return y + self.scale * self.branch(y)


class FeatureNormalisation(Pattern):
    """Features scaled to unit length over channels, then by learnt weights per channel, as LPIPS does."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.rand(1, STEM, 1, 1))

    def pattern(self, y: Tensor) -> Tensor:
        return y / (y.square().sum(1, keepdim=True).sqrt() + 1e-10) * self.weights


# --- attention ----------------------------------------------------------------------------------------------------


class _Attention(_Tokens):
    """Four heads of eight, hard-coded; a residual around attention and MLP, with normalisations."""

    expected_groups = None

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(STEM), nn.LayerNorm(STEM)
        self.qkv, self.proj = nn.Linear(STEM, 3 * STEM), nn.Linear(STEM, STEM)
        self.fc1, self.fc2 = nn.Linear(STEM, 64), nn.Linear(64, STEM)

    def mix(self, tokens: Tensor) -> Tensor:
        b, n, _ = tokens.shape
        q, k, v = self.qkv(self.norm1(tokens)).reshape(b, n, 3, 4, 8).permute(2, 0, 3, 1, 4)
        tokens = tokens + self.proj(self.attend(q, k, v).transpose(1, 2).reshape(b, n, -1))
        return tokens + self.fc2(F.gelu(self.fc1(self.norm2(tokens))))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        raise NotImplementedError


class SdpaAttention(_Attention):
    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v)


class EinsumAttention(_Attention):
    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights = (torch.einsum("bhnd,bhmd->bhnm", q, k) * 8**-0.5).softmax(-1)
        return torch.einsum("bhnm,bhmd->bhnd", weights, v)


class RelativePositionTable(_Attention):
    """A learnt bias for every distance of two tokens, read through an index, for every head."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(127, 4))
        place = torch.arange(64)
        self.register_buffer("index", (place[:, None] - place[None] + 63).flatten(), persistent=False)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        bias = self.table[self.index].view(64, 64, 4).permute(2, 0, 1)
        return ((q * 8**-0.5) @ k.transpose(-2, -1) + bias).softmax(-1) @ v


class WindowAttention(_Attention):
    """Attention inside 4x4 windows, shifted by two, as Swin does."""

    def mix(self, tokens: Tensor) -> Tensor:
        b, _, c = tokens.shape
        maps = tokens.unflatten(1, (8, 8)).roll((-2, -2), (1, 2))
        windows = maps.view(b, 2, 4, 2, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        windows = super().mix(windows)
        maps = windows.view(b, 2, 2, 4, 4, -1).permute(0, 1, 3, 2, 4, 5).reshape(b, 8, 8, -1)
        return maps.roll((2, 2), (1, 2)).flatten(1, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v)


class SingleHeadAttention(_Tokens):
    """Without heads the width of queries and keys, and that of values, can go."""

    expected_groups = {**FREE, ("q", "k"): 24, ("v",): 28}
    reads = 28

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(STEM, 24), nn.Linear(STEM, 24), nn.Linear(STEM, 28)

    def mix(self, tokens: Tensor) -> Tensor:
        return (self.q(tokens) @ self.k(tokens).transpose(1, 2) * 24**-0.5).softmax(-1) @ self.v(tokens)


class ChannelAttention(_Tokens):
    """Attention between channels instead of positions (XCiT, Restormer): normalised over positions."""

    expected_groups = None

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(STEM, 3 * STEM)

    def mix(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(tokens).chunk(3, -1)
        weights = (F.normalize(q, dim=1).transpose(1, 2) @ F.normalize(k, dim=1)).softmax(-1)
        return v @ weights.transpose(1, 2)


class LibraryAttention(_Tokens):
    expected_groups = None

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.norm = nn.MultiheadAttention(STEM, 4, batch_first=True), nn.LayerNorm(STEM)

    def mix(self, tokens: Tensor) -> Tensor:
        return self.norm(tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0])


class LibraryTransformer(_Tokens):
    expected_groups = None

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(STEM, 4, dim_feedforward=64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def mix(self, tokens: Tensor) -> Tensor:
        return self.encoder(tokens)


# --- joining and parting channels ---------------------------------------------------------------------------------


class EinsumBilinear(Pattern):
    """Two branches multiplied channel by channel in an einsum, one read by another weight."""

    reads = 24
    expected_groups = {**FREE, ("left", "right"): 20, ("mixer",): 24}

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(STEM, 20, 1), nn.Conv2d(STEM, 20, 1)
        self.mixer = nn.Parameter(torch.randn(24, 20))

    def pattern(self, y: Tensor) -> Tensor:
        return torch.einsum("bchw,bchw,oc->bohw", self.left(y), self.right(y), self.mixer)


class CatWithItself(Pattern):
    reads = 3 * STEM

    def pattern(self, y: Tensor) -> Tensor:
        return torch.cat([y, -y, y.roll(1, 2)], 1)


class DenseCat(Pattern):
    reads = STEM + 32
    expected_groups = {**FREE, ("first",): 16, ("second",): 16}

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(STEM, 16, 3, padding=1), nn.Conv2d(STEM + 16, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(STEM + 32)

    def pattern(self, y: Tensor) -> Tensor:
        first = self.first(y).relu()
        second = self.second(torch.cat([y, first], 1)).relu()
        return self.norm(torch.cat([y, first, second], 1))


class ChannelSplit(Pattern):
    """Part of the channels is worked on, the rest goes round; the cut is a number in the code."""

    reads = 36
    expected_groups = None

    def __init__(self) -> None:
        super().__init__()
        self.work = nn.Conv2d(20, 24, 3, padding=1)

    def pattern(self, y: Tensor) -> Tensor:
        worked, rest = y.split([20, 12], 1)
        return torch.cat([self.work(worked).relu(), rest], 1)


class GatedChunk(Pattern):
    """Position i of one half goes with position i of the other."""

    reads = STEM // 2
    expected_groups = {**FREE, ("stem",): STEM // 2}

    def pattern(self, y: Tensor) -> Tensor:
        left, right = y.chunk(2, 1)
        return left * right.sigmoid()


class ChannelShuffle(Pattern):
    """ShuffleNet's unit: grouped, shuffled, grouped. Which outputs fall together follows from the shuffle.

    Output k (0 to 11) of half h of `first` goes to place 2k + h; `second` reads places 0 to 11 by its first half and 12
    to 23 by its second, so k goes with k + 6 of either half: six channels of four outputs.
    """

    reads = 24
    expected_groups = {**FREE, ("stem",): 16, ("first",): 6, ("second",): 12}

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(STEM, 24, 1, groups=2), nn.Conv2d(24, 24, 3, padding=1, groups=2)

    def pattern(self, y: Tensor) -> Tensor:
        y = self.first(y).relu()
        y = y.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)
        return self.second(y).relu()


# --- normalisations -----------------------------------------------------------------------------------------------


class GroupNormed(Pattern):
    """Four groups of eight channels: each loses the same."""

    expected_groups = {**FREE, ("stem",): 8}

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(4, STEM)

    def pattern(self, y: Tensor) -> Tensor:
        return self.norm(y)


class ChannelsLast(Pattern):
    """A ConvNeXt block: depthwise, then normalised and mixed with the channels last."""

    expected_groups = {**BODY, ("stem", "depth", "fc2"): STEM, ("fc1",): 64}

    def __init__(self) -> None:
        super().__init__()
        self.depth, self.norm = nn.Conv2d(STEM, STEM, 3, padding=1, groups=STEM), nn.LayerNorm(STEM)
        self.fc1, self.fc2 = nn.Linear(STEM, 64), nn.Linear(64, STEM)

    def pattern(self, y: Tensor) -> Tensor:
        z = self.norm(self.depth(y).permute(0, 2, 3, 1))
        return y + self.fc2(F.gelu(self.fc1(z))).permute(0, 3, 1, 2)


class InstanceNormed(Pattern):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(STEM, affine=True)

    def pattern(self, y: Tensor) -> Tensor:
        return self.norm(y)


# --- what quality networks do with features -----------------------------------------------------------------------


class Correlation(Pattern):
    """The correlation of two maps for nine displacements: the channels end in a sum of products."""

    reads = 9

    def forward(self, x: Tensor, y: Tensor) -> Any:
        a, b = F.normalize(self.stem(x), dim=1), F.pad(F.normalize(self.stem(y), dim=1), (1, 1, 1, 1))
        shifts = [(a * b[..., i : i + 8, j : j + 8]).sum(1) for i in range(3) for j in range(3)]
        return self.score(torch.stack(shifts, 1))

    def inputs(self) -> Any:
        return (*super().inputs(), torch.rand(self.shape, generator=torch.Generator().manual_seed(2)))


class CostVolume(Pattern):
    """Every position of one map times every position of the other, as RAFT does."""

    reads = 64

    def forward(self, x: Tensor, y: Tensor) -> Any:
        a, b = self.stem(x).flatten(2), self.stem(y).flatten(2)
        volume = torch.matmul(a.transpose(1, 2), b) / 5.65
        return self.score(volume.transpose(1, 2).unflatten(2, (8, 8)))

    def inputs(self) -> Any:
        return (*super().inputs(), torch.rand(self.shape, generator=torch.Generator().manual_seed(2)))


class MeanAndDeviation(_Frames):
    """Pooled by mean and standard deviation over time, both kept."""

    reads = 2 * STEM

    def pattern(self, y: Tensor) -> Tensor:
        clips = y.unflatten(0, (-1, FRAMES))
        return torch.cat([clips.mean(1), clips.std(1)], 1)


class GramMatrix(Pattern):
    """Products of all pairs of channels, read by a linear layer: an input for every pair."""

    reads = 24
    expected_groups = None

    def __init__(self) -> None:
        super().__init__()
        self.pairs = nn.Linear(STEM * STEM, 24)

    def pattern(self, y: Tensor) -> Tensor:
        flat = y.flatten(2)
        pairs = self.pairs((flat @ flat.transpose(1, 2)).flatten(1))
        return pairs[:, :, None, None].expand(-1, -1, 8, 8)


class FlattenedMap(Pattern):
    """The whole map read by a linear layer: 64 inputs a channel."""

    reads = 24
    expected_groups = {**FREE, ("flat",): 24}

    def __init__(self) -> None:
        super().__init__()
        self.flat = nn.Linear(64 * STEM, 24)

    def pattern(self, y: Tensor) -> Tensor:
        return self.flat(y.flatten(1)).relu()[:, :, None, None].expand(-1, -1, 8, 8)


# --- inputs and outputs -------------------------------------------------------------------------------------------


class DictInputs(Pattern):
    """Called with a dictionary of lists and a keyword."""

    reads = 2 * STEM

    def forward(self, video: dict[str, list[Tensor]], *, gain: Tensor) -> Any:
        maps = [self.stem(frame).relu() for frame in video["frames"]]
        return self.score(torch.cat(maps, 1)) * gain

    def inputs(self) -> Any:
        (x,) = super().inputs()
        return {"video": {"frames": [x, 1 - x]}, "gain": torch.tensor(2.0)}


class ListOutputs(Pattern):
    """A dictionary and a list of results, one of them summed over channels."""

    def forward(self, x: Tensor) -> Any:
        y = self.stem(x).relu()
        return {"score": self.score(y), "maps": [y.square().sum(1), x.mean()]}
