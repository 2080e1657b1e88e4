"""Products that sum over a shared dimension: linear layers, convolutions, attention.

A contraction is an elementwise product over all dimensions of both operands, followed by a sum over the shared ones.
So the shared positions are tied in pairs, a cut position must be zero in one operand (a cut slice of a weight is), and
the channels of the result are those of the dimensions that are left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from compressvqa.pruning import moves
from compressvqa.pruning.algebra import join, lift, place
from compressvqa.pruning.graph import Value
from compressvqa.pruning.labels import Ids, Plane, Twin
from compressvqa.pruning.rules import rule

if TYPE_CHECKING:
    from compressvqa.pruning.graph import Node
    from compressvqa.pruning.propagate import Propagation


def contract(
    run: Propagation,
    node: Node,
    left: Twin,
    right: Twin,
    shared: Sequence[int],
    macs: int,
) -> tuple[Plane, ...]:
    """Planes of a sum of products; both operands are already placed in one space.

    Args:
        run: the propagation.
        node: the operator.
        left: twin of the data.
        right: twin of the weight (or of more data).
        shared: dimensions that are summed over.
        macs: multiply-accumulates of the whole operator.
    """
    for weight, other in ((left, right), (right, left)):
        if weight.weight and not other.weight:
            for plane in weight.planes:
                role = run.consumes if set(plane.axes) & set(shared) else run.produces
                role[plane.ids[plane.ids > 0]] = True
    if not left.weight and not right.weight:
        left, right = _heads(run, node, left, right, shared)
    planes, _ = join(run, node, (left, right), any)
    run.cost(node, macs, planes)
    results = []
    for plane in planes:
        if not set(plane.axes) & set(shared):
            results.append(plane)
        elif not plane.zero:
            run.freeze(plane.ids, f"cut channels would not be zero in the sum of {node}")
    return tuple(results)


def _heads(run: Propagation, node: Node, left: Twin, right: Twin, shared: Sequence[int]) -> tuple[Twin, Twin]:
    """Attention: labels that differ along the batch of a product (heads) and inside it (their width) at once.

    They can be cut along one of the two only. Which one is the user's choice, and the default is neither.
    """
    batch = {d for d, (a, b) in enumerate(zip(left.shape, right.shape, strict=True)) if a > 1 and b > 1} - set(shared)
    weighs = _weighs(run, node)

    def decide(twin: Twin) -> Twin:
        planes = []
        for plane in twin.planes:
            ids, heads, inside = plane.ids, set(plane.axes) & batch, set(plane.axes) - batch
            if heads and inside:
                run.heads(ids)
                if run.attention == "keep":
                    run.freeze(ids, f"attention heads are kept ({node.place})", first=True)
                elif run.settled:
                    ids = run.unite_along(node, ids, sorted(inside if run.attention == "heads" else heads))
            elif heads and weighs:  # something before, such as a mean over its width, has made a head one already
                run.heads(ids)
                if run.attention != "heads":
                    run.freeze(ids, f"attention heads are kept ({node.place})", first=True)
            decided = Plane(ids, plane.zero)
            if set(decided.axes) & set(shared) and node.call == "scaled_dot_product_attention":
                # torch divides by the root of the width that it finds, so a smaller one would scale differently.
                run.freeze(ids, f"the scale of attention is worked out from its width ({node.place})")
            planes.append(decided)
        return Twin(twin.shape, tuple(planes), twin.free, twin.weight)

    return decide(left), decide(right)


def _weighs(run: Propagation, node: Node) -> bool:
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


def _product(run: Propagation, node: Node, left: Value, right: Value, shape: tuple[int, ...]) -> Twin:
    """(batch..., n, k) @ (batch..., k, m), or vectors in place of matrices."""
    a, b = run.twin(left), run.twin(right)
    k = a.shape[-1]
    if len(b.shape) == 1:  # matrix @ vector
        rank = len(a.shape)
        left_dims, right_dims, shared = [*range(rank)], [rank - 1], rank - 1
    else:
        rank = len(a.shape) + 1  # batch, n, k, m
        left_dims, right_dims, shared = [*range(rank - 1)], [*range(rank - 3), rank - 2, rank - 1], rank - 2
        # The left operand's last dimension is the shared one, its first ones are the batch and its rows.
        left_dims = [*range(rank - 2), rank - 2]
    planes = contract(run, node, place(a, left_dims, rank), place(b, right_dims, rank), [shared], math.prod(shape) * k)
    left_over = tuple(Plane(p.ids.squeeze(shared), p.zero) for p in planes)
    return Twin(shape, left_over, frozenset(), a.weight and b.weight)


def _shape(node: Node) -> tuple[int, ...]:
    output = node.outputs[0]
    assert output is not None
    return output.shape


@rule("mm", "bmm", "mv", "dot", "vdot")
def product(run: Propagation, node: Node) -> list[Twin]:
    """A matrix product, a batch of them, or with vectors."""
    return [_product(run, node, node.args[0], node.args[1], _shape(node))]


@rule("addmm", "baddbmm", "addmv")
def added_product(run: Propagation, node: Node) -> list[Twin]:
    """A matrix product and something added to it, such as a bias."""
    result = _product(run, node, node.args[1], node.args[2], _shape(node))
    rank = len(result.shape)
    planes, free = join(run, node, (lift(run.twin(node.args[0]), rank), result), all)
    return [Twin(result.shape, planes, free)]


@rule("convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution")
def convolution(run: Propagation, node: Node) -> list[Twin]:
    """Convolutions and transposed convolutions of any rank, with or without groups.

    The space is (batch, group, row of the group, column of the group, positions...).
    """
    x, w = run.twin(node.args[0]), run.twin(node.args[1])
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
    data = Twin(
        (data.shape[0], groups, 1, columns, *data.shape[3:]),
        tuple(Plane(p.ids[:, :, None], p.zero) for p in data.planes),
        frozenset(d + (d > 1) for d in data.free),
        data.weight,
    )
    weight = _weight_space(w, groups, rows, columns, transposed, spatial)
    if groups > 1:
        data, weight = _tie_groups(run, node, data, weight, by_group=rows == 1 or columns == 1)
    planes = contract(run, node, data, weight, [3, *range(4, 4 + spatial)], macs)
    merge = moves.view((shape[0], groups, rows), shape[:2])
    results = []
    for plane in planes:
        if groups > 1 and 1 in plane.axes:
            run.attribute(node, "groups", plane.ids)
        ids = merge.replay(plane.ids.reshape(plane.ids.shape[:3]))
        results.append(Plane(ids.reshape((*ids.shape, *[1] * spatial)), plane.zero))
    return [_biased(run, node, Twin(shape, tuple(results), frozenset(), x.weight and w.weight))]


def _biased(run: Propagation, node: Node, result: Twin) -> Twin:
    if len(node.args) < 3 or node.args[2] is None:
        return result
    bias = place(run.twin(node.args[2]), [1], len(result.shape))
    planes, free = join(run, node, (bias, result), all)
    return Twin(result.shape, planes, free)


def _is_plain(x: Twin, w: Twin) -> bool:
    """Data labelled along its channels or nowhere, and a weight labelled along single dimensions."""
    return (
        w.weight and not x.weight and all(p.axes == (1,) for p in x.planes) and all(len(p.axes) == 1 for p in w.planes)
    )


def _plain(run: Propagation, node: Node, x: Twin, w: Twin, rows: int, macs: int) -> Twin:
    """A convolution without groups, the usual case, without laying out its space.

    Args:
        rows: the dimension of the weight that makes the outputs, 0 or (transposed) 1.
    """
    rank, planes, results = len(x.shape), [], []
    for plane in w.planes:
        (d,) = plane.axes
        if d > 1:
            run.freeze(plane.ids, f"kernel positions stay at {node}")
            continue
        ids = plane.ids.reshape([-1 if k == 1 else 1 for k in range(rank)])
        planes.append(Plane(ids, True))
        if d == rows:
            run.produces[plane.ids[plane.ids > 0]] = True
            results.append(planes[-1])
            continue
        run.consumes[plane.ids[plane.ids > 0]] = True
        if x.planes:
            run.unite(node, x.planes[0].ids, ids)
        elif 1 not in x.free:
            run.freeze(ids, f"they meet a tensor of fixed size at {node}")
    run.cost(node, macs, planes)
    return Twin(_shape(node), tuple(results))


def _without(run: Propagation, node: Node, twin: Twin, bad: Callable[[set[int]], bool], reason: str) -> Twin:
    """The twin without the planes that are cut along no channel; their labels are frozen."""
    kept = []
    for plane in twin.planes:
        if bad(set(plane.axes)):
            run.freeze(plane.ids, f"{reason} at {node}")
        else:
            kept.append(plane)
    return Twin(twin.shape, tuple(kept), twin.free, twin.weight)


def _split(twin: Twin, d: int, sizes: tuple[int, int], spatial: int) -> Twin:
    """Dimension d taken apart in two."""
    shape = (*twin.shape[:d], *sizes, *twin.shape[d + 1 :])
    move = moves.view(twin.shape[: d + 1], (*twin.shape[:d], *sizes))
    planes = []
    for plane in twin.planes:
        head, tail = plane.ids.shape[: d + 1], plane.ids.shape[d + 1 :]
        if math.prod(tail) == 1:
            ids = move.replay(plane.ids.reshape(head))
            planes.append(Plane(ids.reshape((*ids.shape, *tail)), plane.zero))
        else:
            whole = moves.view(twin.shape, shape)
            planes.append(Plane(whole.replay(plane.ids), plane.zero))
    free = frozenset(k + (k > d) for k in twin.free) | (frozenset({d, d + 1}) if d in twin.free else frozenset())
    return Twin(shape, tuple(planes), free, twin.weight)


def _weight_space(w: Twin, groups: int, rows: int, columns: int, transposed: bool, spatial: int) -> Twin:
    """A convolution's weight in (1, group, row, column, 1...)."""
    long, order = (columns, (0, 2, 1)) if transposed else (rows, (0, 1, 2))
    flat = Twin(w.shape[:2], tuple(Plane(p.ids.reshape(p.ids.shape[:2]), p.zero) for p in w.planes), w.free, w.weight)
    parted = _split(flat, 0, (groups, long), 0)

    def arrange(sizes: Sequence[int]) -> tuple[int, ...]:
        return (1, *(sizes[k] for k in order), *[1] * spatial)

    planes = tuple(Plane(p.ids.transpose(order).reshape(arrange(p.ids.shape)), p.zero) for p in parted.planes)
    free = frozenset(order.index(d) + 1 for d in parted.free if d < 3)
    return Twin(arrange(parted.shape), planes, free, w.weight)


def _tie_groups(run: Propagation, node: Node, data: Twin, weight: Twin, *, by_group: bool) -> tuple[Twin, Twin]:
    """Grouped convolution: either whole groups are cut (depthwise), or every group loses the same rows and columns."""

    def tie(twin: Twin) -> Twin:
        planes = []
        for plane in twin.planes:
            if by_group and 1 not in plane.axes:
                run.freeze(plane.ids, f"whole groups are cut at {node}")
                continue
            ids: Ids = run.unite_along(node, plane.ids, (2, 3) if by_group else (1,))
            planes.append(Plane(ids, plane.zero))
        return Twin(twin.shape, tuple(planes), twin.free, twin.weight)

    return tie(data), tie(weight)
