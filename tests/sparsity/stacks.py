"""Small sets of overlapping channels, built by hand."""

import numpy as np
import torch
from torch import nn

from compressvqa.pruning import Group
from compressvqa.pruning.dependency.group import Slot
from compressvqa.sparsity import Channels


def group(name, count, *slots):
    placed = tuple(Slot(leaf, dim, np.asarray(indices), "out") for leaf, dim, indices in slots)
    return Group(name, count, placed, {name: 1}, {}, None, ())


def stack():
    """Two layers whose channels overlap: rows of `a`, columns of `b`, and `b` square in one stream with itself."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"a": (3, 2), "bias": (3,), "b": (4, 6), "c": (4, 4)}
    parameters = {
        name: nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64) * 0.1)
        for name, shape in shapes.items()
    }
    rows = np.arange(3)[:, None]
    groups = [
        # Each channel is read by b at two places: c and c + 3.
        group("a", 3, ("a", 0, rows), ("bias", 0, rows), ("b", 1, np.stack([rows[:, 0], rows[:, 0] + 3], 1))),
        group(
            "b", 4, ("b", 0, np.arange(4)[:, None]), ("c", 0, np.arange(4)[:, None]), ("c", 1, np.arange(4)[:, None])
        ),
    ]
    return parameters, Channels(parameters, groups)
