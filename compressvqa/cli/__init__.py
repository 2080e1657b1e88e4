"""The command line: one file a command, one thin function each; the work is done by the library."""

from __future__ import annotations

import logging
import os
import sys

from compressvqa.cli import data, doctor, evaluate, export, metrics, models, prune, recipes, report, run, score, verify
from compressvqa.cli.app import app
from compressvqa.errors import CompressVQAError

__all__ = [
    "app",
    "data",
    "doctor",
    "evaluate",
    "export",
    "main",
    "metrics",
    "models",
    "prune",
    "recipes",
    "report",
    "run",
    "score",
    "verify",
]


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("compressvqa").addHandler(handler)
    logging.getLogger("compressvqa").setLevel(logging.INFO)
    _yield_cores()
    try:
        app()
    except CompressVQAError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:  # a disk that is full, a folder that is not ours, a network drive that is gone
        what = error.strerror or str(error)
        print(f"error: {what if error.filename is None else f'{error.filename}: {what}'}", file=sys.stderr)
        sys.exit(2)


def _yield_cores() -> None:
    """Threads that wait for others give up their core soon, where the user has not said otherwise.

    OpenMP's busy waiting makes two programs on two cores crawl: a training step of 0.22 s took 0.50 s beside other
    programs with this setting and up to 4.7 s without, and no more on a quiet machine. It counts only if it is set
    before PyTorch is imported, which every command does by itself.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
