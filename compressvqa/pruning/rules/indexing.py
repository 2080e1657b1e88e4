"""Look-ups by index: the dimensions that are looked up keep their size, the others pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compressvqa.pruning.algebra import join, lift
from compressvqa.pruning.labels import Plane, Twin
from compressvqa.pruning.moves import full
from compressvqa.pruning.rules import rule

if TYPE_CHECKING:
    from compressvqa.pruning.graph import Node
    from compressvqa.pruning.propagate import Propagation


@rule("index")
def index(run: Propagation, node: Node) -> list[Twin]:
    """`x[i, :, j]` with index tensors."""
    twin, picks = run.twin(node.args[0]), node.args[1]
    if any(run.twin(pick).planes for pick in picks if pick is not None):
        return run.block(node, "channels are picked by number")
    output = node.outputs[0]
    assert output is not None
    planes, picked = [], {d for d, pick in enumerate(picks) if pick is not None}
    contents = [None if pick is None else node.payload.get(pick.index) for pick in picks]
    widths = [1 if p is None or p.dtype.itemsize > 1 else len(p.shape) for p in picks]
    if any(p is not None and c is None for p, c in zip(picks, contents, strict=True)) or max(widths) > 1:
        return run.block(node, "the index is not known before the network runs")
    # A mask picks as many positions as it has ones: the same as the list of their numbers.
    keys = tuple(slice(None) if c is None else _numbers(c.cpu().numpy()) for c in contents)
    for plane in twin.planes:
        if picked & set(plane.axes):
            run.freeze(plane.ids, f"channels are picked by number at {node}")
            continue
        planes.append(Plane(full(plane.ids, twin.shape, sorted(picked))[keys], plane.zero))
    # Dimensions that do not differ are spread by the look-up; they shrink to size 1 again.
    compact = [Plane(_narrow(p.ids), p.zero) for p in planes]
    return [Twin(output.shape, tuple(compact), frozenset(), twin.weight)]


def _numbers(key: NDArray[Any]) -> NDArray[Any]:
    return np.flatnonzero(key) if key.dtype in (np.bool_, np.uint8) else key


def _narrow(ids: NDArray[Any]) -> NDArray[Any]:
    for d in range(ids.ndim):
        one = ids.take([0], axis=d)
        if ids.shape[d] > 1 and (ids == one).all():
            ids = one
    return ids


@rule("index_select")
def index_select(run: Propagation, node: Node) -> list[Twin]:
    """Positions of one dimension by number."""
    twin, d = run.twin(node.args[0]), node.args[1] % max(len(node.args[0].shape), 1)
    output = node.outputs[0]
    assert output is not None
    planes = []
    for plane in twin.planes:
        ids = plane.ids
        if d in plane.axes:
            run.freeze(ids, f"channels are picked by number at {node}")
            continue
        planes.append(Plane(ids, plane.zero))
    return [Twin(output.shape, tuple(planes), twin.free - {d}, twin.weight)]


@rule("gather")
def gather(run: Propagation, node: Node) -> list[Twin]:
    """Positions of one dimension, picked for each position of the others, which must agree with the index tensor's."""
    source, d, picks = run.twin(node.args[0]), node.args[1], run.twin(node.args[2])
    output = node.outputs[0]
    assert output is not None
    d %= max(len(source.shape), 1)
    others = []
    for twin in (source, picks):
        for plane in twin.planes:
            if d in plane.axes:
                run.freeze(plane.ids, f"channels are picked by number at {node}")
        planes = tuple(p for p in twin.planes if d not in p.axes)
        shape = tuple(1 if k == d else size for k, size in enumerate(twin.shape))
        others.append(Twin(shape, planes, twin.free, twin.weight))
    if any(a != b for k, (a, b) in enumerate(zip(source.shape, output.shape, strict=True)) if k != d):
        return run.block(node, "part of a tensor is looked up")
    planes, free = join(run, node, others, lambda flags: flags[0])
    return [Twin(output.shape, planes, free - {d})]


@rule("embedding")
def embedding(run: Propagation, node: Node) -> list[Twin]:
    """Rows of a table by number: the table's width passes, its length stays."""
    table, output = run.twin(node.args[0]), node.outputs[0]
    assert output is not None
    planes = []
    for plane in table.planes:
        if 0 in plane.axes:
            run.freeze(plane.ids, f"rows are looked up by number at {node}")
        else:
            planes.append(plane)
    wide = lift(Twin(table.shape, tuple(planes), table.free), len(output.shape))
    # Rows of different positions may differ; the width is labelled alike in all of them.
    return [Twin(output.shape, wide.planes, frozenset(), False)]
