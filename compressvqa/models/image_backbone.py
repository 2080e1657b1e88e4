"""A no-reference network made of any image backbone of timm, frame by frame.

The backbone's own pooled features of each frame, a pooling over frames, and a quality head: what a student of another
architecture than its teacher is made of, and what an image quality network is, whose clip has one frame.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Literal, get_args

from torch import Tensor, nn

from compressvqa.errors import CompressVQAError, DataError
from compressvqa.models.hub import known_files_if_unreachable
from compressvqa.models.local_contrast import LocalContrast
from compressvqa.models.quality_head import QualityHead
from compressvqa.models.temporal_pooling import Pooling, temporal_pooling
from compressvqa.models.view import DEVIATION, MEAN, Fit, View
from compressvqa.registry import models

Contrast = Literal["published", "local"]
# Settings of timm that are not the user's here.
_OURS = ("pretrained", "num_classes", "in_chans", "global_pool", "features_only", "checkpoint_path")


@models.register("image-backbone", mode="NR", fetches=True)
class ImageBackbone(nn.Module):
    """An image backbone of timm per frame, a pooling over frames, and a quality head.

    Called ``model(distorted)`` with (B, T, 3, H, W), RGB in [0, 1]; an image is a clip of one frame. Returns (B,)
    scores, higher is better, of no fixed range. The module `feature` puts out the pooled feature of the clip, (B, C):
    the point at which distillation meets another network; `backbone` that of each frame, (B * frames, C).

    With ``create_model("image-backbone", weights="pretrained")`` timm fetches the backbone's weights; pooling and head
    stay fresh.

    Args:
        backbone: a name of ``timm.list_models()``, also with the tag of its published weights ("resnet18.a1_in1k").
        frames: frames that are looked at, evenly spread over the clip; of a shorter clip, each once. None: all.
        size: height and width in pixels that frames are brought to, and that a transformer is built for. None: as the
            clip is.
        fit: how frames are brought to that size: "short-side", "squeeze" or "crop" (`View`).
        pooling: over frames: "mean", "std" (mean and standard deviation), "attention" or "gru" (`temporal_pooling.py`).
        pooling_width: channels inside "attention" and "gru".
        head_width: channels of a hidden layer in the head; None: the head is linear.
        dropout: before each layer of the head, in [0, 1).
        contrast: "published": pictures are normalised as for the backbone's published weights; "local": by their local
            contrast (`LocalContrast`), for networks that begin with random weights.
        backbone_options: further settings of the backbone, as timm's own constructor takes them, for example
            ``{"drop_path_rate": 0.1}``.
        pretrained: fetch the backbone's published weights; asked for by ``weights="pretrained"``.

    Raises:
        DataError: no such backbone, a setting that it does not have, or a size that it can't be built for.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        frames: int | None = 8,
        size: int | None = 224,
        fit: Fit = "short-side",
        pooling: Pooling = "mean",
        pooling_width: int = 128,
        head_width: int | None = None,
        dropout: float = 0.0,
        contrast: Contrast = "published",
        backbone_options: Mapping[str, Any] | None = None,
        pretrained: bool = False,
    ) -> None:
        import timm  # late: it takes seconds and 200 MB

        super().__init__()
        check_backbone_name(backbone)
        config = timm.models.get_pretrained_cfg(backbone)
        mean, deviation = (MEAN, DEVIATION) if config is None else (config.mean, config.std)
        if contrast not in get_args(Contrast):
            raise DataError(f"there is no contrast {contrast!r}", hint=", ".join(get_args(Contrast)))
        local = contrast == "local"
        self.view = View(frames, size, fit=fit, normalise=not local, mean=mean, deviation=deviation, repeat=False)
        self.contrast = LocalContrast() if local else nn.Identity()
        self.backbone = _built(backbone, size, dict(backbone_options or {}), pretrained)
        self.pooling, width = temporal_pooling(pooling, _width(self.backbone), pooling_width)
        self.feature = nn.Identity()
        self.head = QualityHead(width, head_width, dropout)

    def forward(self, distorted: Tensor) -> Tensor:
        """(B, T, 3, H, W) in [0, 1] to (B,) scores."""
        clip = self.view(distorted)
        features = self.backbone(self.contrast(clip.flatten(0, 1)))
        if features.ndim != 2:
            raise DataError(f"{type(self.backbone).__name__} puts out {tuple(features.shape)}, no feature of a frame")
        scores: Tensor = self.head(self.feature(self.pooling(features.unflatten(0, clip.shape[:2]))))
        return scores

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the backbone's blocks in the backward pass: less memory for more time.

        Raises:
            DataError: timm has no checkpointing for this backbone.
        """
        try:
            self.backbone.set_grad_checkpointing(enable)  # type: ignore[operator]
        except (AttributeError, AssertionError) as error:
            name = type(self.backbone).__name__
            raise DataError(f"timm has no gradient checkpointing for {name}", hint="a smaller batch") from error


def check_backbone_name(backbone: str) -> None:
    """Refuses a name that timm does not have.

    Raises:
        DataError: no such backbone, or no such published weights of it.
    """
    import timm

    architecture, _, tag = backbone.partition(".")
    if not timm.is_model(architecture) or "/" in backbone:  # timm takes "hf-hub:owner/name" too, and fetches
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.5)
        raise DataError(f"timm has no backbone {backbone!r}", hint=", ".join(near) or "list_models('timm/*')")
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        near = difflib.get_close_matches(tag, tags, n=3, cutoff=0.3) or tags[:3]
        hint = ", ".join(f"{architecture}.{name}" for name in near) or architecture
        raise DataError(f"timm has no published weights {backbone!r}", hint=hint)


def _built(backbone: str, size: int | None, options: dict[str, Any], pretrained: bool) -> nn.Module:
    import timm

    refuse_ours(options)
    config = timm.models.get_pretrained_cfg(backbone)
    if config is None or not config.fixed_input_size or "img_size" in options:
        return made_backbone(backbone, options, pretrained)
    if size is None:
        raise DataError(f"{backbone} is built for one size of picture", hint=f"size={config.input_size[-1]}")
    try:
        return made_backbone(backbone, {**options, "img_size": size}, pretrained)
    except _NoSettingError as error:
        if size != config.input_size[-1] or "'img_size'" not in str(error):
            raise
        return made_backbone(backbone, options, pretrained)


def refuse_ours(options: Mapping[str, Any]) -> None:
    """Refuses settings of timm that a network's own arguments stand for.

    Raises:
        DataError: one of them is among the options.
    """
    taken = [key for key in options if key in _OURS]
    if taken:
        hint = 'weights="pretrained"' if taken[0] == "pretrained" else "leave it out"
        raise DataError(f"backbone_options can't set {taken[0]!r}", hint=hint)


class _NoSettingError(DataError):
    """A setting that a backbone does not take."""


def made_backbone(backbone: str, options: dict[str, Any], pretrained: bool) -> nn.Module:
    """A backbone of timm without its classifier.

    Raises:
        DataError: it can't be built with these options.
    """
    import timm

    try:
        with known_files_if_unreachable() if pretrained else nullcontext():
            made: nn.Module = timm.create_model(backbone, pretrained=pretrained, num_classes=0, **options)
    except CompressVQAError:
        raise
    except TypeError as error:
        raise _NoSettingError(f"{backbone} can't be built so: {_line(error)}", hint="see backbone_options") from error
    except Exception as error:  # a library's own checks, each of another kind
        if pretrained:
            raise  # `fetching` says it
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise DataError(f"{backbone} can't be built with {given or 'its own settings'}: {_line(error)}") from error
    return made


def _width(backbone: nn.Module) -> int:
    """Channels of what the backbone puts out without its classifier; after a last hidden layer, where it has one."""
    return int(getattr(backbone, "head_hidden_size", None) or backbone.num_features)  # type: ignore[arg-type]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
