"""Orders that are certain: what is known of two patches without asking any metric.

- ``ladder``: two rungs of one encoder (same size, depth and generation) on one reference; the lower quality number is
  the better one. Levels of one distortion count as rungs.
- ``generation``: a coded clip, and what is left of it after it was coded again.
- ``reference``: a reference against anything that was made of it.
- ``identity``: an undistorted clip against a distorted one of another content. Two undistorted clips are equal.

Patches are numbered as in `PatchSet.entries`; ``~r`` stands for reference r itself, unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from compressvqa.data.ladder import CODECS, Rung
from compressvqa.data.patches import PatchEntry, PatchSet

Listed: TypeAlias = Literal["ladder", "generation", "reference"]
Kind: TypeAlias = Literal["ladder", "generation", "reference", "identity"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Numbers: TypeAlias = npt.NDArray[np.int64]


class Orders(NamedTuple):
    """Pairs of patches, (n,) each: `better` looks better than `worse`, position by position."""

    better: Numbers
    worse: Numbers


def rung_name(entry: PatchEntry) -> str:
    """The name of the rung that made a patch, as ``compressvqa.data.ladder.Rung.name``."""
    if entry.codec not in CODECS:
        return f"{entry.codec}-{entry.quality}"
    name = Rung(entry.codec, entry.quality, entry.scale, entry.depth).name
    return name if entry.first is None else f"{name}-after-{entry.first}"


class CertainOrders:
    """What is certain in a set of patches.

    Args:
        patches: the set.
        kinds: which kinds of orders to use.
    """

    def __init__(self, patches: PatchSet, kinds: Iterable[Kind] = KINDS) -> None:
        self.kinds = frozenset(kinds)
        entries = patches.entries
        self._reference = np.array([entry.reference for entry in entries])
        self._content = [entry.content for entry in entries]
        self._content_of_reference = [reference.content for reference in patches.references]
        self._quality = np.array([entry.quality for entry in entries])
        series = [(entry.reference, entry.codec, entry.scale, entry.depth, entry.first) for entry in entries]
        self._series = _numbered(series)
        names = [(entry.reference, rung_name(entry)) for entry in entries]
        number = {name: position for position, name in enumerate(names)}
        self._first = np.array([number.get((entry.reference, entry.first or ""), -1) for entry in entries])

    def listed(self, kind: Listed) -> Orders:
        """All orders of a kind but ``identity``, which holds for every reference and every patch of another content."""
        if kind == "ladder":
            pairs = [pair for rows in _groups(self._series) for pair in self._of_series(rows)]
        elif kind == "generation":
            pairs = [(int(first), row) for row, first in enumerate(self._first) if first >= 0]
        else:
            pairs = [(~int(reference), row) for row, reference in enumerate(self._reference)]
        found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        return Orders(found[:, 0], found[:, 1])

    def _of_series(self, rows: Numbers) -> list[tuple[int, int]]:
        rows = rows[np.argsort(self._quality[rows], kind="stable")]
        quality = self._quality
        return [(int(a), int(b)) for n, a in enumerate(rows) for b in rows[n + 1 :] if quality[a] < quality[b]]

    def between(self, rows: Numbers) -> npt.NDArray[np.int8]:
        """What is certain between each two of some patches.

        Args:
            rows: (n,) patches, ``~r`` for references.

        Returns:
            (n, n): 1 where the row's patch is better than the column's, -1 where it is worse, 2 where both are
            undistorted and thus equal, 0 where nothing is known for certain.
        """
        whole = rows < 0
        entry = np.where(whole, 0, rows)
        reference = np.where(whole, ~rows, self._reference[entry])
        same = reference[:, None] == reference[None, :]
        coded = ~whole[:, None] & ~whole[None, :]
        better = np.zeros((len(rows), len(rows)), dtype=bool)
        if "reference" in self.kinds:
            better |= whole[:, None] & ~whole[None, :] & same
        if "identity" in self.kinds:
            contents = np.array([
                self._content_of_reference[~row] if row < 0 else self._content[row] for row in rows.tolist()
            ])  # fmt: skip
            better |= whole[:, None] & ~whole[None, :] & (contents[:, None] != contents[None, :])
        if "ladder" in self.kinds:
            series, quality = self._series[entry], self._quality[entry]
            better |= coded & (series[:, None] == series[None, :]) & (quality[:, None] < quality[None, :])
        if "generation" in self.kinds:
            better |= coded & (entry[:, None] == self._first[entry][None, :])
        found = better.astype(np.int8) - better.T.astype(np.int8)
        if self.kinds & {"identity", "reference"}:
            found[whole[:, None] & whole[None, :]] = 2
        return found


def _numbered(keys: Iterable[tuple[object, ...]]) -> Numbers:
    known: dict[tuple[object, ...], int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys])


def _groups(numbers: Numbers) -> list[Numbers]:
    """Positions of equal numbers."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
