"""Pooling, padding, resizing and sampling: space is mixed, batch and channels pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compressvqa.pruning.dependency.algebra import join
from compressvqa.pruning.dependency.labels import AxisLabels, ChannelLabels, Ids
from compressvqa.pruning.dependency.rules.picks import without_dims
from compressvqa.pruning.dependency.rules.reduction import across
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node

_POOLS = {
    1: ("avg_pool1d", "max_pool1d", "adaptive_avg_pool1d", "upsample_nearest1d", "_upsample_nearest_exact1d",
        "upsample_linear1d", "reflection_pad1d", "replication_pad1d"),
    2: ("avg_pool2d", "max_pool2d", "max_pool2d_with_indices", "adaptive_avg_pool2d", "_adaptive_avg_pool2d",
        "adaptive_max_pool2d", "upsample_nearest2d", "_upsample_nearest_exact2d", "upsample_bilinear2d",
        "upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "reflection_pad2d",
        "replication_pad2d", "fractional_max_pool2d"),
    3: ("avg_pool3d", "max_pool3d", "max_pool3d_with_indices", "adaptive_avg_pool3d", "_adaptive_avg_pool3d",
        "adaptive_max_pool3d", "upsample_nearest3d", "_upsample_nearest_exact3d", "upsample_trilinear3d",
        "reflection_pad3d", "replication_pad3d"),
}  # fmt: skip
_DIMS = {name: count for count, names in _POOLS.items() for name in names}


@rule(*_DIMS)
def pool(run: Labelling, node: Node) -> list[ChannelLabels]:
    """The last one, two or three dimensions are mixed; no pool makes a channel of zeros anything else."""
    channels = run.labels_of(node.args[0])
    rank = len(channels.shape)
    dims = range(rank - _DIMS[node.op], rank)
    per_axis = tuple(
        AxisLabels(ids, axis_labels.zero)
        for axis_labels in channels.per_axis
        if (ids := across(run, node, axis_labels, dims)) is not None
    )
    return [ChannelLabels(() if v is None else v.shape, per_axis) for v in node.outputs]


@rule("constant_pad_nd")
def pad(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Padding beside the channels' dimension changes nothing; padding along it adds positions that stay."""
    channels, widths = run.labels_of(node.args[0]), list(node.args[1])
    constant = node.args[2] if len(node.args) > 2 else node.kwargs.get("value", 0)
    rank = len(channels.shape)
    around = [(widths[2 * k], widths[2 * k + 1]) if 2 * k < len(widths) else (0, 0) for k in range(rank)][::-1]
    shape = node.outputs[0].shape if node.outputs[0] is not None else ()
    per_axis = []
    for axis_labels in channels.per_axis:
        ids = axis_labels.ids
        for d in axis_labels.axes:
            before, after = around[d]
            ids = ids[(slice(None),) * d + (slice(max(-before, 0), ids.shape[d] - max(-after, 0)),)]
            if min(before, after) < 0:
                run.freeze(axis_labels.ids, f"channels are cropped by number at {node}")
            added = [_beside(run, node, d, side, width) for side, width in enumerate((before, after))]
            first, last = (np.broadcast_to(a, (*ids.shape[:d], a.shape[d], *ids.shape[d + 1 :])) for a in added)
            ids = np.concatenate([first, ids, last], axis=d)
        per_axis.append(AxisLabels(ids, axis_labels.zero and constant in (0, None)))
    free = frozenset(d for d in channels.free if around[d] == (0, 0))
    return [ChannelLabels(shape, tuple(per_axis), free, channels.weight)]


def _beside(run: Labelling, node: Node, d: int, side: int, width: int) -> Ids:
    """Labels of the positions that are added before (0) or after (1) the others: fixed, unless their number follows."""
    value = node.outputs[0]
    rank = len(node.args[0].shape)
    ids = None if value is None else run.made(value, rank * (1 + side) + d)
    if ids is None:
        ids = np.zeros(max(width, 0), dtype=np.int64)
    return ids.reshape([-1 if k == d else 1 for k in range(rank)])


@rule("im2col")
def im2col(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Patches: every channel becomes a run of kernel positions."""
    channels, kernel = run.labels_of(node.args[0]), int(np.prod(node.args[1]))
    shape = node.outputs[0].shape if node.outputs[0] is not None else ()
    per_axis = []
    for axis_labels in channels.per_axis:
        ids = across(run, node, axis_labels, range(len(channels.shape) - 2, len(channels.shape)))
        if ids is not None:
            ids = ids[..., 0]
            per_axis.append(AxisLabels(ids.repeat(kernel, axis=-2) if ids.shape[-2] > 1 else ids, axis_labels.zero))
    return [ChannelLabels(shape, tuple(per_axis))]


@rule("col2im")
def col2im(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Patches laid back where they came from and added up: all kernel positions of a channel go, or none."""
    channels, kernel = run.labels_of(node.args[0]), int(np.prod(node.args[2]))
    shape = node.outputs[0].shape if node.outputs[0] is not None else ()
    rank = len(channels.shape)
    per_axis = []
    for axis_labels in channels.per_axis:
        ids = across(run, node, axis_labels, [rank - 1])
        if ids is None:
            continue
        if ids.shape[-2] > 1:
            parted = ids.reshape(*ids.shape[:-2], ids.shape[-2] // kernel, kernel)
            ids = run.unite_along(node, parted, [rank - 1])
        per_axis.append(AxisLabels(ids[..., None] if ids.ndim < len(shape) else ids, axis_labels.zero))
    return [ChannelLabels(shape, tuple(per_axis))]


@rule("max_unpool2d", "max_unpool3d")
def unpool(run: Labelling, node: Node) -> list[ChannelLabels]:
    """What a maximum pool took is laid back where it was, channel by channel; all else is zero."""
    operands = [run.labels_of(v) for v in node.args[:2]]
    space = range(len(operands[0].shape) - (2 if node.op == "max_unpool2d" else 3), len(operands[0].shape))
    per_axis, _ = join(run, node, [without_dims(run, node, t, space) for t in operands], lambda flags: flags[0])
    return [ChannelLabels(() if v is None else v.shape, per_axis) for v in node.outputs]


@rule("torchvision::roi_align", "torchvision::roi_pool")
def regions(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Regions of pictures, cut out and resized: channels pass; where the regions lie must stay."""
    for axis_labels in run.labels_of(node.args[1]).per_axis:
        run.freeze(axis_labels.ids, f"they say where to look at {node}")
    channels = run.labels_of(node.args[0])
    left = without_dims(run, node, channels, [0, 2, 3])
    return [ChannelLabels(() if v is None else v.shape, left.per_axis) for v in node.outputs]


@rule("grid_sampler_2d", "grid_sampler_3d", "grid_sampler")
def sample(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Sampling at places that a second tensor names: the channels of the first pass, those of the second are frozen."""
    channels, grid = run.labels_of(node.args[0]), run.labels_of(node.args[1])
    for axis_labels in grid.per_axis:
        run.freeze(axis_labels.ids, f"they say where to sample at {node}")
    per_axis = tuple(
        AxisLabels(ids, axis_labels.zero)
        for axis_labels in channels.per_axis
        if (ids := across(run, node, axis_labels, range(2, len(channels.shape)))) is not None
    )
    return [ChannelLabels(() if v is None else v.shape, per_axis) for v in node.outputs]
