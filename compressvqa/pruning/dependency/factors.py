"""Columns that read an outer product: they go with a channel of either factor.

`torch.einsum("bi,bj->bij", x, y).flatten(1)` gives a column of the next layer for each pair of channels. The column is
tied to the first factor's channel; with the second factor's it goes as well, though nothing else does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from compressvqa.pruning.dependency.group import Slot
from compressvqa.pruning.dependency.labels import MERGED, Ids
from compressvqa.pruning.dependency.trace import Trace


def with_factors(
    trace: Trace, members: Ids, slots: Sequence[Slot], consumers: dict[str, int]
) -> tuple[list[Slot], str | None]:
    """The slots of a group and those columns that go with it as with a second factor; and why it must stay, or None.

    Args:
        trace: the facts.
        members: (channels, slots) labels of the group.
        slots: its own slots.
        consumers: its consumers, to which those are added that read the columns.
    """
    run, found, reason = trace.dependencies, list(slots), None
    mine = run.classes.find(members[:, 0])
    for columns, ids in run.factors:
        leaf, d = run.slots.names[run.slots.leaf[columns[0]]], int(run.slots.dim[columns[0]])
        found = [replace(s, shared=True) if (s.leaf, s.dim) == (leaf, d) else s for s in found]
        roots = run.classes.find(ids)
        rows = [np.flatnonzero(roots == root) for root in mine.tolist()]
        if not any(len(row) for row in rows):
            continue
        if len({len(row) for row in rows}) > 1:
            reason = f"{MERGED} in {leaf}"
            continue
        indices = columns[np.stack(rows)] - run.slots.first[leaf][d]
        found.append(Slot(leaf, d, indices, "in", shared=True))
        consumers.setdefault(trace.owners[leaf] or leaf, indices.shape[1])
    return found, reason
