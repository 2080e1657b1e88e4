"""Tensors out of nothing: uniform ones follow the size of their partners, all others are fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressvqa.pruning.dependency.labels import ChannelLabels
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


@rule(
    "zeros", "ones", "full", "empty", "empty_strided", "zeros_like", "ones_like", "full_like", "empty_like",
    "new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided", "scalar_tensor", "fill", "zero",
    "_efficientzerotensor",
)  # fmt: skip
def uniform(run: Labelling, node: Node) -> list[ChannelLabels]:
    """The same number everywhere. A size written as a plain number in the model shows when the pruned network runs."""
    return [ChannelLabels(v.shape, (), frozenset(range(len(v.shape)))) for v in node.outputs if v is not None]


@rule(
    "arange", "linspace", "logspace", "eye", "rand", "randn", "randint", "randperm", "rand_like", "randn_like",
    "randint_like", "bernoulli", "normal", "uniform", "normal_functional", "tril_indices", "triu_indices",
    "_local_scalar_dense", "hann_window", "hamming_window",
)  # fmt: skip
def varied(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Numbers that differ along the tensor: its size can't follow."""
    return run.block(node, "its size can't follow")
