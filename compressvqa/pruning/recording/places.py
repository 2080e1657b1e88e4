"""Where a network holds whole numbers that its forward may read, and giving them their origin for the time of a run.

They are looked for in the attributes of every module, in what these hold (lists, dictionaries, configs of any kind,
partial functions, variables of lambdas) and in the classes that define them. Each is put back after the run.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from collections.abc import Iterator, Mapping
from functools import cache
from types import FunctionType, ModuleType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from compressvqa.pruning.recording.graph import Value
from compressvqa.pruning.recording.integers import Attribute, Computed, Int, Origin, SizeOf
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.steps import (
    ARGUMENT,
    CELL,
    DEFAULT,
    FIELD,
    ITEM,
    KEYWORD,
    Steps,
    fields_of,
    tuple_of,
    write,
)
from compressvqa.torch_private import BATCH_OR_INSTANCE_NORM, CONVOLUTION, tables

_DEEPEST = 6
_MOST = 20_000  # values looked at inside attributes: a network may hold a whole data set
_LEFT_ALONE = (Tensor, nn.Module, type, ModuleType, torch.dtype, torch.device, torch.Generator)
_FOREIGN = ("torch.", "numpy.", "threading", "logging", "weakref", "_thread", "asyncio.", "PIL.")


class NumpyInt(Int):
    """A number of numpy with an origin; it is a plain integer otherwise."""

    def item(self) -> int:
        """The number, as numpy's has it."""
        return self


@contextlib.contextmanager
def tagged(model: nn.Module, leaves: Mapping[int, Value] | None = None) -> Iterator[None]:
    """The numbers that a network holds carry their origin while this lasts; all are as they were afterwards.

    Args:
        model: the network.
        leaves: the value of every parameter and buffer, by the tensor's id. With it, widths that torch's own layers
            note (`conv.out_channels`) are known to be sizes of their weights.
    """
    tags, product = _Tags(leaves or {}), np.prod
    try:
        for path, module in modules_of(model):
            tags.module(path, module)
        np.prod = _product
        yield
    finally:
        np.prod = product
        tags.undo()


def _product(a: Any, *args: Any, _numpys: Any = np.prod, **kwargs: Any) -> Any:
    """numpy's product; that of numbers with an origin keeps it."""
    if isinstance(a, (tuple, list)) and not args and not kwargs and any(isinstance(n, Int) for n in a):
        return math.prod(a)
    return _numpys(a, *args, **kwargs)


class _Tags:
    """All numbers that were given an origin."""

    def __init__(self, leaves: Mapping[int, Value]) -> None:
        self._leaves = leaves
        self._replaced: list[tuple[Any, str, Any, Any, Any]] = []  # (holder, kind, key, before, after)
        self._holders: dict[int, Any] = {}  # containers that were looked into, which are held so that ids stay theirs
        self._modules: list[nn.Module] = []
        self._left = _MOST

    def module(self, path: str, module: nn.Module) -> None:
        """Gives the numbers of one module their origin."""
        self._modules.append(module)
        held = vars(module)
        kind: Any = type(module)
        if kind.__module__.startswith("torch.nn.") and not isinstance(module, nn.MultiheadAttention):
            known = _own(path, module, self._leaves)
        elif {"axes_lengths", "_axes_lengths"} <= held.keys():
            known = {}
            self._einops(path, module)
        else:
            known = _own(path, module, self._leaves)
            for name, value in list(held.items()):
                if name not in known and name not in _EVERY_MODULE:
                    self._look(value, path, name, (), held)
            for name, value in _of_class(kind):
                if name not in held:  # a list or dictionary of the class is looked at in a copy of this network's own
                    own = copy.copy(value)
                    tag = self._tag(own, path, name, ())
                    if tag is not own or isinstance(own, (list, dict)):
                        self._replace(held, ITEM, name, _MISSING, tag)
        for name, tag in known.items():
            self._replace(held, ITEM, name, held[name], tag)

    def undo(self) -> None:
        """Puts everything back, and takes the origin of numbers that the forward left in what it holds."""
        for holder, kind, key, before, after in reversed(self._replaced):
            if kind == CELL:
                holder.cell_contents = before
            elif kind == FIELD:
                if getattr(holder, key, None) is after and before is _MISSING:
                    del vars(holder)[key]
                elif getattr(holder, key, None) is after:
                    write(holder, key, before)
            elif kind == DEFAULT:
                holder.__defaults__ = before
            elif kind == KEYWORD or isinstance(holder, (list, dict)):
                _put_back(holder, key, before, after)
        for holder in [*self._holders.values(), *(vars(m) for m in self._modules)]:
            _sweep(holder)

    # -- looking ------------------------------------------------------------------------------------------------------

    def _einops(self, path: str, module: nn.Module) -> None:
        """An einops layer reads a second list of its lengths, which surgery makes anew from the first."""
        lengths = vars(module)["axes_lengths"]
        tags = {
            axis: Int(n, Attribute(path, "axes_lengths", n, ((ITEM, axis),))) if type(n) is int and n > 1 else n
            for axis, n in lengths.items()
        }
        self._replace(vars(module), ITEM, "_axes_lengths", vars(module)["_axes_lengths"], tuple(tags.items()))

    def _look(self, value: Any, path: str, name: str, steps: Steps, holder: Any) -> None:
        """Replaces a value that a module (or something in it) holds by the same with origins."""
        tag = self._tag(value, path, name, steps)
        if tag is value:
            return
        if not steps:
            self._replace(holder, ITEM, name, holder.get(name, _MISSING), tag)
        elif steps[-1][0] == FIELD:
            of_class = not hasattr(type(holder), "__slots__") and steps[-1][1] not in vars(holder)
            self._replace(holder, FIELD, steps[-1][1], _MISSING if of_class else value, tag)
        else:
            self._replace(holder, *steps[-1], value, tag)

    def _replace(self, holder: Any, kind: str, key: Any, before: Any, after: Any) -> None:
        try:
            if kind == FIELD:
                write(holder, key, after)
            else:
                holder[key] = after
        except (AttributeError, KeyError, TypeError, ValueError):
            return  # it does not let itself be written to, so its numbers are plain ones
        self._replaced.append((holder, kind, key, before, after))

    def _tag(self, value: Any, path: str, name: str, steps: Steps) -> Any:
        """The value with origins: another object where it can't be written to, itself where it can."""
        if type(value) is int:
            return Int(value, Attribute(path, name, value, steps)) if value > 1 else value
        if type(value) in _PLAIN or len(steps) >= _DEEPEST or isinstance(value, _LEFT_ALONE):
            return value
        if isinstance(value, np.integer) and value > 1:
            return NumpyInt(int(value), Attribute(path, name, int(value), steps))
        for kinds, make in _MADE_AGAIN:
            if isinstance(value, kinds):
                return make(self, value, path, name, steps)
        if id(value) not in self._holders and self._left > 0 and not type(value).__module__.startswith(_FOREIGN):
            self._holders[id(value)] = value
            self._write_into(value, path, name, steps)
        return value

    def _write_into(self, value: Any, path: str, name: str, steps: Steps) -> None:
        """Gives the numbers inside something their origin."""
        if isinstance(value, FunctionType):
            if not (value.__module__ or "").startswith(("torch", "numpy")):
                self._function(value, path, name, steps)
        elif isinstance(value, (list, dict)):
            items = enumerate(list(value)) if isinstance(value, list) else list(value.items())
            self._inside(value, ITEM, items, path, name, steps)
            if getattr(value, "__dict__", None):  # a dictionary whose entries are attributes as well
                self._inside(value, FIELD, list(vars(value).items()), path, name, steps)
        elif type(value).__module__ != "builtins":
            self._inside(value, FIELD, _fields(value), path, name, steps)

    def _inside(self, holder: Any, kind: str, items: Any, path: str, name: str, steps: Steps) -> None:
        for key, item in items:
            self._left -= 1
            if self._left <= 0:
                return
            self._look(item, path, name, (*steps, (kind, key)), holder)

    def _tuple(self, value: Any, path: str, name: str, steps: Steps) -> Any:
        items = [self._tag(item, path, name, (*steps, (ITEM, k))) for k, item in enumerate(value)]
        self._left -= len(items)
        if all(a is b for a, b in zip(items, value, strict=True)):
            return value
        made = tuple_of(type(value), items)
        return value if made is None else made

    def _array(self, value: Any, path: str, name: str, steps: Steps) -> Any:
        """A short row of sizes, as an array of numbers with origins."""
        if value.dtype.kind != "i" or value.ndim != 1 or not 0 < value.size <= 16:
            return value
        made = np.empty(value.size, dtype=object)
        for k, item in enumerate(value):
            made[k] = self._tag(item, path, name, (*steps, (ITEM, k)))
        return made

    def _partial(self, value: Any, path: str, name: str, steps: Steps) -> Any:
        """A `functools.partial`, whose arguments can't be written to, with those of its keywords that can."""
        arguments = [self._tag(a, path, name, (*steps, (ARGUMENT, k))) for k, a in enumerate(value.args)]
        for key, item in list(value.keywords.items()):
            tag = self._tag(item, path, name, (*steps, (KEYWORD, key)))
            if tag is not item:
                self._replaced.append((value.keywords, KEYWORD, key, item, tag))
                value.keywords[key] = tag
        if all(a is b for a, b in zip(arguments, value.args, strict=True)):
            return value
        return functools.partial(value.func, *arguments, **value.keywords)

    def _function(self, value: FunctionType, path: str, name: str, steps: Steps) -> None:
        for variable, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # a variable that has no value yet
                held = cell.cell_contents
                tag = self._tag(held, path, name, (*steps, (CELL, variable)))
                if tag is not held:
                    self._replaced.append((cell, CELL, variable, held, tag))
                    cell.cell_contents = tag
        if value.__defaults__:
            before = value.__defaults__
            tags = tuple(self._tag(d, path, name, (*steps, (DEFAULT, k))) for k, d in enumerate(before))
            if any(a is not b for a, b in zip(tags, before, strict=True)):
                self._replaced.append((value, DEFAULT, None, before, tags))
                value.__defaults__ = tags


_MADE_AGAIN: tuple[tuple[Any, Any], ...] = (
    (tuple, _Tags._tuple),
    (np.ndarray, _Tags._array),
    (functools.partial, _Tags._partial),
)
_MISSING = object()
_PLAIN = (float, bool, str, type(None), complex, bytes)
_EVERY_MODULE = frozenset(vars(nn.Module()))


def _fields(value: Any) -> list[tuple[str, Any]]:
    """The fields of an object, those of its class included."""
    of_class = dict(_of_class(cast("Any", type(value)))) if hasattr(value, "__dict__") else {}
    return list({**of_class, **fields_of(value)}.items())


@cache
def _of_class(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Whole numbers, and some of them, that a class holds for all its objects; an object's own value hides them."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if base is object or base.__module__.startswith(("torch.", "numpy.", "builtins")):
            continue
        for name, value in vars(base).items():
            items = value.values() if type(value) is dict else value if type(value) in (tuple, list) else [value]
            if not name.startswith("_") and 0 < len(items) <= _LONG and all(type(item) is int for item in items):
                found.setdefault(name, value)
    return tuple(found.items())


def _put_back(holder: Any, key: Any, before: Any, after: Any) -> None:
    there = key in holder if isinstance(holder, dict) else key < len(holder)
    if there and holder[key] is after:
        if before is _MISSING:
            del holder[key]
        else:
            holder[key] = before


def _sweep(holder: Any) -> None:
    """Numbers that the forward kept in a container are plain again."""
    if isinstance(holder, dict):
        items = list(holder.items())
    elif isinstance(holder, list):
        items = list(enumerate(holder))
    else:
        items = list(getattr(holder, "__dict__", {}).items())
    for key, value in items:
        if _has_origin(value):
            if isinstance(holder, (dict, list)):
                holder[key] = _plain(value)
            else:
                write(holder, key, _plain(value))


def _has_origin(held: Any) -> bool:
    if isinstance(held, (tuple, list)):
        return len(held) <= _LONG and any(map(_has_origin, held))
    if isinstance(held, dict):
        return len(held) <= _LONG and any(map(_has_origin, held.values()))
    return isinstance(held, Int)


def _plain(held: Any) -> Any:
    if isinstance(held, Int):
        return int(held)
    if isinstance(held, dict):
        return {key: _plain(item) for key, item in held.items()}
    if not isinstance(held, (tuple, list)):
        return held
    items = [_plain(item) for item in held]
    made = items if type(held) is list else tuple_of(type(held), items)
    return held if made is None else made


_LONG = 256


# -- torch's own layers ------------------------------------------------------------------------------------------------

_WIDTHS: tuple[tuple[Any, dict[str, tuple[str, int]]], ...] = (
    (nn.Linear, {"out_features": ("weight", 0), "in_features": ("weight", 1)}),
    (BATCH_OR_INSTANCE_NORM, {"num_features": ("weight", 0)}),
    (nn.GroupNorm, {"num_channels": ("weight", 0)}),
    ((nn.Embedding, nn.EmbeddingBag), {"num_embeddings": ("weight", 0), "embedding_dim": ("weight", 1)}),
    (nn.Bilinear, {"out_features": ("weight", 0), "in1_features": ("weight", 1), "in2_features": ("weight", 2)}),
    (nn.RNNCellBase, {"input_size": ("weight_ih", 1), "hidden_size": ("weight_hh", 1)}),
)


def _own(path: str, module: nn.Module, leaves: Mapping[int, Value]) -> dict[str, Any]:
    """What torch's own layers note of their widths, with origins: sizes of their weights where they have some."""

    def size(leaf: str, d: int) -> Origin | None:
        tensor = tables(module)[0].get(leaf)
        value = None if tensor is None else leaves.get(id(tensor))
        return None if value is None else SizeOf(value, d)

    found: dict[str, Any] = {}
    for kinds, names in _WIDTHS:
        if isinstance(module, kinds):
            for name, (leaf, d) in names.items():
                origin = size(leaf, d)
                if origin is not None:
                    found[name] = Int(getattr(module, name), origin)
    if isinstance(module, CONVOLUTION):
        found |= _convolution(path, module, size)
    elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        shape = module.normalized_shape
        if tables(module)[0].get("weight") is not None:
            origins = [size("weight", d) for d in range(len(shape))]
        else:
            origins = [Attribute(path, "normalized_shape", n, ((ITEM, k),)) for k, n in enumerate(shape)]
        if all(origins):
            found["normalized_shape"] = tuple(
                Int(n, cast("Origin", origin)) if n > 1 else n for n, origin in zip(shape, origins, strict=True)
            )
    elif isinstance(module, nn.Unflatten) and all(type(n) is int for n in module.unflattened_size):
        sizes = cast("tuple[int, ...]", tuple(module.unflattened_size))
        found["unflattened_size"] = tuple(
            Int(n, Attribute(path, "unflattened_size", n, ((ITEM, k),))) if n > 1 else n for k, n in enumerate(sizes)
        )
    elif isinstance(module, nn.GroupNorm) and module.num_groups > 1:
        found["num_groups"] = Int(module.num_groups, Attribute(path, "num_groups", module.num_groups))
    return found


def _convolution(path: str, module: Any, size: Any) -> dict[str, Any]:
    rows, columns = size("weight", 0), size("weight", 1)
    if rows is None:
        return {}
    groups: Origin | int = Attribute(path, "groups", module.groups) if module.groups > 1 else 1
    wide = columns if groups == 1 else Computed("*", columns, groups)
    outer, inner = (wide, rows) if module.transposed else (rows, wide)
    return {
        "out_channels": Int(module.out_channels, outer),
        "in_channels": Int(module.in_channels, inner),
    }
