"""A table of scores by file: CSV as spreadsheets and scripts write it, or JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compressvqa.errors import DataError
from compressvqa.labels import same_label
from compressvqa.opinions.columns import DISTORTED, REFERENCE
from compressvqa.opinions.table import read_table, read_text
from compressvqa.scoring.score_keys import as_key
from compressvqa.untrusted import parse_json

FILE_COLUMNS = ("dist", *DISTORTED, "name", "filename")
REFERENCE_COLUMNS = ("ref", *REFERENCE)

Rows = dict[str, dict[str, float]]


def read_score_table(place: Path, name: str) -> Rows:
    """Scores of a table.

    Args:
        place: a CSV file (comma, semicolon or tab, decimal comma, byte-order mark as they come) with a column for the
            distorted file (`dist`, `file`, ...), one for the score (`name` in any spelling, or "score") and perhaps
            one for the reference; or JSON: an object {file: score}, or a list of objects with such keys.
        name: what the score is called.

    Returns:
        {distorted file: {reference: score}}; the reference is "" where the table does not say.

    Raises:
        DataError: no such table, a column or a cell is missing, a score is no number, a file has two scores; with line.
    """
    text = read_text(place)
    if not text.strip():
        raise DataError("is empty: it lacks a column for the distorted file (dist)", where=place)
    if text.lstrip()[:1] in "{[":
        return _from_json(text, name, place)
    table = read_table(place)
    file, reference, score = _columns(table.header, name, place)
    rows: Rows = {}
    for row in table.rows:
        cell, value = row.cells[file], row.cells[score]
        if not cell.strip():
            raise DataError("the row names no file", where=f"{place}:{row.line}")
        comma = table.decimal_comma and "." not in value
        found = _number(value.replace(",", ".") if comma else value, f"line {row.line}", place)
        _add(rows, cell, "" if reference is None else row.cells[reference], found, f"{place}:{row.line}")
    return rows


def _columns(header: Sequence[str], name: str, place: Path) -> tuple[int, int | None, int]:
    """Places of the columns of file, reference and score."""
    folded = [column.casefold() for column in header]
    file = next((folded.index(column) for column in FILE_COLUMNS if column in folded), None)
    reference = next((folded.index(column) for column in REFERENCE_COLUMNS if column in folded), None)
    others = [column for number, column in enumerate(header) if number not in (file, reference)]
    fitting = [column for column in others if column == name] or [c for c in others if same_label(c, name)]
    if len(fitting) > 1:
        raise DataError(f"columns {' and '.join(map(repr, fitting))} both say {name!r}", where=place)
    fitting = fitting or [column for column in others if column.casefold() == "score"]
    if file is None or not fitting:
        lacks = "a column for the distorted file (dist)" if file is None else f"a column {name!r} or 'score'"
        raise DataError(f"lacks {lacks}", where=place, hint=f"it has {', '.join(header)}")
    return file, reference, list(header).index(fitting[0])


def _from_json(text: str, name: str, place: Path) -> Rows:
    rows: Rows = {}
    found: Any = parse_json(text, place)
    if isinstance(found, dict):
        for file, value in found.items():
            _add(rows, file, "", _number(value, file, place), str(place))
        return rows
    for number, entry in enumerate(found):
        if not isinstance(entry, Mapping):
            raise DataError("must be an object {file: score}, or a list of objects", where=f"{place}: [{number}]")
        keys = list(entry)
        columns = _columns(keys, name, place)
        cells = [None if column is None else entry[keys[column]] for column in columns]
        where = f"{place}: [{number}]"
        _add(rows, str(cells[0]), str(cells[1] or ""), _number(cells[2], f"[{number}]", place), where)
    return rows


def _add(rows: Rows, file: str, reference: str, score: float, where: str) -> None:
    scores = rows.setdefault(as_key(file), {})
    key = as_key(reference) if reference.strip() else ""
    if scores.get(key, score) != score:
        raise DataError(f"{file} stands there twice", where=where)
    scores[key] = score


def _number(value: object, what: str, place: Path) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{what}: {value!r} is no score", where=place, hint="leave the row out")
    return number
