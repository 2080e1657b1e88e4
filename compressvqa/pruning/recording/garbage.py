"""Python's collector of garbage looks at all that a process holds, again and again, while a network is taken apart."""

from __future__ import annotations

import contextlib
import functools
import gc
import threading
from collections.abc import Iterator


class _Frozen:
    """Whether objects are frozen here, and by whom.

    Attributes:
        inside: how many callers are within `only_new_garbage`.
        by_others: whether somebody else had frozen objects when it was first entered with some frozen.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.by_others = False


@functools.cache
def _frozen() -> _Frozen:
    """This process's. No global: what a function reads of those belongs to the digest of its code."""
    return _Frozen()


@contextlib.contextmanager
def only_new_garbage() -> Iterator[None]:
    """What exists already is left out of collections while this lasts; what is made meanwhile is collected as ever.

    A library of networks holds a million objects, and looking at all of them takes longer than pruning a small network.
    Where somebody else has frozen objects it is left at that.
    """
    frozen = _frozen()
    with frozen.lock:
        # To count what is frozen is to walk over it: once it is known that somebody does that, it is not asked again.
        if not frozen.inside and not frozen.by_others:
            frozen.by_others = gc.get_freeze_count() > 0
            if not frozen.by_others:
                gc.freeze()
        frozen.inside += 1
    try:
        yield
    finally:
        with frozen.lock:
            frozen.inside -= 1
            if not frozen.inside and not frozen.by_others:
                gc.unfreeze()
