"""Which program is it? An outside command told by what its files hold and by the version that it answers."""

from __future__ import annotations

import ast
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from compressvqa.errors import DataError
from compressvqa.fingerprint import content_digest

# A program that takes longer to say its version is not asked for it.
TIMEOUT = 10
# A folder of a command that holds more files than this is not a model's: only its name counts.
MANY = 1000


def program_identity(words: Sequence[str]) -> str:
    """Text that changes with a command's program and files.

    The program, and each file or folder that stands in the command or behind an equals sign in it, counts with its
    content, wherever it is; a Python script also with the modules beside it that it imports. The program, and a module
    that is run by ``-m``, is asked for its ``--version``; one that fails or is silent has none.

    Args:
        words: the command; words with places in braces are taken as they are.
    """
    said: list[str] = []
    for place, word in enumerate(words):
        said.append(word)
        if place == 0 and (found := shutil.which(word)):
            said.append(content_digest(Path(found)))
        elif "{" not in word:
            said += [_content(Path(part)) for part in (word, word.partition("=")[2]) if part and _exists(part)]
    said.append(_version(words[:1]))
    for place, word in enumerate(words[:-1]):
        if word == "-m" and "{" not in words[place + 1]:
            said.append(_version(words[: place + 2]))
            break
    return "\n".join(said)


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # a sentence, too long for a name
        return False


def _content(path: Path) -> str:
    try:
        if path.is_dir():
            files = [file for _, file in zip(range(MANY + 1), path.rglob("*"), strict=False)]
            return content_digest(path) if len(files) <= MANY else "a large folder"
        found = [content_digest(path)]
        if path.suffix == ".py":
            found += [content_digest(file) for file in sorted(_imported(path, {path.resolve()}))]
        return " ".join(found)
    except DataError:  # a device, a socket, a file of somebody else
        return "unreadable"


def _imported(script: Path, known: set[Path]) -> Iterator[Path]:
    """Modules beside a Python script that it imports, and those that they import."""
    try:
        tree = ast.parse(script.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{name}" for name in names)]
        for name in names:
            below = script.parent.joinpath(*name.split("."))
            for file in (below.with_name(f"{below.name}.py"), below / "__init__.py"):
                if file.is_file() and file.resolve() not in known:
                    known.add(file.resolve())
                    yield file
                    yield from _imported(file, known)


def _version(words: Sequence[str]) -> str:
    command = [*words, "--version"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              timeout=TIMEOUT, check=False, cwd=Path.home())  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else (done.stdout or done.stderr).strip()[:10_000]
