"""Which installed package is it? Told by version and by the hashes of its files, as installers write them down."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import platform
import sys
import sysconfig
from pathlib import Path


@functools.cache
def library(module: str) -> str | None:
    """What stands for the code of a module that comes with Python or with a package; None for the user's own.

    >>> library("json").startswith("python 3"), library("numpy.linalg").startswith("numpy "), library("__main__")
    (True, True, None)
    """
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names or root == "builtins":
        return f"python {platform.python_version()}"
    if root == "__main__":  # what was started: a script, a notebook
        return None
    loaded = sys.modules.get(module) or sys.modules.get(root)
    file = getattr(loaded, "__file__", None)
    if loaded is None and root:
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(root)
            file = None if spec is None else spec.origin
    if file is None or not is_installed(Path(file)):
        return None
    return package_digest(root)


@functools.cache
def is_installed(file: Path) -> bool:
    """Whether a file lies where Python and its packages are installed."""
    places = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib", "stdlib", "platstdlib")}
    return any(file.resolve().is_relative_to(place) for place in places)


@functools.cache
def package_digest(root: str) -> str:
    """Names and versions of the installed packages that a top-level module belongs to, and a digest of the hashes that
    their lists of files give: another build of one version is another package.

    >>> package_digest("numpy").startswith("numpy ")
    True
    """
    owners = sorted(set(importlib.metadata.packages_distributions().get(root, ())))
    said = []
    for owner in owners:
        held = importlib.metadata.distribution(owner)
        files = hashlib.sha256((held.read_text("RECORD") or "").encode()).hexdigest()[:8]
        said.append(f"{owner} {held.version} {files}")
    return ", ".join(said) or root
