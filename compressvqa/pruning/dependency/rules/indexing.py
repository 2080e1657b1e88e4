"""Look-ups by index: the dimensions that are looked up keep their size, the others pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compressvqa.pruning.dependency.algebra import join, lift
from compressvqa.pruning.dependency.labels import AxisLabels, ChannelLabels
from compressvqa.pruning.dependency.moves import full
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


@rule("index")
def index(run: Labelling, node: Node) -> list[ChannelLabels]:
    """`x[i, :, j]` with index tensors."""
    channels, picks = run.labels_of(node.args[0]), node.args[1]
    if any(run.labels_of(pick).per_axis for pick in picks if pick is not None):
        return run.block(node, "channels are picked by number")
    output = node.outputs[0]
    assert output is not None
    per_axis, picked = [], {d for d, pick in enumerate(picks) if pick is not None}
    contents = [None if pick is None else node.payload.get(pick.index) for pick in picks]
    widths = [1 if p is None or p.dtype.itemsize > 1 else len(p.shape) for p in picks]
    if any(p is not None and c is None for p, c in zip(picks, contents, strict=True)) or max(widths) > 1:
        return run.block(node, "the index is not known before the network runs")
    # A mask picks as many positions as it has ones: the same as the list of their numbers.
    keys = tuple(slice(None) if c is None else _numbers(c.cpu().numpy()) for c in contents)
    for axis_labels in channels.per_axis:
        if picked & set(axis_labels.axes):
            run.freeze(axis_labels.ids, f"channels are picked by number at {node}")
            continue
        per_axis.append(AxisLabels(full(axis_labels.ids, channels.shape, sorted(picked))[keys], axis_labels.zero))
    # Dimensions that do not differ are spread by the look-up; they shrink to size 1 again.
    compact = [AxisLabels(_narrow(p.ids), p.zero) for p in per_axis]
    return [ChannelLabels(output.shape, tuple(compact), frozenset(), channels.weight)]


def _numbers(key: NDArray[Any]) -> NDArray[Any]:
    return np.flatnonzero(key) if key.dtype in (np.bool_, np.uint8) else key


def _narrow(ids: NDArray[Any]) -> NDArray[Any]:
    for d in range(ids.ndim):
        one = ids.take([0], axis=d)
        if ids.shape[d] > 1 and (ids == one).all():
            ids = one
    return ids


@rule("index_select")
def index_select(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Positions of one dimension by number."""
    channels, d = run.labels_of(node.args[0]), node.args[1] % max(len(node.args[0].shape), 1)
    output = node.outputs[0]
    assert output is not None
    per_axis = []
    for axis_labels in channels.per_axis:
        ids = axis_labels.ids
        if d in axis_labels.axes:
            run.freeze(ids, f"channels are picked by number at {node}")
            continue
        per_axis.append(AxisLabels(ids, axis_labels.zero))
    return [ChannelLabels(output.shape, tuple(per_axis), channels.free - {d}, channels.weight)]


@rule("gather")
def gather(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Positions of one dimension, picked for each position of the others, which must agree with the index tensor's."""
    source, d, picks = run.labels_of(node.args[0]), node.args[1], run.labels_of(node.args[2])
    output = node.outputs[0]
    assert output is not None
    d %= max(len(source.shape), 1)
    others = []
    for channels in (source, picks):
        for axis_labels in channels.per_axis:
            if d in axis_labels.axes:
                run.freeze(axis_labels.ids, f"channels are picked by number at {node}")
        per_axis = tuple(p for p in channels.per_axis if d not in p.axes)
        shape = tuple(1 if k == d else size for k, size in enumerate(channels.shape))
        others.append(ChannelLabels(shape, per_axis, channels.free, channels.weight))
    if any(a != b for k, (a, b) in enumerate(zip(source.shape, output.shape, strict=True)) if k != d):
        return run.block(node, "part of a tensor is looked up")
    per_axis, free = join(run, node, others, lambda flags: flags[0])
    return [ChannelLabels(output.shape, per_axis, free - {d})]


@rule("embedding")
def embedding(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Rows of a table by number: the table's width passes, its length stays."""
    table, output = run.labels_of(node.args[0]), node.outputs[0]
    assert output is not None
    per_axis = []
    for axis_labels in table.per_axis:
        if 0 in axis_labels.axes:
            run.freeze(axis_labels.ids, f"rows are looked up by number at {node}")
        else:
            per_axis.append(axis_labels)
    wide = lift(ChannelLabels(table.shape, tuple(per_axis), table.free), len(output.shape))
    # Rows of different positions may differ; the width is labelled alike in all of them.
    return [ChannelLabels(output.shape, wide.per_axis, frozenset(), False)]
