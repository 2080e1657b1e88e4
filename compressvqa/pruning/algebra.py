"""Laying labelled tensors over each other: the one calculation that most rules share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from compressvqa.pruning.labels import Ids, Plane, Twin

if TYPE_CHECKING:
    from compressvqa.pruning.graph import Node
    from compressvqa.pruning.propagate import Propagation


def join(
    run: Propagation,
    node: Node,
    operands: Sequence[Twin],
    zero: Callable[[list[bool]], bool],
) -> tuple[tuple[Plane, ...], frozenset[int]]:
    """Lays operands of equal rank over each other, element by element after broadcasting.

    Planes that share a dimension are tied. An operand that has a dimension in full, but no labels there, must keep its
    size, so the others' labels are frozen -- unless it is free to follow.

    Args:
        run: the propagation.
        node: the operator.
        operands: their twins, all lifted to one rank.
        zero: tells from which operands are zero at a cut position whether the result is.

    Returns:
        The planes and the free dimensions of the result.
    """
    rank = len(operands[0].shape)
    operands = _apart(run, node, operands)
    parts: list[tuple[set[int], list[tuple[int, Plane]]]] = []
    for number, twin in enumerate(operands):
        for plane in twin.planes:
            axes, members = set(plane.axes), [(number, plane)]
            for part in [p for p in parts if p[0] & axes]:
                parts.remove(part)
                axes, members = axes | part[0], part[1] + members
            parts.append((axes, members))
    planes = []
    for axes, members in parts:
        labelled = {number for number, _ in members}
        ids = _tied(run, node, [plane.ids for _, plane in members])
        stuck = False
        for number, twin in enumerate(operands):
            present = {d for d in axes if twin.shape[d] > 1}
            if number not in labelled and present and not present <= twin.free:
                run.freeze(ids, f"they meet a tensor of fixed size at {node}")
                # Labels over several dimensions may turn out to differ along one only; they are carried on till then.
                stuck = len(axes) == 1
        if stuck:
            continue
        flags = [n in labelled and all(p.zero for m, p in members if m == n) for n in range(len(operands))]
        planes.append(Plane(ids, zero(flags)))
    free = set()
    for d in range(rank):
        present_in = [twin for twin in operands if twin.shape[d] > 1]
        if present_in and all(d in twin.free for twin in present_in):
            free.add(d)
    return tuple(planes), frozenset(free)


def _apart(run: Propagation, node: Node, operands: Sequence[Twin]) -> Sequence[Twin]:
    """The operands without labels of weights that all heads share: a norm over a head's width, a rotary embedding.

    Tied, such a weight would tie the heads to each other, so that no head could go on its own. Where the data is found
    to be that of attention, the weight is kept whole instead.
    """
    spread = [plane for t in operands if not t.weight for plane in t.planes if len(plane.axes) > 1]
    if not spread or not any(t.weight for t in operands):
        return operands

    def shared(plane: Plane) -> bool:
        over = [other for other in spread if set(plane.axes) < set(other.axes)]
        return any(run.is_shared(node, other.ids, plane.ids) for other in over)

    return [
        Twin(t.shape, tuple(p for p in t.planes if not shared(p)), t.free, t.weight) if t.weight else t
        for t in operands
    ]


def _tied(run: Propagation, node: Node, arrays: Sequence[Ids]) -> Ids:
    """One array for several that are tied, position by position."""
    ids = arrays[0]
    if len(arrays) > 2 and all(other.shape == ids.shape for other in arrays):
        others = np.stack(arrays[1:])
        run.unite(node, np.broadcast_to(ids, others.shape), others)
        return ids if (ids > 0).all() else np.where(ids > 0, ids, others.max(axis=0))
    for other in arrays[1:]:
        run.unite(node, ids, other)
        a, b = np.broadcast_arrays(ids, other)
        ids = np.where(a > 0, a, b)
    return ids


def lift(twin: Twin, rank: int) -> Twin:
    """The twin with dimensions of size 1 in front, as broadcasting sees it."""
    new = rank - len(twin.shape)
    if new == 0:
        return twin
    planes = tuple(Plane(p.ids.reshape((1,) * new + p.ids.shape), p.zero) for p in twin.planes)
    return Twin((1,) * new + twin.shape, planes, frozenset(d + new for d in twin.free), twin.weight)


def place(twin: Twin, dims: Sequence[int], rank: int) -> Twin:
    """The twin in another space: its dimension k becomes dimension dims[k] of `rank`; elsewhere it has size 1."""
    order = np.argsort(dims)

    def shaped(sizes: Sequence[int]) -> list[int]:
        out = [1] * rank
        for k, d in enumerate(dims):
            out[d] = sizes[k]
        return out

    planes = tuple(Plane(p.ids.transpose(order).reshape(shaped(p.ids.shape)), p.zero) for p in twin.planes)
    free = frozenset(dims[k] for k in twin.free)
    return Twin(tuple(shaped(twin.shape)), planes, free, twin.weight)
