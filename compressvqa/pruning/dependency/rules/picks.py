"""What is common to reading and writing by index: which dimensions are indexed, and where the others go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from compressvqa.pruning.dependency.labels import AxisLabels, ChannelLabels
from compressvqa.pruning.recording.graph import Value

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


def without_dims(run: Labelling, node: Node, channels: ChannelLabels, dims: Sequence[int]) -> ChannelLabels:
    """The channels with size 1 along dimensions of which positions are picked or written by number; labels there stay.

    Args:
        run: the propagation.
        node: the operator.
        channels: what is known about one operand.
        dims: the dimensions.
    """
    kept = []
    for axis_labels in channels.per_axis:
        ids, inside = axis_labels.ids, set(axis_labels.axes) & set(dims)
        if inside and set(axis_labels.axes) - inside and run.may_tie(ids):
            ids = run.unite_along(node, ids, sorted(inside))
        elif inside:
            run.freeze(ids, f"channels are picked by number at {node}")
            continue
        kept.append(AxisLabels(ids, axis_labels.zero))
    shape = tuple(1 if d in dims else size for d, size in enumerate(channels.shape))
    return ChannelLabels(shape, tuple(kept), channels.free - frozenset(dims), channels.weight)


def picked(picks: Sequence[Any], rank: int) -> tuple[list[int], list[int], list[int], int]:
    """What `x[picks]` does to dimensions. Indices lie side by side in one block; a mask is a list of numbers.

    Args:
        picks: an index or None for each of the first dimensions, as torch has it; a mask stands for all of its own.
        rank: number of dimensions of x.

    Returns:
        The dimensions that are indexed, the others, where the others are in the result, and the result's rank.
    """
    dims: list[int] = []
    places: list[int] = []
    d = 0
    for number, pick in enumerate(picks):
        wide = len(pick.shape) if is_mask(pick) else 1
        if pick is not None:
            dims += range(d, d + wide)
            places.append(number)
        d += wide
    block = max(1 if is_mask(pick) else len(pick.shape) for pick in picks if pick is not None)
    others = [d for d in range(rank) if d not in dims]
    # Indices next to each other leave their block where they were; apart, they put it in front.
    together = places == list(range(places[0], places[-1] + 1))
    before = sum(d < dims[0] for d in others) if together else 0
    homes = [*range(before), *range(before + block, block + len(others))]
    return dims, others, homes, block + len(others)


def is_mask(value: Any) -> bool:
    """Whether an index says yes or no for each position."""
    return isinstance(value, Value) and value.dtype in (torch.bool, torch.uint8)


def squeezed(channels: ChannelLabels, dims: Sequence[int]) -> ChannelLabels:
    """The channels without some dimensions of size 1."""
    left = [d for d in range(len(channels.shape)) if d not in dims]
    per_axis = tuple(AxisLabels(p.ids.squeeze(tuple(dims)), p.zero) for p in channels.per_axis)
    free = frozenset(left.index(d) for d in channels.free if d in left)
    return ChannelLabels(tuple(channels.shape[d] for d in left), per_axis, free, channels.weight)
