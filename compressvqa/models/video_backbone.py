"""A no-reference network made of any video backbone of torchvision: 3D convolutions, S3D, MViT or Swin3D."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from compressvqa.errors import DataError
from compressvqa.models.quality_head import QualityHead
from compressvqa.models.view import Fit, View
from compressvqa.registry import models

# The attribute that holds the classifier, which each family calls otherwise.
_CLASSIFIERS = ("fc", "classifier", "head")


@models.register("video-backbone", mode="NR", fetches=True)
class VideoBackbone(nn.Module):
    """A video network of torchvision whose classifier has become a quality head.

    Called ``model(distorted)`` with (B, T, 3, H, W), RGB in [0, 1]; returns (B,) scores, higher is better, of no fixed
    range. The module `feature` puts out the pooled feature of the clip, (B, C): the point at which distillation meets
    another network. Pictures are normalised as the backbone's published weights ask.

    With ``create_model("video-backbone", weights="pretrained")`` torchvision fetches the backbone's weights (Kinetics
    400); the head stays fresh.

    Args:
        backbone: r3d_18, mc3_18, r2plus1d_18 (trained on 16 frames of 112), s3d (14 frames of 224 at least), mvit_v1_b,
            mvit_v2_s (16 frames of 224, no others), swin3d_t, swin3d_s or swin3d_b (trained on pictures of 224).
        frames: frames that are looked at, evenly spread over the clip; a shorter clip repeats frames. None: all.
        size: height and width in pixels that frames are brought to. None: as the clip is.
        fit: how frames are brought to that size: "short-side", "squeeze" or "crop" (`View`).
        head_width: channels of a hidden layer in the head; None: the head is linear.
        dropout: before each layer of the head, in [0, 1).
        backbone_options: further settings of the backbone, as torchvision's own constructor takes them, for example
            ``{"stochastic_depth_prob": 0.1}``.
        pretrained: fetch the backbone's published weights; asked for by ``weights="pretrained"``.

    Raises:
        DataError: no such backbone, a setting that it does not have, or frames that it can't be called with.
    """

    def __init__(
        self,
        backbone: str = "r3d_18",
        *,
        frames: int | None = 8,
        size: int | None = 112,
        fit: Fit = "short-side",
        head_width: int | None = None,
        dropout: float = 0.0,
        backbone_options: Mapping[str, Any] | None = None,
        pretrained: bool = False,
    ) -> None:
        import torchvision  # late: it takes seconds and 100 MB

        super().__init__()
        names = torchvision.models.list_models(torchvision.models.video)
        if backbone not in names:
            near = difflib.get_close_matches(str(backbone), names, n=3, cutoff=0.5)
            raise DataError(f"torchvision has no video backbone {backbone!r}", hint=", ".join(near or names))
        published = torchvision.models.get_model_weights(backbone).DEFAULT
        self.smallest = (published.meta.get("min_temporal_size") or 1, max(published.meta["min_size"]))
        _check_view(backbone, frames, size, *self.smallest)
        asked = published.transforms()
        self.view = View(frames, size, fit=fit, mean=asked.mean, deviation=asked.std)
        self.backbone = _built(backbone, dict(backbone_options or {}), published if pretrained else None)
        width = _without_classifier(self.backbone)
        self.feature = nn.Identity()
        self.head = QualityHead(width, head_width, dropout)

    def forward(self, distorted: Tensor) -> Tensor:
        """(B, T, 3, H, W) in [0, 1] to (B,) scores."""
        clip = self.view(distorted).transpose(1, 2)
        length, side = self.smallest
        if clip.shape[2] < length or min(clip.shape[3:]) < side:
            name, (_, _, *shape) = type(self.backbone).__name__, clip.shape
            raise DataError(
                f"frames, height and width {tuple(shape)} are too few for {name}", hint=_atleast(length, side)
            )
        scores: Tensor = self.head(self.feature(self.backbone(clip)))
        return scores

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """torchvision's video networks have none.

        Raises:
            DataError: always, when it is to be enabled.
        """
        if enable:
            name = type(self.backbone).__name__
            raise DataError(f"torchvision has no gradient checkpointing for {name}", hint="a smaller batch")


def _check_view(backbone: str, frames: int | None, size: int | None, length: int, side: int) -> None:
    if backbone.startswith("mvit"):  # its position tables have exactly these sizes
        if (frames, size) != (length, side):
            raise DataError(f"{backbone} is built for {length} frames of {side}", hint=f"frames={length}, size={side}")
    elif (frames is not None and frames < length) or (size is not None and size < side):
        raise DataError(f"{backbone} can't be called with {frames} frames of {size}", hint=_atleast(length, side))


def _atleast(length: int, side: int) -> str:
    return f"{length} frames of {side} pixels at least"


def _built(backbone: str, options: dict[str, Any], published: Any) -> nn.Module:
    import torchvision

    for key in ("weights", "num_classes", "progress"):
        if key in options:
            hint = 'create_model(..., weights="pretrained")' if key == "weights" else "leave it out"
            raise DataError(f"backbone_options can't set {key!r}", hint=hint)
    try:
        made: nn.Module = torchvision.models.get_model(backbone, weights=published, **options)
    except TypeError as error:
        line = " ".join(str(error).split())
        raise DataError(f"{backbone} can't be built so: {line}", hint="see backbone_options") from error
    return made


def _without_classifier(backbone: nn.Module) -> int:
    """Takes the classifier out, and tells how many channels it read."""
    name = next(name for name in _CLASSIFIERS if isinstance(getattr(backbone, name, None), nn.Module))
    layers = [m for m in getattr(backbone, name).modules() if isinstance(m, (nn.Linear, nn.Conv3d))]
    setattr(backbone, name, nn.Identity())
    last = layers[-1]
    return last.in_features if isinstance(last, nn.Linear) else last.in_channels
