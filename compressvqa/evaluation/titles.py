"""What a model is called in a table: short, and unlike every other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from compressvqa.errors import DataError
from compressvqa.registry import scorers


def titles(models: Sequence[str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """A title for each model as a user types it; models of one name are told apart by more of their paths.

    Args:
        models: names of scorers, folders, NAME=FILE.
        given: titles that the user chose; they win.

    Raises:
        DataError: two models would have one title, or a title is given to a model that is not there.

    >>> list(titles(["psnr", "runs/clips", "runs/clips/stages/03-pruned", "c3dvqa=weights.pt"]).values())
    ['psnr', 'clips', 'clips/pruned', 'c3dvqa']
    >>> list(titles(["a/mini/model", "b/mini/model", "c3dvqa=x/1.pt", "c3dvqa=y/1.pt"]).values())
    ['a/mini', 'b/mini', 'c3dvqa=x/1.pt', 'c3dvqa=y/1.pt']
    """
    given = given or {}
    lost = [name for name in given if name not in models]
    if lost:
        raise DataError(f"a title is given to {lost[0]!r}, which is none of the models", hint=", ".join(models))
    chosen: dict[str, str] = {}
    for name, title in given.items():
        if title in chosen:
            raise DataError(f"{chosen[title]!r} and {name!r} would both be called {title!r}", hint="another --title")
        chosen[title] = name
    rest = [name for name in dict.fromkeys(models) if name not in given]
    longest = max((len(Path(name).parts) for name in rest), default=1)
    # As short as they can be while all differ: those that are called alike take in more of their paths.
    steps = dict.fromkeys(rest, 0)
    for _ in range(longest + 1):
        titles_now = [_title(name, steps[name]) for name in rest]
        alike = [name for name, title in zip(rest, titles_now, strict=True)
                 if titles_now.count(title) > 1 or title in chosen]  # fmt: skip
        if not alike:
            break
        steps |= {name: steps[name] + 1 for name in alike}
    found = {name: given.get(name) or _title(name, steps[name]) for name in models}
    taken: dict[str, str] = {}
    for name, title in found.items():
        if taken.setdefault(title, name) != name:
            raise DataError(f"{taken[title]!r} and {name!r} would both be called {title!r}", hint="--title MODEL=NAME")
    return found


def _title(name: str, more: int = 0) -> str:
    """A title with so many more parts of the path than the shortest one has."""
    kind, equals, file = name.partition("=")
    if equals and not Path(name).exists():
        return f"{kind}={'/'.join(Path(file).parts[-more:])}" if more else kind
    if name in scorers or "/" not in name.rstrip("/"):
        return name.rstrip("/")
    if name.startswith("pyiqa/"):
        return name
    whole = [part for part in Path(name).parts if part not in ("/", "..", ".")]
    parts = [part for part in whole if part not in ("runs", "model", "stages", "checkpoint")]
    parts = [re.sub(r"^\d\d-", "", part) for part in parts]
    kept = (2 if "stages" in whole else 1) + more
    if kept > len(parts) + 1:
        return name.rstrip("/")
    return "/".join(parts[-kept:] if more < len(parts) else whole) or name
