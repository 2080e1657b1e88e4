"""The text of a recipe: YAML with line numbers, settings changed from outside, faults said with file and line."""

from __future__ import annotations

import copy
import difflib
import functools
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from compressvqa.errors import CompressVQAError, RecipeError, printable
from compressvqa.untrusted import parse_yaml
from compressvqa.untrusted.yaml_text import MAX_DEPTH, Place

LARGEST = 2**32 - 1  # whole number in a recipe; what seeds of NumPy and PyTorch can be
MOST_FAULTS = 12  # that are written out
WITH = " (with --set "


def parse(text: str, file: Path) -> tuple[dict[str, Any], dict[Place, int]]:
    """The data of a recipe, and the line that each value stands on.

    Raises:
        RecipeError: the text is not YAML, is no mapping, has a key twice, or is larger than a recipe may be.
    """
    lines, data = parse_yaml(text, file)
    if not isinstance(data, dict):
        raise RecipeError("a recipe is a mapping of keys to values", where=file)
    return data, lines


def override(data: dict[str, Any], item: str) -> Place:
    """Puts one ``a.b.c=value`` into the data and returns where it went."""
    path, equals, text = item.partition("=")
    if not equals or not path:
        raise RecipeError(f"--set {_short(item)!r} is not of the form key=value", hint="--set data.sources=FOLDER")
    try:
        _, value = parse_yaml(text, f"--set {path}")
    except RecipeError as error:
        raise RecipeError(f"the value {error.what}" if error.what.startswith("is ") else error.what,
                          where=f"--set {_short(item)}") from error  # fmt: skip
    node: Any = data
    at: list[str | int] = []
    keys = path.split(".")
    if len(keys) > MAX_DEPTH:
        raise RecipeError(f"--set {_short(item)} names {len(keys)} levels of keys; a recipe has at most {MAX_DEPTH}")
    for depth, key in enumerate(keys):
        step: str | int = key
        if isinstance(node, list):
            step = _list_index(node, key, item)
        elif not isinstance(node, dict):
            raise RecipeError(f"--set {_short(item)!r}: {_short('.'.join(keys[:depth]))!r} holds no further keys")
        at.append(step)
        if depth == len(keys) - 1:
            node[step] = copy.deepcopy(value)
        elif isinstance(node, dict):
            node = node.setdefault(step, {})
        else:
            node = node[step]
    return tuple(at)


class _Placed(Protocol):
    """A recipe that knows where its settings stand."""

    def place(self, *at: str | int) -> str | None:
        """File, line and name of a setting."""


@contextmanager
def located(recipe: _Placed, *at: str | int) -> Iterator[None]:
    """Adds to a mistake found while the block runs where in the recipe it was made; what it says stays first.

    Args:
        recipe: the recipe.
        at: the part that is looked at. A mistake whose `where` is the name of a setting there is told at that setting.

    Raises:
        CompressVQAError: the mistake, of its own class, with its place.
    """
    try:
        yield
    except CompressVQAError as error:
        inner = (error.where or "").split(".")[0]
        if inner in _settings_at(recipe, at):
            place, around = recipe.place(*at, inner), recipe.place(*at) or ""
            if place is not None and not place.startswith("--set"):  # another setting of the part may be what is wrong
                place += around[around.find(WITH) :] if WITH in around else ""
            what = error.what if error.where == inner else f"{error.where}: {error.what}"
        else:
            place = recipe.place(*at)
            what = error.what if error.where is None else f"{error.where}: {error.what}"
        if place is not None and not (error.where or "").startswith(place):
            error.what, error.where = what, place
        raise


def blamed(recipe: _Placed, *places: Place) -> Place:
    """Of several parts that don't go together the one that a ``--set`` changed, else the first."""
    return next((at for at in places if "--set" in (recipe.place(*at) or "")), places[0])


def _settings_at(recipe: Any, at: Place) -> Collection[str]:
    node: Any = recipe
    for step in at:
        held = isinstance(node, (Mapping, list))
        node = node[step] if held else getattr(node, str(step), None)
    return type(node).model_fields if isinstance(node, BaseModel) else ()


def come_along(data: dict[str, Any], chosen: list[Place], file: Path) -> list[Place]:
    """Puts in what `when` brings along, and takes `when` out: what was set by hand stays.

    Raises:
        RecipeError: `when` is no mapping of ``setting=value`` to lists of such.
    """
    known = data.pop("when", None) or {}
    if not isinstance(known, dict) or not all(isinstance(items, list) for items in known.values()):
        raise RecipeError("`when` holds lists of settings: {setting=value: [setting=value, ...]}", where=file)
    mapping = next((item for items in known.values() for item in items if isinstance(item, dict)), None)
    if mapping is not None:
        first = str(next(iter(mapping), "{}"))[:100]
        raise RecipeError(f"`when`: {first!r} is read as a mapping", where=file, hint="put it in quotes")
    brought: list[Place] = []
    for condition, items in known.items():
        if holds(data, str(condition)):
            for item in map(str, items):
                tried = copy.deepcopy(data)
                place = override(tried, item)
                if not any(place[: len(by_hand)] == by_hand for by_hand in chosen):
                    brought.append(override(data, item))
    return brought


def _short(text: str) -> str:
    """A text of the user's for an error of one line."""
    text = printable(text, one_line=True)
    return text if len(text) <= 120 else f"{text[:119]}…"


def holds(data: Mapping[str, Any], condition: str) -> bool:
    """Whether ``a.b.c=value`` is so.

    >>> holds({"teacher": {"size": "tiny"}}, "teacher.size=tiny")
    True
    """
    path, _, text = condition.partition("=")
    node: Any = data
    for key in path.split("."):
        if isinstance(node, list):
            node = next((item for item in node if isinstance(item, Mapping) and item.get("name") == key), None)
        elif isinstance(node, Mapping):
            node = node.get(key)
    return bool(node == parse_yaml(text, path)[1])


def _list_index(items: list[Any], key: str, override: str) -> int:
    named = {str(item.get("name", item.get("kind"))): i for i, item in enumerate(items) if isinstance(item, Mapping)}
    if key in named:
        return named[key]
    if key.isascii() and key.isdecimal() and len(key) < 9 and int(key) < len(items):
        return int(key)
    raise RecipeError(
        f"--set {_short(override)!r}: nothing is named {_short(key)!r} there", hint=", ".join(named) or None
    )


def implausible(data: Any) -> tuple[Place, str] | None:
    """Where the first number stands that no setting can be, and what is wrong with it; None where there is none.

    `options` are passed on to code that may know better what to do with an infinite number.
    """
    todo: list[tuple[Place, Any]] = [((), data)]
    while todo:
        at, value = todo.pop()
        if isinstance(value, dict):
            todo += [((*at, key), item) for key, item in reversed(value.items())]
        elif isinstance(value, list):
            todo += [((*at, index), item) for index, item in reversed(list(enumerate(value)))]
        elif isinstance(value, float) and not math.isfinite(value) and "options" not in at:
            return at, f"{value} is no finite number"
        elif isinstance(value, int) and abs(value) > LARGEST:
            return at, f"{value} is larger than any setting ({LARGEST})"
    return None


def explain(
    error: ValidationError,
    model: type[BaseModel],
    file: Path,
    data: Any,
    lines: dict[Place, int],
    changed: list[Place],
) -> str:
    """All faults of a validation, a line each, with file and line or with the ``--set`` that caused it.

    Args:
        model: the schema that the data was checked against.
        data: what was checked.
        lines: where each value of the file stands, from `parse`.
        changed: the places that `override` put a value into.
    """
    faults = []
    found = error.errors()
    for fault in found[:MOST_FAULTS]:
        at = _locate(fault["loc"], data)
        between = getattr(fault.get("ctx", {}).get("error"), "at", None)  # a fault between stages knows its own place
        at = at if between is None else between
        faults.append(f"{place_of(at, file, data, lines, changed)}: {_message(fault, at, model)}")
    if len(found) > MOST_FAULTS:
        faults.append(f"and {len(found) - MOST_FAULTS} more")
    head = "" if len(faults) == 1 else f"{len(found)} faults\n  "
    return head + "\n  ".join(faults)


def place_of(at: Place, file: Path, data: Any, lines: Mapping[Place, int], changed: Iterable[Place]) -> str:
    """Where a value stands: ``file:line: a.b``, or the ``--set`` that put it, or a part of it, there."""
    dotted = _dotted(at, data)
    if any(at[: len(path)] == path for path in changed):
        return f"--set {dotted}"
    line = next((lines[at[:n]] for n in range(len(at), -1, -1) if at[:n] in lines), 1)
    below = [_dotted(path, data) for path in changed if at and path[: len(at)] == at]
    return f"{file}:{line}: {dotted}".rstrip(": ") + (f"{WITH}{', '.join(below)})" if below else "")


class StageFaultError(ValueError):
    """A fault between stages.

    Args:
        at: the place that it is told at.
        text: what is wrong.
    """

    def __init__(self, at: Place, text: str) -> None:
        self.at = at
        super().__init__(text)


def _locate(loc: tuple[int | str, ...], data: Any) -> Place:
    """Drops what pydantic puts into a location for its own book-keeping (names of union members)."""
    at: list[int | str] = []
    node = data
    for position, part in enumerate(loc):
        last = position == len(loc) - 1
        if isinstance(node, Mapping) and (part in node or (last and part != node.get("kind"))):
            at.append(part)
            node = node.get(part)
        elif isinstance(node, list) and isinstance(part, int):
            at.append(part)
            node = node[part] if part < len(node) else None
        elif last and not isinstance(node, (Mapping, list)) and node is None:
            at.append(part)
    return tuple(at)


def _dotted(at: Place, data: Any) -> str:
    parts, node = [], data
    for step in at:
        there = isinstance(node, list) and isinstance(step, int) and step < len(node)
        known = there or (isinstance(node, Mapping) and step in node)
        node = node[step] if known else None
        # A stage is better known by its name than by its position.
        name = node.get("name", node.get("kind")) if isinstance(step, int) and isinstance(node, Mapping) else None
        parts.append(_short(str(step if name is None else name)))
    return ".".join(parts)


def _message(fault: Any, at: Place, model: type[BaseModel]) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(at[-1]), _known_keys(model, at), n=1)
        return "unknown key" + (f" (did you mean {near[0]!r}?)" if near else "")
    if kind == "missing":
        return "is missing"
    if kind == "union_tag_not_found":
        return "`kind` is missing"
    if kind == "union_tag_invalid":
        known = [name.strip(" '") for name in str(context["expected_tags"]).split(",")]
        near = difflib.get_close_matches(str(context["tag"]), known, n=1)
        return f"unknown kind {_short(str(context['tag']))!r} (known: {', '.join(near or known)})"
    if kind == "value_error":
        return str(context["error"])
    return str(fault["msg"][:1].lower() + fault["msg"][1:]) + f", not {json.dumps(fault['input'], default=str)[:80]}"


def _known_keys(model: type[BaseModel], at: Place) -> set[str]:
    """Names of all settings of the schema: enough to suggest what a misspelt key was meant to be."""
    return set(model.model_fields) if len(at) == 1 else _nested_keys(model)


@functools.lru_cache(maxsize=8)  # a schema of everything that is registered takes a second to put together
def _nested_keys(model: type[BaseModel]) -> set[str]:
    definitions = model.model_json_schema().get("$defs", {}).values()
    return {name for definition in definitions for name in definition.get("properties", {})}
