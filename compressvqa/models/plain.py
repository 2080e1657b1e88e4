"""Attribute values as JSON and back: numbers, words, None, and tuples, lists and dictionaries of them.

JSON knows no tuples, no numbers as keys and no infinities. A tuple is written as a plain list, which is what folders of
format 1 always held; the others are written as an object with one key that says what it is.

>>> unpack(pack({8: [1, (2, float("inf"))]}))
{8: [1, (2, inf)]}
"""

from __future__ import annotations

import math
from typing import Any

_NUMBERS_AND_WORDS = (bool, int, float, str, type(None))


def is_plain(value: Any) -> bool:
    """Whether a value can be written: exactly these types, as a subclass would not come back as itself."""
    if type(value) in (tuple, list):
        return all(map(is_plain, value))
    if type(value) is dict:
        return all(type(key) in (int, str) and is_plain(item) for key, item in value.items())
    return type(value) in _NUMBERS_AND_WORDS


def same(a: object, b: object) -> bool:
    """Equal in value and in every type; NaN equals NaN.

    >>> same((1, 2), [1, 2]), same(1, True), same(float("nan"), float("nan"))
    (False, False, True)
    """
    if type(a) is not type(b):
        return False
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


def pack(value: Any) -> Any:
    """A plain value as JSON can hold it."""
    if type(value) is tuple:
        return [pack(item) for item in value]
    if type(value) is list:
        return {"list": [pack(item) for item in value]}
    if type(value) is dict:
        return {"dict": [[key, pack(item)] for key, item in value.items()]}
    if type(value) is float and not math.isfinite(value):
        return {"float": str(value)}
    return value


def unpack(value: Any) -> Any:
    """What `pack` was given.

    Raises:
        ValueError: not what `pack` writes.
    """
    if isinstance(value, list):
        return tuple(unpack(item) for item in value)
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (kind, held), *_ = value.items()
        if kind == "list" and isinstance(held, list):
            return [unpack(item) for item in held]
        if kind == "dict" and isinstance(held, list) and all(map(_is_pair, held)):
            return {key: unpack(item) for key, item in held}
        if kind == "float" and held in ("inf", "-inf", "nan"):
            return float(held)
    raise ValueError(f"not a stored value: {repr(value)[:80]}")


def _is_pair(item: object) -> bool:
    return isinstance(item, list) and len(item) == 2 and isinstance(item[0], (int, str))
