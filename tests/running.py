"""Running the command line from a test."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs ``compressvqa ARGUMENTS`` in a process of its own, forked from one that has imported PyTorch."""
    return start(*arguments, cwd=cwd).wait()


def script(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs ``python -c CODE ARGUMENTS`` in such a process."""
    return _start(["-c", code, *arguments], cwd, {}).wait()


def module(name: str, *arguments: str, environment: dict[str, str]) -> Running:
    """Begins ``python -m NAME ARGUMENTS`` in such a process; `name` is a module of tests/."""
    return _start(["-m", name, *arguments], Path(__file__).parent, environment)


def start(*arguments: str, cwd: Path | None = None) -> Running:
    """Begins ``compressvqa ARGUMENTS`` in a process of its own, see fork_server.py."""
    return _start(["-m", "compressvqa", *arguments], cwd or Path.cwd(), {"COLUMNS": "120"})


def _start(arguments: list[str], cwd: Path, environment: dict[str, str]) -> Running:
    streams = Path(tempfile.mkdtemp(dir=_folder().name))
    for name in ("out", "err"):
        (streams / name).touch()
    asked = {
        "arguments": arguments,
        "cwd": str(cwd),
        "environment": {**os.environ, **environment},
        "out": str(streams / "out"),
        "err": str(streams / "err"),
    }
    return Running(arguments, _ask({"start": asked}), streams)


@dataclass
class Running:
    """A command that was begun, with the words of `subprocess.Popen`."""

    arguments: list[str]
    pid: int
    streams: Path
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code (negative: the signal that killed it); None while it runs."""
        if self.returncode is None:
            self.returncode = _ask({"pid": self.pid, "wait": False})
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        os.kill(self.pid, number)

    def wait(self, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
        """Waits for its end; it is killed where that takes longer than `seconds`."""
        if seconds is not None:
            ends = time.monotonic() + seconds
            while self.poll() is None and time.monotonic() < ends:
                time.sleep(0.05)
            if self.poll() is None:
                self.send_signal(signal.SIGKILL)
        code: int = _ask({"pid": self.pid, "wait": True}) if self.returncode is None else self.returncode
        self.returncode = code
        said = [(self.streams / name).read_text(encoding="utf-8") for name in ("out", "err")]
        return subprocess.CompletedProcess(self.arguments, code, *said)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="commands-")


@functools.cache
def _server() -> subprocess.Popen[str]:
    line = [sys.executable, str(Path(__file__).parent / "fork_server.py")]
    server = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    atexit.register(server.wait)
    atexit.register(server.stdin.close)
    return server


def _ask(what: dict[str, Any]) -> Any:
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps(what) + "\n")
    server.stdin.flush()
    answer = server.stdout.readline()
    assert answer, "the process that forks has ended"
    return json.loads(answer)


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
