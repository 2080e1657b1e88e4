"""YAML of bounded size: how much it holds is counted before it is built, so that no text can fill the memory.

An alias stands for all that its anchor holds. PyYAML shares it, but whoever walks or copies the data pays for it each
time, so it is counted each time here. PyYAML also calls itself once a level, so depth is counted too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Union

import yaml

from compressvqa.errors import RecipeError
from compressvqa.untrusted.json_text import MAX_DIGITS

Place = tuple[Union[str, int], ...]  # noqa: UP007
"""Where a value stands: keys and list positions from the top."""

MAX_BYTES = 1 << 18  # of a recipe; the longest that ships has 5 KiB
MAX_ITEMS = 10_000  # keys and values, those behind an alias each time it stands
MAX_ALIASES = 200
MAX_DEPTH = 24
MAX_TEXT = 10_000  # characters of one key or value


@dataclass
class _Open:
    """A mapping or sequence whose end was not seen yet."""

    anchor: str | None
    items: int = 0


def parse_yaml(text: str, where: object) -> tuple[dict[Place, int], Any]:
    """The line on which each value of a YAML text stands, and its data.

    Args:
        text: the YAML.
        where: the file; a line is put after it.

    Returns:
        {place: line}, of the text as written, before merges (`<<`), and the data, in which nothing is shared: where an
        alias stood, there is a copy.

    Raises:
        RecipeError: no YAML, a tag other than YAML's own, a key twice in one mapping, a key that is no text, a value
            that is not what its tag says, NaN, a whole number of more than 64 bits, or more than the limits of this
            module; with the line.
    """
    if len(text) > MAX_BYTES:
        raise RecipeError(f"is longer than {MAX_BYTES >> 10} KiB: not a recipe", where=where)
    try:
        loader = _Loader(text, where)
        try:
            root = loader.get_single_node()
            lines: dict[Place, int] = {}
            if root is not None:
                _walk(root, (), lines, where)
            return lines, None if root is None else _unshared(loader.construct_document(root))
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        said = getattr(error, "problem", None) or str(error).split("\n", 1)[0]
        place = where if mark is None else f"{where}:{mark.line + 1}"
        raise RecipeError(f"not valid YAML: {said}", where=place) from error
    except (ValueError, OverflowError) as error:  # of PyYAML's scanner, such as an escape of a character beyond Unicode
        raise RecipeError(f"not valid YAML: {error}", where=where) from error


class _Count:
    """What was seen of a text so far."""

    def __init__(self) -> None:
        self.open = [_Open(None)]
        self.sizes: dict[str | None, int] = {}
        self.aliases = 0

    def add(self, event: yaml.Event) -> str | None:
        """Counts an event; returns what is too much, or None."""
        fault = None
        if isinstance(event, yaml.AliasEvent):
            fault = self._alias(str(event.anchor))
        elif isinstance(event, yaml.ScalarEvent):
            self.open[-1].items += 1
            self.sizes[event.anchor] = 1
            fault = _text_fault(event.value)
        elif isinstance(event, yaml.CollectionStartEvent):
            self.open.append(_Open(event.anchor, 1))
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self.open.pop()
            self.open[-1].items += done.items
            self.sizes[done.anchor] = done.items
        if len(self.open) - 1 > MAX_DEPTH:
            return f"nested more than {MAX_DEPTH} levels deep"
        if self.open[-1].items > MAX_ITEMS:
            return f"more than {MAX_ITEMS} keys and values, those behind aliases counted each time"
        return fault

    def _alias(self, anchor: str) -> str | None:
        self.aliases += 1
        self.open[-1].items += self.sizes.get(anchor, 1)  # PyYAML says which anchor is not there
        if any(part.anchor == anchor for part in self.open):
            return f"the alias *{anchor} stands inside its own anchor: it has no end"
        return f"more than {MAX_ALIASES} aliases" if self.aliases > MAX_ALIASES else None


def _text_fault(text: str) -> str | None:
    if len(text) > MAX_TEXT:
        return f"a text of {len(text)} characters; {MAX_TEXT} are read"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "a text with half a character (a surrogate)"
    return None


def _walk(node: yaml.Node, at: Place, lines: dict[Place, int], where: object) -> None:
    """Notes the line of every value, and refuses keys that stand twice."""
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise RecipeError("a key must be a text, not a list or a mapping", where=f"{where}:{line}")
            if (*at, key.value) in lines:
                raise RecipeError(f"the key {key.value[:80]!r} stands twice in one mapping", where=f"{where}:{line}")
            lines[(*at, key.value)] = line
            _walk(value, (*at, key.value), lines, where)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*at, index), lines, where)


def _unshared(value: Any) -> Any:
    """The same data, each list and mapping its own, as if no alias had stood for it: a change of one is of one."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which counts what it reads and says on which line a value is not what it looks like.

    Args:
        text: the YAML.
        where: the file.
    """

    def __init__(self, text: str, where: object) -> None:
        super().__init__(text)
        self._where, self._counted = where, _Count()

    def get_event(self) -> yaml.Event:
        """The next event, counted before anything is made of it."""
        event: yaml.Event = super().get_event()  # type: ignore[no-untyped-call]
        fault = self._counted.add(event)
        if fault is not None:
            assert event.start_mark is not None  # it is of a text
            raise RecipeError(fault, where=f"{self._where}:{event.start_mark.line + 1}")
        return event

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As PyYAML does; what goes wrong in a value becomes an error of YAML with its line."""
        if node.tag not in _TAGS:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise yaml.constructor.ConstructorError(None, None, f"the tag {tag} is not read", node.start_mark)
        if node.tag.endswith(":int") and len(node.value) > 10 * MAX_DIGITS:
            self._refuse(node, f"a whole number of {len(node.value)} digits")
        try:
            value = super().construct_object(node, deep=deep)
        except (ValueError, TypeError, OverflowError, AttributeError, IndexError, KeyError) as error:
            self._refuse(node, f"{str(node.value)[:40]!r} is not what it is marked as", error)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            self._refuse(node, f"a whole number of {len(str(abs(value)))} digits; 64 bits are read")
        if isinstance(value, float) and math.isnan(value):
            self._refuse(node, "NaN is no setting")
        return value

    def _refuse(self, node: yaml.Node, what: str, error: Exception | None = None) -> None:
        raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error


# Dates become text (see below); binary data, sets and ordered maps have no place in a recipe.
_TAGS = {
    f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map", "merge", "value")
}
_TAGS.add("tag:yaml.org,2002:timestamp")
_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)  # type: ignore[type-var]
