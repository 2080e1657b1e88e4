"""Shares that wait for each other, and do what a lost one leaves behind: for work whose next step needs all results."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from compressvqa.executors.results import Results
from compressvqa.executors.shard import Shard
from compressvqa.executors.unit import Outcome, Unit, Work

LEASE, BEAT, LOOK = 300.0, 15.0, 1.0


class Together:
    """Runs one share of the units, waits for the others, and takes over those of shares that are lost.

    While it works a share writes to a file of its own every few seconds. One that has not written for the time of a
    lease is lost; the next share that is not does its units. Time is that of the one who waits, so clocks need not
    agree, and may jump.

    Args:
        share: of the units.
        lease: seconds without a sign after which a share is lost.
        beat: seconds between signs.
        look: seconds between looks for results.
    """

    whole = True

    def __init__(self, share: Shard, *, lease: float = LEASE, beat: float = BEAT, look: float = LOOK) -> None:
        self._shard, self._lease, self._beat, self._look = share, lease, beat, look
        self._heard: dict[int, tuple[object, float]] = {}  # of other shares: the last sign, and when it was new here

    def share(self, units: Sequence[Unit]) -> list[Unit]:
        """See `Executor.share`: all of them in the end."""
        return list(units)

    def run(self, work: Work, units: Sequence[Unit], results: Results) -> Iterator[Outcome]:
        """See `Executor.run`."""
        owners = {unit.name: 1 + place % self._shard.count for place, unit in enumerate(Shard(1, 1).share(units))}
        with self._signs(results.folder):
            yield from self._shard.run(work, units, results)
            left = [unit for unit in units if owners[unit.name] != self._shard.index]
            self._heard.clear()
            while left:
                waiting = []
                for unit in left:
                    kept = results.get(unit.name)
                    if kept is not None:
                        yield unit, kept[0]
                    elif self._falls_to_me(owners[unit.name], results.folder):
                        yield from self._shard.inner.run(work, [unit], results)
                    else:
                        waiting.append(unit)
                left = waiting
                if left:
                    time.sleep(self._look)

    def _falls_to_me(self, owner: int, folder: Path) -> bool:
        """Whether a share is lost, and so are those between it and this one."""
        between = (1 + (owner - 1 + step) % self._shard.count for step in range(self._shard.count))
        for index in between:
            if index == self._shard.index:
                return True
            if not self._lost(index, folder):
                return False
        return False

    def _lost(self, index: int, folder: Path) -> bool:
        try:
            sign: object = self._file(folder, index).read_text(encoding="utf-8")
        except OSError:
            sign = None
        now = time.monotonic()
        last, since = self._heard.setdefault(index, (sign, now))
        if sign != last:
            self._heard[index] = sign, now
            return False
        return now - since > self._lease

    def _file(self, folder: Path, index: int) -> Path:
        return folder / f"share-{index}-of-{self._shard.count}.sign"

    @contextmanager
    def _signs(self, folder: Path) -> Iterator[None]:
        """Writes signs while it lasts; another one each time, whatever the clock says."""
        ended, file = threading.Event(), self._file(folder, self._shard.index)

        def write() -> None:
            while True:
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(os.urandom(8).hex().encode())
                except OSError:  # a full disk: the results themselves will say so
                    pass
                if ended.wait(self._beat):
                    return

        thread = threading.Thread(target=write, name="signs", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
