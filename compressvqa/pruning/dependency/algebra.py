"""Laying labelled tensors over each other: the one calculation that most rules share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from compressvqa.pruning.dependency.labels import MERGED, AxisLabels, ChannelLabels, Ids

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


def join(
    run: Labelling,
    node: Node,
    operands: Sequence[ChannelLabels],
    zero: Callable[[list[bool]], bool],
) -> tuple[tuple[AxisLabels, ...], frozenset[int]]:
    """Lays operands of equal rank over each other, element by element after broadcasting.

    Labels that share a dimension are tied. An operand that has a dimension in full, but no labels there, must keep its
    size, so the others' labels are frozen -- unless it is free to follow.

    Args:
        run: the propagation.
        node: the operator.
        operands: their channel_labels, all lifted to one rank.
        zero: tells from which operands are zero at a cut position whether the result is.

    Returns:
        The per_axis and the free dimensions of the result.
    """
    rank = len(operands[0].shape)
    operands = _apart(run, node, operands)
    parts: list[tuple[set[int], list[tuple[int, AxisLabels]]]] = []
    for number, channels in enumerate(operands):
        for axis_labels in channels.per_axis:
            axes, members = set(axis_labels.axes), [(number, axis_labels)]
            for part in [p for p in parts if p[0] & axes]:
                parts.remove(part)
                axes, members = axes | part[0], part[1] + members
            parts.append((axes, members))
    per_axis = []
    for axes, members in parts:
        labelled = {number for number, _ in members}
        ids = _tied(run, node, [axis_labels.ids for _, axis_labels in members])
        stuck = False
        for number, channels in enumerate(operands):
            present = {d for d in axes if channels.shape[d] > 1}
            if number not in labelled and present and not present <= channels.free:
                held = sorted(present - channels.free)
                if len(held) < sum(ids.shape[d] > 1 for d in axes) and run.may_tie(ids):
                    # Along these dimensions no position can go alone, so what goes goes in all of them.
                    ids = run.unite_along(node, ids, held)
                    continue
                run.freeze(ids, f"they meet a tensor of fixed size at {node}")
                # Labels over several dimensions may turn out to differ along one only; they are carried on till then.
                stuck = len(axes) == 1
        if stuck:
            continue
        flags = [n in labelled and all(p.zero for m, p in members if m == n) for n in range(len(operands))]
        per_axis.append(AxisLabels(ids, zero(flags)))
    free = set()
    for d in range(rank):
        present_in = [channels for channels in operands if channels.shape[d] > 1]
        if present_in and all(d in channels.free for channels in present_in):
            free.add(d)
    return tuple(per_axis), frozenset(free)


def _apart(run: Labelling, node: Node, operands: Sequence[ChannelLabels]) -> Sequence[ChannelLabels]:
    """The operands without labels of what all heads share: a norm over a head's width, a rotary embedding, a gate.

    Tied, they would tie the heads to each other, so that no head could go on its own. Where the data is found to be
    that of attention, what they share is kept whole instead.
    """
    spread = [axis_labels for t in operands for axis_labels in t.per_axis if len(axis_labels.axes) > 1]
    if not spread or len(operands) == 1:
        return operands

    def shared(axis_labels: AxisLabels) -> bool:
        over = [other for other in spread if set(axis_labels.axes) < set(other.axes)]
        return any(run.is_shared(node, other.ids, axis_labels.ids) for other in over)

    return [
        ChannelLabels(t.shape, tuple(p for p in t.per_axis if not shared(p)), t.free, t.weight) if t.per_axis else t
        for t in operands
    ]


def _tied(run: Labelling, node: Node, arrays: Sequence[Ids]) -> Ids:
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


def lift(channels: ChannelLabels, rank: int) -> ChannelLabels:
    """The channels with dimensions of size 1 in front, as broadcasting sees it."""
    new = rank - len(channels.shape)
    if new == 0:
        return channels
    per_axis = tuple(AxisLabels(p.ids.reshape((1,) * new + p.ids.shape), p.zero) for p in channels.per_axis)
    merged = tuple(AxisLabels(p.ids.reshape((1,) * new + p.ids.shape), p.zero) for p in channels.merged)
    free = frozenset(d + new for d in channels.free)
    return ChannelLabels((1,) * new + channels.shape, per_axis, free, channels.weight, merged)


def carried(
    run: Labelling, node: Node, operands: Sequence[ChannelLabels], zero: Callable[[list[bool]], bool]
) -> tuple[AxisLabels, ...]:
    """The merged labels of operands of equal rank that are laid over each other; see `ChannelLabels.merged`."""
    having = [t for t in operands if t.merged]
    if not having:
        return ()
    number = len(having[0].merged)
    found = []
    for k in range(number):
        parts = [t.merged[k] for t in having if len(t.merged) == number]
        ids, axes = parts[0].ids, set(parts[0].axes)
        others = [t for t in operands if not t.merged]
        fixed = any({d for d in axes if t.shape[d] > 1} - t.free for t in others)
        if fixed or len(parts) < len(having) or any(p.ids.shape != ids.shape for p in parts):
            for part in parts:
                run.freeze(part.ids, f"{MERGED} at {node}")
            continue
        for part in parts[1:]:
            run.unite(node, ids, part.ids)
        found.append(AxisLabels(ids, zero([bool(t.merged) and t.merged[k].zero for t in operands])))
    return tuple(found)


def place(channels: ChannelLabels, dims: Sequence[int], rank: int) -> ChannelLabels:
    """The channels in another space: its dimension k becomes dimension dims[k] of `rank`; elsewhere it has size 1."""
    order = sorted(range(len(dims)), key=dims.__getitem__)

    def shaped(sizes: Sequence[int]) -> list[int]:
        out = [1] * rank
        for k, d in enumerate(dims):
            out[d] = sizes[k]
        return out

    per_axis = tuple(AxisLabels(p.ids.transpose(order).reshape(shaped(p.ids.shape)), p.zero) for p in channels.per_axis)
    free = frozenset(dims[k] for k in channels.free)
    return ChannelLabels(tuple(shaped(channels.shape)), per_axis, free, channels.weight)
