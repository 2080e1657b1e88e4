"""torchvision's networks: torchvision/NAME; video networks take (batch, 3, frames, height, width), others images."""

from __future__ import annotations

from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from compressvqa.errors import DataError


def names() -> list[str]:
    """Every network of the installed torchvision but the quantized ones, which hold no float weights."""
    return [name for name in torchvision.models.list_models() if not name.startswith("quantized_")]


def facts(name: str) -> dict[str, Any]:
    """What the network reads."""
    return {"inputs": "video (batch, 3, frames, height, width)" if _is_video(name) else "images"}


def build(name: str, *, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """`torchvision.models.get_model`, with no part of it pretrained unless asked.

    Raises:
        DataError: weights are named in torchvision's own way.
    """
    for setting in ("weights", "weights_backbone"):
        if kwargs.pop(setting, None) is not None:
            raise DataError(f"torchvision/{name} takes no setting {setting!r} here", hint='weights="pretrained"')
    weights: dict[str, Any] = {"weights": "DEFAULT" if pretrained else None}
    if _has_backbone(name) and not pretrained:
        weights["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        kwargs.setdefault("init_weights", False)  # the other setting takes minutes and warns
    model: nn.Module = torchvision.models.get_model(name, **weights, **kwargs)
    return model


def example(
    name: str, *, size: int, frames: int, batch: int, generator: torch.Generator, **kwargs: Any
) -> tuple[Tensor, ...]:
    """Noise; two images for optical flow."""
    del kwargs
    shape = (batch, 3, frames, size, size) if _is_video(name) else (batch, 3, size, size)
    images = torch.rand(shape, generator=generator)
    return (images, torch.rand(shape, generator=generator)) if name.startswith("raft") else (images,)


def _is_video(name: str) -> bool:
    return _home(name).startswith("torchvision.models.video")


def _has_backbone(name: str) -> bool:
    return _home(name).startswith(("torchvision.models.segmentation", "torchvision.models.detection"))


def _home(name: str) -> str:
    return str(torchvision.models.get_model_builder(name).__module__)
