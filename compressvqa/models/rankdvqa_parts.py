"""The layers of RankDVQA's patch network, PQANet: what RankDVQA, see rankdvqa.py, is put together from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compressvqa.errors import DataError

WINDOW = 4  # side of an attention window, in map positions


class RangeShift(nn.Module):
    """RGB in [0, 1] to the extractor's range: ((2x - 1) - shift) / scale per channel, in the channel order it wants."""

    shift: Tensor
    scale: Tensor

    def __init__(self, channel_order: str) -> None:
        super().__init__()
        if channel_order not in ("rgb", "bgr"):
            raise DataError(f"channel_order {channel_order!r} is neither 'rgb' nor 'bgr'")
        self.flip = channel_order == "bgr"
        # Constants of the network, not weights: they stay out of the state dict.
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to the same shape, about zero mean."""
        if self.flip:
            frames = frames.flip(1)
        return (2 * frames - 1 - self.shift) / self.scale


class Extractor(nn.Module):
    """Pyramid of frame features, shared by reference and distorted frames; each stage halves the sides."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, width, 3, stride=2, padding=1),
                nn.LeakyReLU(0.1),
                nn.Conv2d(width, width, 3, padding=1),
                nn.LeakyReLU(0.1),
            )
            for before, width in zip((3, *widths[:-1]), widths, strict=True)
        )

    def forward(self, frames: Tensor) -> list[Tensor]:
        """(N, 3, H, W) to one map per stage, (N, width, H / 2^i, W / 2^i) rounded up."""
        maps = []
        for stage in self.stages:
            frames = stage(frames)
            maps.append(frames)
        return maps


class Compare(nn.Module):
    """Reference and distorted features of a block side by side, its frames folded into channels."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        """Two (blocks * frames, C, h, w) to (blocks, frames * 3C, h, w): per frame [ref, dis, |ref - dis|]."""
        reference, distorted = _unit_length(reference), _unit_length(distorted)
        joined = torch.cat([reference, distorted, (reference - distorted).abs()], dim=1)
        return joined.reshape(joined.shape[0] // self.frames, -1, joined.shape[2], joined.shape[3])


def _unit_length(features: Tensor) -> Tensor:
    # In half precision a square overflows and 1e-10 is 0, so the length is found in float32.
    energy = _at_least_single(features).square().sum(dim=1, keepdim=True)
    # The root's slope at 0 is infinite: a position without features would make every gradient NaN.
    length = energy.clamp_min(torch.finfo(torch.float32).tiny).sqrt() + 1e-10
    return (features / length).to(features.dtype)


def _at_least_single(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows of 4x4 positions, with a learnt bias per relative position.

    The number of heads is fixed; every width is read from the weights' shapes, so pruned widths just work. The scale
    1/sqrt(head width) is the one of construction: it belongs to the weights, and pruning must not change it.
    """

    position_index: Tensor

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.position_bias = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, heads))
        self.register_buffer("position_index", _relative_positions(WINDOW), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(windows, 16, width) to the same shape."""
        windows, length, _ = tokens.shape
        qkv = self.qkv(tokens).reshape(windows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        bias = self.position_bias[self.position_index.reshape(-1)].reshape(length, length, self.heads)
        scores = (query * self.scale) @ key.transpose(-2, -1) + bias.permute(2, 0, 1)
        mixed = scores.softmax(dim=-1) @ value
        mixed = mixed.transpose(1, 2).reshape(windows, length, -1)
        out: Tensor = self.proj(mixed)
        return out


def _relative_positions(side: int) -> Tensor:
    """(side^2, side^2) row numbers of the bias table: one per offset (dy, dx) between two positions of a window."""
    steps = torch.arange(side)
    y, x = steps.repeat_interleave(side), steps.repeat(side)
    offset_y, offset_x = y[:, None] - y[None, :], x[:, None] - x[None, :]
    return (offset_y + side - 1) * (2 * side - 1) + offset_x + side - 1


class MLP(nn.Module):
    """Two linear layers with GELU between, applied to each position."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        out: Tensor = self.fc2(self.act(self.fc1(tokens)))
        return out


class Scale(nn.Module):
    """One of the five scales: compares two feature maps and says what this scale adds to the score.

    `compare`, `conv_in`, `conv_out` and `head` put out maps that a distillation loss can read by module path.
    """

    def __init__(
        self, width: int, *, merge_width: int, mlp_width: int, heads: int, frames: int, dropout: float
    ) -> None:
        super().__init__()
        self.compare = Compare(frames)
        self.conv_in = nn.Conv2d(3 * frames * width, merge_width, 3, padding=1)
        self.attention = WindowAttention(merge_width, heads)
        self.mlp = MLP(merge_width, mlp_width)
        self.conv_out = nn.Conv2d(merge_width, merge_width, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(merge_width, 1, 1, bias=False)

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        """Two (blocks * frames, C, h, w) to (blocks,)."""
        joined = self.compare(reference, distorted)
        height, width = joined.shape[2:]
        # Whole windows only: reflected on the right and at the bottom before the first convolution, as in the original.
        joined = nn.functional.pad(joined, (0, -width % WINDOW, 0, -height % WINDOW), mode="reflect")
        merged = self.conv_in(joined)
        tokens = _to_windows(merged)
        tokens = tokens + self.attention(tokens)
        tokens = tokens + self.mlp(tokens)
        merged = self.conv_out(_from_windows(tokens, merged.shape[2], merged.shape[3]))
        quality: Tensor = self.head(self.dropout(merged[:, :, :height, :width]))
        # A mean of thousands of positions needs more digits than half precision has.
        return _at_least_single(quality).mean(dim=(1, 2, 3))


def _to_windows(features: Tensor) -> Tensor:
    """(N, C, h, w) to (N * windows, 16, C)."""
    n, channels, height, width = features.shape
    cut = features.reshape(n, channels, height // WINDOW, WINDOW, width // WINDOW, WINDOW)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(-1, WINDOW * WINDOW, channels)


def _from_windows(tokens: Tensor, height: int, width: int) -> Tensor:
    """(N * windows, 16, C) back to (N, C, height, width)."""
    channels = tokens.shape[2]
    cut = tokens.reshape(-1, height // WINDOW, width // WINDOW, WINDOW, WINDOW, channels)
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(-1, channels, height, width)


def initialise(module: nn.Module) -> None:
    """Kaiming normal (fan out) for convolutions, truncated normal .02 for linear layers and the position bias."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, WindowAttention):
        nn.init.trunc_normal_(module.position_bias, std=0.02)
