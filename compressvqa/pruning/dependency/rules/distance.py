"""Distances between all pairs of rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from compressvqa.pruning.dependency.algebra import place
from compressvqa.pruning.dependency.labels import AxisLabels, ChannelLabels
from compressvqa.pruning.dependency.rules.contraction import contract
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


@rule("_cdist_forward", "_euclidean_dist")
def pairs(run: Labelling, node: Node) -> list[ChannelLabels]:
    """(batch..., n, k) and (batch..., m, k) -> (batch..., n, m): a sum over k of what differs.

    Position i of k adds nothing where it is zero on both sides, so unlike in a product both must be zero.
    """
    a, b = run.labels_of(node.args[0]), run.labels_of(node.args[1])
    output = node.outputs[0]
    assert output is not None
    rank = len(output.shape)
    left = place(a, [*range(rank - 1), rank], rank + 1)
    right = place(b, [*range(rank - 2), rank - 1, rank], rank + 1)
    per_axis = contract(run, node, left, right, [rank], math.prod(output.shape) * a.shape[-1], zero=all)
    return [ChannelLabels(output.shape, tuple(AxisLabels(p.ids.squeeze(rank), False) for p in per_axis))]
