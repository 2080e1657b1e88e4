"""Sees every operator below autograd and writes it down in a `Graph`.

Memory is followed, so that a write through a view is known to whoever looks at it later, and undone after the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from compressvqa.pruning.recording.graph import Graph, Node, Value
from compressvqa.pruning.recording.lines import unfollowed
from compressvqa.pruning.recording.operators import calling_place, facts, flat, may_be_index, same_layout, written_to
from compressvqa.pruning.recording.running import leaves_of, tensors_of
from compressvqa.torch_private import DECOMPOSITIONS, DispatchMode, WeakTensorKeyDictionary


class _Store:
    """A piece of memory: its present value, how often it was written, and the tensor if the run did not make it."""

    __slots__ = ("held", "value", "version")

    def __init__(self, value: Value, held: Tensor | None = None) -> None:
        self.value, self.version, self.held = value, 0, held


@dataclasses.dataclass
class _Seen:
    """What is known about one tensor: its memory, the views that lead from there to it, its value when last read."""

    store: _Store
    chain: tuple[tuple[Node, int], ...]  # (view operator, which of its outputs)
    value: Value
    version: int


class Recorder(DispatchMode):
    """Sees every operator below autograd."""

    def __init__(self, model: nn.Module, known: Callable[[str], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph, self.stack, self._known, self._count = Graph(), [""], known, 0
        self.called: tuple[int, ...] = ()  # integers of the call that is running
        self.call = ""  # and its name
        self.asleep = False  # while a call runs that is recorded as one operator
        self._seen: Any = WeakTensorKeyDictionary()  # tensor -> _Seen
        self._leaves = leaves_of(model)
        self._memory: dict[tuple[Any, ...], str] = {}
        self._leaf_stores: dict[int, str] = {}
        self._saved: dict[int, tuple[Tensor, Tensor, Tensor]] = {}  # what was written to: itself, a handle, a copy
        for name, tensor in self._leaves.items():
            seen = self._remember(tensor, self._new(tensor, "leaf", name), tensor)
            self.graph.leaves[name] = seen.value
            self._leaf_stores[id(seen.store)] = name
            if tensor.device.type != "meta" and tensor.numel():
                self._memory[tensor.data_ptr(), tuple(tensor.shape), tensor.stride()] = name

    def begin(self, inputs: Any) -> None:
        """A new run begins, on these inputs; whatever the one before wrote was undone."""
        self.graph.starts.append(len(self.graph.nodes))
        for held, _, _ in self._saved.values():
            self._seen.pop(held, None)
        self._saved.clear()
        for name in self.graph.written:
            tensor = self._leaves[name]
            seen = self._remember(tensor, self.graph.leaves[name], tensor)
            self._leaf_stores[id(seen.store)] = name
        for tensor in tensors_of(inputs):
            if tensor not in self._seen:
                self._remember(tensor, self._new(tensor, "input"), tensor)
            self.graph.inputs.append(self._seen[tensor].value)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.asleep:
            return func(*args, **kwargs)
        name, written, _ = facts(func)
        writes = written_to(written, args, kwargs) if written else []
        if name == "as_strided" and same_layout(*args[:3]):
            name = "alias"
        if not writes and not self._known(name):
            pieces = self._take_apart(func, args, kwargs)
            if pieces is not NotImplemented:
                return pieces
        references = self._references(args), self._references(kwargs)
        payload = {self.read(t).index: t for t in flat([*args, *kwargs.values()]) if may_be_index(t)}
        for tensor in writes:
            self._save(tensor)
        result = func(*args, **kwargs)
        node = Node(name, func, *references, [], self.stack[-1], calling_place(), payload, self.called, self.call)
        self.graph.nodes.append(node)
        if writes:
            self._write(node, writes)
        else:
            self._make(node, args, result)
        return result

    def leaf_values(self) -> dict[int, Value]:
        """The values of parameters and buffers by the tensor's id."""
        return {id(tensor): self.graph.leaves[name] for name, tensor in self._leaves.items()}

    def whole(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Runs a call and records it as one operator, whatever it is made of."""
        references, self.asleep = (self._references(args), self._references(kwargs)), True
        try:
            result = func(*args, **kwargs)
        finally:
            self.asleep = False
        outputs = [self._new(tensor) for tensor in result]
        for tensor, value in zip(result, outputs, strict=True):
            self._remember(tensor, value)
        self.graph.nodes.append(Node(name, func, *references, list(outputs), self.stack[-1], calling_place()))
        return result

    def _take_apart(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Runs an operator without a rule as smaller operators, if torch knows how."""
        with self:
            pieces = func.decompose(*args, **kwargs)
            if pieces is NotImplemented and func in DECOMPOSITIONS:
                pieces = DECOMPOSITIONS[func](*args, **kwargs)
        return pieces

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self, tensor: Tensor) -> Value:
        """The value that a tensor has now."""
        seen: _Seen | None = self._seen.get(tensor)
        if seen is None:
            seen = self._made_outside(tensor)
        if seen.version != seen.store.version:
            seen.value, seen.version = self._view_again(seen), seen.store.version
        return seen.value

    def _made_outside(self, tensor: Tensor) -> _Seen:
        """A tensor that the run did not make: a constant, or another handle (`parameter.data`) on a leaf."""
        if tensor.device.type != "meta" and tensor.numel():
            name = self._memory.get((tensor.data_ptr(), tuple(tensor.shape), tensor.stride()))
            if name is not None:
                leaf: _Seen = self._seen[self._leaves[name]]
                self._seen[tensor] = _Seen(leaf.store, (), leaf.value, leaf.version)
                channels: _Seen = self._seen[tensor]
                return channels
        return self._remember(tensor, self._new(tensor, "constant"), tensor)

    def _view_again(self, seen: _Seen) -> Value:
        """A view taken before a write, seen after it."""
        value = seen.store.value
        for view, number in seen.chain:
            outputs = [None if v is None else self._like(v) for v in view.outputs]
            args = (value, *view.args[1:])
            self.graph.nodes.append(dataclasses.replace(view, args=args, outputs=outputs))
            again = outputs[number]
            assert again is not None
            value = again
        return value

    def _references(self, tree: Any) -> Any:
        if isinstance(tree, Tensor):
            return self.read(tree)
        if isinstance(tree, (list, tuple)):
            return tuple(self._references(item) for item in tree)
        if isinstance(tree, dict):
            return {key: self._references(item) for key, item in tree.items()}
        return tree

    # -- writing ------------------------------------------------------------------------------------------------------

    def _make(self, node: Node, args: Any, result: Any) -> None:
        """New values for what an operator returned; views keep the way back to the memory that they look at."""
        _, _, views = facts(node.function)
        base: _Seen | None = self._seen.get(args[0]) if views and args and isinstance(args[0], Tensor) else None
        for number, tensor in enumerate(result if isinstance(result, (tuple, list)) else [result]):
            if not isinstance(tensor, Tensor):
                node.outputs.append(None)
                continue
            value = self._new(tensor)
            node.outputs.append(value)
            seen = self._remember(tensor, value)
            if base is not None:
                seen.store, seen.version = base.store, base.store.version
                seen.chain = (*base.chain, (node, number))

    def _write(self, node: Node, writes: list[Tensor]) -> None:
        for tensor in writes:
            seen: _Seen = self._seen[tensor]
            value = self._new(tensor)
            node.outputs.append(value)
            seen.store.version += 1
            seen.value, seen.version = value, seen.store.version
            if not seen.chain:
                seen.store.value = value
                continue
            whole = self._like(seen.store.value)
            args = (seen.store.value, value, seen.chain)
            self.graph.nodes.append(Node("write_view", node.function, args, {}, [whole], node.module, node.place))
            seen.store.value = whole

    def _save(self, tensor: Tensor) -> None:
        """Keeps the content of a tensor that the run did not make before its first write."""
        self.read(tensor)
        store: _Store = self._seen[tensor].store
        if store.held is None or id(store) in self._saved:
            return
        contents = store.held.data
        self._saved[id(store)] = store.held, contents, contents.clone()
        name = self._leaf_stores.get(id(store))
        if name is not None:
            self.graph.written.add(name)

    @contextlib.contextmanager
    def undo_writes(self) -> Iterator[None]:
        """Puts back what the run wrote to: leaves, other tensors that modules hold, and the inputs."""
        try:
            yield
        finally:
            for _, contents, before in self._saved.values():
                contents.copy_(before)

    def _new(self, tensor: Tensor, source: str = "op", leaf: str | None = None) -> Value:
        self._count += 1
        return Value(self._count, tuple(tensor.shape), tensor.dtype, source, leaf)

    def _like(self, value: Value) -> Value:
        self._count += 1
        return Value(self._count, value.shape, value.dtype)

    def _remember(self, tensor: Tensor, value: Value, held: Tensor | None = None) -> _Seen:
        seen = self._seen[tensor] = _Seen(_Store(value, held), (), value, 0)
        return seen


class UnfollowedRecorder(Recorder):  # type: ignore[no-untyped-call]
    """A recorder that nobody follows."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with unfollowed():
            return super().__torch_dispatch__(func, types, args, kwargs)
