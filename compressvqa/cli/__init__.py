"""The command line: one file a command, one thin function each; the work is done by the library."""

from __future__ import annotations

import gc
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from compressvqa.cli import (
    data,
    doctor,
    evaluate,
    export,
    metrics,
    models,
    plan,
    prune,
    recipes,
    report,
    run,
    score,
    sweep,
    verify,
)
from compressvqa.cli.app import app
from compressvqa.cli.failures import ended
from compressvqa.cli.general import begin
from compressvqa.cli.terminal import show_text_only

__all__ = [
    "app",
    "data",
    "doctor",
    "evaluate",
    "export",
    "main",
    "metrics",
    "models",
    "plan",
    "prune",
    "recipes",
    "report",
    "run",
    "score",
    "sweep",
    "verify",
]

# New objects that Python looks through for garbage at once. With its own 700, a fifth of the time in which a command
# imports PyTorch goes into looking through what is imported, again and again.
COLLECT_AFTER = 10_000


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: ends the process with the exit code that `ended` documents.

    Args:
        arguments: of the command line; None: those of the process.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("compressvqa")
    log.addHandler(handler)
    begin()
    _yield_cores()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may hold what no encoding knows
            stream.reconfigure(errors="backslashreplace")
    streams, thresholds = (sys.stdout, sys.stderr), gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *thresholds[1:])
    show_text_only()
    try:
        sys.exit(ended(lambda: app(arguments, prog_name="compressvqa", standalone_mode=False)))
    finally:
        log.removeHandler(handler)
        gc.set_threshold(*thresholds)
        sys.stdout, sys.stderr = streams


def _yield_cores() -> None:
    """Threads that wait for others give up their core soon, where the user has not said otherwise.

    OpenMP's busy waiting makes two programs on two cores crawl: a training step of 0.22 s took 0.50 s beside other
    programs with this setting and up to 4.7 s without, and no more on a quiet machine. It counts only if it is set
    before PyTorch is imported, which every command does by itself.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
