"""Processor time of a piece of work."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

RUNS, ENOUGH = 3, 1.0  # at most so many runs, and no further one after so many seconds


def now() -> float:
    """Processor seconds of this thread, or of the process where torch has several threads.

    A process whose processor time is limited by a timer has its own clock advanced by ticks of milliseconds, which is
    about as long as a small network's pruning; the clock of a thread stays exact.
    """
    return time.thread_time() if torch.get_num_threads() == 1 else time.process_time()


def seconds(work: Callable[[Any], Any], fresh: Callable[[], Any] = lambda: None) -> float:
    """Processor time of a run: the least of three, fewer where they take long; other processes only ever add to it.

    Args:
        work: what is timed, with what `fresh` gives.
        fresh: makes what a run uses up; it is not timed.
    """
    times: list[float] = []
    while len(times) < RUNS and sum(times) < ENOUGH:
        thing = fresh()
        start = now()
        work(thing)
        times.append(now() - start)
    return min(times)
