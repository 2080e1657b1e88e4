"""JSON of bounded size and depth, whose faults are one line each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compressvqa.errors import CompressVQAError, DataError
from compressvqa.untrusted.paths import MAX_TEXT, read_text

# No file of ours is nested more deeply; functions that walk it call themselves once a level.
MAX_DEPTH = 64
# Digits of a whole number of 64 bits.
MAX_DIGITS = 19


def read_json(path: Path, error: type[CompressVQAError] = DataError, *, limit: int = MAX_TEXT) -> Any:
    """The content of a JSON file.

    Raises:
        CompressVQAError: of the class `error`: as `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, error, limit=limit), path, error)


def parse_json(
    text: str,
    where: object,
    error: type[CompressVQAError] = DataError,
    *,
    strict: bool = True,
    constants: bool = False,
    depth: int = MAX_DEPTH,
) -> Any:
    """The content of a JSON text.

    Args:
        text: the text.
        where: named in the refusal, with line and column where they are known.
        error: the class of the refusal.
        strict: refuse a key that stands twice in one object.
        constants: read NaN and infinities too, which JSON does not have, for whoever says better where they stand.
        depth: levels of nesting that are read.

    Raises:
        CompressVQAError: of the class `error`: no JSON, nested too deeply, a whole number of more than 64 bits, a
            number that JSON does not have, or (if strict) a key twice.
    """
    hooks: dict[str, Any] = {"object_pairs_hook": _once} if strict else {}
    hooks |= {} if constants else {"parse_constant": _no_constant}
    try:
        found = json.loads(text, parse_int=_whole, **hooks)
    except json.JSONDecodeError as fault:
        raise error(f"is no JSON: {fault.msg}", where=f"{where}:{fault.lineno}:{fault.colno}") from fault
    except RecursionError as fault:
        raise error(f"is nested more than {depth} levels deep", where=where) from fault
    except ValueError as fault:  # one of the sentences below
        raise error(str(fault), where=where) from fault
    if text.count("[") + text.count("{") > depth and _is_deep(found, depth):
        raise error(f"is nested more than {depth} levels deep", where=where)
    return found


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"holds a whole number of {len(digits.lstrip('-'))} digits")
    return int(digits)


def _no_constant(word: str) -> float:
    raise ValueError(f"holds {word}, which JSON does not have")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return found


def _is_deep(found: Any, depth: int) -> bool:
    level = [found]
    for _ in range(depth + 1):
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, (dict, list))]
        level = [item for items in inner for item in items]
        if not level:
            return False
    return True
