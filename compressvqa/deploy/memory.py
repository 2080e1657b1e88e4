"""Memory that is given back to the system has to be asked for again, page by page: while scoring, it is kept."""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Numbers and defaults of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_USUAL = {_M_TRIM_THRESHOLD: 128 * 1024, _M_MMAP_MAX: 65536}
_KEEPING = {_M_TRIM_THRESHOLD: 2**31 - 1, _M_MMAP_MAX: 0}
_lock = threading.Lock()
_inside = 0


@functools.cache
def _glibc() -> Any:
    """glibc, or None: another system, or another C library."""
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL("libc.so.6")
        library.mallopt.argtypes, library.mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
        library.malloc_trim.argtypes = [ctypes.c_size_t]
    except (OSError, AttributeError):
        return None
    return library


def give_back() -> None:
    """Hands what is free to the system: after work that needed more than what follows."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@contextmanager
def kept_memory() -> Iterator[bool]:
    """For its time, what is freed is kept for what is asked for next; afterwards it is given back.

    By default glibc has each large tensor mapped anew, filled with zeros page by page, and unmapped when it is freed.
    Scoring makes and frees tensors of the same sizes over and over: the pages were two thirds of its time.

    Yields:
        Whether it is done: only on Linux with glibc.
    """
    global _inside  # noqa: PLW0603  (the allocator is the process's, too)
    library = _glibc()
    if library is None:
        yield False
        return
    with _lock:
        _inside += 1
        for option, value in _KEEPING.items():
            library.mallopt(option, value)
    try:
        yield True
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                for option, value in _USUAL.items():
                    library.mallopt(option, value)
                library.malloc_trim(0)
