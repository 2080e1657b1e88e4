"""Operators that lay several tensors end to end: concatenation and stacking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compressvqa.pruning.labels import FIXED, FREE, Plane, Twin
from compressvqa.pruning.rules import rule

if TYPE_CHECKING:
    from compressvqa.pruning.graph import Node
    from compressvqa.pruning.propagate import Propagation


@rule("cat", "concat")
def cat(run: Propagation, node: Node) -> list[Twin]:
    """Labels lie end to end; along the other dimensions every part must lose the same positions."""
    d = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    parts = [run.twin(v) for v in node.args[0] if v.shape != (0,)]
    return [_concatenate(run, node, parts, d % len(parts[0].shape))]


@rule("stack")
def stack(run: Propagation, node: Node) -> list[Twin]:
    """A concatenation along a new dimension."""
    d = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    parts = [run.twin(v) for v in node.args[0]]
    d %= len(parts[0].shape) + 1
    return [_concatenate(run, node, [_with_dim(part, d) for part in parts], d)]


def _with_dim(twin: Twin, d: int) -> Twin:
    planes = tuple(Plane(np.expand_dims(p.ids, d), p.zero) for p in twin.planes)
    free = frozenset(k + (k >= d) for k in twin.free)
    return Twin((*twin.shape[:d], 1, *twin.shape[d:]), planes, free, twin.weight)


def _concatenate(run: Propagation, node: Node, parts: Sequence[Twin], d: int) -> Twin:
    shape = list(parts[0].shape)
    shape[d] = sum(part.shape[d] for part in parts)
    planes = []
    for axis in sorted({a for part in parts for plane in part.planes for a in plane.axes}):
        chosen = [next((p for p in part.planes if axis in p.axes), None) for part in parts]
        if any(p is not None and len(p.axes) > 1 and min(p.axes) != axis for p in chosen):
            continue  # a plane over two dimensions is laid down once, with its first
        planes.append(_along(run, node, parts, chosen, d, axis))
    free = frozenset(k for k in range(len(shape)) if k != d and all(k in p.free for p in parts if p.shape[k] > 1))
    return Twin(tuple(shape), tuple(planes), free, all(part.weight for part in parts))


def _along(
    run: Propagation, node: Node, parts: Sequence[Twin], chosen: Sequence[Plane | None], d: int, axis: int
) -> Plane:
    """One plane of the result, made of one plane (or none) of each part."""
    if axis != d:
        # All parts share this dimension, so position i is cut in all of them or in none.
        ids = next(p.ids for p in chosen if p is not None)
        for part, plane in zip(parts, chosen, strict=True):
            if plane is not None:
                run.unite(node, ids, plane.ids)
                a, b = np.broadcast_arrays(ids, plane.ids)
                ids = np.where(a > 0, a, b) if a.shape[d] == 1 else ids
            elif axis not in part.free:
                run.freeze(ids, f"they are joined to a tensor of fixed size at {node}")
        if all(p is None or p.ids.shape[d] == 1 for p in chosen):
            return Plane(ids, all(p is not None and p.zero for p in chosen))
    arrays = []
    for part, plane in zip(parts, chosen, strict=True):
        rank = len(part.shape)
        empty = np.full([1] * rank, FREE if axis != d and axis in part.free else FIXED, dtype=np.int64)
        ids = empty if plane is None else plane.ids
        arrays.append(np.broadcast_to(ids, [part.shape[k] if k == d else n for k, n in enumerate(ids.shape)]))
    sizes = [max(array.shape[k] for array in arrays) for k in range(len(parts[0].shape))]
    arrays = [np.broadcast_to(a, [a.shape[k] if k == d else n for k, n in enumerate(sizes)]) for a in arrays]
    return Plane(np.concatenate(arrays, axis=d), all(p is not None and p.zero for p in chosen))
