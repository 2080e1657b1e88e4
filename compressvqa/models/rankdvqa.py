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
from compressvqa.models.rankdvqa_parts import Extractor, RangeShift, Scale, initialise
from compressvqa.models.rankdvqa_rows import ROWS, Rows, follows_rows
from compressvqa.registry import models

SMALLEST_SIDE = 96  # below it the smallest map is too small for the reflection that fills its last window
STANET_STAGES = (3, 6)  # whose maps STANet reads
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


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
        self.apply(initialise)

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
