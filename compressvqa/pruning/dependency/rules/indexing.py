"""Look-ups by index: the dimensions that are looked up keep their size, the others pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressvqa.pruning.dependency.algebra import join, lift, place
from compressvqa.pruning.dependency.labels import ChannelLabels
from compressvqa.pruning.dependency.rules.picks import picked, squeezed, without_dims
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


@rule("index")
def index(run: Labelling, node: Node) -> list[ChannelLabels]:
    """`x[i, :, j]` with index tensors or masks, whatever they hold."""
    channels, picks = run.labels_of(node.args[0]), node.args[1]
    if any(run.labels_of(pick).per_axis for pick in picks if pick is not None):
        return run.block(node, "channels are picked by number")
    output = node.outputs[0]
    assert output is not None
    dims, _, homes, rank = picked(picks, len(channels.shape))
    left = place(squeezed(without_dims(run, node, channels, dims), dims), homes, rank)
    return [ChannelLabels(output.shape, left.per_axis, left.free, channels.weight)]


@rule("index_select")
def index_select(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Positions of one dimension by number."""
    channels, d = run.labels_of(node.args[0]), node.args[1] % max(len(node.args[0].shape), 1)
    output = node.outputs[0]
    assert output is not None
    left = without_dims(run, node, channels, [d] if channels.shape else [])
    return [ChannelLabels(output.shape, left.per_axis, left.free, channels.weight)]


@rule("gather")
def gather(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Positions of one dimension, picked for each position of the others, which must agree with the index tensor's."""
    source, d, picks = run.labels_of(node.args[0]), node.args[1], run.labels_of(node.args[2])
    output = node.outputs[0]
    assert output is not None
    d %= max(len(source.shape), 1)
    others = [without_dims(run, node, channels, [d]) for channels in (source, picks)]
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
