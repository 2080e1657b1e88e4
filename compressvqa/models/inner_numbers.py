"""Whole numbers inside what a network holds: fields of a config, arguments of partial functions, variables of lambdas.

Pruning sets such numbers anew where they are widths. They are stored as the way from the attribute to the number, and
the number: the config itself is made by the network's constructor.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from enum import Enum
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor, nn

from compressvqa.errors import WeightsError
from compressvqa.models.plain import pack, unpack

_DEEPEST = 6
_MOST = 20_000
_LEFT_ALONE = (str, Enum, Tensor, nn.Module, type, ModuleType)

Steps = tuple[tuple[str, Any], ...]


def differing(before: Any, after: Any) -> list[list[Any]]:
    """[way, number] for each whole number that is another one than before; empty where none is."""
    return [
        [[[kind, pack(key)] for kind, key in steps], number]
        for steps, number in _numbers(after, [_MOST])
        if _at(before, steps) not in (None, number) and all(isinstance(key, (int, str)) for _, key in steps)
    ]


def _at(held: Any, steps: Steps) -> int | None:
    """The number at the end of a way, which may be one that a class holds for all its objects."""
    from compressvqa.pruning.recording.steps import step_into

    try:
        for step in steps:
            held = step_into(held, step)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return None  # a forward has put it there, such as an entry of a cache
    return int(held) if _is_whole(held) else None


def _is_whole(held: Any) -> bool:
    return isinstance(held, (int, np.integer)) and not isinstance(held, (bool, Enum))


def _numbers(held: Any, left: list[int], steps: Steps = ()) -> Iterator[tuple[Steps, int]]:
    from compressvqa.pruning.recording.steps import parts_of

    left[0] -= 1
    if _is_whole(held):
        yield steps, int(held)
    elif len(steps) < _DEEPEST and left[0] > 0 and not isinstance(held, _LEFT_ALONE):
        for step, inner in parts_of(held):
            yield from _numbers(inner, left, (*steps, step))


def set_inner(module: nn.Module, name: str, found: Any, memo: dict[int, Any], *, where: object) -> None:
    """Sets numbers inside an attribute as `differing` wrote them; the config that the constructor was given stays.

    Args:
        module: the module.
        name: its attribute.
        found: what `differing` returned.
        memo: what was copied already, so that modules go on sharing a config.
        where: named in an error.

    Raises:
        WeightsError: there is no such number.
    """
    from compressvqa.pruning.recording.steps import changed

    try:
        held = copy.deepcopy(getattr(module, name), memo)
        for way, number in found:
            held = changed(held, tuple((str(kind), unpack(key)) for kind, key in way), int(number))
    except WeightsError:
        raise
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise WeightsError(f"{name} has no number to set: {error}", where=where) from error
    vars(module)[name] = held


def is_valid(found: Any) -> bool:
    """Whether this is {module path: {attribute: what `differing` returns}}."""
    return isinstance(found, Mapping) and all(
        isinstance(names, Mapping)
        and all(
            isinstance(numbers, list)
            and all(isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], int) for entry in numbers)
            for numbers in names.values()
        )
        for names in found.values()
    )
