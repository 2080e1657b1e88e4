"""Bilinear layers: sums over the products of a weight and two inputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from compressvqa.pruning.dependency.algebra import join
from compressvqa.pruning.dependency.labels import AxisLabels, ChannelLabels
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


@rule("_trilinear")
def bilinear(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Three operands in one space, each without the dimensions that it is expanded along; some are summed over."""
    operands = [
        _expanded(run.labels_of(value), dims) for value, dims in zip(node.args[:3], node.args[3:6], strict=True)
    ]
    summed = [int(d) for d in node.args[6]]
    for operand in operands:
        if operand.weight and not all(other.weight for other in operands):
            for axis_labels in operand.per_axis:
                role = run.consumes if set(axis_labels.axes) & set(summed) else run.produces
                role[axis_labels.ids[axis_labels.ids > 0]] = True
    per_axis, _ = join(run, node, operands, any)
    space = [max(operand.shape[d] for operand in operands) for d in range(len(operands[0].shape))]
    # The product with the weight, then the one with the second input, as torch multiplies them.
    last = [p for p in per_axis if summed[0] not in p.axes]
    run.cost(node, math.prod(space), per_axis)
    run.cost(node, math.prod(n for d, n in enumerate(space) if d != summed[0]), last)
    results = []
    for axis_labels in per_axis:
        if not set(axis_labels.axes) & set(summed):
            results.append(AxisLabels(axis_labels.ids.squeeze(tuple(summed)), axis_labels.zero))
        elif not axis_labels.zero:
            run.freeze(axis_labels.ids, f"cut channels would not be zero in the sum of {node}")
    output = node.outputs[0]
    assert output is not None
    return [ChannelLabels(output.shape, tuple(results))]


def _expanded(channels: ChannelLabels, dims: Sequence[int]) -> ChannelLabels:
    rank = len(channels.shape) + len(dims)
    kept = [d for d in range(rank) if d not in dims]
    shape = [1] * rank
    for d, size in zip(kept, channels.shape, strict=True):
        shape[d] = size
    per_axis = tuple(AxisLabels(np.expand_dims(p.ids, tuple(dims)), p.zero) for p in channels.per_axis)
    return ChannelLabels(tuple(shape), per_axis, frozenset(kept[d] for d in channels.free), channels.weight)
