"""Products that sum over a shared dimension: linear layers, convolutions, attention.

A contraction is an elementwise product over all dimensions of both operands, followed by a sum over the shared ones.
So the shared positions are tied in pairs, a cut position must be zero in one operand (a cut slice of a weight is), and
the channels of the result are those of the dimensions that are left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from compressvqa.pruning.dependency import moves
from compressvqa.pruning.dependency.algebra import carried, join, lift, place
from compressvqa.pruning.dependency.labels import MERGED, AxisLabels, ChannelLabels, Ids
from compressvqa.pruning.dependency.rules.registry import rule
from compressvqa.pruning.recording.graph import Value

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


def contract(
    run: Labelling,
    node: Node,
    left: ChannelLabels,
    right: ChannelLabels,
    shared: Sequence[int],
    macs: int,
    *,
    zero: Callable[[list[bool]], bool] = any,
    factors: Sequence[AxisLabels] = (),
) -> tuple[AxisLabels, ...]:
    """Axis labels of a sum of products; both operands are already placed in one space.

    Args:
        run: the propagation.
        node: the operator.
        left: channels of the data.
        right: channels of the weight (or of more data).
        shared: dimensions that are summed over.
        macs: multiply-accumulates of the whole operator.
        zero: which of the operands must be zero at a cut position for its term to be; one does in a product.
        factors: further labels along the dimensions, which go with columns of the weight as well.
    """
    attends = _attends(run, node, left, right)
    for weight, other in ((left, right), (right, left)):
        if weight.weight and not other.weight and not attends:
            for axis_labels in weight.per_axis:
                role = run.consumes if set(axis_labels.axes) & set(shared) else run.produces
                role[axis_labels.ids[axis_labels.ids > 0]] = True
    if attends:
        left, right = _heads(run, node, left, right, shared)
        if not run.settled and _weighed_by_heads(run, node, left, right):
            # Values that all heads share: how the result is labelled along the heads is not known yet.
            left, right = (ChannelLabels(t.shape, (), t.free | set(range(len(t.shape)))) for t in (left, right))
    per_axis, _ = join(run, node, (left, right), zero)
    run.cost(node, macs, (*per_axis, *factors))
    results = []
    for axis_labels in per_axis:
        if not set(axis_labels.axes) & set(shared):
            results.append(axis_labels)
        elif not axis_labels.zero:
            run.freeze(axis_labels.ids, f"cut channels would not be zero in the sum of {node}")
    return tuple(results)


def _attends(run: Labelling, node: Node, left: ChannelLabels, right: ChannelLabels) -> bool:
    """Whether a product may be one of attention: of data with data, or with queries, keys or values that are learnt.

    A weight proper is labelled along single dimensions. Learnt queries went through a layer, so that theirs lie over
    the heads and their width, or they are weighed by a softmax.
    """
    weights = [operand for operand in (left, right) if operand.weight]
    if not weights:
        return True
    if node.op not in ("bmm", "baddbmm"):
        return False  # no batch of products, so no heads
    return any(len(p.axes) > 1 for operand in weights for p in operand.per_axis) or _weighs(run, node)


def _heads(
    run: Labelling, node: Node, left: ChannelLabels, right: ChannelLabels, shared: Sequence[int]
) -> tuple[ChannelLabels, ChannelLabels]:
    """Attention: labels that differ along the batch of a product (heads) and inside it (their width) at once.

    They can be cut along one of the two only. Which one is the user's choice, and the default is neither.
    """
    batch = {d for d, (a, b) in enumerate(zip(left.shape, right.shape, strict=True)) if a > 1 and b > 1} - set(shared)
    weighs = _weighs(run, node)

    def decide(channels: ChannelLabels) -> ChannelLabels:
        per_axis = []
        for axis_labels in channels.per_axis:
            ids, heads, inside = axis_labels.ids, set(axis_labels.axes) & batch, set(axis_labels.axes) - batch
            if heads and inside:
                run.heads(ids)
                run.by_head.update(v.index for v in node.outputs if v is not None)
                run.learnt_rows(ids)
                if run.attention == "keep":
                    run.freeze(ids, f"attention heads are kept ({node.place})", first=True)
                elif run.settled:
                    ids = run.unite_along(node, ids, sorted(inside if run.attention == "heads" else heads))
            elif heads and weighs:  # something before, such as a mean over its width, has made a head one already
                run.heads(ids)
                run.learnt_rows(ids)
                if run.attention != "heads":
                    run.freeze(ids, f"attention heads are kept ({node.place})", first=True)
            decided = AxisLabels(ids, axis_labels.zero)
            if set(decided.axes) & set(shared) and node.call == "scaled_dot_product_attention":
                # torch divides by the root of the width that it finds, so a smaller one would scale differently.
                run.freeze(ids, f"the scale of attention is worked out from its width ({node.place})")
            per_axis.append(decided)
        return ChannelLabels(channels.shape, tuple(per_axis), channels.free, channels.weight)

    return decide(left), decide(right)


def _weighed_by_heads(run: Labelling, node: Node, left: ChannelLabels, right: ChannelLabels) -> bool:
    """Whether one operand is the attention of several heads, and the other is labelled within a head only."""
    if any(len(p.axes) > 1 for t in (left, right) for p in t.per_axis):
        return False
    waiting = [v for v, t in zip(node.inputs(), (left, right), strict=False) if not t.per_axis]
    for value in waiting:
        if value.index in run.by_head:
            return True
        made = run.maker(value)
        if made is not None and (made.op in _SCALED or "softmax" in made.op) and len(waiting) < _STEPS:
            waiting.append(made.args[0])
    return False


def _weighs(run: Labelling, node: Node) -> bool:
    """Whether a product is that of queries and keys: what it gives, scaled or masked, goes through a softmax."""
    waiting = [node]
    for seen in waiting:
        users = [user for value in seen.outputs if value is not None for user in run.users(value)]
        if any("softmax" in user.op for user in users):
            return True
        waiting += [user for user in users if user.op in _SCALED][: max(0, _STEPS - len(waiting))]
    return False


_SCALED = frozenset(
    {"add", "clone", "div", "expand", "masked_fill", "mul", "_to_copy", "_unsafe_view", "view", "where"}
)
_STEPS = 12


def _product(run: Labelling, node: Node, left: Value, right: Value, shape: tuple[int, ...]) -> ChannelLabels:
    """(batch..., n, k) @ (batch..., k, m), or vectors in place of matrices."""
    a, b = run.labels_of(left), run.labels_of(right)
    k = a.shape[-1]
    if len(b.shape) == 1:  # matrix @ vector
        rank = len(a.shape)
        left_dims, right_dims, shared = [*range(rank)], [rank - 1], rank - 1
    else:
        rank = len(a.shape) + 1  # batch, n, k, m
        left_dims, right_dims, shared = [*range(rank - 1)], [*range(rank - 3), rank - 2, rank - 1], rank - 2
        # The left operand's last dimension is the shared one, its first ones are the batch and its rows.
        left_dims = [*range(rank - 2), rank - 2]
    placed = place(a, left_dims, rank), place(b, right_dims, rank)
    factors = _factors(run, node, place(ChannelLabels(a.shape, a.merged), left_dims, rank), placed[1], shared)
    per_axis = contract(run, node, *placed, [shared], math.prod(shape) * k, factors=factors)
    left_over = tuple(AxisLabels(p.ids.squeeze(shared), p.zero) for p in per_axis)
    merged = _merged(run, node, placed[0], place(ChannelLabels(b.shape, b.merged), right_dims, rank), shared)
    return ChannelLabels(shape, left_over, frozenset(), a.weight and b.weight, merged)


def _merged(
    run: Labelling, node: Node, left: ChannelLabels, right: ChannelLabels, shared: int
) -> tuple[AxisLabels, ...]:
    """Merged labels of the columns of a product: of `routing @ kernels.view(experts, -1)`."""
    found = []
    for axis_labels in right.per_axis:
        # Along a batch of products the other operand is as long, and says how long they stay.
        batch = any(left.shape[d] > 1 and d not in left.free for d in axis_labels.axes)
        if shared in axis_labels.axes or batch:
            run.freeze(axis_labels.ids, f"{MERGED} at {node}")
        else:
            found.append(AxisLabels(axis_labels.ids.squeeze(shared), axis_labels.zero))
    return tuple(found)


def _factors(
    run: Labelling, node: Node, left: ChannelLabels, right: ChannelLabels, shared: int
) -> tuple[AxisLabels, ...]:
    """Labels of the second factor of an outer product that a weight reads, flattened: its columns go with both."""
    columns = [p.ids for p in right.per_axis if p.axes == (shared,) and right.weight and (p.ids > 0).all()]
    found = []
    for axis_labels in left.per_axis:
        if columns and axis_labels.axes == (shared,):
            run.factor(columns[0], axis_labels.ids)
            found.append(axis_labels)
        else:
            run.freeze(axis_labels.ids, f"{MERGED} at {node}")
    return tuple(found)


def _shape(node: Node) -> tuple[int, ...]:
    output = node.outputs[0]
    assert output is not None
    return output.shape


PRODUCTS = frozenset({"mm", "bmm", "mv", "dot", "vdot", "addmm", "baddbmm", "addmv"})


@rule("mm", "bmm", "mv", "dot", "vdot")
def product(run: Labelling, node: Node) -> list[ChannelLabels]:
    """A matrix product, a batch of them, or with vectors."""
    return [_product(run, node, node.args[0], node.args[1], _shape(node))]


@rule("addmm", "baddbmm", "addmv")
def added_product(run: Labelling, node: Node) -> list[ChannelLabels]:
    """A matrix product and something added to it, such as a bias."""
    result = _product(run, node, node.args[1], node.args[2], _shape(node))
    operands = lift(run.labels_of(node.args[0]), len(result.shape)), result
    per_axis, free = join(run, node, operands, all)
    return [ChannelLabels(result.shape, per_axis, free, False, carried(run, node, operands, all))]


@rule("convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution")
def convolution(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Convolutions and transposed convolutions of any rank, with or without groups.

    The space is (batch, group, row of the group, column of the group, positions...).
    """
    x, w = run.labels_of(node.args[0]), run.labels_of(node.args[1])
    groups, transposed = (node.args[8], node.args[6]) if len(node.args) > 8 else (1, False)
    shape, spatial = _shape(node), len(x.shape) - 2
    kernel = math.prod(node.args[1].shape[2:])
    macs = shape[0] * math.prod(x.shape[2:] if transposed else shape[2:]) * shape[1] * (x.shape[1] // groups) * kernel
    if groups == 1 and _is_plain(x, w):
        result = _plain(run, node, x, w, 1 if transposed else 0, macs)
        return [_biased(run, node, result)]
    x = _without(run, node, x, lambda axes: not axes & {0, 1}, "convolution mixes these positions")
    w = _without(run, node, w, lambda axes: bool(axes & set(range(2, len(w.shape)))), "kernel positions stay")
    columns, rows = x.shape[1] // groups, shape[1] // groups
    data = _split(x, 1, (groups, columns), spatial)
    data = ChannelLabels(
        (data.shape[0], groups, 1, columns, *data.shape[3:]),
        tuple(AxisLabels(p.ids[:, :, None], p.zero) for p in data.per_axis),
        frozenset(d + (d > 1) for d in data.free),
        data.weight,
    )
    weight = _weight_space(w, groups, rows, columns, transposed, spatial)
    if groups > 1:
        data, weight = _tie_groups(run, node, data, weight, by_group=rows == 1 or columns == 1)
    if not weight.weight and groups > 1:  # kernels that are mixed of parameters
        for axis_labels in weight.per_axis:
            role = run.produces if set(axis_labels.axes) <= {1, 2} else run.consumes
            role[axis_labels.ids[axis_labels.ids > 0]] = True
    per_axis = contract(run, node, data, weight, [3, *range(4, 4 + spatial)], macs)
    merge = moves.view((shape[0], groups, rows), shape[:2])
    results = []
    for axis_labels in per_axis:
        if groups > 1 and 1 in axis_labels.axes:
            run.attribute(node, "groups", axis_labels.ids)
        ids = merge.replay(axis_labels.ids.reshape(axis_labels.ids.shape[:3]))
        results.append(AxisLabels(ids.reshape((*ids.shape, *[1] * spatial)), axis_labels.zero))
    return [_biased(run, node, ChannelLabels(shape, tuple(results), frozenset(), x.weight and w.weight))]


def _biased(run: Labelling, node: Node, result: ChannelLabels) -> ChannelLabels:
    if len(node.args) < 3 or node.args[2] is None:
        return result
    bias = place(run.labels_of(node.args[2]), [1], len(result.shape))
    per_axis, free = join(run, node, (bias, result), all)
    return ChannelLabels(result.shape, per_axis, free)


def _is_plain(x: ChannelLabels, w: ChannelLabels) -> bool:
    """Data labelled along its channels or nowhere, and a weight labelled along single dimensions."""
    return (
        w.weight
        and not x.weight
        and all(p.axes == (1,) for p in x.per_axis)
        and all(len(p.axes) == 1 for p in w.per_axis)
    )


def _plain(run: Labelling, node: Node, x: ChannelLabels, w: ChannelLabels, rows: int, macs: int) -> ChannelLabels:
    """A convolution without groups, the usual case, without laying out its space.

    Args:
        rows: the dimension of the weight that makes the outputs, 0 or (transposed) 1.
    """
    rank, per_axis, results = len(x.shape), [], []
    for axis_labels in w.per_axis:
        (d,) = axis_labels.axes
        if d > 1:
            run.freeze(axis_labels.ids, f"kernel positions stay at {node}")
            continue
        ids = axis_labels.ids.reshape([-1 if k == 1 else 1 for k in range(rank)])
        per_axis.append(AxisLabels(ids, True))
        if d == rows:
            run.produces[axis_labels.ids[axis_labels.ids > 0]] = True
            results.append(per_axis[-1])
            continue
        run.consumes[axis_labels.ids[axis_labels.ids > 0]] = True
        if x.per_axis:
            run.unite(node, x.per_axis[0].ids, ids)
        elif 1 not in x.free:
            run.freeze(ids, f"they meet a tensor of fixed size at {node}")
    run.cost(node, macs, per_axis)
    return ChannelLabels(_shape(node), tuple(results))


def _without(
    run: Labelling, node: Node, channels: ChannelLabels, bad: Callable[[set[int]], bool], reason: str
) -> ChannelLabels:
    """The channels without the per_axis that are cut along no channel; their labels are frozen."""
    kept = []
    for axis_labels in channels.per_axis:
        if bad(set(axis_labels.axes)):
            run.freeze(axis_labels.ids, f"{reason} at {node}")
        else:
            kept.append(axis_labels)
    return ChannelLabels(channels.shape, tuple(kept), channels.free, channels.weight)


def _split(channels: ChannelLabels, d: int, sizes: tuple[int, int], spatial: int) -> ChannelLabels:
    """Dimension d taken apart in two."""
    shape = (*channels.shape[:d], *sizes, *channels.shape[d + 1 :])
    move = moves.view(channels.shape[: d + 1], (*channels.shape[:d], *sizes))
    per_axis = []
    for axis_labels in channels.per_axis:
        head, tail = axis_labels.ids.shape[: d + 1], axis_labels.ids.shape[d + 1 :]
        if math.prod(tail) == 1:
            ids = move.replay(axis_labels.ids.reshape(head))
            per_axis.append(AxisLabels(ids.reshape((*ids.shape, *tail)), axis_labels.zero))
        else:
            whole = moves.view(channels.shape, shape)
            per_axis.append(AxisLabels(whole.replay(axis_labels.ids), axis_labels.zero))
    free = frozenset(k + (k > d) for k in channels.free) | (
        frozenset({d, d + 1}) if d in channels.free else frozenset()
    )
    return ChannelLabels(shape, tuple(per_axis), free, channels.weight)


def _weight_space(
    w: ChannelLabels, groups: int, rows: int, columns: int, transposed: bool, spatial: int
) -> ChannelLabels:
    """A convolution's weight in (1, group, row, column, 1...)."""
    long, order = (columns, (0, 2, 1)) if transposed else (rows, (0, 1, 2))
    flat = ChannelLabels(
        w.shape[:2], tuple(AxisLabels(p.ids.reshape(p.ids.shape[:2]), p.zero) for p in w.per_axis), w.free, w.weight
    )
    parted = _split(flat, 0, (groups, long), 0)

    def arrange(sizes: Sequence[int]) -> tuple[int, ...]:
        return (1, *(sizes[k] for k in order), *[1] * spatial)

    per_axis = tuple(AxisLabels(p.ids.transpose(order).reshape(arrange(p.ids.shape)), p.zero) for p in parted.per_axis)
    free = frozenset(order.index(d) + 1 for d in parted.free if d < 3)
    return ChannelLabels(arrange(parted.shape), per_axis, free, w.weight)


def _tie_groups(
    run: Labelling, node: Node, data: ChannelLabels, weight: ChannelLabels, *, by_group: bool
) -> tuple[ChannelLabels, ChannelLabels]:
    """Grouped convolution: either whole groups are cut (depthwise), or every group loses the same rows and columns."""

    def tie(channels: ChannelLabels) -> ChannelLabels:
        per_axis = []
        for axis_labels in channels.per_axis:
            if axis_labels.axes == (0,) and channels is data:
                per_axis.append(axis_labels)  # laid over the batch, as heads are under a pool that all of them share
                continue
            if by_group and 1 not in axis_labels.axes:
                run.freeze(axis_labels.ids, f"whole groups are cut at {node}")
                continue
            ids: Ids = run.unite_along(node, axis_labels.ids, (2, 3) if by_group else (1,))
            per_axis.append(AxisLabels(ids, axis_labels.zero))
        return ChannelLabels(channels.shape, tuple(per_axis), channels.free, channels.weight)

    return tie(data), tie(weight)
