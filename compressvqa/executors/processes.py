"""Units on processes of this machine."""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from compressvqa.errors import DataError
from compressvqa.executors.doing import Surroundings, done, kept_of
from compressvqa.executors.results import Results
from compressvqa.executors.unit import Outcome, Unit, Work

log = logging.getLogger(__name__)


class Processes:
    """Runs units on some processes of this machine, or one after the other in this one.

    Args:
        workers: processes; 1: no further process. None: one for each core that this process may use.
        threads: of each process's numerical libraries; None: cores shared out among the processes. One process keeps
            the threads that it has.
        retries: how many times a unit is begun again whose process died (killed, or out of memory).
    """

    whole = True

    def __init__(self, workers: int | None = None, *, threads: int | None = None, retries: int = 2) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.workers = workers or cores
        self.threads = threads or max(1, cores // self.workers)
        self.retries = retries

    def share(self, units: Sequence[Unit]) -> list[Unit]:
        """See `Executor.share`: all."""
        return list(units)

    def run(self, work: Work, units: Sequence[Unit], results: Results) -> Iterator[Outcome]:
        """See `Executor.run`."""
        held, todo = kept_of(units, results)
        yield from held
        if self.workers == 1:
            for unit in todo:
                yield unit, done(work, unit, results)
        elif todo:
            yield from self._side_by_side(work, todo, results)

    def _side_by_side(self, work: Work, todo: list[Unit], results: Results) -> Iterator[Outcome]:
        died: Counter[str] = Counter()
        while todo:
            finished: set[str] = set()
            try:
                for unit, result in self._pool(work, todo, results):
                    finished.add(unit.name)
                    yield unit, result
            except BrokenProcessPool as error:
                # A pool does not say which process died: any of the units that were handed over may have killed it.
                held, todo = kept_of([unit for unit in todo if unit.name not in finished], results)
                died.update(unit.name for unit in todo[: self.workers])
                lost = [unit for unit in todo if died[unit.name] > self.retries]
                if lost:
                    raise DataError(
                        f"its process died {died[lost[0].name]} times, of too little memory perhaps",
                        where=lost[0].title or lost[0].name, hint="fewer workers",
                    ) from error  # fmt: skip
                log.warning("a worker process died; what it had not done is begun again")
                yield from held
                continue
            return

    def _pool(self, work: Work, todo: Sequence[Unit], results: Results) -> Iterator[Outcome]:
        # Not forked: a process that has run PyTorch's threads can't be copied safely.
        context = multiprocessing.get_context("spawn")
        size, before = min(self.workers, len(todo)), set(multiprocessing.active_children())
        begin = functools.partial(_begin, self.threads, Surroundings.here())
        pool = ProcessPoolExecutor(size, mp_context=context, initializer=begin)
        ended = False
        running: dict[Future[object], Unit] = {}
        waiting = iter(todo)
        try:
            while True:
                # Few are handed over at a time: a library may have millions.
                while len(running) < 2 * size and (unit := next(waiting, None)) is not None:
                    running[pool.submit(done, work, unit, results)] = unit
                if not running:
                    ended = True
                    return
                ready, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ready:
                    yield running.pop(future), future.result()
        finally:
            if not ended:  # an error or Ctrl-C: nobody waits an hour for a unit that is begun again anyway
                for child in set(multiprocessing.active_children()) - before:
                    child.terminate()
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(threads: int, surroundings: Surroundings) -> None:
    """What a worker process does first."""
    # Ctrl-C goes to all processes of a terminal: these end without a word, the first one says what there is to say.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    surroundings.enter(threads)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next unit forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
