"""Weights with noise on them: a layer that is scaled by 1e-6, or starts at zero, would hide any mistake behind it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_DRAWN = 65521


def shaken_weights(model: nn.Module, share: float, seed: int) -> dict[int, Tensor]:
    """By id of each parameter, its values with noise of `share` times the size that a fresh layer's weights have."""
    found: dict[int, Tensor] = {}
    # One draw serves all weights; its prime length lets every row of a weight begin elsewhere in it.
    drawn = torch.randn(_DRAWN, generator=torch.Generator().manual_seed(seed + 2))
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.numel():
            fan_in = parameter.numel() / len(parameter) if parameter.ndim > 1 else 4.0
            noise = drawn.repeat(-(-parameter.numel() // _DRAWN))[: parameter.numel()].view(parameter.shape)
            found[id(parameter)] = parameter.detach().add(noise.to(parameter), alpha=share / math.sqrt(fan_in))
    return found
