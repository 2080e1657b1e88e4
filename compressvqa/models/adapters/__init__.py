"""Networks of other libraries under our names, `library/network`: timm/resnet18, torchvision/r3d_18, pyiqa/cnniqa.

An adapter builds the library's own module, untouched: it is called as the library calls it. The names are resolved when
they are asked for, so nothing is imported for a network that nobody wants.
"""

from __future__ import annotations

import difflib
import fnmatch
import functools
import importlib
from types import ModuleType
from typing import Any

from compressvqa.errors import MissingExtraError, RegistryError
from compressvqa.registry import Entry

# Library: (our module, the extra that installs it; None where it comes with compressvqa).
_ADAPTERS: dict[str, tuple[str, str | None]] = {
    "timm": ("compressvqa.models.adapters.from_timm", None),
    "torchvision": ("compressvqa.models.adapters.from_torchvision", None),
    "pyiqa": ("compressvqa.models.adapters.from_pyiqa", "iqa"),
}


def adapted(name: str) -> Entry | None:
    """The entry of a name with a library's prefix; None for a name without one.

    Its value takes the constructor's settings and `pretrained` (False: no weight is downloaded).

    Raises:
        RegistryError: the library has no such network.
        MissingExtraError: the library is not installed.
    """
    library, slash, network = name.partition("/")
    if not slash or library not in _ADAPTERS:
        return None
    adapter, known = _adapter(library)
    if network not in known:
        near = difflib.get_close_matches(network, known, n=3, cutoff=0.5)
        hint = ", ".join(f"{library}/{n}" for n in near) or f"list_models('{library}/*')"
        raise RegistryError(f"unknown model {name!r}", hint=hint)
    build = functools.partial(adapter.build, network)
    vars(build)["__doc__"] = f"{library}'s {network}."
    facts: dict[str, Any] = {"adapter": True, "mode": "NR", "inputs": "images", **adapter.facts(network)}
    return Entry(name, build, {**facts, "example": functools.partial(adapter.example, network)})


def adapted_names(pattern: str) -> list[str]:
    """Sorted names of a library's networks that match a shell pattern which begins with the library's prefix.

    >>> adapted_names("timm/resnet1?")
    ['timm/resnet18']
    """
    library, slash, rest = pattern.partition("/")
    if not slash or library not in _ADAPTERS:
        return []
    return sorted(f"{library}/{name}" for name in fnmatch.filter(_adapter(library)[1], rest))


def _adapter(library: str) -> tuple[ModuleType, list[str]]:
    """Our module for a library, and the names of its networks."""
    module, extra = _ADAPTERS[library]
    adapter = importlib.import_module(module)
    try:
        return adapter, adapter.names()
    except ModuleNotFoundError as error:
        if extra is None or (error.name or "").partition(".")[0] != library:
            raise
        raise MissingExtraError(library, extra) from error
