"""Progress of long work: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

# Called with (done, total) as long work goes on; total is None where it is not known.
Progress: TypeAlias = Callable[[int, "int | None"], object]

SECONDS_BETWEEN_LINES = 30.0  # in a log; what ends sooner leaves no line there
_silent = False


def say_nothing(silent: bool) -> None:
    """Whether work of this process shows no progress from now on, as ``--quiet`` asks for."""
    global _silent  # noqa: PLW0603  (what the person at the command line wants holds for the process)
    _silent = silent


class Bar:
    """Shows nothing; what shows something is derived from it."""

    def update(self, done: int, total: int | None = None, note: str = "") -> None:
        """Says that `done` of `total` is done, with a short note."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """The same as `update` without a note: a bar can be given where a callback ``(done, total)`` is wanted."""
        self.update(done, total)


class _TerminalBar(Bar):
    def __init__(self, progress: RichProgress, description: str, total: int | None) -> None:
        self._progress, self._task = progress, progress.add_task(description, total=total, note="")

    def update(self, done: int, total: int | None = None, note: str = "") -> None:
        self._progress.update(self._task, completed=done, total=total, note=note)


class Lines(Bar):
    """A line in a log every half minute or so.

    Args:
        description: what goes on.
        total: how much there is, where it is known from the start.
        clock: seconds from an arbitrary moment.
    """

    def __init__(self, description: str, total: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._description, self._total, self._clock = description, total, clock
        self._began = self._said = clock()
        self._first: int | None = None  # work that was done before, as a resumed one begins with it

    def update(self, done: int, total: int | None = None, note: str = "") -> None:
        """Prints a line where the last one is long enough ago."""
        now, total = self._clock(), self._total if total is None else total
        if self._first is None or done < self._first:
            self._first, self._began = done, now
        if now - self._said < SECONDS_BETWEEN_LINES:
            return
        self._said = now
        spent, worked = now - self._began, done - self._first
        parts = [f"{done} of {total}" if total else str(done), *([note] if note else []), f"{_time(spent)} so far"]
        if total and worked > 0 and done < total:
            parts.append(f"about {_time(spent * (total - done) / worked)} left")
        sys.stderr.write(f"{self._description}: {', '.join(parts)}\n")
        sys.stderr.flush()


def _time(seconds: float) -> str:
    """
    >>> _time(45), _time(200), _time(7300)
    ('45 s', '3 min', '2 h 2 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def bar(description: str, total: int | None = None, *, shown: bool | None = None) -> Iterator[Bar]:
    """Progress on standard error while the block runs: a bar on a terminal, else a line now and then.

    Args:
        description: what goes on.
        total: how much there is, where it is known.
        shown: True: a bar wherever standard error goes; False: nothing; None: as described.
    """
    if _silent or shown is False:
        yield Bar()
        return
    if not (shown or sys.stderr.isatty()):
        yield Lines(description, total)
        return
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as progress:
        yield _TerminalBar(progress, description, total)
