"""One language that names modules by their paths, wherever a path is asked for. docs/module_paths.md has it for users.

A pattern names a module, and with it everything below. ``*`` stands for any letters within one part of a path, ``?``
for one letter and ``[0-9]`` for one of several; ``**`` stands for any number of parts, also none. ``blocks.*`` are the
direct children of `blocks`, ``**.attn`` the modules called `attn` at any depth. Parts called `module` and `_orig_mod`,
which `nn.DataParallel` and `torch.compile` put into paths, may stand in a pattern or be left out of it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from compressvqa.errors import CompressVQAError

if TYPE_CHECKING:
    from torch import nn

E = TypeVar("E", bound=CompressVQAError)
_WRAPPERS = ("module", "_orig_mod")


def is_pattern(text: str) -> bool:
    """Whether a text may name several modules side by side.

    >>> is_pattern("blocks.*"), is_pattern("blocks.0")
    (True, False)
    """
    return any(sign in text for sign in "*?[")


def names(pattern: str, path: str) -> bool:
    """Whether a pattern names this very module.

    >>> names("blocks.*", "blocks.0"), names("blocks.*", "blocks.0.attn"), names("**.attn", "blocks.0.attn")
    (True, False, True)
    """
    return bool(_compiled(pattern).fullmatch(f"{path}.") or _compiled(bare(pattern)).fullmatch(f"{bare(path)}."))


def covers(pattern: str, path: str) -> bool:
    """Whether a pattern names a module, or one that it lies in.

    >>> covers("blocks", "blocks.0.attn"), covers("blocks.*.attn", "blocks.0.attn.qkv"), covers("block", "blocks.0")
    (True, True, False)
    >>> covers("blocks.0", "module.blocks.0._orig_mod.attn"), covers("module.blocks", "blocks.0")
    (True, True)
    """
    # Every part ends in a dot, so that what begins with the pattern is the module or lies in it.
    return bool(_compiled(pattern).match(f"{path}.") or _compiled(bare(pattern)).match(f"{bare(path)}."))


def named(pattern: str, paths: Iterable[str]) -> list[str]:
    """The paths that a pattern names, in their order; wrappers are overlooked only where nothing fits as it is.

    >>> named("blocks.*", ["blocks", "blocks.0", "blocks.1", "blocks.1.attn"])
    ['blocks.0', 'blocks.1']
    """
    paths = list(paths)
    found = [path for path in paths if _compiled(pattern).fullmatch(f"{path}.")]
    return found or [path for path in paths if names(pattern, path)]


def closest(patterns: Iterable[str], path: str) -> str | None:
    """Of the patterns that cover a path, the one that says most about it: with the most letters that are no wildcard.

    >>> closest(["*", "blocks", "blocks.*.attn"], "blocks.0.attn.qkv"), closest(["head"], "blocks.0")
    ('blocks.*.attn', None)
    """
    fitting = [pattern for pattern in patterns if covers(pattern, path)]
    return max(fitting, key=lambda pattern: len(re.sub(r"\[[^]]*\]|[*?.]", "", bare(pattern))), default=None)


def bare(path: str) -> str:
    """A path or pattern without the parts that wrappers add.

    >>> bare("module.blocks.0._orig_mod.attn")
    'blocks.0.attn'
    """
    return ".".join(part for part in path.split(".") if part not in _WRAPPERS)


def unmatched(
    pattern: str, paths: Iterable[str], error: type[E], *, what: str = "module", where: str | None = None
) -> E:
    """The error for a pattern that matches nothing.

    Args:
        pattern: what was asked for.
        paths: what there is.
        error: the error to make.
        what: what there is some of: "module", "parameter".
        where: the setting, or whose network it is.
    """
    known = [path for path in dict.fromkeys(paths) if path]
    deeper = f"**.{pattern}"
    if any(covers(deeper, path) for path in known):
        hint = f"{deeper}: * stands for one part of a path, ** for any number"
    else:
        hint = " or ".join(difflib.get_close_matches(pattern, known, n=3, cutoff=0.3) or known[:3])
    return error(f"{pattern!r} matches no {what}", where=where, hint=hint or None)


def modules_named(
    model: nn.Module, pattern: str, error: type[CompressVQAError], *, where: str | None = None
) -> list[str]:
    """Paths of the modules of a network that a pattern names, in the order of the network.

    A pattern gives a module that has several paths once; a path without wildcards may be any of them.

    Args:
        error: what is raised where nothing matches.
        where: whose network it is, or the setting, for the message.

    >>> from torch import nn
    >>> model = nn.ModuleDict({"blocks": nn.ModuleList([nn.Sequential(nn.ReLU()), nn.ReLU()]), "head": nn.ReLU()})
    >>> [modules_named(model, pattern, CompressVQAError) for pattern in ("blocks.*", "**.0", "head")]
    [['blocks.0', 'blocks.1'], ['blocks.0', 'blocks.0.0'], ['head']]
    """
    paths = [path for path, _ in model.named_modules(remove_duplicate=is_pattern(pattern)) if path]
    found = named(pattern, paths)
    if not found:
        raise unmatched(pattern, paths, error, where=where)
    return found


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = pattern.split(".")
    return re.compile("".join(r"(?:[^.]+\.)*" if part == "**" else rf"{_letters(part)}\." for part in parts))


def _letters(part: str) -> str:
    """A regular expression for one part of a pattern: shell wildcards, none of which goes beyond a dot."""
    found = []
    for piece in re.findall(r"\[!?\]?[^]]*\]|.", part):
        if piece == "*":
            found.append(r"[^.]*")
        elif piece == "?":
            found.append(r"[^.]")
        elif len(piece) > 1:
            inside = piece[1:-1].replace("\\", r"\\").replace("^", r"\^")
            found.append(f"[^.{inside[1:]}]" if inside[0] == "!" else rf"(?!\.)[{inside}]")
        else:
            found.append(re.escape(piece))
    return "".join(found)
