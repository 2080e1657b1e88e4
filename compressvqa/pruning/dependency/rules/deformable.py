"""Deformable convolution of torchvision: a convolution whose taps lie where a second tensor says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from compressvqa.pruning.dependency import moves
from compressvqa.pruning.dependency.rules.contraction import convolution
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.dependency.labels import ChannelLabels
    from compressvqa.pruning.recording.graph import Node


@rule("torchvision::deform_conv2d")
def deformable(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Channels go as in a convolution; offsets and masks are all needed, for every tap."""
    data, weight, offset, mask, bias = node.args[:5]
    groups, offset_groups = node.args[11:13]
    for places in (offset, mask):
        for axis_labels in run.labels_of(places).per_axis:
            run.freeze(axis_labels.ids, f"they say where to sample at {node}")
    if offset_groups > 1:  # each has taps of its own, so all of them must lose the same channels
        for axis_labels in run.labels_of(data).per_axis:
            if axis_labels.axes == (1,):
                ids = axis_labels.ids.ravel()
                run.unite_along(
                    node, moves.view(ids.shape, (offset_groups, len(ids) // offset_groups)).replay(ids), (0,)
                )
    return convolution(run, replace(node, args=(data, weight, bias, None, None, None, False, None, groups)))
