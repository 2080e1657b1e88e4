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
from collections.abc import Mapping
from pathlib import Path


@functools.cache
def library(module: str | None) -> str | None:
    """What stands for the code of a module that comes with Python or with a package; None for the user's own.

    A package may lie anywhere that Python looks: in a site of its own, of the system's or of the user's, or in a folder
    that was named. What counts is that an installer listed its files; a module laid beside them is the user's own.

    >>> library("json").startswith("python 3"), library("numpy.linalg").startswith("numpy "), library("__main__")
    (True, True, None)
    """
    if not module:  # of code that was made as the program ran
        return None
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names or root == "builtins":
        return f"python {platform.python_version()}"
    if root == "__main__":  # what was started: a script, a notebook
        return None
    loaded = sys.modules.get(module) or sys.modules.get(root)
    file = getattr(loaded, "__file__", None)
    if loaded is None:
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(root)
            file = None if spec is None else spec.origin
    if file is None:
        return None
    owners = [owner for owner in _owners().get(root, ()) if _listed(owner, root, Path(file))]
    if not owners and not _is_python(Path(file)):
        return None
    return ", ".join(map(_described, owners)) or root


@functools.cache
def _owners() -> Mapping[str, list[str]]:
    """{top-level module: installed packages that it belongs to}.

    Python 3.10's `packages_distributions` knows no package without a top_level.txt, which few installers still write.
    """
    found: dict[str, set[str]] = {}
    for held in importlib.metadata.distributions():
        declared = (held.read_text("top_level.txt") or "").split()
        for root in declared or {one.parts[0].partition(".")[0] for one in held.files or () if one.suffix == ".py"}:
            found.setdefault(root, set()).add(held.metadata["Name"])
    return {root: sorted(owners) for root, owners in found.items()}


def _listed(owner: str, root: str, file: Path) -> bool:
    """Whether a package's list of files covers a file: what is installed for editing lists only a pointer."""
    base, roots = _list(owner)
    inside = file.absolute().is_relative_to(base) or file.resolve().is_relative_to(base.resolve())
    return inside and root in roots


@functools.cache
def _list(owner: str) -> tuple[Path, frozenset[str]]:
    """Where a package was installed, and the top-level names that its list of files holds."""
    held = importlib.metadata.distribution(owner)
    return Path(str(held.locate_file(""))), frozenset(one.parts[0].partition(".")[0] for one in held.files or ())


def _is_python(file: Path) -> bool:
    """Whether a file is of Python itself, and in no site of packages beneath it."""
    for kind in ("stdlib", "platstdlib"):
        place = Path(sysconfig.get_path(kind)).resolve()
        if file.resolve().is_relative_to(place):
            return not {"site-packages", "dist-packages"} & {*file.resolve().relative_to(place).parts}
    return False


@functools.cache
def _described(owner: str) -> str:
    """A package's name and version, and a digest of the hashes in its list: another build is another package."""
    held = importlib.metadata.distribution(owner)
    files = hashlib.sha256((held.read_text("RECORD") or "").encode()).hexdigest()[:8]
    return f"{owner} {held.version} {files}"


def sites() -> list[Path]:
    """Folders in which Python looks for modules and packages were installed."""
    return [place for place in map(Path, sys.path) if place.is_dir() and any(place.glob("*.dist-info"))]
