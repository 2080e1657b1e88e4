"""Writing files so that a killed process never leaves half of one."""

from __future__ import annotations

import contextlib
import glob
import json
import logging
import math
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from filelock import FileLock, Timeout

from compressvqa.errors import CompressVQAError

OWNER = ".owner"
log = logging.getLogger(__name__)


def unique() -> str:
    """A part of a temporary name that no other thread, process, container or host comes to.

    A process number alone is not one: where every container counts from 1, all of them are process 1.
    """
    return f"{os.getpid()}-{secrets.token_hex(6)}"


_SOME = b"0" * 4096  # a full disk takes an empty file


def check_writable(*paths: Path | None) -> None:
    """Finds out before the work whether its results can be written.

    Args:
        paths: files or folders that will be written; None is left out.

    Raises:
        CompressVQAError: there is no such folder and it can't be made, it can't be written to, a file stands where a
            folder should, or the disk is full.
    """
    for path in paths:
        if path is None:
            continue
        try:
            _try_out(path)
        except OSError as error:
            raise CompressVQAError(f"can't be written: {error.strerror or error}", where=path) from error


def _try_out(path: Path) -> None:
    """Writes beside `path`, and takes it back.

    Folders that are missing are made under a name of their own: another process that makes the real ones meanwhile must
    not find that they were taken away again.
    """
    above = path if path.is_dir() else path.parent
    there = next((folder for folder in (above, *above.parents) if os.path.lexists(folder)), above)
    trial = there / f".{unique()}.tmp"
    if there == above:
        try:
            trial.write_bytes(_SOME)
        finally:
            trial.unlink(missing_ok=True) if there.is_dir() else None
    else:
        trial.mkdir()
        try:
            inner = trial / above.relative_to(there)
            inner.mkdir(parents=True, exist_ok=True)  # a name may be too long
            (inner / "trial").write_bytes(_SOME)
        finally:
            shutil.rmtree(trial, ignore_errors=True)
    if path.is_file():
        path.open("r+b").close()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside `path`; when the block ends well, what was written there becomes `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{unique()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename is None or str(error.filename) == str(temporary):
            error.filename, error.filename2 = str(path), None  # a full disk is told without a name
        raise
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


@contextmanager
def owned(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside `path` that says for how long somebody works under it.

    Beside it lies a locked file, which a system unlocks when its process ends, however it does, on this host or another
    one. What killed processes left there for the same `path` is removed first: what nobody holds the lock of. What has
    no such file, as on file systems without locks, is left alone.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{OWNER}"):
        _remove_unowned(left)
    temporary = path.with_name(f".{path.name}.{unique()}.tmp")
    lock = FileLock(temporary.with_suffix(OWNER))
    with contextlib.suppress(OSError, NotImplementedError):  # no locks here: then it is nobody's to remove
        lock.acquire()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        lock.release()
        with contextlib.suppress(OSError):
            temporary.with_suffix(OWNER).unlink(missing_ok=True)


def _remove_unowned(owner: Path) -> None:
    lock = FileLock(owner)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError, NotImplementedError):
        return
    try:
        shutil.rmtree(owner.with_suffix(".tmp"), ignore_errors=True)
        if not owner.with_suffix(".tmp").exists():
            with contextlib.suppress(OSError):
                owner.unlink(missing_ok=True)
    finally:
        lock.release()


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all; bytes of a file's name that are no UTF-8 are escaped, as JSON does it."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Writes `plain` JSON whole or not at all."""
    write_text(path, json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """A nested value as what JSON knows: numbers, texts, lists, dictionaries.

    Numbers of NumPy and tensors become numbers and lists, paths their texts, NaN and infinity None, as strict JSON
    knows neither. Anything else becomes its text, and a line in the log says where.

    >>> import numpy as np
    >>> plain({"a": np.float32(0.5), "b": (np.int64(3), np.zeros(2)), "c": float("nan")})
    {'a': 0.5, 'b': [3, [0.0, 0.0]], 'c': None}
    """
    return _plain(value, "")


def _plain(value: Any, at: str) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{at}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{at}.{number}") for number, item in enumerate(value)]
    if hasattr(value, "tolist") and type(value).__module__.partition(".")[0] in ("numpy", "torch"):
        return _plain(value.tolist(), at)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if not isinstance(value, PurePath):
        log.warning("JSON has no form for a %s: %s is written as text", type(value).__name__, at.lstrip(".") or "it")
    return str(value)


def exchange(new: Path, old: Path) -> None:
    """Puts a folder in the place of another in one step, where the system can; what was there then lies at `new`.

    Where it can't, there are two: in between, the old one lies under the name that `set_aside` gives.

    Raises:
        OSError: it could not be done; the old folder stands where it was.
    """
    if _swapped(new, old):
        return
    aside = set_aside(old)
    old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        aside.rename(old)
        raise
    aside.rename(new)


def set_aside(folder: Path) -> Path:
    """Where `exchange` may have left a folder when the process was killed between its two steps."""
    return folder.with_name(f".{folder.name}.aside")


def _swapped(one: Path, other: Path) -> bool:
    """Whether the two changed places (renameat2 of Linux)."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0)


def finite(value: Any) -> Any:
    """The same nested value with NaN and infinities as None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
