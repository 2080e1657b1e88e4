"""Running the command line from a test."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs ``compressvqa ARGUMENTS`` in a process of its own, which takes seconds to import PyTorch."""
    line = [sys.executable, "-m", "compressvqa", *arguments]
    environment = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def inside(
    *arguments: str, cwd: Path | None = None, columns: int = 120, stdin: bytes | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs it in this process, from the entry point on: for what is not about processes.

    Args:
        arguments: of the command line.
        cwd: where it runs.
        columns: the terminal's width.
        stdin: what comes on standard input.
    """
    from compressvqa.cli import main

    out, err = io.StringIO(), io.StringIO()
    before = Path.cwd()
    given = io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin or b"")))  # type: ignore[type-var]
    try:
        if cwd is not None:
            os.chdir(cwd)
        with (
            patch.dict(os.environ, {"COLUMNS": str(columns)}),
            patch.object(sys, "stdin", given),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            main(list(arguments))
    except SystemExit as ended:
        code = ended.code
    finally:
        os.chdir(before)
    assert isinstance(code, int)
    return subprocess.CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())
