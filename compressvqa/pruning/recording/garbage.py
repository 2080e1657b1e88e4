"""Python's collector of garbage looks at all that a process holds, again and again, while a network is taken apart."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def only_new_garbage() -> Iterator[None]:
    """What exists already is left out of collections while this lasts; what is made meanwhile is collected as ever.

    A library of networks holds a million objects, and looking at all of them takes longer than pruning a small network.
    """
    if gc.get_freeze_count():  # somebody else's decision, or an outer call of this
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
