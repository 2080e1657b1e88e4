"""Code of the user's own: a file or a module, imported because the person who started the command named it.

Recipes and model folders never name code; they hold names of the registry.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from compressvqa.errors import CompressVQAError, DataError


def import_code(code: str) -> ModuleType:
    """Imports ``file.py`` or ``package.module``; the file may import its neighbours.

    Raises:
        DataError: no such file or module, or it fails while it is imported.
        CompressVQAError: what it registers breaks a promise.
    """
    if not code.endswith(".py"):
        sys.path.insert(0, str(Path.cwd()))
        module: ModuleType = tried(lambda: importlib.import_module(code), code)
        return module
    file = Path(code).resolve()
    if not file.is_file():
        raise DataError("no such file", where=code)
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # dataclasses and pickling look their module up
    tried(lambda: spec.loader.exec_module(module), code)  # type: ignore[union-attr]
    return module


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
