"""Fake quantisation: rounded to a grid, element by element; zero is always on the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressvqa.pruning.dependency.algebra import join, place
from compressvqa.pruning.dependency.labels import ChannelLabels
from compressvqa.pruning.dependency.rules.registry import rule
from compressvqa.pruning.recording.graph import Value

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


@rule(
    "fake_quantize_per_tensor_affine",
    "fake_quantize_per_tensor_affine_cachemask",
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
    "_fake_quantize_learnable_per_tensor_affine",
)
def per_tensor(run: Labelling, node: Node) -> list[ChannelLabels]:
    """One grid for all; a mask, which only gradients read, comes second."""
    data, *grid = [v for v in node.args if isinstance(v, Value)]
    if any(size > 1 for v in grid for size in v.shape):
        return run.block(node, "the grid is not one number")
    channels = run.labels_of(data)
    return [ChannelLabels(channels.shape, channels.per_axis, channels.free, channels.weight) for _ in node.outputs]


@rule(
    "fake_quantize_per_channel_affine",
    "fake_quantize_per_channel_affine_cachemask",
    "_fake_quantize_learnable_per_channel_affine",
)
def per_channel(run: Labelling, node: Node) -> list[ChannelLabels]:
    """A grid for each channel, which goes with it; a step of zero would divide, so it stays as it is in the proof."""
    data, scale, offset, axis = run.labels_of(node.args[0]), *node.args[1:4]
    rank = len(data.shape)
    sides = [place(run.labels_of(v), [axis % rank], rank) for v in (scale, offset)]
    for axis_labels in sides[0].per_axis:
        run.keep_in_proof(axis_labels.ids)
    per_axis, free = join(run, node, [data, *sides], lambda flags: flags[0])
    return [ChannelLabels(data.shape, per_axis, free, data.weight) for _ in node.outputs]
