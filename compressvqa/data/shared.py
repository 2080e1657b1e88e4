"""Folders of prepared data that runs share: one of them works in a folder at a time, whichever host it is on.

Who works there holds a lock of the file system, so that what a killed process left is told from what another one is at:
a process number says nothing about another host or container.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from compressvqa.errors import DataError
from compressvqa.files import unique

log = logging.getLogger(__name__)
LOCK = ".lock"
PIECES = ".pieces"


@contextmanager
def working_in(folder: Path) -> Iterator[Path]:
    """Waits until nobody else works in a folder, tidies it, and gives a place in it for temporary files.

    Args:
        folder: the folder; it is made where there is none.

    Raises:
        DataError: the folder can't be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("%s: another run prepares data there; waiting for it", folder)
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        said = getattr(error, "strerror", None) or error
        raise DataError(f"the data folder can't be written ({said})", where=folder) from error
    work = folder / f".work-{unique()}"
    try:
        remove_dead_work(folder)
        work.mkdir()
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        lock.release()


@contextmanager
def apart_in(folder: Path, name: str) -> Iterator[Path]:
    """A place for temporary files of one piece of a preparation, while others work at other pieces of the folder.

    What is made there is renamed into the folder when it is whole. Who works at the same piece waits.

    Args:
        folder: the folder.
        name: of the piece, as a file may be called.

    Raises:
        DataError: the folder can't be made or written.
    """
    place = folder / PIECES / name
    with working_in(place) as work:
        yield work
        # Whoever waits for this lock, or takes one of the same name after it, finds the piece finished.
        shutil.rmtree(place, ignore_errors=True)
    with contextlib.suppress(OSError):
        place.parent.rmdir()


def remove_dead_work(folder: Path) -> None:
    """Removes what killed processes left; only for who holds the lock of the folder, or of the one above."""
    for path in [*folder.glob(".work-*"), *folder.glob(".*.tmp")]:
        with contextlib.suppress(OSError):  # an encoder that outlived its process may still write there
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
