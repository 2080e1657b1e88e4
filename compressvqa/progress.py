"""Progress bars on a terminal; nothing at all where output is not one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

# Called with (done, total) as long work goes on; total is None where it is not known.
Progress: TypeAlias = Callable[[int, "int | None"], object]


class Bar:
    """One bar; does nothing when it is not shown."""

    def __init__(self, progress: RichProgress | None = None, task: int = 0) -> None:
        self._progress, self._task = progress, task

    def update(self, done: int, total: int | None = None, note: str = "") -> None:
        """Moves the bar to `done` of `total`, with a short note at its end."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total, note=note)  # type: ignore[arg-type]

    def __call__(self, done: int, total: int | None = None) -> None:
        """The same as `update` without a note: a bar can be given where a callback ``(done, total)`` is wanted."""
        self.update(done, total)


@contextmanager
def bar(description: str, total: int | None = None, *, shown: bool | None = None) -> Iterator[Bar]:
    """A progress bar on standard error while the block runs, when that is a terminal (or `shown` says so)."""
    if not (sys.stderr.isatty() if shown is None else shown):
        yield Bar()
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
        yield Bar(progress, progress.add_task(description, total=total, note=""))
