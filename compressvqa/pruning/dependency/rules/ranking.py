"""The largest, the smallest, the k-th: picked along one dimension, for every position of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressvqa.pruning.dependency.labels import AxisLabels, ChannelLabels
from compressvqa.pruning.dependency.rules.reduction import across
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


@rule("topk", "kthvalue")
def ranked(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Values and their places. Of zeros every value is zero, whatever its place."""
    channels = run.labels_of(node.args[0])
    rank = len(channels.shape)
    d = int(node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", -1)) % max(rank, 1)
    passed = [
        (ids, axis_labels.zero and d not in axis_labels.axes)
        for axis_labels in channels.per_axis
        if (ids := across(run, node, axis_labels, [d])) is not None
    ]
    found = []
    for number, value in enumerate(node.outputs):
        shape = () if value is None else value.shape
        gone = () if len(shape) == rank else (d,)
        left = [k for k in range(rank) if k not in gone]
        per_axis = tuple(AxisLabels(ids.squeeze(gone), zero and number == 0) for ids, zero in passed)
        free = frozenset(left.index(k) for k in channels.free if k != d)
        found.append(ChannelLabels(shape, per_axis, free))
    return found
