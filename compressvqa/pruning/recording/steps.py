"""The way from a module's attribute to a number inside it, and setting that number anew in a copy.

A width may be an entry of a list or dictionary, a field of a config, an argument of a `functools.partial` or a variable
that a lambda closes over. Each level is one step.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator, Sequence
from functools import cache
from types import CellType, FunctionType
from typing import Any, cast

import numpy as np
from torch import Size

from compressvqa.errors import PruneError

Step = tuple[str, Any]
Steps = tuple[Step, ...]

FIELD, ITEM, ARGUMENT, KEYWORD, CELL, DEFAULT = "field", "item", "argument", "keyword", "variable", "default"


def said(steps: Steps) -> str:
    """The steps as Python would write them, as far as it can.

    >>> said(((FIELD, "widths"), (ITEM, 2), (ITEM, "in")))
    ".widths[2]['in']"
    """
    words = {
        FIELD: ".{}",
        ITEM: "[{!r}]",
        ARGUMENT: ".args[{}]",
        KEYWORD: ".keywords[{!r}]",
        CELL: " (its variable {})",
        DEFAULT: " (its default {})",
    }
    return "".join(words[kind].format(key) for kind, key in steps)


def step_into(held: Any, step: Step) -> Any:
    """What lies behind one step."""
    kind, key = step
    if kind == FIELD:
        return getattr(held, key)
    if kind == ARGUMENT:
        return held.args[key]
    if kind == KEYWORD:
        return held.keywords[key]
    if kind == CELL:
        return held.__closure__[held.__code__.co_freevars.index(key)].cell_contents
    if kind == DEFAULT:
        return held.__defaults__[key]
    return held[key]


def changed(held: Any, steps: Steps, value: int, original: Any = None) -> Any:
    """What a copied network holds, with one number in it set anew.

    Args:
        held: the copy's attribute. It is written to where it can be; what can't be written to is made again.
        steps: the way to the number.
        value: the number.
        original: the same attribute of the network that was copied, none of which is written to; None where the copy
            has nothing in common with it.

    Raises:
        PruneError: a part of it is neither copied nor to be written to.
    """
    if not steps:
        return type(held)(value)
    step = steps[0]
    inner = changed(step_into(held, step), steps[1:], value, None if original is None else step_into(original, step))
    return _with(held, step, inner, shared=held is original)


def tuple_of(kind: Any, items: Sequence[Any]) -> Any:
    """A tuple of some kind, plain, named or a size; None where it is made in another way."""
    if kind in (tuple, Size):
        return kind(items)
    return kind._make(items) if hasattr(kind, "_make") else None


def replaced(held: Any, steps: Steps, value: Any) -> Any:
    """A list, tuple, dictionary or function again, with something in it exchanged; nothing is written to."""
    if not steps:
        return value
    inner = replaced(step_into(held, steps[0]), steps[1:], value)
    return _with(held if isinstance(held, FunctionType) else copy.copy(held), steps[0], inner, shared=False)


def _with(held: Any, step: Step, inner: Any, *, shared: bool) -> Any:
    kind, key = step
    if isinstance(held, tuple):
        items = [*held[:key], inner, *held[key + 1 :]]
        return tuple_of(type(held), items)
    if isinstance(held, functools.partial):
        arguments = [inner if kind == ARGUMENT and k == key else a for k, a in enumerate(held.args)]
        return functools.partial(held.func, *arguments, **held.keywords | ({key: inner} if kind == KEYWORD else {}))
    if isinstance(held, FunctionType):
        return _function(held, step, inner)
    if shared:  # the copy has it in common with the original
        held = copy.copy(held)
    if kind == ITEM:
        if held[key] is not inner:
            held[key] = inner
        return held
    write(held, key, inner)
    if getattr(held, key) is not inner:
        raise PruneError(f"{key} of a {type(held).__name__} can't be set anew", hint="hold it as a plain attribute")
    return held


def write(held: Any, name: str, value: Any) -> None:
    """Sets a field, also of something frozen."""
    fields = getattr(held, "__dict__", None)
    if fields is not None and (name in fields or not hasattr(type(held), name) or _is_plain(type(held), name)):
        fields[name] = value
    else:
        object.__setattr__(held, name, value)


def _is_plain(kind: type, name: str) -> bool:
    """Whether a class holds a plain value under a name, which that of an object hides."""
    return not hasattr(type(getattr(kind, name)), "__set__")


def _function(held: FunctionType, step: Step, inner: Any) -> FunctionType:
    """The function again, with one variable that it closes over, or one default, set anew."""
    kind, key = step
    cells, defaults = list(held.__closure__ or ()), held.__defaults__
    if kind == CELL:
        cells[held.__code__.co_freevars.index(key)] = CellType(inner)
    elif defaults is not None:
        defaults = (*defaults[:key], inner, *defaults[key + 1 :])
    made = FunctionType(held.__code__, held.__globals__, held.__name__, defaults, tuple(cells) or None)
    made.__kwdefaults__, made.__qualname__ = held.__kwdefaults__, held.__qualname__
    made.__dict__.update(held.__dict__)
    return made


def fields_of(held: Any) -> dict[str, Any]:
    """The fields of an object that are its own, those in slots included."""
    fields = dict(getattr(held, "__dict__", {}))
    for name in _slots(cast("Any", type(held))):
        with contextlib.suppress(AttributeError):
            fields[name] = getattr(held, name)
    return fields


@cache
def _slots(kind: Any) -> tuple[str, ...]:
    found: list[str] = []
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        found += [slots] if isinstance(slots, str) else list(slots)
    return tuple(name for name in found if not name.startswith("__"))


def parts_of(held: Any) -> Iterator[tuple[Step, Any]]:
    """What lies inside a value, one step away."""
    if isinstance(held, functools.partial):
        yield from (((ARGUMENT, k), item) for k, item in enumerate(held.args))
        yield from (((KEYWORD, key), item) for key, item in held.keywords.items())
    elif isinstance(held, FunctionType):
        for name, cell in zip(held.__code__.co_freevars, held.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # a variable that has no value yet
                yield (CELL, name), cell.cell_contents
        yield from (((DEFAULT, k), item) for k, item in enumerate(held.__defaults__ or ()))
    elif isinstance(held, dict):
        yield from (((ITEM, key), item) for key, item in held.items())
        yield from (((FIELD, name), item) for name, item in vars(held).items()) if hasattr(held, "__dict__") else ()
    elif isinstance(held, (tuple, list)) or (isinstance(held, np.ndarray) and held.ndim == 1):
        yield from (((ITEM, k), item) for k, item in enumerate(held))
    elif type(held).__module__ not in ("builtins", "numpy"):
        yield from (((FIELD, name), item) for name, item in fields_of(held).items())
