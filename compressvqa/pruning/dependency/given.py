"""The sizes that a forward gave an operator, as it said them: recorded operator -> numbers with their origins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressvqa.pruning.recording.integers import Computed, Int, Origin, leaves, matched, origins

if TYPE_CHECKING:
    from compressvqa.pruning.recording.graph import Node, Value

VIEWS = frozenset({"view", "_unsafe_view", "reshape", "_reshape_alias", "view_copy"})
CREATIONS = frozenset({
    "zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty", "empty_strided", "eye",
    "new_empty_strided",
})  # fmt: skip
_AFTER_A_TENSOR = VIEWS | {"expand", "repeat"}


def first(node: Node) -> Value:
    """What an operator returns first."""
    output = node.outputs[0]
    assert output is not None
    return output


def sizes_given(node: Node) -> tuple[Origin | None, ...]:
    """Origins of the sizes that a view, a creation, an expansion or a repetition was given, one for each dimension."""
    return tuple(n.origin if isinstance(n, Int) else None for n in numbers_given(node))


def numbers_given(node: Node) -> tuple[int | None, ...]:
    """The sizes as the forward said them, -1 included; None where it said none or it can't be told which."""
    shape = first(node).shape
    if not node.called:
        return (None,) * len(shape)
    if node.call == "repeat_interleave":
        copies = int(node.called[-1]) % (len(shape) - 1) + 1 if node.op == "expand" and len(node.called) > 1 else None
        return tuple(node.called[0] if d == copies else None for d in range(len(shape)))
    if node.op == "eye":
        return matched(node.called, node.args[:1]) * 2 if len(node.args) == 1 else matched(node.called, node.args[:2])
    asked = node.args[1] if node.op in _AFTER_A_TENSOR or node.op.startswith("new_") else node.args[0]
    if node.call == "unflatten":
        (d, *parts), rank = node.called, len(shape)
        d = int(d) % (rank - len(parts) + 1)
        return tuple(parts[k - d] if d <= k < d + len(parts) else None for k in range(rank))
    return matched(node.called, asked, sizes=True, in_order=node.op in VIEWS)


def bound_of(node: Node, which: int) -> Origin | None:
    """The origin of a slice's first (0) or last (1) position."""
    if node.call == "narrow":
        start, length = node.called[-2:]
        begin, whole = (n.origin if isinstance(n, Int) else int(n) for n in (start, length))
        origin = begin if which == 0 else whole if begin == 0 else Computed("+", begin, whole)
        return None if isinstance(origin, int) or not list(leaves(origin)) else origin
    if node.call == "tensor_split":
        return None
    return origins(node.called, [node.args[2 + which]])[0]
