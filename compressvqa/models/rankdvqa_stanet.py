"""The whole of RankDVQA: PQANet scores the patches of a clip, STANet says how much each of them counts.

Paper: C. Feng et al., "RankDVQA: Deep VQA based on Ranking-inspired Hybrid Training", WACV 2024. As there, every block
of 12 frames is cut into overlapping patches of 256x256 (16 x 9 at 1080p), and the softmax runs over all patches of the
clip, in space and time. What is ours: any length and size (`patch_grid.py`), and stages of the extractor that can be
chosen, since a pruned PQANet has lost the sixth.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from compressvqa.errors import DataError
from compressvqa.models.create import create_model
from compressvqa.models.factory import spec_of
from compressvqa.models.patch_grid import PATCH, STRIDE, Patch, patch_grid
from compressvqa.models.rankdvqa import (
    SMALLEST_SIDE,
    STANET_STAGES,
    RankDVQA,
    check_clip,
    check_pair,
    resized_maps,
)
from compressvqa.models.stanet import STANet
from compressvqa.registry import models

Pooling = Literal["stanet", "mean"]
# A reference block's maps are kept for its distorted versions up to this size, and computed again beyond it: those of
# a whole 1080p block in 144 patches would take 3.4 GB.
KEPT_BYTES = 2**30


class PreparedPatches(NamedTuple):
    """A reference block ready for its distorted versions: its pixels, where it is cut, and the maps that are kept."""

    reference: Tensor
    patches: list[tuple[Patch, ...]]
    maps: list[list[Tensor] | None]


class Described(NamedTuple):
    """What pooling is learnt from: scores (B, P) and STANet's features (B, P, 12, channels, 4, 4) of P patches."""

    scores: Tensor
    features: Tensor


@models.register("rankdvqa-stanet", mode="FR", smallest_side=SMALLEST_SIDE, frames=12)
class RankDVQASTANet(nn.Module):
    """RankDVQA with its pooling: PQANet on overlapping patches, and their mean weighted by STANet.

    Called ``model(reference, distorted)`` with two (B, T, 3, H, W) tensors of any length and size, RGB in [0, 1], sides
    of 96 at least; returns (B,) scores on PQANet's scale, higher is better. `RankDVQASTANet.around` puts it around a
    PQANet that is there already, also a pruned one.

    A clip is scored in flat memory by ``prepare(reference_block)``, ``partial(prepared, distorted_block)`` and
    ``pool(partials)``; calling the network does just this.

    Args:
        patch_network: settings of `RankDVQA`.
        stages: numbers, from 1, of the two stages of the extractor that STANet reads.
        hidden: channels between STANet's convolutions.
        pooling: "stanet", or "mean": every patch counts the same, and there is no STANet.
        patch: side of a patch; a picture that is smaller is one patch, neither padded nor resized.
        stride: largest step (down, right) between neighbouring patches.
        patches_per_forward: so many patches are scored at a time; more of them need more memory.

    Raises:
        DataError: a setting out of range; (when called) shapes differ, or a side is below 96 pixels.
        WeightsError: the patch network has no such stages.
    """

    cuts_patches = True  # whole frames may be given, however large: nothing is gained by cutting them before

    def __init__(
        self,
        patch_network: Mapping[str, Any] | None = None,
        *,
        stages: tuple[int, int] = STANET_STAGES,
        hidden: int = 8,
        pooling: Pooling = "stanet",
        patch: int = PATCH,
        stride: tuple[int, int] = STRIDE,
        patches_per_forward: int = 8,
    ) -> None:
        super().__init__()
        if patch < SMALLEST_SIDE or min(stride) < 1 or max(stride) > patch or patches_per_forward < 1:
            raise DataError(
                f"patches of {patch} with a stride of {tuple(stride)}, {patches_per_forward} at a time, can't be cut",
                hint=f"patches of {SMALLEST_SIDE} or more, strides of 1 to the patch",
            )
        if pooling not in ("stanet", "mean"):
            raise DataError(f"there is no pooling {pooling!r}", hint="stanet, mean")
        self.patch, self.patches_per_forward, self.hidden = patch, patches_per_forward, hidden
        self.stages, self.stride = (stages[0], stages[1]), (stride[0], stride[1])
        self.patch_network = RankDVQA(**(patch_network or {}))
        self.pooling = self._fitting_stanet() if pooling == "stanet" else None

    @classmethod
    def around(
        cls, network: nn.Module, *, stages: tuple[int, int] | None = None, pooling: Pooling = "stanet", **settings: Any
    ) -> RankDVQASTANet:
        """A network that pools the patch scores of a copy of a trained PQANet, with a fresh STANet.

        Args:
            network: made by `create_model` or `load`, pruned or not: "rankdvqa", or "rankdvqa-stanet", whose PQANet and
                patches are then taken.
            stages: which stages STANet reads; by default the third and the last that pruning left.
            pooling: "stanet" or "mean".
            **settings: further arguments of the class.

        Raises:
            DataError: another kind of network.
            WeightsError: it has no such stages.
        """
        spec = spec_of(network)
        if isinstance(network, RankDVQASTANet):
            options, inner = dict(spec.kwargs.get("patch_network") or {}), network.patch_network
            own = ("patch_network", "stages", "pooling")
            settings = {key: value for key, value in spec.kwargs.items() if key not in own} | settings
        elif isinstance(network, RankDVQA):
            options, inner = dict(spec.kwargs), network
        else:
            raise DataError(f"{spec.name} gives no patch scores that STANet could pool", hint="rankdvqa")
        left = inner.stage_widths()
        stages = stages or (max(number for number in left if number <= STANET_STAGES[0]), max(left))
        inner.check_stages(stages)
        made = create_model("rankdvqa-stanet", patch_network=options, stages=stages, pooling=pooling, **settings)
        assert isinstance(made, cls)
        made.patch_network = copy.deepcopy(inner)
        if made.pooling is not None:
            made.pooling = made._fitting_stanet()
        return made.train(network.training)

    def _fitting_stanet(self) -> STANet:
        self.patch_network.check_stages(self.stages)
        widths = self.patch_network.stage_widths()
        return STANet(sum(widths[number] for number in self.stages), self.hidden)

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        """Two (B, T, 3, H, W) in [0, 1] to (B,) scores."""
        check_pair(reference, distorted)
        frames = self.patch_network.frames
        blocks = zip(torch.split(reference, frames, dim=1), torch.split(distorted, frames, dim=1), strict=True)
        return self.pool([self.partial(self.prepare(r), d) for r, d in blocks])

    def prepare(self, reference: Tensor, patches: Sequence[int] | None = None) -> PreparedPatches:
        """What `partial` needs of a reference block: one block for all its distorted versions.

        Args:
            reference: (B, T, 3, H, W), T at most 12.
            patches: numbers of the patches to look at, by default all; see `patches_of`.
        """
        check_clip(reference)
        grid = self.patches_of(*reference.shape[3:])
        chosen = grid if patches is None else [grid[number] for number in patches]
        size = self.patches_per_forward
        groups = [tuple(chosen[first : first + size]) for first in range(0, len(chosen), size)]
        kept: list[list[Tensor] | None] = []
        room = float(KEPT_BYTES)
        for group in groups:
            # Groups but the last are of one size, so what the one before took says whether this one fits.
            fits = not kept or (kept[-1] is not None and room >= _bytes(kept[-1]))
            maps = self.patch_network.maps(_cut(reference, group)) if fits else None
            room -= _bytes(maps or [])
            kept.append(maps)
        return PreparedPatches(reference, groups, kept)

    def patches_of(self, height: int, width: int) -> list[Patch]:
        """Where a picture of this size is cut: (top, left, height, width) of each patch."""
        return patch_grid(height, width, patch=self.patch, stride=self.stride)

    def partial(self, prepared: PreparedPatches, distorted: Tensor) -> Tensor:
        """Score and saliency of every patch of one block, (B, P, 2).

        Args:
            prepared: of the reference block.
            distorted: (B, T, 3, H, W), of the reference block's shape.
        """
        found = []
        for scores, maps in self._scored(prepared, distorted):
            if self.pooling is None:
                saliency = torch.zeros_like(scores)
            else:
                # Half-precision weights give half-precision numbers, which a softmax over thousands should not see.
                saliency = self.pooling.saliency(self._features(maps)).to(scores)
            found.append(torch.stack([scores, saliency], dim=-1).reshape(distorted.shape[0], -1, 2))
        return torch.cat(found, dim=1)

    @staticmethod
    def pool(partials: Sequence[Tensor]) -> Tensor:
        """The weighted mean of a clip's patch scores: what `partial` gives for its blocks, in any order, to (B,)."""
        scores, saliency = torch.cat(list(partials), dim=1).unbind(dim=-1)
        return (scores * saliency.softmax(dim=1)).sum(dim=1)

    def describe(self, prepared: PreparedPatches, distorted: Tensor) -> Described:
        """What STANet is trained on: the patch scores of one block, and the features that it weighs them by."""
        batch = distorted.shape[0]
        parts = [(scores, self._features(maps)) for scores, maps in self._scored(prepared, distorted)]
        return Described(
            torch.cat([scores.reshape(batch, -1) for scores, _ in parts], dim=1),
            torch.cat([found.reshape(batch, -1, *found.shape[1:]) for _, found in parts], dim=1),
        )

    def _scored(self, prepared: PreparedPatches, distorted: Tensor) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """Scores (B * n,) and the distorted patches' maps, for n patches at a time."""
        check_pair(prepared.reference, distorted)
        for group, kept in zip(prepared.patches, prepared.maps, strict=True):
            reference = self.patch_network.maps(_cut(prepared.reference, group)) if kept is None else kept
            maps = self.patch_network.maps(_cut(distorted, group))
            yield self.patch_network.compare(reference, maps), maps

    def _features(self, maps: list[Tensor]) -> Tensor:
        found = resized_maps(maps, self.stages)
        return found.reshape(-1, self.patch_network.frames, *found.shape[1:])


def _cut(clip: Tensor, patches: Sequence[Patch]) -> Tensor:
    """(B, T, 3, H, W) and n patches of one size to (B * n, T, 3, h, w)."""
    cut = [clip[..., top : top + height, left : left + width] for top, left, height, width in patches]
    return torch.stack(cut, dim=1).flatten(0, 1)


def _bytes(maps: Sequence[Tensor]) -> int:
    return sum(found.nbytes for found in maps)
