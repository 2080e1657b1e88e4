"""What the numbers in a forward must be once channels go: recorded run + labels -> `SizeConstraint`s.

`x.view(b, n, 3, self.num_heads, c // self.num_heads)` names sizes by numbers. Each number whose origin is known makes a
constraint: what it gives after pruning must be how many labels are left along that dimension. Attributes are set so
that it is; a constraint that no attribute can meet ties the widths of groups (coupling.py), or keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compressvqa.pruning.dependency.labels import FIXED, FREE, ChannelLabels, Ids
from compressvqa.pruning.recording.integers import Attribute, Origin, leaves, origins

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node

_VIEWS = frozenset({"view", "_unsafe_view", "reshape", "_reshape_alias", "view_copy"})
_END = (1 << 63) - 1
Key = tuple[str, str, int | None]  # module path, attribute, entry of a tuple or list


@dataclass(frozen=True, eq=False)
class SizeConstraint:
    """A number that must equal the labels left among `ids`.

    Args:
        node: number of the operator that is given it.
        ids: the labels, flat; FIXED where nothing is cut.
        origin: where the number comes from; its value now is `len(ids)`.
    """

    node: int
    ids: Ids
    origin: Origin


def constraints_of(run: Labelling, node: Node) -> Iterator[SizeConstraint]:
    """The constraints of one operator whose outputs have their channel_labels."""
    if node.op == "write_view":
        yield from _written(run, node)
    elif not node.called:
        return
    elif node.op in _VIEWS:
        channels = run.labels_of(_first(node))
        for d, origin in enumerate(origins(node.called, node.args[1], sizes=True)):
            yield from _constraint(run, along(channels, d), origin)
    elif node.op in ("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes") and node.call != "chunk":
        yield from _pieces(run, node)
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
    for bound in node.args[2:4]:
        if isinstance(bound, int) and 0 < bound < len(ids):
            (origin,) = origins(node.called, [bound])
            yield from _constraint(run, ids[:bound], origin)


def named(node: Node, length: int) -> list[tuple[int, int]]:
    """Runs of positions (first, last + 1) along a sliced dimension whose count is a plain number without an origin."""
    found = []
    for bound in node.args[2:4]:
        if not isinstance(bound, int) or bound in (0, _END) or not -length < bound < length:
            continue
        if origins(node.called, [bound])[0] is None:
            found.append((0, bound) if bound > 0 else (length + bound, length))
    return found


def _written(run: Labelling, node: Node) -> Iterator[SizeConstraint]:
    """`y[:, a:b] = x`: the bounds of a write are those of a slice."""
    base, chain = run.labels_of(_first(node)), node.args[2]
    for view, d in slices(base.shape, chain):
        if view.called:
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
        attributes = [leaf for leaf in leaves(constraint.origin) if isinstance(leaf, Attribute)]
        loose = [a for a in attributes if key_of(a) not in pinned and key_of(a) not in found]
        if len(loose) == 1 and not isinstance(constraint.origin, Attribute) and (constraint.ids > 0).any():
            found[key_of(loose[0])] = (loose[0].number, constraint.ids)
    return found


def key_of(attribute: Attribute) -> Key:
    """What an attribute is set by."""
    return attribute.module, attribute.name, attribute.entry
