"""Operators that only compute weights from parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressvqa.pruning.dependency.algebra import join
from compressvqa.pruning.dependency.labels import AxisLabels, ChannelLabels
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


@rule("_weight_norm_interface")
def weight_norm(run: Labelling, node: Node) -> list[ChannelLabels]:
    """w = g v / |v|: rows of the direction go with rows of the size, columns with what they read.

    A row is cut by its size g alone: a direction of zeros would have no norm.
    """
    direction, size = run.labels_of(node.args[0]), run.labels_of(node.args[1])
    d = node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", 0)
    per_axis, free = join(run, node, (direction, size), any)
    leaf = node.args[0].leaf
    if leaf is not None:
        run.unzeroed.add((leaf, d))
    shapes = [() if v is None else v.shape for v in node.outputs]
    norms = tuple(AxisLabels(p.ids, False) for p in per_axis if set(p.axes) == {d})
    return [
        ChannelLabels(shapes[0], per_axis, free, direction.weight),
        ChannelLabels(shapes[1], norms, frozenset(), True),
    ]
