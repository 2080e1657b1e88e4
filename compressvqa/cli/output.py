"""What goes to standard output: results, and where programs read them nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

# Halves of characters (bytes of a file's name that are no UTF-8), C1 codes, marks that turn the direction of writing or
# can't be seen. Other codes are escaped by `json` itself.
NOT_SHOWN = "\ud800-\udfff\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
_own: list[TextIO] = []  # standard output, while everything else that is printed goes to standard error


@contextmanager
def results_alone() -> Iterator[None]:
    """While the block runs, `emit` alone reaches standard output.

    Whatever libraries, networks of the user's own and child processes print there (a line about a download, say) goes
    to standard error.
    """
    out = sys.stdout
    out.flush()
    saved = _redirected(out)
    _own.append(out if saved is None else os.fdopen(os.dup(saved), "w", encoding=out.encoding, errors=out.errors))
    try:
        with redirect_stdout(sys.stderr):
            yield
        _own[-1].flush()
    finally:
        _own.pop()
        if saved is not None:
            os.dup2(saved, 1)
            os.close(saved)


def _redirected(out: TextIO) -> int | None:
    """A copy of file descriptor 1, which is now that of standard error; None where `out` is no such file (in tests)."""
    try:
        if out.fileno() != 1:
            return None
        saved = os.dup(1)
        os.dup2(sys.stderr.fileno(), 1)
    except (OSError, ValueError):
        return None
    return saved


def emit(text: str) -> None:
    """Prints a result that programs read, which ends its last line itself."""
    out = _own[-1] if _own else sys.stdout
    out.write(text)
    out.flush()


def print_json(value: Any) -> None:
    """Prints strict JSON: NaN and infinity as null, file names that are no UTF-8 escaped."""
    from compressvqa.files import plain

    emit_json(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def emit_json(text: str) -> None:
    r"""Prints JSON; what the encoding lacks and what a terminal would obey is escaped, as JSON does it (``\u00e9``)."""
    encoding = ((_own[-1] if _own else sys.stdout).encoding or "utf-8").lower().replace("-", "")
    escaped = f"[{NOT_SHOWN}]" if encoding.startswith("utf") else "[^\x00-\x7e]"
    emit(re.sub(escaped, lambda sign: json.dumps(sign[0])[1:-1], text))


def print_names(rows: Sequence[tuple[str, ...]]) -> None:
    """Prints names and what they stand for: in columns, the last one folded to a terminal's width.

    Where standard output is no terminal each is one line, for `grep` and its kin.
    """
    if not rows:
        return
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    indent = sum(widths) + 2 * len(widths)
    wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in rows:
        head = "".join(f"{cell:<{width + 2}}" for cell, width in zip(row, widths, strict=False))
        if wide is None or wide < indent + 20:
            print(f"{head}{row[-1]}".rstrip())
        else:
            print(textwrap.fill(row[-1], wide, initial_indent=head, subsequent_indent=" " * indent))
