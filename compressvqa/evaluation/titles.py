"""What a model is called in a table: short, and unlike every other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from compressvqa.errors import DataError
from compressvqa.registry import scorers


def titles(models: Sequence[str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """A title for each model as a user types it.

    Args:
        models: names of scorers, folders, NAME=FILE.
        given: titles that the user chose; they win.

    Raises:
        DataError: two models would have one title, or a title is given to a model that is not there.

    >>> list(titles(["psnr", "runs/clips", "runs/clips/stages/03-pruned", "c3dvqa=weights.pt"]).values())
    ['psnr', 'clips', 'clips/pruned', 'c3dvqa']
    """
    given = given or {}
    lost = [name for name in given if name not in models]
    if lost:
        raise DataError(f"a title is given to {lost[0]!r}, which is none of the models", hint=", ".join(models))
    found = {name: given.get(name) or _title(name) for name in models}
    taken: dict[str, str] = {}
    for name, title in found.items():
        if title in taken and taken[title] != name:
            raise DataError(f"{taken[title]!r} and {name!r} would both be called {title!r}", hint="--title MODEL=NAME")
        taken[title] = name
    return found


def _title(name: str) -> str:
    kind, equals, _ = name.partition("=")
    if equals and not Path(name).exists():
        return kind
    if name in scorers or "/" not in name.rstrip("/"):
        return name.rstrip("/")
    if name.startswith("pyiqa/"):
        return name
    parts = [part for part in Path(name).parts if part not in ("/", "..", ".", "runs", "model", "stages", "checkpoint")]
    parts = [re.sub(r"^\d\d-", "", part) for part in parts]
    return "/".join(parts[-2:] if "stages" in Path(name).parts else parts[-1:]) or name
