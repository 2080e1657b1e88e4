"""Packed sequences: the steps of all sequences laid end to end; features pass, steps and sequences are mixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressvqa.pruning.dependency.algebra import place
from compressvqa.pruning.dependency.labels import AxisLabels, ChannelLabels
from compressvqa.pruning.dependency.rules.picks import squeezed, without_dims
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


@rule("_pack_padded_sequence")
def pack(run: Labelling, node: Node) -> list[ChannelLabels]:
    """(sequences, steps, features...) -> (steps of all, features...), and how many sequences have each step."""
    padded = squeezed(without_dims(run, node, run.labels_of(node.args[0]), [0, 1]), [0, 1])
    rank = len(padded.shape) + 1
    data, sizes = node.outputs
    assert data is not None
    assert sizes is not None
    packed = place(padded, range(1, rank), rank)
    return [ChannelLabels(data.shape, packed.per_axis, packed.free), ChannelLabels(sizes.shape)]


@rule("_pad_packed_sequence")
def pad(run: Labelling, node: Node) -> list[ChannelLabels]:
    """The way back; short sequences are filled up with a number."""
    packed = squeezed(without_dims(run, node, run.labels_of(node.args[0]), [0]), [0])
    rank = len(packed.shape) + 2
    data, lengths = node.outputs
    assert data is not None
    assert lengths is not None
    padded = place(packed, range(2, rank), rank)
    zero = node.args[3] == 0
    per_axis = tuple(AxisLabels(p.ids, p.zero and zero) for p in padded.per_axis)
    return [ChannelLabels(data.shape, per_axis, padded.free), ChannelLabels(lengths.shape)]
