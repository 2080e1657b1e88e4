"""Preparing data: a unit is what a data set calls a piece (a source, a clip); its files lie in the data's folder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compressvqa.code_digest import code_digest
from compressvqa.errors import DataError
from compressvqa.executors import Unit


def preparation_units(dataset: Any, kind: str, folder: Path, part: str) -> list[Unit]:
    """The units of the preparation of one part of a data set.

    Args:
        dataset: the data set.
        kind: what it is registered as.
        folder: of the part.
        part: "train" or "validation".

    Raises:
        DataError: it is prepared in one piece, or has nothing to prepare.
    """
    if not hasattr(dataset, "pieces"):
        raise DataError(f"the data set {kind!r} is prepared in one piece", hint="without --shard and --cluster")
    return _units(dataset.pieces(folder, part=part), {"work": "data prepare", "kind": kind, "part": part})


def proxy_units(pieces: Mapping[str, Callable[[], None]]) -> list[Unit]:
    """The units of a proxy set.

    Args:
        pieces: as `compressvqa.data.proxy.proxy_pieces` gives them.
    """
    return _units(pieces, {"work": "data proxy"})


def _units(pieces: Mapping[str, Callable[[], None]], facts: Mapping[str, Any]) -> list[Unit]:
    # What a piece is called says what it is made of; what makes it is the same function for all.
    first = next(iter(pieces.values()), None)
    code = code_digest(first.func if isinstance(first, functools.partial) else first)
    return [
        Unit.named({**facts, "code": code, "piece": name}, {"piece": piece}, name) for name, piece in pieces.items()
    ]


def make_piece(piece: Callable[[], None]) -> None:
    """Makes the files of a piece, where they are not there."""
    piece()
