"""Leaves a network as it was: whatever a run changes on its modules, their classes and the random states comes back.

A forward may keep a mask on `self`, append features to a list, count its calls in a buffer or on its class, or draw
from a generator. None of that may differ because somebody looked at the network.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_NOTHING_INSIDE = (
    int, float, complex, bool, str, bytes, type(None), type, torch.dtype, torch.device, torch.Size,
    FunctionType, MethodType, BuiltinFunctionType, ModuleType,
)  # fmt: skip

_NUMBERS_AND_TEXT = frozenset({int, float, bool, str, type(None)})


@contextlib.contextmanager
def untouched(*models: nn.Module) -> Iterator[None]:
    """Puts back what the modules hold, down to the contents of lists, buffers and generators, also after an error.

    The values of parameters are not copied: a run that may write to them needs a copy of the network, or a recorder.
    """
    memory = Memory()
    for model in models:
        memory.keep(model)
    try:
        yield
    finally:
        memory.restore()


@contextlib.contextmanager
def random_states() -> Iterator[None]:
    """Puts back the random states of torch (all devices that are in use), of NumPy and of Python."""
    devices = range(torch.cuda.device_count()) if _uses_cuda() else ()
    pythons, numpys, torchs = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        with torch.random.fork_rng(devices=devices) if devices else contextlib.nullcontext():
            yield
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)
        torch.set_rng_state(torchs)


def seed_all(seed: int) -> None:
    """Sets every random state to a seed; a device that is not in use yet is left alone."""
    torch.default_generator.manual_seed(seed)
    for generator in torch.cuda.default_generators if _uses_cuda() else ():
        generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def _uses_cuda() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


class Memory:
    """What objects held when they were looked at. It may put that back any number of times."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}  # by id; the objects are held, so that no id is used twice
        self._tables: list[tuple[dict[Any, Any], dict[Any, Any]]] = []  # dictionaries, most of all, and their entries
        self._undo: list[Callable[[], None]] = []
        self._keepers: dict[type, Callable[[Any], Any]] = {}  # how objects of a class are looked at

    def keep(self, held: Any) -> None:
        """Writes down what an object holds, and what that holds."""
        waiting, seen, keepers = [held], self._seen, self._keepers
        while waiting:
            one = waiting.pop()
            kind = type(one)
            if kind in _NUMBERS_AND_TEXT or id(one) in seen:
                continue
            seen[id(one)] = one
            if (kind is dict or kind is OrderedDict) and not one:  # most of what a module holds: tables of hooks
                self._tables.append((one, {}))
                continue
            keeper = keepers.get(kind)
            if keeper is None:
                keeper = keepers[kind] = self._keeper_of(kind)
            waiting += keeper(one)

    def restore(self) -> None:
        """Puts everything back."""
        for table, entries in self._tables:
            if not table and not entries:
                continue
            if len(table) != len(entries) or any(table.get(k, entries) is not v for k, v in entries.items()):
                table.clear()
                table.update(entries)
        for undo in self._undo:
            undo()

    def _keeper_of(self, kind: type) -> Callable[[Any], Any]:
        """What writes an object of this class down, and returns what is to be looked at next."""
        if issubclass(kind, _NOTHING_INSIDE):
            return _nothing
        if issubclass(kind, dict):
            return self._dict
        for kinds, keep in _KEEPING:
            if issubclass(kind, kinds):
                return partial(self._kept, keep)
        if issubclass(kind, (tuple, frozenset)):
            return _itself
        if not issubclass(kind, SimpleNamespace) and _is_library(kind):
            return _nothing
        self._class(kind)
        return _fields

    def _dict(self, held: dict[Any, Any]) -> Any:
        self._tables.append((held, dict(held)))
        return held.values()

    def _kept(self, keep: Callable[[Any], Callable[[], None]], held: Any) -> Any:
        self._undo.append(keep(held))
        return held if isinstance(held, _LISTED) else ()

    def _class(self, kind: type) -> None:
        """Writes down what a class and those that it is made of hold."""
        for cls in kind.__mro__:
            if id(cls) in self._seen or cls.__module__.startswith("torch.") or _is_library(cls):
                continue
            self._seen[id(cls)] = cls
            values = _values_of(cls)
            self._undo.append(partial(_restore_class, cls, values))
            for value in values.values():
                self.keep(value)


def _nothing(held: Any) -> Any:
    return ()


def _itself(held: Any) -> Any:
    return held


def _fields(held: Any) -> Any:
    return [vars(held)] if hasattr(held, "__dict__") else ()


def _is_library(kind: type) -> bool:
    """Whether a class is Python's own: a logger or a lock leads to half of the process."""
    return kind.__module__.partition(".")[0] in sys.stdlib_module_names


def _values_of(cls: type) -> dict[str, Any]:
    return {k: v for k, v in vars(cls).items() if isinstance(v, _VALUES) and not k.startswith("__")}


def _restore_class(cls: type, values: dict[str, Any]) -> None:
    now = _values_of(cls)
    for name in now.keys() - values.keys():
        delattr(cls, name)
    for name, value in values.items():
        if now.get(name, cls) is not value:
            setattr(cls, name, value)


def _sequence(items: Any) -> Callable[[], None]:
    entries = list(items)

    def restore() -> None:
        if len(items) != len(entries) or any(a is not b for a, b in zip(items, entries, strict=True)):
            items.clear()
            items.extend(entries)

    return restore


def _set(members: set[Any]) -> Callable[[], None]:
    entries = set(members)

    def restore() -> None:
        members.clear()
        members.update(entries)

    return restore


def _tensor(held: Tensor) -> Callable[[], None]:
    if held.layout is not torch.strided or type(held) not in _PLAIN_TENSORS:
        return lambda: None
    # Another handle on the same memory: a forward that sets `held.data` anew does not move it.
    contents = held.data
    copied = None if isinstance(held, nn.Parameter) or held.device.type == "meta" else contents.clone()

    def restore() -> None:
        if held.data_ptr() != contents.data_ptr() or held.shape != contents.shape:
            held.data = contents
        if copied is not None and not torch.equal(contents, copied):
            contents.copy_(copied)

    return restore


def _array(array: Any) -> Callable[[], None]:
    copied = array.copy()

    def restore() -> None:
        array[...] = copied

    return restore


def _generator(held: Any) -> Callable[[], None]:
    if isinstance(held, np.random.Generator):
        state = held.bit_generator.state
        return lambda: setattr(held.bit_generator, "state", state)
    if isinstance(held, random.Random):
        return partial(held.setstate, held.getstate())
    return partial(held.set_state, held.get_state())


_PLAIN_TENSORS = (Tensor, nn.Parameter, nn.Buffer)
_LISTED = (list, deque, set)
_KEEPING: tuple[tuple[Any, Callable[[Any], Callable[[], None]]], ...] = (
    ((list, deque), _sequence),
    (set, _set),
    (Tensor, _tensor),
    (np.ndarray, _array),
    ((torch.Generator, random.Random, np.random.Generator, np.random.RandomState), _generator),
)
_VALUES = (int, float, complex, bool, str, bytes, type(None), tuple, list, dict, set, deque, Tensor)
