"""What a model folder's ``config.json`` may say: checked before anything is built from it.

A folder may come from anybody, and its SHA-256 only says that weights and config were written together. Nothing of it
is believed: names, kinds, sizes and ranges are checked here, what the constructor makes of them in `bounds.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from compressvqa.errors import WeightsError
from compressvqa.registry import Entry
from compressvqa.untrusted import read_json

MAX_BYTES = 1 << 24
MAX_ITEMS = 10_000  # values in kwargs
MAX_WORD = 1_000  # characters of a word in kwargs
LARGEST = 2**31 - 1
# Settings by which a constructor would fetch or open something else than this folder.
_WEIGHTS = ("weights", "pretrained")
_FETCHING = re.compile(r"weights|pretrained|checkpoint|url|path|file|cache|hub", re.IGNORECASE)

Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class StoredSpec(BaseModel):
    """What the network promises (`ModelSpec`), as it was stored."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    mode: Literal["FR", "NR"] | None = None
    score_range: Annotated[list[Finite], Field(min_length=2, max_length=2)] | None = None
    higher_is_better: bool = True
    inputs: Annotated[str, Field(max_length=200)] = "video"

    @field_validator("score_range")
    @classmethod
    def _rises(cls, value: list[float] | None) -> list[float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError("its lower end comes first")
        return value


class StoredConfig(BaseModel):  # type: ignore[no-redef]  # of the plugin: a field is called kwargs
    """A ``config.json``; entries that are not known here are of newer versions and are not read."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    format: Annotated[int, Field(ge=1)]
    library: Literal["compressvqa"]
    model: Name
    kwargs: dict[str, Any]
    spec: StoredSpec = StoredSpec()
    changes: dict[str, Any]
    scale: dict[str, Any] | None = None
    facts: dict[str, Any]
    random_weights: bool = False
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    versions: dict[str, Any] = {}

    @field_validator("kwargs")
    @classmethod
    def _bounded(cls, value: dict[str, Any]) -> dict[str, Any]:
        return _of_a_size(value, MAX_ITEMS)

    @field_validator("changes")
    @classmethod
    def _plausible(cls, value: dict[str, Any]) -> dict[str, Any]:
        return _of_a_size(value, MAX_BYTES)  # as many as there are layers


def _of_a_size(value: dict[str, Any], items: int) -> dict[str, Any]:
    fault = oversize(value, items)
    if fault is not None:
        raise ValueError(fault)
    return value


def oversize(value: Any, items: int = MAX_ITEMS) -> str | None:
    """What is too large in a nested value: its items, a word or a whole number; None where nothing is."""
    todo, seen = [value], 0
    while todo:
        item = todo.pop()
        seen += 1
        if seen > items:
            return f"more than {items} values"
        if isinstance(item, str) and len(item) > MAX_WORD:
            return f"a text of {len(item)} characters"
        if isinstance(item, int) and abs(item) > LARGEST:
            return f"the number {item}, more than any size"
        if isinstance(item, dict):
            todo += [*item, *item.values()]
        elif isinstance(item, list):
            todo += item
    return None


def read_stored(path: Path, newest: int) -> dict[str, Any]:
    """The checked content of a ``config.json``.

    Args:
        path: the file.
        newest: format that this version reads.

    Raises:
        WeightsError: no JSON, not ours, of a newer format, or an entry that is not what it must be.
    """
    config = read_json(path, WeightsError, limit=MAX_BYTES)
    if not isinstance(config, dict) or config.get("library") != "compressvqa":
        raise WeightsError("was not written by compressvqa", where=path)
    version = config.get("format")
    if isinstance(version, int) and version > newest:
        raise WeightsError(
            f"format {str(version)[:20]} is newer than this version reads ({newest})",
            where=path,
            hint="pip install --upgrade compressvqa",
        )
    try:
        StoredConfig.model_validate(config)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        said = str(fault.get("ctx", {}).get("error", "")) or fault["msg"][:1].lower() + fault["msg"][1:]
        given = repr(fault["input"])
        given = "" if fault["type"] in ("missing", "value_error") else f", not {given[:40]}{'…' * (len(given) > 40)}"
        raise WeightsError(f"has no valid {place!r}: {said}{given}", where=path) from error
    return config


def check_kwargs(entry: Entry, kwargs: Mapping[str, Any], where: object) -> None:
    """Refuses constructor arguments that would fetch weights, or open files other than the folder's own.

    Raises:
        WeightsError: names the argument.
    """
    for key, value in kwargs.items():
        foreign = bool(entry.facts.get("adapter")) and _FETCHING.search(key) is not None
        if (key in _WEIGHTS or foreign) and value not in (None, False):
            raise WeightsError(f"config.json sets {key!r}: a model folder brings its own weights", where=where)


def check_spec(entry: Entry, spec: Mapping[str, Any], where: object) -> None:
    """Refuses a folder that says another mode than its network has.

    Raises:
        WeightsError: names both.
    """
    mode = spec.get("mode")
    if mode is not None and mode != entry.facts["mode"]:
        raise WeightsError(f"config.json says mode {mode}, and {entry.name} is {entry.facts['mode']}", where=where)
