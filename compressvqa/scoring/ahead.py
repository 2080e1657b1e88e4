"""Decoding beside scoring: the next block is read while the one before is measured."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class _End:
    """The last thing that the thread hands over: why it ended."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def read_ahead(items: Iterable[T]) -> Iterator[T]:
    """The items of an iterable, in order, each made in a thread of its own while the caller works on the one before.

    One item is made ahead, no more. What the iterable raises is raised here, in its place; when the caller stops early,
    the thread ends with the item that it is at.

    >>> list(read_ahead(range(4)))
    [0, 1, 2, 3]
    """
    made: queue.SimpleQueue[Any] = queue.SimpleQueue()
    wanted = threading.Semaphore(1)
    stopped = threading.Event()

    def work() -> None:
        error: BaseException | None = None
        try:
            source = iter(items)
            while wanted.acquire() and not stopped.is_set():
                made.put(next(source))
        except StopIteration:
            pass
        except BaseException as raised:  # handed to the caller, whatever it is
            error = raised
        made.put(_End(error))

    thread = threading.Thread(target=work, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = made.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            wanted.release()
            yield item
            del item  # or two blocks would live on while the next one is waited for
    finally:
        stopped.set()
        wanted.release()
        thread.join()
