"""RankDVQA's patch network, PQANet: the quality of 12-frame patches, full-reference.

Paper: C. Feng, D. Danier, F. Zhang, D. R. Bull, "RankDVQA: Deep VQA based on Ranking-inspired Hybrid Training",
WACV 2024. Written anew from the paper and its equations; `official.py` reads the checkpoints that its authors publish.

What differs from the published test code, on purpose: input is RGB in [0, 1] (the paper's [-1, 1] is made inside), any
number of frames is cut into blocks of 12, and every block counts. What is kept although nothing reads it: the sixth
stage of the extractor runs, because its weights are part of the network and its work is in the paper's figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from compressvqa.errors import DataError, WeightsError
from compressvqa.models.official import rankdvqa_state
from compressvqa.models.rankdvqa_rows import ROWS, Rows, follows_rows
from compressvqa.registry import models

WINDOW = 4  # side of an attention window, in map positions
SMALLEST_SIDE = 96  # below it the smallest map is too small for the reflection that fills its last window
STANET_STAGES = (3, 6)  # whose maps STANet reads
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


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


class PreparedBlock(NamedTuple):
    """What is kept of a reference block for all its distorted versions: its shape, and its maps at every stage."""

    shape: tuple[int, ...]
    maps: list[Tensor]


@models.register("rankdvqa", mode="FR", smallest_side=SMALLEST_SIDE, frames=12, convert=rankdvqa_state)
class RankDVQA(nn.Module):
    """RankDVQA's patch quality network (PQANet): 4,594,938 parameters, 10.7285 G MAC for 12 frames of 256x256.

    Called ``model(reference, distorted)`` with two (B, T, 3, H, W) tensors, RGB in [0, 1], H and W at least 96; returns
    (B,) scores without a fixed range, higher is better. T frames are cut into blocks of 12, a short last block is
    filled up with its last frame, and the score is the mean over blocks.

    A clip of any length is scored in flat memory, and several distorted versions share the work on their reference:
    ``prepare(reference_block)`` once, ``partial(prepared, distorted_block)`` for each of them, ``pool(partials)`` at
    the end. Calling the network does just this.

    Args:
        widths: channels of the extractor's stages; all but the last feed a scale each, the last only STANet.
        merge_width: channels inside every scale.
        mlp_width: hidden width of every scale's MLP.
        heads: attention heads; must divide `merge_width`.
        frames: frames of a block.
        dropout: dropout before each scale's last layer while training (0.5 in the paper).
        channel_order: "bgr" serves weights that were trained on BGR frames; the input stays RGB.

    Raises:
        DataError: (when called) shapes differ or are not (B, T, 3, H, W), or a side is below 96 pixels.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (16, 32, 64, 96, 128, 192),
        *,
        merge_width: int = 32,
        mlp_width: int = 64,
        heads: int = 2,
        frames: int = 12,
        dropout: float = 0.5,
        channel_order: str = "rgb",
    ) -> None:
        super().__init__()
        if merge_width % heads:
            raise DataError(f"merge_width {merge_width} is not a multiple of {heads} heads")
        self.frames = frames
        self.range_shift = RangeShift(channel_order)
        self.extractor = Extractor(tuple(widths))
        self.scales = nn.ModuleList(
            Scale(width, merge_width=merge_width, mlp_width=mlp_width, heads=heads, frames=frames, dropout=dropout)
            for width in tuple(widths)[:-1]
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all weights anew, whatever the widths are by now."""
        self.apply(_initialise)

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        """Two (B, T, 3, H, W) in [0, 1] to (B,) scores."""
        check_pair(reference, distorted)
        blocks = zip(torch.split(reference, self.frames, 1), torch.split(distorted, self.frames, 1), strict=True)
        return self.pool([self.partial(self.prepare(r), d) for r, d in blocks])

    def prepare(self, reference: Tensor) -> PreparedBlock:
        """What `partial` needs of a reference block (B, T, 3, H, W), T at most 12: one block for all its distortions.

        Raises:
            DataError: not a clip, or longer than a block.
        """
        return PreparedBlock(tuple(reference.shape), self.maps(reference))

    def partial(self, prepared: PreparedBlock, distorted: Tensor) -> Tensor:
        """The score of one block, (B, 1, 1).

        Args:
            prepared: of the reference block.
            distorted: (B, T, 3, H, W), of the reference block's shape.
        """
        if tuple(distorted.shape) != prepared.shape:
            raise DataError(f"reference {prepared.shape} and distorted {tuple(distorted.shape)} differ in shape")
        return self.compare(prepared.maps, self.maps(distorted)).reshape(-1, 1, 1)

    @staticmethod
    def pool(partials: Sequence[Tensor]) -> Tensor:
        """The mean over blocks: partial scores (B, 1, 1) of a clip's blocks, in any order, to (B,)."""
        return torch.cat(list(partials), dim=1).mean(dim=(1, 2))

    def rows(self, height: int, width: int, *, whole_steps: bool = False) -> Rows | None:
        """The same score strip by strip, in little memory; None where something other than widths was changed.

        Args:
            height: of the picture.
            width: likewise.
            whole_steps: few large steps instead of many small ones, for runtimes that compile each.
        """
        if type(self) is not RankDVQA or not follows_rows(self):
            return None
        return Rows(self, height, width, 2 * ROWS, self.frames) if whole_steps else Rows(self, height, width)

    def maps(self, block: Tensor) -> list[Tensor]:
        """The extractor's maps of a block (B, T, 3, H, W), T at most 12: (B * 12, width, h, w) for each stage."""
        check_clip(block)
        missing = self.frames - block.shape[1]
        if missing < 0:
            raise DataError(f"a block of {block.shape[1]} frames is longer than {self.frames}")
        if missing:
            block = torch.cat([block, block[:, -1:].expand(-1, missing, -1, -1, -1)], dim=1)
        found: list[Tensor] = self.extractor(self.range_shift(block.flatten(0, 1)))
        return found

    def compare(self, reference: Sequence[Tensor], distorted: Sequence[Tensor]) -> Tensor:
        """(B,) scores from what `maps` gives for a reference block and for a distorted one."""
        # The last map, which STANet reads, has no scale.
        parts = [scale(r, d) for scale, r, d in zip(self.scales, reference, distorted, strict=False)]
        return torch.stack(parts).sum(dim=0)

    def patch_features(self, distorted: Tensor, stages: tuple[int, int] = STANET_STAGES) -> Tensor:
        """What STANet reads of distorted frames: the maps of two stages, by default the third and the sixth.

        Args:
            distorted: (B, T, 3, H, W), RGB in [0, 1]; 256x256 gives a sixth map of 4x4, other sizes are resized to it.
            stages: numbers of the stages, counted from 1.

        Returns:
            (B, T, 256, 4, 4): 64 channels of stage three, then 192 of stage six (after pruning, what is left of them).

        Raises:
            WeightsError: there is no such stage, or pruning took it away.
        """
        check_clip(distorted)
        self.check_stages(stages)
        maps = self.extractor(self.range_shift(distorted.flatten(0, 1)))
        return resized_maps(maps, stages).reshape(*distorted.shape[:2], -1, 4, 4)

    def stage_widths(self) -> dict[int, int]:
        """{number of the stage, from 1: channels of its map} for the stages that pruning has left."""
        layers = {n: [m for m in stage.modules() if isinstance(m, nn.Conv2d)] for n, stage in self._numbered_stages()}
        return {number: convolutions[-1].out_channels for number, convolutions in layers.items() if convolutions}

    def check_stages(self, stages: tuple[int, int]) -> None:
        """Raises WeightsError unless the network has these stages."""
        left = self.stage_widths()
        for number in stages:
            if number not in left:
                word = _ORDINALS[number - 1] if 1 <= number <= len(_ORDINALS) else f"{number}th"
                again = " any more" if 1 <= number <= len(self.extractor.stages) else ""
                raise WeightsError(
                    f"this network has no {word} stage{again}, which STANet reads",
                    where=f"extractor.stages.{number - 1}",
                    hint=f"the network before pruning, prune with remove_dead=False, or stages {max(left)} and below",
                )

    def _numbered_stages(self) -> list[tuple[int, nn.Module]]:
        return list(enumerate(self.extractor.stages, start=1))


def resized_maps(maps: Sequence[Tensor], stages: tuple[int, int]) -> Tensor:
    """The maps of two stages (numbers from 1), resized to 4x4 and joined: (N, C, 4, 4)."""
    # Resized corner to corner, as the published data preparation does; a map of 4x4 is not touched by it.
    chosen = [maps[number - 1] for number in stages]
    return torch.cat(
        [
            found
            if found.shape[2:] == (4, 4)
            else nn.functional.interpolate(found, size=(4, 4), mode="bilinear", align_corners=True)
            for found in chosen
        ],
        dim=1,
    )


def check_clip(clip: Tensor) -> None:
    """Raises DataError unless `clip` is (B, T, 3, H, W), floating point, of 96 pixels a side at least."""
    if clip.ndim != 5 or clip.shape[2] != 3 or 0 in clip.shape[:2]:
        raise DataError(f"a clip of shape {tuple(clip.shape)} is not (batch, frames, 3, height, width)")
    if not clip.is_floating_point():
        raise DataError(f"a clip of {clip.dtype} is not floating point in [0, 1]", hint="divide by 255")
    height, width = clip.shape[3:]
    if min(height, width) < SMALLEST_SIDE:
        raise DataError(f"frames of {width}x{height} are too small: {SMALLEST_SIDE} pixels a side at least")


def check_pair(reference: Tensor, distorted: Tensor) -> None:
    """Raises DataError unless both are clips of one shape."""
    check_clip(reference)
    if reference.shape != distorted.shape:
        raise DataError(f"reference {tuple(reference.shape)} and distorted {tuple(distorted.shape)} differ in shape")


def _initialise(module: nn.Module) -> None:
    """Kaiming normal (fan out) for convolutions, truncated normal .02 for linear layers and the position bias."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, WindowAttention):
        nn.init.trunc_normal_(module.position_bias, std=0.02)
