"""What the runs of a network did: the values that flowed, the operators between them, the leaves they came from.

A `Graph` holds no activation. It is in single-assignment form: an operator that writes in place makes a new value, also
when it writes through a view of another tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from compressvqa.pruning.recording.integers import Remark
from compressvqa.pruning.recording.values import Value

__all__ = ["Graph", "Node", "Value"]


@dataclass(eq=False)
class Node:
    """One operator call. Tensors among `args` and `kwargs` are replaced by their `Value`.

    Args:
        op: operator name without namespace, overload or the underscore of its in-place form, for example "add".
        function: the operator itself.
        outputs: one value per tensor that it returns (None where it returned none).
        module: path of the innermost module that was running ("" for the network itself).
        place: file and line of the first caller outside torch.
        payload: contents of small integer tensors among the arguments, by value index.
        called: the integers of the call that led to this operator, with their origins where they have some.
        call: name of that call, for example "chunk" for a "split".
    """

    op: str
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[Value | None]
    module: str
    place: str
    payload: dict[int, torch.Tensor] = field(default_factory=dict)
    called: tuple[int, ...] = ()
    call: str = ""

    @cached_property
    def is_numbered(self) -> bool:
        """Whether the call was given a number with an origin."""
        return any(type(number) is not int for number in self.called)

    def inputs(self) -> tuple[Value, ...]:
        """Every value among the arguments, in order."""
        return self._inputs

    @cached_property
    def _inputs(self) -> tuple[Value, ...]:
        return (*_values(self.args), *_values(self.kwargs))

    def __str__(self) -> str:
        return f"{self.op} in {self.module or 'the network'} ({self.place})"


@dataclass(eq=False)
class Graph:
    """The recorded runs of a network, one after another.

    Args:
        nodes: operators in the order of running.
        leaves: value of every float parameter and buffer that was read or not, by name.
        inputs: values of the network's own inputs.
        outputs: values that the network returned.
        called: paths of the modules that ran.
        written: names of the leaves that the run wrote to (and that were put back).
        starts: for each run, how many operators ran before it.
        kept: values that code which did not run may read, or replace, with the paths of what did not run, by index.
        otherwise: values that the network would return in another case, with the place in the code, by index.
        remarks: what the forward did with numbers besides giving them as sizes (integers.py).
    """

    nodes: list[Node] = field(default_factory=list)
    leaves: dict[str, Value] = field(default_factory=dict)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    called: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    starts: list[int] = field(default_factory=list)
    kept: dict[int, tuple[Value, tuple[str, ...]]] = field(default_factory=dict)
    otherwise: dict[int, tuple[Value, str]] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)

    def decisions(self) -> list[Node]:
        """Operators that handed a number made from the inputs to Python: what it decides is followed one way only."""
        known, found = {v.index for v in self.inputs}, []
        for node in self.nodes:
            if any(v.index in known for v in node.inputs()):
                known.update(v.index for v in node.outputs if v is not None)
                if node.op in _HANDED_OVER:
                    found.append(node)
        return found

    def live(self) -> tuple[set[int], set[int]]:
        """Indices of (nodes, values) whose result reaches an output, or what did not run and may read it."""
        values, nodes = {v.index for v in self.outputs} | self.kept.keys() | self.otherwise.keys(), set()
        for number in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[number]
            if any(v is not None and v.index in values for v in node.outputs):
                nodes.add(number)
                values.update(v.index for v in node.inputs())
        return nodes, values


_HANDED_OVER = frozenset({"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "unique2", "_unique2", "item"})


def _values(tree: Any) -> Iterator[Value]:
    if isinstance(tree, Value):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from _values(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from _values(item)
