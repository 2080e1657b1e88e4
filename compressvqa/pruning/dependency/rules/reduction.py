"""Operators that mix the positions of a dimension: sums, means, extrema, softmax, sorting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from compressvqa.pruning.dependency.labels import MERGED, AxisLabels, ChannelLabels, Ids
from compressvqa.pruning.dependency.rules.by_hand import STATISTICS, only_normalises
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node

# Zeros add nothing to these, so channels that are zero when cut may be summed over.
_SUMS = frozenset({"sum", "linalg_vector_norm", "norm", "count_nonzero", "any", "nansum"})
_DIM_FIRST = (
    "sum", "mean", "amax", "amin", "max", "min", "prod", "var", "std", "var_mean", "std_mean", "any", "all",
    "logsumexp", "argmax", "argmin", "median", "nansum", "count_nonzero", "aminmax", "mode", "nanmedian",
)  # fmt: skip


REDUCTIONS = frozenset({*_DIM_FIRST, "linalg_vector_norm", "norm"})


@rule(*_DIM_FIRST)
def reduce(run: Labelling, node: Node) -> list[ChannelLabels]:
    """A reduction whose dimensions come after the input."""
    return _reduce(run, node, _dims(node, 1))


@rule("linalg_vector_norm", "norm")
def norm(run: Labelling, node: Node) -> list[ChannelLabels]:
    """A vector norm: the order comes first, then the dimensions."""
    return _reduce(run, node, _dims(node, 2))


@rule(
    "softmax",
    "_softmax",
    "_safe_softmax",
    "_log_softmax",
    "log_softmax",
    "cumsum",
    "cumprod",
    "logcumsumexp",
    "cummax",
    "sort",
)
def along(run: Labelling, node: Node) -> list[ChannelLabels]:
    """A mix along one dimension that keeps the size."""
    d = node.args[1] if len(node.args) > 1 and isinstance(node.args[1], int) else node.kwargs.get("dim", -1)
    return mix(run, node, [int(d)])


@rule("_fft_r2c", "_fft_c2c", "_fft_c2r")
def fourier(run: Labelling, node: Node) -> list[ChannelLabels]:
    """A Fourier transform over some dimensions: that of zeros is zero."""
    return mix(run, node, list(node.args[1]), linear=True)


def mix(run: Labelling, node: Node, dims: Sequence[int], *, linear: bool = False) -> list[ChannelLabels]:
    """All positions of `dims` have a part in each output; channels along the other dimensions pass."""
    channels, per_axis = run.labels_of(node.args[0]), []
    dims = [d % max(len(channels.shape), 1) for d in dims]
    for axis_labels in channels.per_axis:
        ids = across(run, node, axis_labels, dims)
        if ids is not None:
            per_axis.append(AxisLabels(ids, linear and axis_labels.zero and not set(axis_labels.axes) & set(dims)))
    shapes = [() if v is None else v.shape for v in node.outputs]
    return [
        ChannelLabels(shape, tuple(per_axis), frozenset(d for d in channels.free if d not in dims)) for shape in shapes
    ]


def across(run: Labelling, node: Node, axis_labels: AxisLabels, dims: Sequence[int]) -> Ids | None:
    """Labels that do not differ along `dims`: those that did are tied, or frozen where that would tie them all."""
    if not set(axis_labels.axes) - set(dims):
        run.freeze(axis_labels.ids, f"every channel has a part in the result of {node}")
        return None
    return run.unite_along(node, axis_labels.ids, dims)


def _reduce(run: Labelling, node: Node, dims: Sequence[int] | None) -> list[ChannelLabels]:
    channels = run.labels_of(node.args[0])
    rank = len(channels.shape)
    gone = sorted({d % rank for d in dims} if dims else range(rank)) if rank else []
    for axis_labels in channels.merged:
        if not (axis_labels.zero and node.op in _SUMS and set(axis_labels.axes) <= set(gone)):
            run.freeze(axis_labels.ids, f"{MERGED} at {node}")
    taken = _normalised(run, node, channels, gone)
    per_axis = [
        passed
        for axis_labels in channels.per_axis
        if axis_labels is not taken and (passed := _pass(run, node, axis_labels, gone, node.op in _SUMS)) is not None
    ]
    channel_labels = []
    for value in node.outputs:
        shape = () if value is None else value.shape
        kept_dims = len(shape) == rank
        left = list(range(rank)) if kept_dims else [d for d in range(rank) if d not in gone]
        shaped = tuple(p if kept_dims else AxisLabels(p.ids.squeeze(tuple(gone)), p.zero) for p in per_axis)
        free = frozenset(k for k, d in enumerate(left) if d in channels.free and d not in gone)
        channel_labels.append(ChannelLabels(shape, shaped, free, channels.weight))
    return channel_labels


def _normalised(run: Labelling, node: Node, channels: ChannelLabels, gone: Sequence[int]) -> AxisLabels | None:
    """The labels of the channels over which a normalisation written by hand takes its statistic, or None."""
    if node.op not in STATISTICS:
        return None
    inside = [axis_labels for axis_labels in channels.per_axis if set(axis_labels.axes) & set(gone)]
    # Of a convolution's weight only the rows and columns are channels, not the positions of its kernel.
    if inside and (len(inside) == 1 or channels.weight) and len(inside[0].axes) == 1:
        (axis,) = inside[0].axes
        if only_normalises(run, node, axis):
            run.statistic(node, inside[0].ids, axis, by_hand=node.call != "rms_norm" and not channels.weight)
            return inside[0]
    run.statistic(node, None)
    return None


def _pass(run: Labelling, node: Node, axis_labels: AxisLabels, gone: Sequence[int], adds: bool) -> AxisLabels | None:
    """The axis_labels after a reduction, or None where it ends there."""
    if not set(axis_labels.axes) & set(gone):
        return AxisLabels(axis_labels.ids, axis_labels.zero and node.op in _ZERO_OF_ZEROS)
    if adds and axis_labels.zero:
        return None
    ids = across(run, node, axis_labels, gone)
    return None if ids is None else AxisLabels(ids, axis_labels.zero and node.op in _ZERO_OF_ZEROS)


_ZERO_OF_ZEROS = _SUMS | {"mean", "amax", "amin", "max", "min", "prod", "var", "std", "median"}


def _dims(node: Node, at: int) -> list[int] | None:
    given: Any = node.args[at] if len(node.args) > at else node.kwargs.get("dim")
    if given is None or isinstance(given, bool):
        return None
    return list(given) if isinstance(given, (tuple, list)) else [int(given)]
