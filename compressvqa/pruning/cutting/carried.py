"""Which groups' channels a value carries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.trace import Trace
from compressvqa.pruning.recording.graph import Value


def carried(trace: Trace, groups: Sequence[Group]) -> Callable[[Iterable[Value | None]], set[int]]:
    """A function that tells which of these groups, by number from 0, some values carry; weights carry none.

    Args:
        trace: the facts.
        groups: the groups in question.
    """
    run = trace.dependencies
    number = np.full(len(run.slots), -1, np.int64)
    for k, group in enumerate(groups):
        slot = group.slots[0]
        number[run.classes.find(run.slots.first[slot.leaf][slot.dim] + slot.indices.ravel())] = k

    def of(values: Iterable[Value | None]) -> set[int]:
        found: set[int] = set()
        for value in values:
            labels = None if value is None else run.labels_of(value)
            for axis_labels in () if labels is None or labels.weight else labels.per_axis:
                ids = axis_labels.ids
                found.update(np.unique(number[run.classes.find(ids[ids >= 0])]).tolist())
        return found - {-1}

    return of


def read_last(trace: Trace, groups: Sequence[Group]) -> set[str]:
    """Names of the groups that the last operator reads which reads any."""
    of = carried(trace, groups)
    found = next((numbers for node in reversed(trace.graph.nodes) if (numbers := of(node.inputs()))), set())
    return {groups[number].name for number in found}
