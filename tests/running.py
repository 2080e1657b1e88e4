"""Running the command line from a test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs ``compressvqa ARGUMENTS`` in a process of its own."""
    line = [sys.executable, "-m", "compressvqa", *arguments]
    environment = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
