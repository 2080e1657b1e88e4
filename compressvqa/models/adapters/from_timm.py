"""timm's image networks: timm/NAME, called `model(images)` with (batch, 3, height, width)."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import timm
import torch
from torch import Tensor, nn

from compressvqa.models.hub import known_files_if_unreachable


def names() -> list[str]:
    """Every architecture of the installed timm."""
    return list(timm.list_models())


def facts(name: str) -> dict[str, Any]:
    """Nothing beyond what holds for every network of images."""
    del name
    return {}


def build(name: str, *, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """`timm.create_model`."""
    with known_files_if_unreachable() if pretrained else nullcontext():
        model: nn.Module = timm.create_model(name, pretrained=pretrained, **kwargs)
    return model


def example(
    name: str, *, size: int, frames: int, batch: int, generator: torch.Generator, img_size: Any = None, **kwargs: Any
) -> tuple[Tensor, ...]:
    """Noise of the size that the network is built for, where that is fixed; else of the size asked for."""
    del frames
    config = timm.models.get_pretrained_cfg(name)
    height, width = size, size
    if img_size is not None:
        height, width = img_size if isinstance(img_size, (tuple, list)) else (img_size, img_size)
    elif config is not None and config.fixed_input_size:
        _, height, width = config.input_size
    return (torch.rand(batch, kwargs.get("in_chans", 3), height, width, generator=generator),)
