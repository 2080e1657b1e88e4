"""Results of units: one file each in a folder that processes and machines may share."""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from compressvqa.errors import DataError


class Results:
    """A folder with one JSON file for each unit that is done.

    A file is written under a name that no other process or machine uses, flushed, and renamed: it is there whole, or
    not at all. Two that write the same unit write the same bytes, and the later one wins.

    Args:
        folder: made when the first result is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Where the result of a unit lies. A folder of a million files is slow on many drives, so there are 256."""
        return self.folder / name[:2] / f"{name}.json"

    def get(self, name: str) -> tuple[Any] | None:
        """(result,) of a unit that was done; None where it was not, or where its file is damaged."""
        try:
            held = json.loads(self.path(name).read_text(encoding="utf-8"))
            return (held["result"],) if held["unit"] == name else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, name: str, result: Any) -> None:
        """Keeps the result of a unit.

        Raises:
            DataError: it can't be written, for a full disk as an example.
            TypeError: it is not plain.
        """
        text = json.dumps({"unit": name, "result": result}, allow_nan=True)
        path = self.path(name)
        # A process number is not unique over machines and containers: each may have a process 1.
        temporary = path.with_name(f".{name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(8)}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            hint = "free some space, then run it again: what was done is kept" if error.errno == errno.ENOSPC else None
            raise DataError(f"a result can't be kept ({error.strerror})", where=path.parent, hint=hint) from error

    def drop(self, name: str) -> None:
        """Forgets the result of a unit, so that it is done again."""
        self.path(name).unlink(missing_ok=True)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Names of units without a result."""
        return [name for name in names if self.get(name) is None]
