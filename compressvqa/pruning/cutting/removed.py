"""The stand-in that pruning leaves where a module was: nothing read its result, or a residual block was left out."""

from __future__ import annotations

import torch
from torch import nn


class Removed(nn.Identity):
    """Takes the place of a removed module: hands its first input on and holds no parameter."""

    def forward(self, input: torch.Tensor, *others: object, **settings: object) -> torch.Tensor:
        """Returns `input` as it is; whatever else the module used to take is ignored."""
        return input
