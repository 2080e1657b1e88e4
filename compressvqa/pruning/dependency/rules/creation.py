"""Tensors out of nothing: uniform ones follow the size of their partners, all others are fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressvqa.pruning.dependency.labels import AxisLabels, ChannelLabels
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node, Value


@rule("zeros", "ones", "full", "empty", "empty_strided", "new_zeros", "new_ones", "new_full", "new_empty",
      "new_empty_strided")  # fmt: skip
def sized(run: Labelling, node: Node) -> list[ChannelLabels]:
    """The same number everywhere, in a size of its own. A plain number in it shows when the pruned network runs."""
    return [of_size(run, value, zero=_is_zero(node)) for value in node.outputs if value is not None]


def of_size(run: Labelling, value: Value, *, zero: bool) -> ChannelLabels:
    """Labels along the dimensions whose number can follow; the others take the size of their partners."""
    per_axis, rank = [], len(value.shape)
    for d in range(rank):
        ids = run.made(value, d)
        if ids is not None:
            per_axis.append(AxisLabels(ids.reshape([-1 if k == d else 1 for k in range(rank)]), zero))
    labelled = {d for p in per_axis for d in p.axes}
    return ChannelLabels(value.shape, tuple(per_axis), frozenset(set(range(rank)) - labelled))


def _is_zero(node: Node) -> bool:
    """Whether every element is zero, or (made empty) is to be written before it is read."""
    if node.op in ("full", "new_full"):
        return bool(node.args[2 if node.op == "new_full" else 1] == 0)
    return "ones" not in node.op


@rule("zeros_like", "ones_like", "full_like", "empty_like", "fill", "zero")
def like(run: Labelling, node: Node) -> list[ChannelLabels]:
    """The same number everywhere, in the size of another tensor: its positions go with those of that tensor."""
    source = run.labels_of(node.args[0])
    zero = node.op in ("zeros_like", "empty_like", "zero") or (
        node.op in ("fill", "full_like") and node.args[1:2] == (0,)
    )
    per_axis = tuple(AxisLabels(p.ids, zero) for p in source.per_axis)
    labelled = {d for p in per_axis for d in p.axes}
    free = frozenset(set(range(len(source.shape))) - labelled)
    return [ChannelLabels(source.shape, per_axis, free) for value in node.outputs if value is not None]


@rule("scalar_tensor", "_efficientzerotensor")
def uniform(run: Labelling, node: Node) -> list[ChannelLabels]:
    """The same number everywhere."""
    return [ChannelLabels(v.shape, (), frozenset(range(len(v.shape)))) for v in node.outputs if v is not None]


@rule("eye")
def identity(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Ones on the diagonal: without row i and column i it is a smaller identity."""
    (value,) = node.outputs
    assert value is not None
    ids = run.made(value, 0)
    if ids is None or value.shape[0] != value.shape[1]:
        return [ChannelLabels(value.shape)]
    return [ChannelLabels(value.shape, (AxisLabels(ids[:, None], True), AxisLabels(ids[None], True)))]


@rule(
    "arange", "linspace", "logspace", "rand", "randn", "randint", "randperm", "rand_like", "randn_like",
    "randint_like", "bernoulli", "normal", "uniform", "normal_functional", "tril_indices", "triu_indices",
    "_local_scalar_dense", "hann_window", "hamming_window",
)  # fmt: skip
def varied(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Numbers that differ along the tensor: its size can't follow."""
    return run.block(node, "its size can't follow")
