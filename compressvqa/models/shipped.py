"""The trained networks that ship with the package: one folder each, every file of it checked before it is used."""

from __future__ import annotations

import fnmatch
import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compressvqa.errors import WeightsError
from compressvqa.fingerprint import content_digest

WEIGHTS_FOLDER = Path(__file__).parent.parent / "weights"
INDEX = "index.json"
FORMAT = 1  # of the index


@dataclass(frozen=True)
class Shipped:
    """What the index says of one network.

    Args:
        name: what it is called: `create_model(name, weights="pretrained")`.
        model: the registered network that it was made from; the same name where nothing was pruned.
        mode: "FR" or "NR".
        params: number of parameters.
        macs_conv_linear: MACs of convolutions and linear layers on `inputs`, as in Table I of RankDVQA-mini's paper.
        inputs: what they were counted on, in words.
        label: what it was trained on: "vmaf_v0.6.1", "MOS".
        licence: SPDX identifier of the weights' licence.
        summary: one line.
        files: {name of a file in its folder: SHA-256}.
    """

    name: str
    model: str
    mode: str
    params: int
    macs_conv_linear: int
    inputs: str
    label: str | None
    licence: str
    summary: str
    files: Mapping[str, str] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """As JSON would hold it."""
        return asdict(self)


def shipped(pattern: str = "*") -> dict[str, Shipped]:
    """{name: what is known of it} of the networks whose trained weights ship, sorted; empty where none do.

    Args:
        pattern: shell pattern of the names.

    Raises:
        WeightsError: the index is damaged.
    """
    found = read_index(WEIGHTS_FOLDER)
    return {name: found[name] for name in sorted(found) if fnmatch.fnmatchcase(name, pattern)}


def read_index(folder: Path) -> dict[str, Shipped]:
    """The index of a folder of networks; empty where there is none.

    Raises:
        WeightsError: it is damaged, or of a newer format.
    """
    file = folder / INDEX
    if not file.is_file():
        return {}
    return dict(_parsed(file, file.stat().st_mtime_ns, file.stat().st_size))


@functools.lru_cache(maxsize=8)
def _parsed(file: Path, *state: int) -> dict[str, Shipped]:
    del state  # so that an index that was written anew is read anew
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
        if index["format"] > FORMAT:
            raise WeightsError(f"format {index['format']} is newer than this version reads ({FORMAT})", where=file)
        return {name: Shipped(name, **facts) for name, facts in index["networks"].items()}
    except WeightsError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"the index of the shipped networks is damaged: {error}", where=file,
                           hint="install compressvqa again") from error  # fmt: skip


def shipped_folder(name: str) -> Path:
    """The folder of a network that ships, once each of its files is found to be what was shipped.

    Raises:
        WeightsError: no such network ships, or a file is missing, damaged or not one of those that were shipped.
    """
    known = shipped()
    if name not in known:
        raise not_shipped(name)
    folder = WEIGHTS_FOLDER / name
    for file, expected in known[name].files.items():
        path = folder / file
        if not path.is_file():
            raise WeightsError(f"the weights of {name} lack {file}", where=folder, hint="install compressvqa again")
        if content_digest(path) != expected:
            raise WeightsError(f"is not the file that shipped with {name}: its SHA-256 differs", where=path,
                               hint="install compressvqa again")  # fmt: skip
    return folder


def not_shipped(name: str, instead: str = "weights=PATH") -> WeightsError:
    """The error that no trained weights of a network ship, with those that do.

    Args:
        name: what was asked for.
        instead: what else the user can do.
    """
    others = ", ".join(shipped())
    said = f"; these do: {others}" if others else ", nor of any other network"
    return WeightsError(f"no trained weights of {name} ship with this version{said}", hint=instead)
