"""Runs a network once for each of its entries and writes down every operator: network + entries -> `Graph`.

The operators are seen below autograd, so shared, frozen and no_grad modules, functional calls on another module's
weight and data-dependent Python all look alike. Parameters and buffers are recognised by identity.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressvqa.errors import CompressVQAError, PruneError
from compressvqa.pruning.recording.boundaries import Boundaries
from compressvqa.pruning.recording.entries import Entry
from compressvqa.pruning.recording.failures import explained, said
from compressvqa.pruning.recording.graph import Graph, Node, Value
from compressvqa.pruning.recording.integers import Remark, integers_in, sizes_of, watched
from compressvqa.pruning.recording.lines import LineLog, tensors_inside, unfollowed
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.places import tagged
from compressvqa.pruning.recording.running import leaves_of, quiet, tensors_of
from compressvqa.pruning.recording.untouched import seed_all
from compressvqa.torch_private import (
    DECOMPOSITIONS,
    TorchDispatchMode,
    TorchFunctionMode,
    WeakTensorKeyDictionary,
    is_transformed,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    schema_of,
    seen_through,
)

# Packages whose frames are not the user's code.
_LIBRARY = (f"{Path(torch.__file__).parent}{os.sep}", f"{Path(__file__).parent.parent}{os.sep}", contextlib.__file__)
_SMALL = 1 << 22  # integer tensors up to this many elements are kept: they may be indices


def record(
    model: nn.Module,
    entries: Sequence[Entry],
    *,
    known: Callable[[str], bool],
    log: LineLog | None = None,
    boundaries: Boundaries | None = None,
) -> Graph:
    """Runs `model` once in each way and returns what happened. The model is left as it was, also after an error.

    Args:
        model: any network.
        entries: the ways to call it, with examples.
        known: tells whether an operator has a rule; one without is taken apart into smaller ones where torch can.
        log: follows the runs line by line.
        boundaries: is filled with the values that each module took and gave.

    Raises:
        PruneError: the network raised an error, or returned no tensor.
    """
    try:
        return _record(model, entries, known, log, boundaries, origins=True)
    except PruneError:
        raise
    except Exception:
        # Numbers with an origin are a kind of int, which not everything outside torch takes for one.
        return _record(model, entries, known, log, boundaries, origins=False)


def _record(
    model: nn.Module,
    entries: Sequence[Entry],
    known: Callable[[str], bool],
    log: LineLog | None,
    boundaries: Boundaries | None,
    *,
    origins: bool,
) -> Graph:
    # What torch does inside a call says nothing about the forward, and takes long to follow.
    recorder = _Recorder(model, known) if log is None else _UnfollowedRecorder(model, known)
    calls = (_Calls if log is None else _UnfollowedCalls)(recorder, origins=origins)
    known_remarks: set[Remark] = set()
    for entry in entries:
        example = entry.copied().inputs
        recorder.begin(example)
        with (
            quiet(model, train=entry.train),
            tagged(model, recorder.leaf_values()) if origins else contextlib.nullcontext(),
            _module_paths(model, recorder, boundaries),
            recorder.undo_writes(),
        ):
            followed = contextlib.nullcontext() if log is None else log.following(recorder.read)
            told = contextlib.nullcontext() if origins else _explained(model, entry, first=entry is entries[0])
            with told, watched() as remarks, followed, recorder, calls:
                seed_all(0)
                outputs = entry.call(model, example)
            recorder.graph.remarks += [remark for remark in dict.fromkeys(remarks) if remark not in known_remarks]
            known_remarks.update(remarks)
            returned = tensors_of(outputs)
            if not returned:
                who = "the network" if entry is entries[0] else entry
                hint = "return it in a tuple, list, dict or dataclass"
                raise PruneError(f"{who} returned no tensor (but {_kind_of(outputs)})", hint=hint)
            recorder.graph.outputs += [recorder.read(t) for t in returned]
    return recorder.graph


@contextlib.contextmanager
def _explained(model: nn.Module, entry: Entry, *, first: bool) -> Iterator[None]:
    """Turns what a way to call the network raises into one line."""
    if first:
        with explained(model, entry.inputs):
            yield
        return
    try:
        yield
    except CompressVQAError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise PruneError(f"{entry} can't be run on its example ({said(error)})", where="also") from error


def _kind_of(outputs: Any) -> str:
    return "None" if outputs is None else f"a {type(outputs).__name__}"


@contextlib.contextmanager
def _module_paths(model: nn.Module, recorder: _Recorder, boundaries: Boundaries | None) -> Iterator[None]:
    """Keeps the recorder's stack of running modules by global hooks, so that the model's own hooks stay untouched."""
    paths = {id(m): name for name, m in modules_of(model)}

    def enter(module: nn.Module, args: Any) -> None:
        recorder.stack.append(paths.get(id(module), recorder.stack[-1]))
        recorder.graph.called.add(recorder.stack[-1])

    def leave(module: nn.Module, arguments: Any, named: Any, gave: Any = None) -> None:  # None where it failed
        path = recorder.stack.pop()
        if boundaries is not None:
            ends = ([recorder.read(t) for t in tensors_inside(side)] for side in ((arguments, named), gave))
            boundaries.note(path, *ends)

    handles = [
        register_module_forward_pre_hook(enter),
        register_module_forward_hook(leave, with_kwargs=True, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
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
        name, written, _ = _facts(func)
        writes = _written(written, args, kwargs) if written else []
        if name == "as_strided" and _same_layout(*args[:3]):
            name = "alias"
        if not writes and not self._known(name):
            pieces = self._take_apart(func, args, kwargs)
            if pieces is not NotImplemented:
                return pieces
        references = self._references(args), self._references(kwargs)
        payload = {self.read(t).index: t for t in _flat([*args, *kwargs.values()]) if _may_be_index(t)}
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
        _, _, views = _facts(node.function)
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


_SIZE, _SHAPE = Tensor.size, Tensor.shape.__get__  # type: ignore[attr-defined]
_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})


class _Calls(TorchFunctionMode):
    """Sees the calls that a forward makes, before torch takes them apart: sizes that are asked for, numbers given."""

    def __init__(self, recorder: _Recorder, *, origins: bool) -> None:
        super().__init__()
        self._recorder, self._origins = recorder, origins

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, recorder = kwargs or {}, self._recorder
        if func is F.multi_head_attention_forward:
            with self:
                return seen_through()(*args, **kwargs)
        origins = self._origins and not (args and is_transformed(args[0]))  # sizes inside torch.vmap have none
        if origins and func == _SHAPE:
            return sizes_of(func(*args), recorder.read(args[0]))
        if origins and func is _SIZE:
            sizes = sizes_of(args[0].shape, recorder.read(args[0]))
            d = args[1] if len(args) > 1 else kwargs.get("dim")
            return sizes if d is None else sizes[d]
        name = getattr(func, "__name__", "")
        if origins and name in ("numel", "nelement"):
            first, *others = (*sizes_of(args[0].shape, recorder.read(args[0])), 1)
            return math.prod(others, start=first) if len(others) > 1 else first
        if name in _RECURRENT:
            return recorder.whole("recurrent", func, args, kwargs)
        if func is F.scaled_dot_product_attention and kwargs.get("scale") is not None:
            name = "attention of a given scale"
        numbers = tuple(integers_in([*args, *kwargs.values()]))
        outer = recorder.called, recorder.call
        recorder.called, recorder.call = numbers, name
        try:
            return func(*args, **kwargs)
        finally:
            recorder.called, recorder.call = outer


class _UnfollowedRecorder(_Recorder):  # type: ignore[no-untyped-call]
    """A recorder that nobody follows."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with unfollowed():
            return super().__torch_dispatch__(func, types, args, kwargs)


class _UnfollowedCalls(_Calls):
    """The same for calls."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with unfollowed():
            return super().__torch_function__(func, types, args, kwargs)


@cache
def _facts(func: Any) -> tuple[str, tuple[tuple[int, str], ...], bool]:
    """An operator's name, the places and names of the arguments that it writes to, and whether it returns views."""
    schema = schema_of(func)
    library, _, name = schema.name.partition("::")
    if library not in ("aten", "prims"):  # what another library calls `mean` need not be one
        name = schema.name
    if name.endswith("_") and not name.endswith("__"):
        name = name[:-1]
    written = tuple(
        (number, argument.name)
        for number, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )
    return name, written, any(r.alias_info is not None for r in schema.returns)


def _same_layout(tensor: Tensor, size: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether as_strided asks for what the tensor already is; strides of dimensions of size 1 mean nothing."""
    same = [a == b for a, b, n in zip(tensor.stride(), stride, tensor.shape, strict=False) if n > 1]
    return tuple(tensor.shape) == tuple(size) and all(same)


def _written(places: Sequence[tuple[int, str]], args: Any, kwargs: Any) -> list[Tensor]:
    """Tensors that the operator writes to, in the order of its signature."""
    found = []
    for number, name in places:
        value = args[number] if number < len(args) else kwargs.get(name)
        found += [t for t in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(t, Tensor)]
    return found


def _flat(tree: Any) -> Iterator[Tensor]:
    for item in tree:
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, (list, tuple)):
            yield from _flat(item)


def _may_be_index(tensor: Tensor) -> bool:
    kinds = (torch.int64, torch.int32, torch.bool, torch.uint8)
    return tensor.dtype in kinds and tensor.numel() <= _SMALL and tensor.device.type != "meta"


def calling_place() -> str:
    """File and line of the nearest caller outside torch and this package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (name := _of_user(frame.f_code.co_filename)) is None:
        frame = frame.f_back
    return "?" if frame is None else f"{name}:{frame.f_lineno}"


@cache
def _of_user(path: str) -> str | None:
    """The name of a file of the user's; None where it is torch's or this package's."""
    return None if path.startswith(_LIBRARY) else Path(path).name
