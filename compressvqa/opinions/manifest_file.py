"""Manifests as files: a table (CSV) with a sidecar of facts beside it, or one JSON file.

``scores.csv`` holds one row an item, ``scores.json`` beside it what the scores mean::

    ref,dist,mos,std,fps,width,height          {"name": "mine", "label": "MOS", "higher_is_better": true,
    src/a.yuv,enc/a_1.yuv,3.2,.8,25,1920,1080   "scale": [1, 5], "notes": ["24 viewers"]}

The JSON form is the same facts and ``"items": [{"ref": ..., "dist": ..., "mos": ...}, ...]``. Paths are relative to the
file's folder, or to ``folder`` where the facts name one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from compressvqa.errors import DataError
from compressvqa.files import write_json, write_text
from compressvqa.opinions.cells import short
from compressvqa.opinions.columns import (
    BY_NAME,
    COLUMNS,
    LOWER_IS_BETTER,
    Column,
    nearest,
    to_cells,
    to_item,
)
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.opinions.table import Table, read_table, read_text, write_table
from compressvqa.untrusted import parse_json

FACTS = ("name", "kind", "label", "higher_is_better", "scale", "notes", "folder", "schema")
# Facts that no file of another purpose has by chance.
TELLING = ("label", "higher_is_better", "scale")
SCHEMA = 1
TABLES = (".csv", ".tsv", ".txt")


def read_manifest(path: str | Path) -> Manifest:
    """A manifest from a CSV file (with or without its sidecar) or from a JSON file.

    Args:
        path: the file. A sidecar stands for its table.

    Returns:
        The manifest. Columns of a table that have no meaning here, and guesses for lack of a sidecar, are in its notes.

    Raises:
        DataError: a column is missing or has a name close to a known one, a cell is not what it must be, a path leaves
            the folder, two rows name the same files, an unknown key. The message names file, line and column.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        return _read_csv(path)
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError("must hold an object", where=path, hint='{"name": ..., "items": [...]}')
    if "items" in content:
        return _read_json(path, content)
    for suffix in TABLES[:2]:
        if (table := path.with_suffix(suffix)).is_file():
            return _read_csv(table)
    raise DataError("holds no items, and no table of that name is beside it", where=path, hint='"items": [...]')


def write_manifest(manifest: Manifest, path: str | Path) -> None:
    """Writes a manifest so that `read_manifest` gives it back: JSON, or CSV with its sidecar.

    Args:
        manifest: what to write.
        path: a name that ends in .json or .csv.

    Raises:
        DataError: another suffix, a value that the form can't hold, or the sidecar would overwrite a manifest.
    """
    path = Path(path)
    _check_writable(manifest, path)
    facts = _facts_of(manifest, path)
    rows = [to_cells(item) for item in manifest.items]
    if path.suffix.lower() == ".json":
        items = [_json_item(item) for item in manifest.items]
        write_json(path, {**facts, "items": items})
        return
    sidecar = path.with_suffix(".json")
    if sidecar.exists() and "items" in (read_json(sidecar) or {}):
        raise DataError("is a manifest itself and would be overwritten by the sidecar", where=sidecar)
    always = ("dist", "mos")
    used = [column.name for column in COLUMNS if column.name in always or any(map(_kept(column), manifest.items))]
    write_json(sidecar, facts)
    write_text(path, write_table(used, [[row[name] for name in used] for row in rows]))


def _kept(column: Column) -> Any:
    """Whether an item has something else than the default in a column."""
    default = Item.__dataclass_fields__[column.field].default
    return lambda item: getattr(item, column.field) != default


def _check_writable(manifest: Manifest, path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".json"):
        raise DataError(f"a manifest is .csv or .json, not {path.suffix!r}", where=path)
    _no_twins(((None, item) for item in manifest.items), path)
    for item in manifest.items:
        # The reader itself says what it would not read, or read as something else.
        back, fault = to_item(
            {column: _slashes(column, cell) if suffix == ".csv" else cell for column, cell in _given(item)}
        )
        if back != item:
            what = fault or "a text of spaces only, or a path with a backslash"
            raise DataError(f"item {item.distorted!r} can't be written: {what}", where=path)


def _given(item: Item) -> list[tuple[Column, str]]:
    return [(BY_NAME[name], cell) for name, cell in to_cells(item).items()]


def _facts_of(manifest: Manifest, path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "schema": SCHEMA, "name": manifest.name, "kind": manifest.kind, "label": manifest.label,
        "higher_is_better": manifest.higher_is_better,
        "scale": None if manifest.scale is None else list(manifest.scale), "notes": list(manifest.notes),
    }  # fmt: skip
    here, there = path.parent.resolve(), manifest.folder.resolve()
    if there != here:
        below = there.is_relative_to(here)
        facts["folder"] = there.relative_to(here).as_posix() if below else there.as_posix()
    return facts


def _json_item(item: Item) -> dict[str, Any]:
    """What is known of an item; numbers as numbers, frame rates as text unless they are whole."""
    known: dict[str, Any] = {}
    for name, cell in to_cells(item).items():
        value = getattr(item, BY_NAME[name].field)
        if value is None or (name in ("pixel_format", "bitdepth") and not _kept(BY_NAME[name])(item)):
            continue
        known[name] = value if isinstance(value, (int, float, str)) else int(cell) if cell.isdigit() else cell
    return known


# --- CSV --------------------------------------------------------------------------------------------------------


def _read_csv(path: Path) -> Manifest:
    table = read_table(path)
    columns, unused, label = _columns(table)
    sidecar, facts, notes = _sidecar(path)
    if facts is None:
        facts = {"label": label, "higher_is_better": label != "DMOS"}
        direction = "higher" if facts["higher_is_better"] else "lower"
        notes.append(f"{path.name} has no sidecar: its scores are taken for {label}, {direction} is better")
    if unused:
        notes.append(f"columns of {path.name} that are not used: {', '.join(unused)}")
    items = []
    for row in table.rows:
        given = {column: _slashes(column, row.cells[place]) for place, column in columns.items()}
        item, fault = to_item(given, table.decimal_comma)
        if item is None:
            raise DataError(fault or "", where=f"{path}:{row.line}")
        items.append((row.line, item))
    _no_twins(items, path)
    return _manifest(path, sidecar, facts, [item for _, item in items], notes)


def _slashes(column: Column, cell: str) -> str:
    return cell.replace("\\", "/") if column.name in ("ref", "dist") else cell


def _columns(table: Table) -> tuple[dict[int, Column], list[str], str]:
    """Columns by their place, the names of those that are not used, and what the scores are by their column's name."""
    columns: dict[int, Column] = {}
    unused, label = [], "MOS"
    where = f"{table.path}:1"
    for place, name in enumerate(table.header):
        column = BY_NAME.get(name.casefold())
        if column is None:
            near = nearest(name, list(BY_NAME), cutoff=0.85) if len(name) > 3 else None
            if near is not None:
                raise DataError(f"column {short(name)} is not known", where=where, hint=BY_NAME[near].name)
            unused.append(name)
            continue
        if column in columns.values():
            other = table.header[next(there for there, taken in columns.items() if taken is column)]
            raise DataError(f"columns {other!r} and {name!r} both say {column.name!r}", where=where, hint="keep one")
        if column.name == "mos" and name.casefold() in LOWER_IS_BETTER:
            label = "DMOS"
        columns[place] = column
    for needed in ("dist", "mos"):
        if not any(column.name == needed for column in columns.values()):
            raise DataError(f"has no column {needed!r}", where=where, hint=f"a header such as ref,dist,mos; found "
                            f"{', '.join(table.header)[:120]}")  # fmt: skip
    return columns, [name for name in unused if name], label


def _sidecar(path: Path) -> tuple[Path, dict[str, Any] | None, list[str]]:
    """The facts beside a table, and what to say of a file of that name that is no sidecar and has another purpose."""
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        return sidecar, None, []
    other = f"{sidecar.name} beside {path.name} is no sidecar of it, and is not read"
    try:
        content = read_json(sidecar)
    except DataError:
        # Lines of JSON, or anything; a sidecar that was damaged would turn scores round if it were passed over.
        if any(f'"{key}"' in read_text(sidecar) for key in TELLING):
            raise
        return sidecar, None, [other]
    if not isinstance(content, dict):
        return sidecar, None, [other]
    if "items" in content:
        raise DataError(
            f"is a manifest itself, and no sidecar of {path.name}", where=sidecar, hint="rename one of them"
        )
    telling = [key for key in content if key in TELLING or nearest(key, TELLING, cutoff=0.75)]
    foreign = [key for key in content if key not in FACTS]
    return (sidecar, None, [other]) if foreign and not telling else (sidecar, content, [])


def _no_twins(items: Iterable[tuple[int | None, Item]], path: Path) -> None:
    seen: dict[tuple[str | None, str], int | None] = {}
    for line, item in items:
        key = (item.reference, item.distorted)
        if key in seen:
            again = f" again (first in line {seen[key]})" if line is not None else " twice"
            raise DataError(
                f"{short(item.distorted)} is there{again}", where=path if line is None else f"{path}:{line}"
            )
        seen[key] = line


# --- JSON -------------------------------------------------------------------------------------------------------


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: no JSON; with line and column.
    """
    return parse_json(read_text(path), path, constants=True)


def _read_json(path: Path, content: dict[str, Any]) -> Manifest:
    entries = content["items"]
    if not isinstance(entries, list):
        raise DataError("'items' must be a list", where=path)
    items: list[Item] = []
    for number, entry in enumerate(entries):
        where = f"{path}: items[{number}]"
        if not isinstance(entry, dict):
            raise DataError("must be an object", where=where)
        item, fault = to_item(_json_cells(entry, where))
        if item is None:
            raise DataError((fault or "").replace("column", "key"), where=where)
        items.append(item)
    _no_twins(((None, item) for item in items), path)
    facts = {key: value for key, value in content.items() if key != "items"}
    return _manifest(path, path, facts, items, [])


def _json_cells(entry: Mapping[str, Any], where: str) -> dict[Column, str]:
    given: dict[Column, str] = {}
    for key, value in entry.items():
        column = BY_NAME.get(key.casefold())
        if column is None:
            raise DataError(f"unknown key {short(key)}", where=where, hint=_suggest(key, [c.name for c in COLUMNS]))
        if column in given:
            raise DataError(f"two keys say {column.name!r}", where=where)
        if value is None:
            continue
        fits = isinstance(value, str) if column.is_text else isinstance(value, (int, float, str))
        if not fits or isinstance(value, bool):
            wanted = "text" if column.is_text else "a number"
            raise DataError(f"key {key!r} must be {wanted}, not {json.dumps(value)[:40]}", where=where)
        given[column] = value if isinstance(value, str) else repr(value)
    return given


def _suggest(key: str, known: Iterable[str]) -> str:
    known = list(known)
    return nearest(key, known, cutoff=0.5) or ", ".join(known)


def _manifest(path: Path, facts_file: Path, facts: dict[str, Any], items: list[Item], notes: list[str]) -> Manifest:
    checked = _check_facts(facts, facts_file)
    folder = path.parent / checked.pop("folder", "")
    if not items:
        raise DataError("holds no item", where=path)
    said = tuple(checked.pop("notes", ()))
    return Manifest(checked.pop("name", path.stem), folder, tuple(items), notes=(*said, *notes), **checked)


def _check_facts(facts: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """The facts of a sidecar, each of its kind; those that are absent or null are left out."""
    kinds: dict[str, tuple[bool, str]] = {}
    for key, value in facts.items():
        if key not in FACTS:
            raise DataError(f"unknown key {short(key)}", where=where, hint=_suggest(key, FACTS))
        kinds[key] = {
            "name": (isinstance(value, str) and bool(value), "text"),
            "label": (isinstance(value, str) and bool(value), "text"),
            "folder": (isinstance(value, str), "text"),
            "kind": (value in ("human", "proxy"), '"human" or "proxy"'),
            "higher_is_better": (isinstance(value, bool), "true or false"),
            "scale": (_is_scale(value), "two numbers, the lower one first"),
            "notes": (isinstance(value, list) and all(isinstance(note, str) for note in value), "a list of texts"),
            "schema": (value == SCHEMA, f"{SCHEMA}: the file is of a newer version"),
        }[key]
        if value is not None and not kinds[key][0]:
            raise DataError(f"{key!r} must be {kinds[key][1]}, not {json.dumps(value)[:60]}", where=where)
    checked = {key: value for key, value in facts.items() if value is not None and key != "schema"}
    if "scale" in checked:
        low, high = checked["scale"]
        checked["scale"] = (float(low), float(high))
    return checked


def _is_scale(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    if not all(
        isinstance(end, (int, float)) and not isinstance(end, bool) and abs(end) < float("inf") for end in value
    ):
        return False
    return bool(value[0] < value[1])
