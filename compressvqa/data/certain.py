"""Drawing pairs whose order is certain."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compressvqa.data.orders import CertainOrders, Kind, Orders
from compressvqa.data.patches import PatchSet
from compressvqa.errors import DataError


class Certain:
    """Draws now and then a pair of a kind of certain order.

    Args:
        patches: the set.
        orders: what is certain in it.
        shares: {kind: share of all pairs}; together at most 1.

    Raises:
        DataError: the set holds no such pair.
    """

    def __init__(self, patches: PatchSet, orders: CertainOrders, shares: Mapping[Kind, float]) -> None:
        self.shares = {kind: share for kind, share in shares.items() if share > 0}
        self._listed: dict[Kind, Orders] = {kind: orders.listed(kind) for kind in self.shares if kind != "identity"}
        for kind, listed in self._listed.items():
            if not len(listed.better):
                raise DataError(f"no pair of patches is in a certain order by {kind!r}", where=patches.folder,
                                hint=f"leave {kind} out of data.certain")  # fmt: skip
        self._references = [reference.content for reference in patches.references]
        self._entries = [entry.content for entry in patches.entries]
        if "identity" in self.shares and len(set(self._entries)) < 2:
            raise DataError("orders by 'identity' need two contents", where=patches.folder, hint="more videos")

    def pair(self, rng: np.random.Generator) -> tuple[int, int] | None:
        """(better, worse), or None if this pair is to be drawn in another way; ``~r`` is reference r itself."""
        if not self.shares:
            return None
        drawn = rng.random()
        for kind, share in self.shares.items():
            if drawn < share:
                return self._of(kind, rng)
            drawn -= share
        return None

    def _of(self, kind: Kind, rng: np.random.Generator) -> tuple[int, int]:
        if kind != "identity":
            better, worse = self._listed[kind]
            number = int(rng.integers(len(better)))
            return int(better[number]), int(worse[number])
        while True:
            reference, row = int(rng.integers(len(self._references))), int(rng.integers(len(self._entries)))
            if self._references[reference] != self._entries[row]:
                return ~reference, row
