"""Code of the user's own: a file or a module, imported because the person who started the command named it.

Recipes and model folders never name code; they hold names of the registry.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from compressvqa.errors import CompressVQAError, DataError

_imported: list[str] = []


def imported() -> tuple[str, ...]:
    """What `import_code` imported so far, in order and as it takes it: another process imports the same."""
    return tuple(_imported)


def import_code(code: str) -> ModuleType:
    """Imports ``file.py`` or ``package.module``; the file may import its neighbours.

    Raises:
        DataError: no such file or module, or it fails while it is imported.
        CompressVQAError: what it registers breaks a promise.
    """
    if not code.endswith(".py"):
        _find_in(Path.cwd())
        module: ModuleType = tried(lambda: importlib.import_module(code), code)
        _note(code)
        return module
    file = Path(code).resolve()
    if not file.is_file():
        raise DataError("no such file", where=code)
    name = _free_name(file)
    _find_in(file.parent)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses and pickling look their module up
    try:
        tried(lambda: spec.loader.exec_module(module), code)  # type: ignore[union-attr]
    except BaseException:
        sys.modules.pop(name) if before is None else sys.modules.update({name: before})
        raise
    _note(str(file))
    return module


def _note(code: str) -> None:
    if code not in _imported:
        _imported.append(code)


def _find_in(folder: Path) -> None:
    """Makes a folder's modules importable, after all others: a neighbour called `statistics` replaces nobody's."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _free_name(file: Path) -> str:
    """A file's own name, by which its neighbours import it; another one where that is taken (`json.py`)."""
    taken: ModuleType | ModuleSpec | None = sys.modules.get(file.stem)
    if taken is None and file.stem.isidentifier():
        taken = importlib.util.find_spec(file.stem)
    if file.stem not in sys.stdlib_module_names and (taken is None or _is(taken, file)):
        return file.stem
    return f"user_code_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"


def _is(found: ModuleType | ModuleSpec, file: Path) -> bool:
    place = found.origin if isinstance(found, ModuleSpec) else getattr(found, "__file__", None)
    return place is not None and Path(place).resolve() == file


def tried(work: Callable[[], Any], where: str) -> Any:
    """Runs the user's code; whatever it raises becomes one line.

    Raises:
        DataError: what it raised, in a line.
        CompressVQAError: our own errors pass as they are.
    """
    try:
        return work()
    except CompressVQAError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        raise DataError(f"fails with {type(error).__name__}: {said}", where=where) from error
