"""The command line: one file a command, one thin function each; the work is done by the library."""

from __future__ import annotations

import logging
import sys

from compressvqa.cli import data, doctor, evaluate, models, prune, recipes, report, run, score, verify
from compressvqa.cli.app import app
from compressvqa.errors import CompressVQAError

__all__ = [
    "app",
    "data",
    "doctor",
    "evaluate",
    "main",
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
    try:
        app()
    except CompressVQAError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(1)
