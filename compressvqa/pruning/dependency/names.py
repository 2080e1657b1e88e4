"""Module paths as people read them: `blocks.0-2.fc` for many in few words, and near ones for one that is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from compressvqa.errors import PruneError
from compressvqa.module_paths import unmatched as matches_nothing
from compressvqa.pruning.dependency.group import Group

_NUMBER = re.compile(r"(?<![A-Za-z\d])(\d+)(?![A-Za-z\d])")


def shape_of(name: str) -> str:
    """A name with its numbers left blank; parts such as `layer1` or `fc2` are words, not numbers.

    >>> shape_of("blocks.3.mlp.fc2")
    'blocks.#.mlp.fc2'
    """
    return _NUMBER.sub("#", name)


def compact(names: Iterable[str]) -> list[str]:
    """Names that differ in one number become one, in the order of their first.

    >>> compact(["stem", "blocks.0.fc", "blocks.1.fc", "blocks.2.fc", "blocks.5.fc"])
    ['stem', 'blocks.{0-2,5}.fc']
    >>> compact(["stages.0.blocks.0.fc", "stages.0.blocks.1.fc", "stages.1.blocks.0.fc", "stages.1.blocks.1.fc"])
    ['stages.0-1.blocks.0-1.fc']
    """
    shapes: dict[str, list[tuple[str, ...]]] = {}
    for name in dict.fromkeys(names):
        shapes.setdefault(shape_of(name), []).append(tuple(_NUMBER.findall(name)))
    return [_filled(shape, numbers) for shape, rows in shapes.items() for numbers in _folded(rows)]


def _folded(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Rows of numbers, folded along one place after another, the last first."""
    for place in range(len(rows[0]) - 1, -1, -1):
        kept: dict[tuple[str, ...], list[str]] = {}
        for row in rows:
            kept.setdefault((*row[:place], "", *row[place + 1 :]), []).append(row[place])
        rows = [(*rest[:place], _range(values), *rest[place + 1 :]) for rest, values in kept.items()]
    return list(rows)


def _range(values: Sequence[str]) -> str:
    if len(values) == 1:
        return values[0]
    runs: list[list[int]] = []
    for value in sorted(int(v) for v in values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    parts = [f"{first}" if first == last else f"{first}-{last}" for first, last in runs]
    return parts[0] if len(parts) == 1 else f"{{{','.join(parts)}}}"


def _filled(shape: str, numbers: Sequence[str]) -> str:
    left = iter(numbers)
    return re.sub("#", lambda _: next(left), shape)


def unmatched(path: str, groups: Sequence[Group], where: str) -> PruneError:
    """The error for a path that names no layer, with near ones."""
    known = sorted({p for g in groups for p in g.producers})
    return matches_nothing(path, known, PruneError, what="layer that makes channels", where=where)
