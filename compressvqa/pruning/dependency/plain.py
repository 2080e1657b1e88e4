"""Plain numbers that stand where a channel count is given: what to tell of a group that turned out not to fit."""

from __future__ import annotations

import numpy as np

from compressvqa.pruning.dependency.constraints import along
from compressvqa.pruning.dependency.given import VIEWS, first, numbers_given
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.trace import Trace
from compressvqa.pruning.recording.integers import Int

_SHOWN = 2


def plain_numbers(trace: Trace, group: Group) -> str:
    """Where views are given the width of a group as a number without an origin, in words; empty where none is."""
    run, slot = trace.dependencies, group.slots[0]
    mine = run.classes.find(run.slots.first[slot.leaf][slot.dim] + slot.indices.ravel())
    found = []
    for node in trace.graph.nodes:
        if node.op in VIEWS and node.called:
            channels = run.labels_of(first(node))
            for d, number in enumerate(numbers_given(node)):
                plain = number is not None and number > 1 and not isinstance(number, Int)
                ids = along(channels, d) if plain else mine[:0]
                if (ids > 0).any() and np.isin(run.classes.find(ids[ids > 0]), mine).any():
                    found.append(f"{int(number or 0)} in {node.call} at {node.place}")
    found = list(dict.fromkeys(found))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"; their number is given as a plain {', '.join(found[:_SHOWN])}{more}" if found else ""
