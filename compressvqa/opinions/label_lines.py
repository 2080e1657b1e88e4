"""The label files of FAST-VQA, DOVER and others: ``path, duration, fps, mos`` a line, no header, -1 for not known."""

from __future__ import annotations

from pathlib import Path

from compressvqa.errors import DataError
from compressvqa.opinions import cells
from compressvqa.opinions.lookup import Lookup
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.opinions.table import read_text

FIELDS = ("path", "duration", "fps", "mos")


def is_label_lines(text: str) -> bool:
    """Whether a text begins with such a line: a path and three numbers."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    parts = line.rsplit(",", 3)
    return len(parts) == len(FIELDS) and not _is_number(parts[0]) and all(map(_is_number, parts[1:]))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_label_lines(path: Path, folder: Path | None = None, *, split: str | None = None) -> Manifest:
    """A label file as a manifest without references.

    Args:
        path: the text file.
        folder: where the videos are; None: beside the file.
        split: what part of a data set the file lists.

    Raises:
        DataError: a line that is not a path and three numbers; with its number.
    """
    folder = path.parent if folder is None else folder
    lookup = Lookup(folder)
    items: list[Item] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        parts = [part.strip() for part in line.rsplit(",", 3)]
        if len(parts) != len(FIELDS):
            raise DataError(f"has {len(parts)} of the fields path, duration, fps, mos", where=where)
        try:
            name = cells.inside(parts[0])
            rate = None if cells.number(parts[2]) <= 0 else cells.frame_rate(parts[2])
            cells.number(parts[1])
            item = Item(cells.inside(lookup.find(name)), cells.number(parts[3]), fps=rate, split=split)
        except DataError:
            raise
        except ValueError as error:
            raise DataError(str(error), where=where) from error
        if name in seen:
            raise DataError(f"{cells.short(name)} is there again (first in line {seen[name]})", where=where)
        seen[name] = number
        items.append(item)
    if not items:
        raise DataError("holds no item", where=path)
    note = "the label file does not say the direction of its scores: higher is taken for better"
    return Manifest(path.stem, folder, tuple(items), notes=(note,))
