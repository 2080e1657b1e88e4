"""InternVideo2: vision transformers of video, small to huge, with a quality score in place of their classes.

Paper: Y. Wang et al., "InternVideo2: Scaling Foundation Models for Multimodal Video Understanding", ECCV 2024
(arXiv 2403.15377). Sizes, names of tensors and starting values are facts of the public repository OpenGVLab/InternVideo
(InternVideo2/single_modality), whose code (Apache-2.0) and weights (see their model cards; the 1B's are gated) are not
part of this package. As the encoder of a no-reference quality network: F. Guo et al., "InternVQA" (arXiv 2502.19026).

What differs on purpose: the classifier is a linear layer to one score; attention is torch's own, which needs no
flash-attn; and the position embedding follows the number of frames and the size that the network is built for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from compressvqa.errors import DataError
from compressvqa.models.checkpoints import load_into, read_tensors
from compressvqa.models.clips import at_least_single
from compressvqa.models.internvideo2_blocks import AttentionPooling, Block, Linear
from compressvqa.models.internvideo2_names import PUBLISHED, fetch_published, internvideo2_state
from compressvqa.models.position_embedding import sin_cos
from compressvqa.models.view import Fit, View
from compressvqa.registry import models

PATCH = 14
FEATURES = 768  # of the pooled token, in every size
POOLING_HEADS = 16


@dataclass(frozen=True)
class Dimensions:
    """One size of the family.

    Attributes:
        width: channels of a token.
        depth: blocks.
        heads: attention heads of a block.
        hidden: channels inside a block's MLP.
        layer_scale: what a block's branches are scaled by at first.
    """

    width: int
    depth: int
    heads: int
    hidden: int
    layer_scale: float = 1e-5


SIZES = {
    # A scale of 1e-5 takes a long training to grow; the two smallest are there to be trained for minutes.
    "nano": Dimensions(48, 3, 3, 192, layer_scale=0.1),
    "tiny": Dimensions(64, 4, 4, 256, layer_scale=0.1),
    "s14": Dimensions(384, 12, 6, 1536),
    "b14": Dimensions(768, 12, 12, 3072),
    "l14": Dimensions(1024, 24, 16, 4096),
    "1b14": Dimensions(1408, 40, 16, 6144),
    "6b14": Dimensions(3200, 48, 25, 12800),
}


class PatchEmbedding(nn.Module):
    """Each patch of each frame to a token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, width, kernel_size=(1, PATCH, PATCH), stride=(1, PATCH, PATCH))

    def forward(self, clip: Tensor) -> Tensor:
        """(B, T, 3, H, W) to (B, T * H/14 * W/14, width), row by row, frame after frame."""
        found: Tensor = self.proj(clip.transpose(1, 2))
        return found.flatten(2).transpose(1, 2)


class QualityHead(Linear):
    """Features to one score, in single precision at least: half of it would tie clips that differ."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, features) to (B,)."""
        device = features.device.type  # torch's meta device knows no autocast
        known = torch.amp.autocast_mode.is_autocast_available(device)
        with torch.autocast(device, enabled=False) if known else nullcontext():
            weight, bias = at_least_single(self.weight), at_least_single(self.bias)
            return functional.linear(at_least_single(features), weight, bias).squeeze(-1)


class InternVideo2(nn.Module):
    """A vision transformer of video that scores quality without a reference.

    Called ``model(distorted)`` with (B, T, 3, H, W), RGB in [0, 1], any T, H and W: it looks at `frames` frames of
    `size` pixels (`View`). Returns (B,) scores in float32 without a fixed range, higher is better.

    Features to tap: ``blocks.N`` puts out (B, 1 + tokens, width), ``clip_projector`` (B, 768) and ``fc_norm`` the same
    normalised, whatever the size of the network. In `torch.bfloat16` it takes clips in float32 as well.

    Args:
        dimensions: an entry of `SIZES`, or others: a width that is a multiple of 16 and of the heads.
        frames: frames that are looked at.
        size: height and width in pixels, a multiple of 14.
        fit: how a clip is brought to that size: "short-side", "squeeze" or "crop".
        drop_path: how often the last block's branches are dropped while training; from 0 at the first it grows evenly.
        checkpointing: as `set_grad_checkpointing`.

    Raises:
        DataError: a setting that does not fit; (when called) no clip.
    """

    def __init__(
        self,
        dimensions: Dimensions,
        *,
        frames: int = 8,
        size: int = 224,
        fit: Fit = "short-side",
        drop_path: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if size < PATCH or size % PATCH:
            nearest = max(1, round(size / PATCH)) * PATCH
            raise DataError(f"a size of {size} pixels is no multiple of the patches' {PATCH}", hint=f"size {nearest}")
        if not 0 <= drop_path < 1:
            raise DataError(f"drop_path is {drop_path}", hint="at least 0 and below 1")
        width, depth = dimensions.width, dimensions.depth
        if width % 16 or width % dimensions.heads:
            raise DataError(f"a width of {width} is no multiple of 16 and of {dimensions.heads} heads")
        self.view = View(frames, size, fit=fit)
        self.grid = (frames, size // PATCH)
        self.grad_checkpointing = checkpointing
        self.patch_embed = PatchEmbedding(width)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(sin_cos(width, *self.grid))
        rates = [drop_path * number / max(1, depth - 1) for number in range(depth)]
        settings = (width, dimensions.heads, dimensions.hidden)
        self.blocks = nn.ModuleList(
            Block(*settings, layer_scale=dimensions.layer_scale, drop_path=rate) for rate in rates
        )
        self.clip_projector = AttentionPooling(width, POOLING_HEADS, FEATURES)
        self.fc_norm = nn.LayerNorm(FEATURES)
        self.head = QualityHead(FEATURES, 1)
        nn.init.normal_(self.cls_token, std=0.02)
        with torch.no_grad():
            for number, block in enumerate(self.blocks, start=1):
                for layer in (block.get_submodule("attn.proj"), block.get_submodule("mlp.fc2")):
                    layer.weight.div_(math.sqrt(2 * number))  # type: ignore[operator]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether a backward pass computes each block anew instead of keeping what is inside it (as in timm)."""
        self.grad_checkpointing = enable

    def forward(self, distorted: Tensor) -> Tensor:
        """Scores (B,) of clips (B, T, 3, H, W)."""
        clip = self.view(distorted).to(self.patch_embed.proj.weight.dtype)
        patches = self.patch_embed(clip)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        recompute = self.grad_checkpointing and torch.is_grad_enabled()
        for block in self.blocks:
            tokens = block(tokens, recompute)
        scores: Tensor = self.head(self.fc_norm(self.clip_projector(tokens)))
        return scores


def _registered(size: str, words: str, **facts: Any) -> Callable[..., InternVideo2]:
    """Registers `internvideo2-SIZE`; with published weights where there are some."""
    name = f"internvideo2-{size}"

    def build(
        *,
        frames: int = 8,
        size: int = 224,
        fit: Fit = "short-side",
        drop_path: float = 0.0,
        checkpointing: bool = False,
        pretrained: bool = False,
    ) -> InternVideo2:
        file = fetch_published(name) if pretrained else None  # first: building a large one takes a while
        settings: dict[str, Any] = {"frames": frames, "size": size, "fit": fit}
        model = InternVideo2(dimensions, **settings, drop_path=drop_path, checkpointing=checkpointing)
        if file is not None:
            load_into(model, internvideo2_state(read_tensors(file), model), name=name, where=file)
        return model

    dimensions = SIZES[size]
    build.__name__ = build.__qualname__ = f"internvideo2_{size}"
    build.__doc__ = words
    if name in PUBLISHED:
        facts["fetches"] = True
    return models.register(name, mode="NR", convert=internvideo2_state, **facts)(build)


internvideo2_nano = _registered("nano", "InternVideo2 for trial runs: a student of the tiny one.")
internvideo2_tiny = _registered("tiny", "InternVideo2 for trial runs, without published weights.")
internvideo2_s14 = _registered("s14", "InternVideo2-S/14: 23.05 M parameters, 83 G MAC.", large=True)
internvideo2_b14 = _registered("b14", "InternVideo2-B/14: 89.44 M parameters, 255 G MAC.", large=True)
internvideo2_l14 = _registered("l14", "InternVideo2-L/14: 308.9 M parameters, 831 G MAC.", large=True)
internvideo2_1b14 = _registered("1b14", "InternVideo2-1B/14: 1020.7 M parameters, 2551 G MAC.", large=True)
internvideo2_6b14 = _registered("6b14", "InternVideo2-6B/14: 5.9 G parameters; weights come as a file.", large=True)
