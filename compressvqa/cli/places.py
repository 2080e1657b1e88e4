"""Where results go: a folder that holds something else is neither overwritten nor mixed into unasked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from compressvqa.errors import CompressVQAError

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier command of this kind left there.")
]


def check_new(folder: Path | None, mark: str, *, overwrite: bool, what: str) -> None:
    """Refuses a folder for a result that holds one already, or something else.

    Args:
        folder: where the result goes; None: nowhere.
        mark: a file that a folder of such results holds.
        overwrite: whether an earlier result may be replaced.
        what: the result, in words.

    Raises:
        CompressVQAError: the folder is not empty, and it is no earlier result or that was not to be replaced.
    """
    check_ours(folder, (mark,), what=what)
    if folder is not None and (folder / mark).exists() and not overwrite:
        raise CompressVQAError(f"holds {what} already", where=folder, hint="--overwrite, or another folder")


def check_ours(folder: Path | None, marks: Iterable[str], *, what: str) -> None:
    """Refuses a folder for results that holds something else than earlier ones.

    Args:
        folder: where results go; None: nowhere.
        marks: files and folders, or patterns of them, of which a folder of such results holds one, also a folder of
            results that were not finished.
        what: the results, in words.

    Raises:
        CompressVQAError: it is a file, or holds files and none of `marks`.
    """
    if folder is None or not folder.exists():
        return
    if not folder.is_dir():
        raise CompressVQAError("is a file, not a folder", where=folder)
    inside = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if inside and not any(any(folder.glob(mark)) for mark in marks):
        some = ", ".join(inside[:3]) + (", ..." if len(inside) > 3 else "")
        raise CompressVQAError(f"holds {some}, which is not {what}", where=folder, hint="a new folder")
