"""How many weights a sparsifier left: the starting point of the ratio rules."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.running import WEIGHTED, quiet


@dataclass(frozen=True)
class LayerDensity:
    """Weights of one layer.

    Args:
        nonzero: how many are not zero.
        total: how many there are.
    """

    nonzero: int
    total: int

    @property
    def density(self) -> float:
        """Share of weights that are not zero, in [0, 1]."""
        return self.nonzero / self.total if self.total else 0.0


def density(model: nn.Module) -> dict[str, LayerDensity]:
    """Non-zero weights of every convolution and linear layer, by module path; biases are not counted.

    >>> layer = nn.Linear(2, 2)
    >>> layer.weight.data = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> density(nn.Sequential(layer))["0"].density
    0.5
    """
    found = {}
    with quiet(model):  # in training mode a parametrised weight changes whenever it is looked at
        for path, module in modules_of(model):
            if isinstance(module, WEIGHTED):
                weight = module.weight
                found[path] = LayerDensity(int(torch.count_nonzero(weight)), weight.numel())
    return found


def overall(layers: dict[str, LayerDensity]) -> float:
    """Share of non-zero weights over all layers, in [0, 1]."""
    total = sum(layer.total for layer in layers.values())
    return sum(layer.nonzero for layer in layers.values()) / total if total else 0.0
