"""What a run changes of the process that it is in, and puts back at its end, also after a failure."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from compressvqa.errors import Terminated
from compressvqa.progress import say_nothing


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """While the block runs, SIGTERM raises `Terminated`; in a thread nothing changes, as only the main one may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """PyTorch's number of threads while the block runs; None: as it is."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """What the package logs goes into a file too while the block runs."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    package = logging.getLogger("compressvqa")
    package.addHandler(handler)
    level = package.level
    package.setLevel(logging.INFO)
    fabric = logging.getLogger("lightning_fabric")
    fabric_level = fabric.level
    fabric.setLevel(logging.WARNING)  # it announces the precision each time
    try:
        yield
    finally:
        fabric.setLevel(fabric_level)
        package.removeHandler(handler)
        package.setLevel(level)
        handler.close()


@contextmanager
def silent() -> Iterator[None]:
    """Nothing but errors is said while the block runs: of several processes that do the same, one says it."""
    package = logging.getLogger("compressvqa")
    level = package.level
    package.setLevel(logging.ERROR)
    say_nothing(True)
    try:
        yield
    finally:
        package.setLevel(level)
