"""Pieces of Markdown."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any


def cell(value: object) -> str:
    """Text that stays within one cell of a table."""
    return " ".join(str(value).replace("|", "\\|").split())


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table, or nothing where there are no rows."""
    head, lines = list(head), [f"| {' | '.join(cell(value) for value in row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines, ""]) if lines else ""


def code(value: object) -> str:
    """As code, nothing where there is nothing."""
    return f"`{value}`" if str(value) else ""


def written(value: Any) -> str:
    """A value as YAML and people write it: null, true, 0.5, text without quotes."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(part)}" for key, part in value.items()) + "}"
    return str(value)


def prose(value: Any) -> str:
    """The docstring of something before its first section (`Args:`), as Markdown."""
    lines = []
    for line in (inspect.getdoc(value) or "").splitlines():
        if line.strip() in {"Args:", "Returns:", "Raises:", "Yields:", "Attributes:", "Example:", "Examples:"}:
            break
        if line.startswith(">>>"):
            break
        lines.append(line)
    return "\n".join(lines).strip()
