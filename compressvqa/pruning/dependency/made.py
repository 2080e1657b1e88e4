"""Labels of tensors that the forward makes out of nothing: `torch.zeros(n, self.width)` and copies of one position.

Such a tensor is as large as a number says. Where the number can follow, each position gets a label of its own, as if
the tensor were a buffer: whatever meets it is tied to it, position by position, and how many labels are left is what
the number must be (constraints.py). Where the number is a plain one, nothing is labelled.
"""

from __future__ import annotations

from collections.abc import Iterator

from compressvqa.pruning.dependency.given import CREATIONS, sizes_given
from compressvqa.pruning.recording.graph import Graph, Node, Value
from compressvqa.pruning.recording.integers import Attribute, Origin, leaves, origins

_LARGEST = 1 << 16
_COPIES = frozenset({"expand", "repeat"})


def made_sizes(graph: Graph) -> dict[tuple[int, int], tuple[int, Origin]]:
    """Dimensions whose size is a number that may follow: (value index, dimension) -> (size, where it comes from)."""
    found = {}
    for node in graph.nodes:
        if node.is_numbered:
            for value, d, size, origin in _of(node):
                if 1 < size <= _LARGEST and _may_follow(origin):
                    found[value.index, d] = size, origin
    return found


def _of(node: Node) -> Iterator[tuple[Value, int, int, Origin]]:
    value = node.outputs[0] if node.outputs else None
    if value is None:
        return
    if node.op in CREATIONS:
        for d, origin in enumerate(sizes_given(node)):
            if origin is not None and (node.op != "eye" or d == 0):
                yield value, d, value.shape[d], origin
    elif node.op in _COPIES:
        source = node.args[0].shape
        new = len(value.shape) - len(source)
        for d, origin in enumerate(sizes_given(node)):
            if origin is not None and (d < new or source[d - new] == 1):
                yield value, d, value.shape[d], origin
    elif node.op == "constant_pad_nd":
        for k, (width, origin) in enumerate(zip(node.args[1], origins(node.called, node.args[1]), strict=True)):
            if origin is not None and width > 0:
                yield value, len(value.shape) * (1 + k % 2) + len(value.shape) - 1 - k // 2, width, origin


def _may_follow(origin: Origin) -> bool:
    return any(isinstance(leaf, Attribute) or leaf.value.source != "input" for leaf in leaves(origin))
