"""Normalisations. Batch norm is elementwise in its channels; layer and group norm count only the channels kept."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from compressvqa.pruning.dependency import moves
from compressvqa.pruning.dependency.algebra import join, lift, place
from compressvqa.pruning.dependency.labels import AxisLabels, ChannelLabels, Ids
from compressvqa.pruning.dependency.rules.registry import rule
from compressvqa.torch_private import schema_of

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


@rule(
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
    "batch_norm", "miopen_batch_norm", "_native_batch_norm_legit_functional", "_batch_norm_with_update",
    "_batch_norm_no_update",
)  # fmt: skip
def batch_norm(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Weight, bias and running statistics go with their channel."""
    data = run.labels_of(node.args[0])
    rank = len(data.shape)
    values = [v for v in node.args[1:5] if v is not None and hasattr(v, "leaf")]
    sides = [place(run.labels_of(v), [1], rank) for v in values]
    scaled, shifted, trains = node.args[1] is not None, node.args[2] is not None, _trains(node)

    def zero(flags: list[bool]) -> bool:
        """Zeros less their own mean are zeros; less a running mean they are not, unless scale and shift are zero."""
        level = flags[1 + scaled] if shifted else True
        return level and ((trains and flags[0]) or (scaled and flags[1]))

    per_axis, _ = join(run, node, (data, *sides), zero)
    inside = [p for p in per_axis if set(p.axes) - {1}] if trains else []
    for axis_labels in inside:
        # Without running statistics every other position has a part in the mean (instance norm, standardised weights).
        if len(axis_labels.axes) > 1 or not data.weight or len(inside) > 1:
            run.freeze(axis_labels.ids, f"they have a part in the mean of {node}")
    only = inside[0] if len(inside) == 1 and len(inside[0].axes) == 1 and data.weight else None
    run.statistic(node, *((None,) if only is None else (only.ids, only.axes[0])))
    per_axis = tuple(AxisLabels(p.ids, True) if p is only else p for p in per_axis)
    shapes = [() if v is None else v.shape for v in node.outputs]
    return [
        ChannelLabels(shapes[0], per_axis, frozenset(), data.weight),
        *(ChannelLabels(shape) for shape in shapes[1:]),
    ]


def _trains(node: Node) -> bool:
    """Whether a batch norm takes its statistics from the batch."""
    place = _place_of_training(node.function)
    return place is not None and place < len(node.args) and bool(node.args[place])


@cache
def _place_of_training(function: Any) -> int | None:
    names = [argument.name for argument in schema_of(function).arguments]
    return names.index("training") if "training" in names else None


@rule("native_layer_norm", "_fused_rms_norm", "rms_norm")
def layer_norm(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Over the last dimensions; the mean and variance are those of the channels kept."""
    data, width = run.labels_of(node.args[0]), len(node.args[1])
    rank = len(data.shape)
    sides = [lift(run.labels_of(v), rank) for v in node.args[2:4] if v is not None and hasattr(v, "leaf")]
    zero = len(sides) > 0
    inside = set(range(rank - width, rank))
    per_axis, _ = join(run, node, (data, *sides), lambda flags: zero and all(flags[1:]))
    labelled = [p for p in per_axis if set(p.axes) & inside]
    for axis_labels in labelled:
        if set(axis_labels.axes) - inside or len(labelled) > 1:
            run.freeze(axis_labels.ids, f"normalised over several labelled dimensions at {node}")
    run.statistic(node, _over(labelled[0].ids, data.shape, width) if len(labelled) == 1 else None)
    shapes = [() if v is None else v.shape for v in node.outputs]
    return [ChannelLabels(shapes[0], per_axis), *(ChannelLabels(shape) for shape in shapes[1:])]


def _over(ids: Ids, shape: tuple[int, ...], width: int) -> Ids | None:
    """Labels over the normalised dimensions, flat."""
    if max(ids.shape[: ids.ndim - width], default=1) > 1:
        return None
    return np.broadcast_to(ids.reshape(ids.shape[ids.ndim - width :]), shape[len(shape) - width :]).ravel()


@rule("native_group_norm")
def group_norm(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Groups of one channel go as a whole; larger ones must all lose the same channels."""
    data, channels, groups = run.labels_of(node.args[0]), node.args[4], node.args[6]
    rank = len(data.shape)
    sides = [place(run.labels_of(v), [1], rank) for v in node.args[1:3] if v is not None]
    per_axis, _ = join(run, node, (data, *sides), lambda flags: len(flags) > 1 and all(flags[1:]))
    results, labels = [], None
    for axis_labels in per_axis:
        ids = axis_labels.ids
        if 1 not in axis_labels.axes:
            run.freeze(ids, f"normalised over these positions at {node}")
        elif len(axis_labels.axes) == 1:
            if groups == channels:
                run.attribute(node, "num_groups", ids)
            elif groups > 1:
                parted = moves.view((channels,), (groups, channels // groups)).replay(ids.ravel())
                run.unite_along(node, parted, (0,))
            labels = ids.ravel()
        results.append(AxisLabels(ids, axis_labels.zero))
    run.statistic(node, labels, 1)
    shapes = [() if v is None else v.shape for v in node.outputs]
    return [ChannelLabels(shapes[0], tuple(results)), *(ChannelLabels(shape) for shape in shapes[1:])]
