"""Runs the blocks of documents: `python -m tests.page_blocks.runner ROOT FILES DOCUMENT...`, one JSON line a block.

PyTorch takes seconds to import, and a document has a dozen commands. So one process imports it, and each document, and
each command in it, is a fork of that process: it begins with nothing registered and nothing computed. Python blocks of
a document run in one fork, in order, each with names of its own, as somebody would try them in one session; what
they register, commands don't know.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shlex
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.page_blocks.parse import Block, blocks, commands

WARM = (
    "torch",
    "compressvqa.scoring.engine",
    "compressvqa.pruning",
    "compressvqa.models",
    "compressvqa.running.pipeline",
    "scipy.stats",
    "scipy.optimize",
    "lightning_fabric",
)


def main(root: Path, files: Path, documents: list[Path]) -> None:
    """Runs every block of the documents that can run; each document in a folder of its own, with `files` in it."""
    for name in WARM:
        importlib.import_module(name)
    for document in documents:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(files, folder, dirs_exist_ok=True)
            (Path(folder) / "recipes").symlink_to(root / "recipes")
            os.chdir(folder)
            _document(root, document)
            os.chdir(root)


def _document(root: Path, document: Path) -> None:
    found = [block for block in blocks(document.read_text(encoding="utf-8")) if block.runs or block.file]
    name = document.relative_to(root).as_posix()
    with _session() as python:
        for block in found:
            if block.file:
                Path(block.file).write_text(block.text, encoding="utf-8")
            if block.language == "python":
                code, printed = python(document, block)
                _tell(name, block.line, block.output, code, printed)
                continue
            if not block.runs:
                continue
            for line, command, said in commands(block):
                code, printed = _forked(lambda command=command: _command(command))
                _tell(name, line, said, code, printed)


def _tell(name: str, line: int, said: str | None, code: int, printed: str) -> None:
    print(json.dumps({"document": name, "line": line, "said": said, "code": code, "printed": printed}), flush=True)


@contextlib.contextmanager
def _session() -> Iterator[Callable[[Path, Block], tuple[int, str]]]:
    """A fork that runs Python blocks until it is told to stop."""
    to_it, from_it = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(to_it[1])
        with os.fdopen(to_it[0]) as asked, os.fdopen(from_it[1], "w") as told:
            for line in asked:
                given = json.loads(line)
                result = _printed(lambda given=given: _python(**given))
                told.write(json.dumps(result) + "\n")
                told.flush()
        os._exit(0)
    os.close(to_it[0])
    os.close(from_it[1])
    with os.fdopen(to_it[1], "w") as asks, os.fdopen(from_it[0]) as answers:

        def run(document: Path, block: Block) -> tuple[int, str]:
            asks.write(json.dumps({"path": str(document), "line": block.line, "text": block.text}) + "\n")
            asks.flush()
            answer = answers.readline()
            return tuple(json.loads(answer)) if answer else (-1, "the process ended")

        yield run
    os.waitpid(child, 0)


def _python(path: str, line: int, text: str) -> None:
    exec(compile("\n" * line + text, path, "exec"), {"__name__": "__main__"})


def _command(command: str) -> None:
    """`compressvqa ...` in this fork; anything else by the shell, for which compressvqa is a script of its own."""
    words = shlex.split(command, comments=True)
    if words[0] == "compressvqa" and not set(words) & {"|", ">", "&&", ";"}:
        from compressvqa.cli import main as cli

        sys.argv = words
        cli()
        return
    script = Path(".bin") / "compressvqa"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m compressvqa "$@"\n')
    script.chmod(0o755)
    os.environ["PATH"] = f"{script.parent.resolve()}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.execvp("bash", ["bash", "-c", command])


def _forked(work: Callable[[], None]) -> tuple[int, str]:
    with tempfile.TemporaryFile() as out:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            os._exit(_exit_code(work))
        _, status = os.waitpid(child, 0)
        out.seek(0)
        return os.waitstatus_to_exitcode(status), out.read().decode(errors="replace")


def _printed(work: Callable[[], None]) -> tuple[int, str]:
    """Runs in this process; (exit code, all that was written to standard output and error)."""
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
        code = _exit_code(work)
        for number, one in enumerate(kept, 1):
            os.dup2(one, number)
            os.close(one)
        out.seek(0)
        return code, out.read().decode(errors="replace")


def _exit_code(work: Callable[[], None]) -> int:
    code: Any = 0
    try:
        work()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(one) for one in sys.argv[3:]])
