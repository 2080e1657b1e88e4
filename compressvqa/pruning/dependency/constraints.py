"""What the numbers in a forward must be once channels go: recorded run + labels -> `SizeConstraint`s.

`x.view(b, n, 3, self.num_heads, c // self.num_heads)` names sizes by numbers. Each number whose origin is known makes a
constraint: what it gives after pruning must be how many labels are left along that dimension. Attributes are set so
that it is; a constraint that no attribute can meet ties the widths of groups (coupling.py), or keeps them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compressvqa.pruning.dependency.labels import FIXED, FREE, ChannelLabels, Ids
from compressvqa.pruning.recording.integers import Attribute, Computed, Int, Origin, Remark, SizeOf, leaves, matched, origins
from compressvqa.pruning.recording.steps import Steps

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node

VIEWS = frozenset({"view", "_unsafe_view", "reshape", "_reshape_alias", "view_copy"})
_END = (1 << 63) - 1
Key = tuple[str, str, Steps]  # module path, attribute, the way from there to the number
_ARITHMETIC = frozenset({
    "add", "clamp", "clamp_max", "clamp_min", "div", "divide", "floor_divide", "fmod", "lerp", "mul", "multiply", "pow",
    "remainder", "rsub", "sub", "subtract", "true_divide",
})  # fmt: skip
_NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class SizeConstraint:
    """A number that must equal the labels left among `ids`.

    Args:
        node: number of the operator that is given it.
        ids: the labels, flat; FIXED where nothing is cut.
        origin: where the number comes from; its value now is `len(ids)`.
        fixed: what the number must always be, where it counts no labels.
        said: what it is used for, where that is no size, and where.
    """

    node: int
    ids: Ids
    origin: Origin
    fixed: int | None = None
    said: str = ""


def constraints_of(run: Labelling, node: Node) -> Iterator[SizeConstraint]:
    """The constraints of one operator whose outputs have their channel_labels."""
    if node.op == "write_view":
        yield from _written(run, node)
    elif not node.is_numbered:
        return
    elif node.op in VIEWS or node.op in CREATIONS or node.op == "expand":
        channels = run.labels_of(_first(node))
        for d, origin in enumerate(sizes_given(node)):
            yield from _constraint(run, along(channels, d), origin)
    elif node.op == "repeat":
        yield from _copies(run, node)
    elif node.op == "constant_pad_nd":
        yield from _padding(run, node)
    elif node.op in ("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes"):
        yield from _pieces(run, node) if node.call != "chunk" else _always(run, node, len(node.outputs))
    elif node.op == "slice":
        source = run.labels_of(node.args[0])
        yield from _bounds(run, node, along(source, node.args[1] % max(len(source.shape), 1)))
    elif node.op in ("native_layer_norm", "_fused_rms_norm", "rms_norm"):
        channels = run.labels_of(node.args[0])
        for k, origin in enumerate(origins(node.called, node.args[1])):
            yield from _constraint(run, along(channels, len(channels.shape) - len(node.args[1]) + k), origin)
    elif node.op == "mean" and node.call == "rms_norm":  # which torch takes apart
        channels = run.labels_of(node.args[0])
        dims = [d % len(channels.shape) for d in node.args[1]]
        for d, origin in zip(dims, origins(node.called, [channels.shape[d] for d in dims]), strict=True):
            yield from _constraint(run, along(channels, d), origin)
    elif node.op == "convolution" and node.args[8] > 1:
        (origin,) = origins(node.called, [node.args[8]])
        yield from _constraint(run, _per_group(run, along(run.labels_of(node.args[0]), 1), node.args[8]), origin)
    elif node.op == "native_group_norm" and node.args[6] > 1:
        (origin,) = origins(node.called, [node.args[6]])
        yield from _constraint(run, _per_group(run, along(run.labels_of(node.args[0]), 1), node.args[6]), origin)
    elif node.op in _ARITHMETIC and node.call.strip("_") in _CALLS:
        for number in node.called:
            if isinstance(number, Int) and any(isinstance(leaf, Attribute) for leaf in leaves(number.origin)):
                yield _stays(number.origin, number, f"a number in the arithmetic at {node}", run.number)


_CALLS = _ARITHMETIC | {f"r{name}" for name in _ARITHMETIC} | {"truediv", "rtruediv"}
CREATIONS = frozenset({
    "zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty", "empty_strided", "eye",
    "new_empty_strided",
})  # fmt: skip


def sizes_given(node: Node) -> tuple[Origin | None, ...]:
    """Origins of the sizes that a view, a creation, an expansion or a repetition was given, one for each dimension."""
    return tuple(n.origin if isinstance(n, Int) else None for n in numbers_given(node))


def numbers_given(node: Node) -> tuple[int | None, ...]:
    """The sizes as the forward said them, -1 included; None where it said none or it can't be told which."""
    shape = _first(node).shape
    if not node.called:
        return (None,) * len(shape)
    if node.op == "eye":
        return matched(node.called, node.args[:1]) * 2 if len(node.args) == 1 else matched(node.called, node.args[:2])
    asked = node.args[1] if node.op in _AFTER_A_TENSOR or node.op.startswith("new_") else node.args[0]
    if node.call == "unflatten":
        (d, *parts), rank = node.called, len(shape)
        d = int(d) % (rank - len(parts) + 1)
        return tuple(parts[k - d] if d <= k < d + len(parts) else None for k in range(rank))
    return matched(node.called, asked, sizes=True)


_AFTER_A_TENSOR = VIEWS | {"expand", "repeat"}


def _stays(origin: Origin, number: int, said: str, node: int = -1) -> SizeConstraint:
    return SizeConstraint(node, _NONE, origin, fixed=int(number), said=said)


def _always(run: Labelling, node: Node, number: int) -> Iterator[SizeConstraint]:
    """A number that the channels left must not change, such as that of chunks."""
    (origin,) = origins(node.called, [number])
    if origin is not None:
        yield _stays(origin, number, f"the number of pieces at {node}", run.number)


def _copies(run: Labelling, node: Node) -> Iterator[SizeConstraint]:
    """`x.repeat(1, n)`: copies of a single position are a size, copies of many are as many as before."""
    channels = run.labels_of(_first(node))
    source = run.labels_of(node.args[0]).shape
    new = len(channels.shape) - len(source)
    for d, origin in enumerate(sizes_given(node)):
        if origin is None:
            continue
        if d < new or source[d - new] == 1:
            yield from _constraint(run, along(channels, d), origin)
        else:
            yield _stays(origin, node.args[1][d], f"the number of copies at {node}", run.number)


def _padding(run: Labelling, node: Node) -> Iterator[SizeConstraint]:
    """`F.pad`: as many positions are left of those that were added as the numbers say."""
    output, rank = run.labels_of(_first(node)), len(_first(node).shape)
    for k, (width, origin) in enumerate(zip(node.args[1], origins(node.called, node.args[1]), strict=True)):
        if origin is not None and width > 0:
            ids = along(output, rank - 1 - k // 2)
            yield from _constraint(run, ids[:width] if k % 2 == 0 else ids[len(ids) - width :], origin)


def remarked(run: Labelling, remark: Remark) -> Iterator[SizeConstraint]:
    """What follows from what the forward did with a number: compared numbers stay equal, scales stay what they are."""
    if remark.kind == "scale":
        if any(isinstance(leaf, Attribute) for leaf in leaves(remark.left)):
            yield _stays(remark.left, remark.number, f"also a scale at {remark.place}")
        return
    said = f"compared at {remark.place}"
    for one, other in ((remark.left, remark.right), (remark.right, remark.left)):
        if isinstance(other, SizeOf) and not isinstance(one, int):
            ids = along(run.labels_of(other.value), other.dim)
            if not (ids == FREE).any():
                yield SizeConstraint(-1, ids, one, said=said)
            return
    yield _stays(Computed("-", remark.left, remark.right), 0, said)


def _first(node: Node) -> Any:
    output = node.outputs[0]
    assert output is not None
    return output


def _constraint(run: Labelling, ids: Ids, origin: Origin | None) -> Iterator[SizeConstraint]:
    if origin is not None and not (ids == FREE).any():
        yield SizeConstraint(run.number, ids, origin)


def along(channels: ChannelLabels, d: int) -> Ids:
    """Labels along one dimension, flat: FIXED where nothing is cut along it alone, FREE where it follows others."""
    for axis_labels in channels.per_axis:
        if axis_labels.axes == (d,):
            return axis_labels.ids.ravel()
    return np.full(channels.shape[d], FREE if d in channels.free else FIXED, dtype=np.int64)


def _per_group(run: Labelling, ids: Ids, groups: int) -> Ids:
    """One label for each group of a convolution if groups go as a whole, zeros if every group loses the same."""
    parts = ids.reshape(groups, -1)
    roots = run.classes.find(parts)
    return parts[:, 0] if (roots == roots[:, :1]).all() else np.zeros(groups, dtype=np.int64)


def _pieces(run: Labelling, node: Node) -> Iterator[SizeConstraint]:
    """`x.split(sizes, d)`: every piece is as long as its number says."""
    d = node.args[2] if len(node.args) > 2 else 0
    sizes = node.args[1]
    listed = isinstance(sizes, (tuple, list))
    asked = list(sizes) if listed else [sizes] * len(node.outputs)
    found = origins(node.called, asked) if listed else origins(node.called, [sizes]) * len(asked)
    for value, size, origin in zip(node.outputs, asked, found, strict=True):
        if value is not None and value.shape[d] == size:  # the last of equal pieces may be shorter
            yield from _constraint(run, along(run.labels_of(value), d % len(value.shape)), origin)


def _bounds(run: Labelling, node: Node, ids: Ids) -> Iterator[SizeConstraint]:
    """`x[:, a:b]`: as many labels are left before a and before b as the numbers say."""
    for k, bound in enumerate(node.args[2:4]):
        if isinstance(bound, int) and 0 < bound < len(ids):
            yield from _constraint(run, ids[:bound], _bound(node, k))


def _bound(node: Node, which: int) -> Origin | None:
    """The origin of a slice's first (0) or last (1) position."""
    if node.call == "narrow":
        start, length = node.called[-2:]
        begin, whole = (n.origin if isinstance(n, Int) else int(n) for n in (start, length))
        origin = begin if which == 0 else whole if begin == 0 else Computed("+", begin, whole)
        return None if isinstance(origin, int) or not list(leaves(origin)) else origin
    if node.call == "tensor_split":
        return None
    return origins(node.called, [node.args[2 + which]])[0]


def named(node: Node, length: int) -> list[tuple[int, int]]:
    """Runs of positions (first, last + 1) along a sliced dimension whose count is a plain number without an origin."""
    found = []
    for k, bound in enumerate(node.args[2:4]):
        if not isinstance(bound, int) or bound in (0, _END) or not -length < bound < length:
            continue
        if _bound(node, k) is None:
            found.append((0, bound) if bound > 0 else (length + bound, length))
    return found


def _written(run: Labelling, node: Node) -> Iterator[SizeConstraint]:
    """`y[:, a:b] = x`: the bounds of a write are those of a slice."""
    base, chain = run.labels_of(_first(node)), node.args[2]
    for view, d in slices(base.shape, chain):
        if view.is_numbered:
            yield from _bounds(run, view, along(base, d))


def slices(shape: Sequence[int], chain: Sequence[tuple[Node, int]]) -> Iterator[tuple[Node, int]]:
    """The slices at the beginning of a chain of views, with the dimension that each cuts, one for each dimension."""
    seen: set[int] = set()
    for view, _ in chain:
        d = view.args[1] % len(shape) if view.op == "slice" and len(view.args) > 1 else -1
        if view.op != "slice" or d in seen:
            return
        seen.add(d)
        yield view, d


def bindings(constraints: Sequence[SizeConstraint]) -> dict[Key, tuple[int, Ids]]:
    """Attributes that have to follow, with their number now and the labels that they count.

    An attribute that is given as it is comes first; one inside a sum or product is bound if nothing else in it moves.
    """
    found: dict[Key, tuple[int, Ids]] = {}
    for constraint in constraints:
        if isinstance(constraint.origin, Attribute) and (constraint.ids > 0).any():
            found.setdefault(key_of(constraint.origin), (constraint.origin.number, constraint.ids))
    pinned = {key_of(d.origin) for d in constraints if isinstance(d.origin, Attribute)}
    for constraint in constraints:
        if isinstance(constraint.origin, Attribute) or not (constraint.ids > 0).any():
            continue
        attributes = [leaf for leaf in leaves(constraint.origin) if isinstance(leaf, Attribute)]
        loose = {a for a in attributes if key_of(a) not in pinned and key_of(a) not in found}
        for attribute in loose if len(loose) == 1 else loose and _sharing(constraint.origin, loose):
            found[key_of(attribute)] = attribute.number, constraint.ids
    for one, other in _equal(constraints):
        if key_of(one) in found and key_of(other) not in found:
            found[key_of(other)] = other.number, found[key_of(one)][1]
    return found


def _sharing(origin: Origin | int, loose: Collection[Attribute]) -> list[Attribute]:
    """Which of several attributes shrink with what a number counts: all terms of a sum, one factor of a product."""
    if isinstance(origin, Attribute):
        return [origin] if origin in loose else []
    if not isinstance(origin, Computed):
        return []
    left, right = _sharing(origin.left, loose), _sharing(origin.right, loose)
    if origin.sign in "+-":
        return left + right
    if origin.sign == "*" and left and right:
        return max(left, right, key=lambda side: max(a.number for a in side))
    return left or right if origin.sign == "*" else left


def _equal(constraints: Sequence[SizeConstraint]) -> Iterator[tuple[Attribute, Attribute]]:
    """Pairs of attributes that the forward found equal, either way round."""
    for constraint in constraints:
        origin = constraint.origin
        if constraint.fixed == 0 and isinstance(origin, Computed) and origin.sign == "-":
            one, other = origin.left, origin.right
            if isinstance(one, Attribute) and isinstance(other, Attribute):
                yield one, other
                yield other, one


def key_of(attribute: Attribute) -> Key:
    """What an attribute is set by."""
    return attribute.module, attribute.name, attribute.steps
