"""Digests of large files, kept so that a data set is not read through for each evaluation."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from compressvqa.errors import DataError
from compressvqa.fingerprint import content_digest

# Below, a file is read each time that a program begins: that costs less than to be wrong on a disk that keeps no time
# of change.
ALWAYS_READ = 1 << 26
# A file that was changed so shortly ago could be changed again within the same tick of the disk's clock.
SETTLED = 2.0  # seconds


class Digests:
    """SHA-256 of files by what they hold.

    Within a program a file is read once, and again when its state changes: device, number, size, time of writing and
    *time of change*, which no program can set back, as copying with times does with that of writing. The digests of
    files above 64 MiB are kept under that state from program to program.

    Args:
        store: a data base to keep them in.
    """

    def __init__(self, store: sqlite3.Connection) -> None:
        self._store = store
        self._read: dict[tuple[int, ...], str] = {}
        with store:
            store.execute(
                "CREATE TABLE IF NOT EXISTS digests (device INTEGER, inode INTEGER, size INTEGER, written INTEGER, "
                "changed INTEGER, digest TEXT NOT NULL, PRIMARY KEY (device, inode, size, written, changed))"
            )

    def of(self, path: Path) -> str:
        """SHA-256 of a file, or of a folder's files.

        Raises:
            DataError: it can't be read.
        """
        try:
            state = path.stat()
        except OSError as error:
            raise DataError(f"can't be read ({error.strerror or error})", where=path) from error
        if path.is_dir():
            return content_digest(path)
        # SQLite's numbers have a sign, those of some file systems fill 64 bits.
        told = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        numbers = tuple(number & (1 << 63) - 1 for number in told)
        if numbers in self._read:
            return self._read[numbers]
        # On Windows the time of change is that of making.
        lasting = state.st_size > ALWAYS_READ and os.name != "nt"
        if lasting and (row := self._find(numbers)) is not None:
            return row
        digest = content_digest(path)
        if time.time() - state.st_ctime >= SETTLED and path.stat().st_ctime_ns == state.st_ctime_ns:
            self._read[numbers] = digest
            if lasting:
                with self._store:
                    self._store.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?)", (*numbers, digest))
        return digest

    def _find(self, numbers: tuple[int, ...]) -> str | None:
        query = "SELECT digest FROM digests WHERE (device, inode, size, written, changed) = (?, ?, ?, ?, ?)"
        row = self._store.execute(query, numbers).fetchone()
        return None if row is None else str(row[0])
