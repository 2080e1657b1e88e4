"""Module paths by pattern, as file names by glob: a dot is to them what a slash is to a file name."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Sequence

from torch import nn

from compressvqa.errors import RecipeError


def is_pattern(path: str) -> bool:
    """Whether a path holds a wildcard."""
    return any(sign in path for sign in "*?[")


def matching(model: nn.Module, pattern: str, *, role: str = "") -> list[str]:
    """Paths of `model` that match, in the order of the network.

    ``*``, ``?`` and ``[0-9]`` match within one name, so ``blocks.*`` are the direct children of `blocks` and nothing in
    them; ``**`` stands for any number of names, so ``**.attn`` are the modules named `attn` at any depth. A pattern
    gives a module that has several paths once; a path without wildcards may be any of them.

    Args:
        role: whose network it is, for the message.

    Raises:
        RecipeError: nothing matches; the message names the nearest paths.

    >>> model = nn.ModuleDict({"blocks": nn.ModuleList([nn.Sequential(nn.ReLU()), nn.ReLU()]), "head": nn.ReLU()})
    >>> matching(model, "blocks.*"), matching(model, "**.0"), matching(model, "head")
    (['blocks.0', 'blocks.1'], ['blocks.0', 'blocks.0.0'], ['head'])
    """
    wild = is_pattern(pattern)
    modules = {path: module for path, module in model.named_modules(remove_duplicate=wild) if path}
    if not wild and pattern in modules:
        return [pattern]
    names = pattern.split(".")
    found = [path for path in modules if _match(path.split("."), names)]
    if not found:
        near = difflib.get_close_matches(pattern, modules, n=3, cutoff=0.4)
        where = f"{type(model).__name__}, the {role}" if role else type(model).__name__
        raise RecipeError(f"no module matches {pattern!r}", where=where, hint=", ".join(near) or None)
    return found


def _match(names: Sequence[str], patterns: Sequence[str]) -> bool:
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(_match(names[skipped:], patterns[1:]) for skipped in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], patterns[0]) and _match(names[1:], patterns[1:])
