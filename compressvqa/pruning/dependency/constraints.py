"""What the numbers in a forward must be once channels go: recorded run + labels -> `SizeConstraint`s.

`x.view(b, n, 3, self.num_heads, c // self.num_heads)` names sizes by numbers. Each number whose origin is known makes a
constraint: what it gives after pruning must be how many labels are left along that dimension. Attributes are set so
that it is; a constraint that no attribute can meet ties the widths of groups (coupling.py), or keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compressvqa.pruning.dependency.given import CREATIONS, VIEWS, bound_of, first, sizes_given
from compressvqa.pruning.dependency.labels import FIXED, FREE, ChannelLabels, Ids
from compressvqa.pruning.recording.integers import Attribute, Computed, Int, Origin, Remark, SizeOf, leaves, origins

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node

_END = (1 << 63) - 1
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
        return _written(run, node)
    make = _MAKERS.get(node.op) if node.is_numbered else None
    return iter(()) if make is None else make(run, node)


def _sizes(run: Labelling, node: Node) -> Iterator[SizeConstraint]:
    """`x.view(b, n)`, `torch.zeros(b, n)`, `x.expand(b, n)`: every dimension is as long as its number says."""
    channels = run.labels_of(first(node))
    for d, origin in enumerate(sizes_given(node)):
        yield from _constraint(run, along(channels, d), origin)


def _slice(run: Labelling, node: Node) -> Iterator[SizeConstraint]:
    source = run.labels_of(node.args[0])
    return _bounds(run, node, along(source, node.args[1] % max(len(source.shape), 1)))


def _normalised(run: Labelling, node: Node) -> Iterator[SizeConstraint]:
    """`F.layer_norm(x, (n,))`."""
    channels = run.labels_of(node.args[0])
    for k, origin in enumerate(origins(node.called, node.args[1])):
        yield from _constraint(run, along(channels, len(channels.shape) - len(node.args[1]) + k), origin)


def _mean(run: Labelling, node: Node) -> Iterator[SizeConstraint]:
    """`F.rms_norm(x, (n,))`, which torch takes apart."""
    if node.call == "rms_norm":
        channels = run.labels_of(node.args[0])
        dims = [d % len(channels.shape) for d in node.args[1]]
        for d, origin in zip(dims, origins(node.called, [channels.shape[d] for d in dims]), strict=True):
            yield from _constraint(run, along(channels, d), origin)


def _groups(run: Labelling, node: Node) -> Iterator[SizeConstraint]:
    """The groups of a convolution or a group norm."""
    groups = node.args[8 if node.op == "convolution" else 6]
    if groups > 1:
        (origin,) = origins(node.called, [groups])
        yield from _constraint(run, _per_group(run, along(run.labels_of(node.args[0]), 1), groups), origin)


def _arithmetic(run: Labelling, node: Node) -> Iterator[SizeConstraint]:
    """A number that is calculated with must stay what it is."""
    if node.call.strip("_") in _CALLS:
        for number in node.called:
            if isinstance(number, Int) and any(isinstance(leaf, Attribute) for leaf in leaves(number.origin)):
                yield _stays(number.origin, number, f"a number in the arithmetic at {node}", run.number)


_CALLS = _ARITHMETIC | {f"r{name}" for name in _ARITHMETIC} | {"truediv", "rtruediv"}


def _stays(origin: Origin, number: int, said: str, node: int = -1) -> SizeConstraint:
    return SizeConstraint(node, _NONE, origin, fixed=int(number), said=said)


def _copies(run: Labelling, node: Node) -> Iterator[SizeConstraint]:
    """`x.repeat(1, n)`: copies of a single position are a size, copies of many are as many as before."""
    channels = run.labels_of(first(node))
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
    output, rank = run.labels_of(first(node)), len(first(node).shape)
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
    if remark.kind == "order":  # only said (notes.py): the check runs the way that the pruned network takes
        return
    said = f"compared at {remark.place}"
    for one, other in ((remark.left, remark.right), (remark.right, remark.left)):
        if isinstance(other, SizeOf) and not isinstance(one, int):
            ids = along(run.labels_of(other.value), other.dim)
            if not (ids == FREE).any():
                yield SizeConstraint(-1, ids, one, said=said)
            return
    yield _stays(Computed("-", remark.left, remark.right), 0, said)


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
    """`x.split(sizes, d)`: every piece is as long as its number says; `x.chunk(n, d)`: there are as many as before."""
    if node.call == "chunk":
        (origin,) = origins(node.called, [len(node.outputs)])
        if origin is not None:
            yield _stays(origin, len(node.outputs), f"the number of pieces at {node}", run.number)
        return
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
            yield from _constraint(run, ids[:bound], bound_of(node, k))
        elif isinstance(bound, int) and -len(ids) < bound < 0:
            origin = bound_of(node, k)
            yield from _constraint(run, ids[bound:], None if origin is None else Computed("-", 0, origin))


def named(node: Node, length: int) -> list[tuple[int, int]]:
    """Runs of positions (first, last + 1) along a sliced dimension whose count is a plain number without an origin."""
    found = []
    for k, bound in enumerate(node.args[2:4]):
        if not isinstance(bound, int) or bound in (0, _END) or not -length < bound < length:
            continue
        if bound_of(node, k) is None:
            found.append((0, bound) if bound > 0 else (length + bound, length))
    return found


def _written(run: Labelling, node: Node) -> Iterator[SizeConstraint]:
    """`y[:, a:b] = x`: the bounds of a write are those of a slice."""
    base, chain = run.labels_of(first(node)), node.args[2]
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


_MAKERS: dict[str, Callable[[Labelling, Node], Iterator[SizeConstraint]]] = {
    **dict.fromkeys(VIEWS | CREATIONS | {"expand"}, _sizes),
    "repeat": _copies,
    "constant_pad_nd": _padding,
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes"), _pieces),
    "slice": _slice,
    **dict.fromkeys(("native_layer_norm", "_fused_rms_norm", "rms_norm"), _normalised),
    "mean": _mean,
    **dict.fromkeys(("convolution", "native_group_norm"), _groups),
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
}
