"""Gated linear units: one half of the channels, weighed by the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressvqa.pruning.dependency import moves
from compressvqa.pruning.dependency.labels import AxisLabels, ChannelLabels
from compressvqa.pruning.dependency.rules.movement import moved
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


@rule("glu")
def glu(run: Labelling, node: Node) -> list[ChannelLabels]:
    """`a * sigmoid(b)` for the halves a and b: position i of one goes with position i of the other."""
    channels = run.labels_of(node.args[0])
    d = int(node.args[1] if len(node.args) > 1 else -1) % max(len(channels.shape), 1)
    half = channels.shape[d] // 2
    shape = tuple(half if k == d else n for k, n in enumerate(channels.shape))
    found = moved(run, node, channels, moves.piece(channels.shape, d, 0, half, whole=True), shape)
    return [ChannelLabels(shape, tuple(AxisLabels(p.ids, p.zero) for p in found.per_axis), found.free)]
