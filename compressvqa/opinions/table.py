"""Tables of text as spreadsheets and scripts write them: comma, semicolon or tab, with or without a byte-order mark."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compressvqa.errors import DataError
from compressvqa.untrusted import read_bytes

# A table larger than this is not one of scores; it would only fill the memory.
MAX_BYTES = 1 << 26
MAX_ROWS, MAX_COLUMNS = 500_000, 1000


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        line: number of its first line in the file, from 1.
        cells: its cells, as text.
    """

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table whose first row names the columns.

    Args:
        path: the file.
        header: the names, as written but for spaces around them.
        rows: the rows below, each as long as the header.
        decimal_comma: whether numbers are written with a comma (spreadsheets of many countries, then with semicolons).
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    decimal_comma: bool = False


def read_text(path: Path) -> str:
    """A whole text file: UTF-8 with or without byte-order mark, or UTF-16 with one.

    Raises:
        DataError: missing, a folder, too large, or no text.
    """
    data = read_bytes(path, limit=MAX_BYTES)
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError("is not UTF-8 text", where=f"{path}:{line}", hint="save it as UTF-8") from error
    if "\0" in text:
        raise DataError("holds zero bytes: not a text file", where=path)
    return text


def read_table(path: Path) -> Table:
    """A table with a header.

    Raises:
        DataError: no text, no header, a column named twice, a row of another length; with file and line.
    """
    text = read_text(path)
    first = text.lstrip("\r\n").split("\n", 1)[0]
    # The names of columns hold none of these, so the one that is there most divides them.
    delimiter = max(",;\t", key=first.count)
    rows = list(read_rows(path, text, delimiter))
    if not rows:
        raise DataError("the table is empty", where=path)
    header = tuple(cell.strip() for cell in rows[0].cells)
    while header and not header[-1]:
        header = header[:-1]  # a delimiter at the end of every line
    if len(header) > MAX_COLUMNS:
        raise DataError(f"has {len(header)} columns: not a table of scores", where=f"{path}:{rows[0].line}")
    folded = Counter(name.casefold() for name in header)
    for name in header:
        if name and folded[name.casefold()] > 1:
            raise DataError(f"two columns are called {name[:80]!r}", where=f"{path}:{rows[0].line}")
    return Table(path, header, tuple(_fitted(row, header, path) for row in rows[1:]), delimiter == ";")


def read_rows(path: Path, text: str, delimiter: str) -> Iterator[Row]:
    """Rows of a table that are not empty, the header among them.

    Raises:
        DataError: a quote that is not closed, or a field that is too long.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    line, rows = 1, 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"the table can't be read ({error})", where=f"{path}:{line}") from error
        if any(cell.strip() for cell in cells):
            rows += 1
            if rows > MAX_ROWS:
                raise DataError(f"has more than {MAX_ROWS} rows: not a table of scores", where=f"{path}:{line}")
            yield Row(line, tuple(cells))
        line = reader.line_num + 1


def _fitted(row: Row, header: tuple[str, ...], path: Path) -> Row:
    """The row with as many cells as the header has; empty ones at the end may be there or not."""
    cells = row.cells
    while len(cells) > len(header) and not cells[-1].strip():
        cells = cells[:-1]
    if len(cells) > len(header):
        what = f"the row has {len(cells)} cells, the header {len(header)} columns"
        hint = "put quotes around text that holds a comma"
        raise DataError(what, where=f"{path}:{row.line}", hint=hint)
    if len(cells) < len(header) and len(cells) == 1:
        raise DataError(f"the row has one cell, the header {len(header)} columns", where=f"{path}:{row.line}")
    return Row(row.line, cells + ("",) * (len(header) - len(cells)))


def write_table(header: list[str], rows: list[list[str]]) -> str:
    """A table as comma-separated text; cells that begin with a space are quoted, so that the space is kept."""
    lines = [",".join(header)]
    lines += [",".join(map(_quoted, row)) for row in rows]
    return "\n".join(lines) + "\n"


def _quoted(cell: str) -> str:
    if any(character in cell for character in ',;"\r\n\t') or cell[:1].isspace():
        return '"' + cell.replace('"', '""') + '"'
    return cell
