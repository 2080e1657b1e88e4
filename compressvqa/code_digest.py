"""Which code is it? Told by what would run: the functions, classes and constants that an object reaches.

Code of the user's own is followed from function to function, as it stands in memory: a `forward` that was edited, or
replaced while the program runs, is another one; comments and docstrings change nothing. What comes with Python or with
an installed package is told by that package's version and list of files.
"""

from __future__ import annotations

import contextlib
import contextvars
import dis
import enum
import functools
import hashlib
import importlib.util
import io
import logging
import platform
import re
import threading
import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from compressvqa.fingerprint import tensor_bytes
from compressvqa.packages import library
from compressvqa.registry import Registry

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented))
# Names of a class that say nothing of what it does.
_SILENT = re.compile(
    r"__(dict|weakref|doc|module|qualname|annotations|annotate|annotations_cache|annotate_func|firstlineno|"
    r"static_attributes|dataclass_\w+|pydantic_\w+|abstractmethods|parameters|orig_bases|slots|signature|"
    r"classdictcell|type_params|hash|slotnames)__|_abc_impl|__abstractmethods__"
)
# What is kept in a module beside what it computes with: by torch, by `random_weights` and by `models.scales`.
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_PARTS = ("_parameters", "_buffers", "_modules")
_TORCH = re.compile(
    r"training|_is_full_backward_hook|_non_persistent_buffers_set|_backward_\w+|_\w*hooks\w*|call_super_init|"
    r"compressvqa_drawn|compressvqa_scale"
)
# What methods, properties and partial functions are made of.
_MADE_OF = ("__func__", "__self__", "fget", "fset", "fdel", "func", "args", "keywords")
_METHODS = (types.MethodType, staticmethod, classmethod, property, functools.partial, functools.partialmethod,
            functools.cached_property)  # fmt: skip
_BUILTIN = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)
# Their state is the machine's, not the code's.
_MACHINE = (logging.Logger, logging.Handler, io.IOBase, threading.local, contextvars.ContextVar)


def code_digest(*things: Any) -> str:
    """24 hexadecimal digits that change with the code of some objects, and with the state of those that hold any.

    A function stands for itself and everything of the user's own that it names; a class for its methods and those of
    its bases; a network for its class, parameters, buffers, attributes and hooks; another object for its class and
    attributes.

    Args:
        things: functions, classes, networks, other objects.

    >>> code_digest(lambda x: x + 1) == code_digest(lambda x: x + 1), code_digest(lambda x: x + 2)[:0]
    (True, '')
    >>> code_digest(lambda x: x + 1) == code_digest(lambda x: x + 2)
    False
    """
    return _Walk({}).of(things)


class _Walk:
    """One walk; what can lead back to itself (functions, classes, objects) waits in a queue and is opened once."""

    def __init__(self, sets: dict[int, tuple[Any, list[str]]]) -> None:
        self._sets = sets  # of sets, the digests of what they hold, also in walks that began within this one
        self.digest = hashlib.sha256(platform.python_version().encode())
        self._queue: deque[Any] = deque()
        self._numbers: dict[int, int] = {}
        self._alive: list[Any] = []  # an object that is gone could lend its id to another

    def of(self, things: Iterable[Any]) -> str:
        for thing in things:
            self.value(thing)
        while self._queue:
            self._open(self._queue.popleft())
        return self.digest.hexdigest()[:24]

    def say(self, *words: object) -> None:
        self.digest.update(b"".join(map(_framed, words)))

    def value(self, thing: Any) -> None:
        if isinstance(thing, enum.Enum):
            self.say(type(thing).__qualname__, thing.name)
        elif isinstance(thing, _PLAIN) or type(thing) in _PLAIN:
            self.say(type(thing).__name__, repr(thing))
        elif isinstance(thing, PurePath):
            self.say("path", thing)
        elif type(thing).__module__.partition(".")[0] == "torch" and hasattr(thing, "untyped_storage"):
            self.say("tensor", tensor_bytes(thing))
        elif type(thing).__module__ == "numpy" and hasattr(thing, "tobytes"):
            self.say("array", thing.dtype, thing.shape, thing.tobytes())
        elif isinstance(thing, types.CodeType):
            self._code(thing)
        elif type(thing) in (set, frozenset):
            self._set(thing)
        elif type(thing) in (list, tuple, dict) or isinstance(thing, types.MappingProxyType):
            self._later(thing)
        elif isinstance(thing, types.ModuleType):
            self.say("module", thing.__name__, library(thing.__name__) or "")
        else:
            self._later(thing)

    def _set(self, thing: Any) -> None:
        """What is in a set, in no order: a walk for each, which may come back to the set and then takes it as empty."""
        if id(thing) not in self._sets:
            self._sets[id(thing)] = (thing, [])
            found = [_Walk(self._sets).of([one]) for one in sorted(thing, key=_name)]
            self._sets[id(thing)] = (thing, sorted(found))
        self.say("set", len(thing), *self._sets[id(thing)][1])

    def _later(self, thing: Any) -> None:
        known = id(thing) in self._numbers
        if not known:
            self._numbers[id(thing)] = len(self._numbers)
            self._alive.append(thing)
            self._queue.append(thing)
        self.say("#", self._numbers[id(thing)])

    def _open(self, thing: Any) -> None:
        for kinds, visit in self._VISITS:
            if isinstance(thing, kinds):
                visit(self, thing)
                return
        if hasattr(thing, "__wrapped__"):  # what functools.cache and other decorators leave
            self.value(thing.__wrapped__)
        else:
            self._object(thing)

    def _sequence(self, thing: Any) -> None:
        self.say(type(thing).__name__, len(thing))
        for one in thing:
            self.value(one)

    def _parts(self, thing: Any) -> None:
        """Methods, properties and partial functions: what they are made of."""
        self.say(type(thing).__name__)
        for name in _MADE_OF:
            if hasattr(thing, name):
                self.say(name)
                self.value(getattr(thing, name))

    def _builtin(self, thing: Any) -> None:
        self.say("builtin", thing.__qualname__, library(str(getattr(thing, "__module__", "") or "")) or "")

    def _mapping(self, thing: Mapping[Any, Any]) -> None:
        self.say("dict", len(thing))
        keys = list(thing)
        for key in sorted(keys, key=lambda one: (type(one).__name__, str(one))) if _orderable(keys) else keys:
            self.value(key)
            self.value(thing[key])

    def _function(self, function: types.FunctionType) -> None:
        package = library(function.__module__)
        self.say("function", function.__qualname__)
        if package is not None:
            self.say(package)
            return
        self._code(function.__code__)
        for part in (function.__defaults__, function.__kwdefaults__):
            self.value(part)
        for cell in function.__closure__ or ():
            try:
                self.value(cell.cell_contents)
            except ValueError:  # not filled yet
                self.say("empty")
        names = _names(function.__code__)
        for module in _late_imports(function):
            self.say(module, _module_text(module))
        for name in names:
            if name in function.__globals__:
                self.say(name)
                self._global(function.__globals__[name], names)

    def _global(self, thing: Any, names: Iterable[str]) -> None:
        """What a function reads of its module: of a module of the user's own, too, what it may read there."""
        if isinstance(thing, types.ModuleType):
            self.value(thing)
            if library(thing.__name__) is None:
                for name in names:
                    if hasattr(thing, name):
                        self.say(name)
                        self.value(getattr(thing, name))
        elif isinstance(thing, Registry):  # what is registered there depends on what else was imported
            self.say(type(thing).__qualname__)
        else:
            self.value(thing)

    def _code(self, code: types.CodeType) -> None:
        """Instruction by instruction with what each reads: places in the tables beside move with a docstring."""
        self.say("code", code.co_varnames, code.co_freevars, code.co_cellvars, code.co_argcount)
        self.say(code.co_posonlyargcount, code.co_kwonlyargcount)
        for part in _steps(code):
            if isinstance(part, bytes):
                self.digest.update(part)
            else:
                self.value(part[0])

    def _class(self, thing: type) -> None:
        package = library(thing.__module__)
        self.say("class", thing.__qualname__)
        if package is not None:
            self.say(package)
            return
        for base in thing.__bases__:
            self.value(base)
        for name, member in sorted(vars(thing).items()):
            if not _SILENT.fullmatch(name) and not isinstance(member, types.GetSetDescriptorType):
                self.say(name)
                self.value(member)

    def _object(self, thing: Any) -> None:
        self.value(type(thing))
        if isinstance(thing, _MACHINE):
            return
        if _is_script(thing):
            self.say(str(thing.inlined_graph))
        if isinstance(thing, Mapping):
            self._mapping(thing)
        elif isinstance(thing, (list, tuple, deque)):
            self._sequence(thing)
        elif isinstance(thing, (set, frozenset)):
            self._set(thing)
        state = _state(thing)
        is_network = all(part in state for part in _PARTS)
        for name, held in sorted(state.items()):
            if is_network and name in _HOOKS:
                if held:  # their keys count up over the life of the program
                    self.say(name)
                    self.value(list(held.values()))
            elif not (is_network and _TORCH.fullmatch(name)):
                self.say(name)
                self.value(held)
        if not state:
            text = repr(thing)
            self.say("" if " at 0x" in text else text)

    _VISITS: tuple[tuple[Any, Callable[[_Walk, Any], None]], ...] = (
        ((list, tuple), _sequence),
        ((dict, types.MappingProxyType), _mapping),
        (types.FunctionType, _function),
        (_METHODS, _parts),
        (type, _class),
        (_BUILTIN, _builtin),
    )


def _state(thing: Any) -> dict[str, Any]:
    """The attributes of an object, also those in slots."""
    state = dict(getattr(thing, "__dict__", {}))
    for kind in type(thing).__mro__:
        slots = vars(kind).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot not in ("__dict__", "__weakref__") and hasattr(thing, slot):
                state[slot] = getattr(thing, slot)
    return state


def _framed(word: object) -> bytes:
    """A word with its length before it, so that words run together are told apart."""
    data = word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogatepass")
    return f"{len(data)}:".encode() + data


@functools.lru_cache(maxsize=2**14)  # code does not change; that of a package's functions is read at every digest
def _steps(code: types.CodeType) -> tuple[bytes | tuple[Any], ...]:
    """What instructions say, run together, and between them, each in a tuple, constants that may hold more."""
    parts: list[bytes | tuple[Any]] = []
    said = b""
    for step in dis.get_instructions(code):
        said += _framed(step.opname)
        if step.opcode not in dis.hasconst:
            said += b"" if step.arg is None else _framed(step.argval)
        elif type(step.argval) in _PLAIN:
            said += _framed(type(step.argval).__name__) + _framed(repr(step.argval))
        else:
            parts += [said, (step.argval,)]
            said = b""
    return (*parts, said)


@functools.lru_cache(maxsize=2**14)
def _imports(code: types.CodeType) -> tuple[tuple[int, str], ...]:
    """(level, name) of the imports inside a function, and inside those that it holds."""
    found: list[tuple[int, str]] = []
    steps = list(dis.get_instructions(code)) if dis.opmap["IMPORT_NAME"] in code.co_code[::2] else []
    for before, step in zip(steps, steps[2:], strict=False):  # IMPORT_NAME reads a level and a list of names
        if step.opname == "IMPORT_NAME":
            found.append((before.argval if isinstance(before.argval, int) else 0, step.argval))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found += _imports(constant)
    return tuple(found)


def _names(code: types.CodeType) -> list[str]:
    """Names that a function and the functions inside it look up."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found.update(_names(constant))
    return sorted(found)


def _late_imports(function: types.FunctionType) -> list[str]:
    """Full names of the modules that are imported inside a function."""
    package = function.__globals__.get("__package__") or ""
    found = set()
    for level, name in _imports(function.__code__):
        with contextlib.suppress(ImportError):
            found.add(importlib.util.resolve_name("." * level + name, package))
    return sorted(found)


def _name(thing: Any) -> str:
    """An order that hash seeds and addresses don't change, where names differ."""
    if type(thing) in _PLAIN:
        return repr(thing)
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{getattr(kind, '__module__', None)}.{kind.__qualname__}"


@functools.cache
def _module_text(name: str) -> bytes | str:
    """The package of an installed module; the text of one of the user's own, which need not be imported yet."""
    if (package := library(name)) is not None:
        return package
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return ""
    file = Path(spec.origin) if spec is not None and spec.origin is not None else None
    return file.read_bytes() if file is not None and file.is_file() else ""


def _orderable(keys: list[Any]) -> bool:
    return all(isinstance(key, (*_PLAIN, PurePath)) for key in keys)


def _is_script(thing: Any) -> bool:
    return type(thing).__module__.startswith("torch.jit") and hasattr(thing, "inlined_graph")
