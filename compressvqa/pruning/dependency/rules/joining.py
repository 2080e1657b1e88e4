"""Operators that lay several tensors end to end: concatenation and stacking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compressvqa.pruning.dependency.labels import FIXED, FREE, AxisLabels, ChannelLabels
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


@rule("cat", "concat")
def cat(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Labels lie end to end; along the other dimensions every part must lose the same positions."""
    d = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    parts = [run.labels_of(v) for v in node.args[0] if v.shape != (0,)]
    return [_concatenate(run, node, parts, d % len(parts[0].shape))]


@rule("stack")
def stack(run: Labelling, node: Node) -> list[ChannelLabels]:
    """A concatenation along a new dimension."""
    d = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    parts = [run.labels_of(v) for v in node.args[0]]
    d %= len(parts[0].shape) + 1
    return [_concatenate(run, node, [_with_dim(part, d) for part in parts], d)]


def _with_dim(channels: ChannelLabels, d: int) -> ChannelLabels:
    per_axis = tuple(AxisLabels(np.expand_dims(p.ids, d), p.zero) for p in channels.per_axis)
    free = frozenset(k + (k >= d) for k in channels.free)
    return ChannelLabels((*channels.shape[:d], 1, *channels.shape[d:]), per_axis, free, channels.weight)


def _concatenate(run: Labelling, node: Node, parts: Sequence[ChannelLabels], d: int) -> ChannelLabels:
    shape = list(parts[0].shape)
    shape[d] = sum(part.shape[d] for part in parts)
    per_axis = []
    for axis in sorted({a for part in parts for axis_labels in part.per_axis for a in axis_labels.axes}):
        chosen = [next((p for p in part.per_axis if axis in p.axes), None) for part in parts]
        if any(p is not None and len(p.axes) > 1 and min(p.axes) != axis for p in chosen):
            continue  # a axis_labels over two dimensions is laid down once, with its first
        per_axis.append(_along(run, node, parts, chosen, d, axis))
    free = frozenset(k for k in range(len(shape)) if k != d and all(k in p.free for p in parts if p.shape[k] > 1))
    return ChannelLabels(tuple(shape), tuple(per_axis), free, all(part.weight for part in parts))


def _along(
    run: Labelling, node: Node, parts: Sequence[ChannelLabels], chosen: Sequence[AxisLabels | None], d: int, axis: int
) -> AxisLabels:
    """One axis_labels of the result, made of one axis_labels (or none) of each part."""
    if axis != d:
        # All parts share this dimension, so position i is cut in all of them or in none.
        ids = next(p.ids for p in chosen if p is not None)
        for part, axis_labels in zip(parts, chosen, strict=True):
            if axis_labels is not None:
                run.unite(node, ids, axis_labels.ids)
                a, b = np.broadcast_arrays(ids, axis_labels.ids)
                ids = np.where(a > 0, a, b) if a.shape[d] == 1 else ids
            elif axis not in part.free:
                run.freeze(ids, f"they are joined to a tensor of fixed size at {node}")
        if all(p is None or p.ids.shape[d] == 1 for p in chosen):
            return AxisLabels(ids, all(p is not None and p.zero for p in chosen))
    arrays = []
    for part, axis_labels in zip(parts, chosen, strict=True):
        rank = len(part.shape)
        empty = np.full([1] * rank, FREE if axis != d and axis in part.free else FIXED, dtype=np.int64)
        ids = empty if axis_labels is None else axis_labels.ids
        arrays.append(np.broadcast_to(ids, [part.shape[k] if k == d else n for k, n in enumerate(ids.shape)]))
    sizes = [max(array.shape[k] for array in arrays) for k in range(len(parts[0].shape))]
    arrays = [np.broadcast_to(a, [a.shape[k] if k == d else n for k, n in enumerate(sizes)]) for a in arrays]
    # Laid end to end along this dimension, a part without labels holds no channel that could fail to be zero.
    zero = all(p.zero for p in chosen if p is not None) if axis == d else all(p is not None and p.zero for p in chosen)
    return AxisLabels(np.concatenate(arrays, axis=d), zero)
