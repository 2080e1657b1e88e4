"""Normalisations. Batch norm is elementwise in its channels; layer and group norm count only the channels kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compressvqa.pruning import moves
from compressvqa.pruning.algebra import join, lift, place
from compressvqa.pruning.labels import Ids, Plane, Twin
from compressvqa.pruning.rules import rule

if TYPE_CHECKING:
    from compressvqa.pruning.graph import Node
    from compressvqa.pruning.propagate import Propagation


@rule(
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
    "batch_norm", "miopen_batch_norm", "_native_batch_norm_legit_functional", "_batch_norm_with_update",
    "_batch_norm_no_update",
)  # fmt: skip
def batch_norm(run: Propagation, node: Node) -> list[Twin]:
    """Weight, bias and running statistics go with their channel."""
    data = run.twin(node.args[0])
    rank = len(data.shape)
    values = [v for v in node.args[1:5] if v is not None and hasattr(v, "leaf")]
    sides = [place(run.twin(v), [1], rank) for v in values]
    scaled, shifted, trains = node.args[1] is not None, node.args[2] is not None, _trains(node)

    def zero(flags: list[bool]) -> bool:
        """Zeros less their own mean are zeros; less a running mean they are not, unless scale and shift are zero."""
        level = flags[1 + scaled] if shifted else True
        return level and ((trains and flags[0]) or (scaled and flags[1]))

    planes, _ = join(run, node, (data, *sides), zero)
    inside = [p for p in planes if set(p.axes) - {1}] if trains else []
    for plane in inside:
        # Without running statistics every other position has a part in the mean (instance norm, standardised weights).
        if len(plane.axes) > 1 or not data.weight or len(inside) > 1:
            run.freeze(plane.ids, f"they have a part in the mean of {node}")
    only = inside[0] if len(inside) == 1 and len(inside[0].axes) == 1 and data.weight else None
    run.statistic(node, *((None,) if only is None else (only.ids, only.axes[0])))
    planes = tuple(Plane(p.ids, True) if p is only else p for p in planes)
    shapes = [() if v is None else v.shape for v in node.outputs]
    return [Twin(shapes[0], planes, frozenset(), data.weight), *(Twin(shape) for shape in shapes[1:])]


def _trains(node: Node) -> bool:
    """Whether a batch norm takes its statistics from the batch."""
    names = [argument.name for argument in node.function._schema.arguments]
    return "training" in names and bool([*node.args, *[None] * len(names)][names.index("training")])


@rule("native_layer_norm", "_fused_rms_norm", "rms_norm")
def layer_norm(run: Propagation, node: Node) -> list[Twin]:
    """Over the last dimensions; the mean and variance are those of the channels kept."""
    data, width = run.twin(node.args[0]), len(node.args[1])
    rank = len(data.shape)
    sides = [lift(run.twin(v), rank) for v in node.args[2:4] if v is not None and hasattr(v, "leaf")]
    zero = len(sides) > 0
    inside = set(range(rank - width, rank))
    planes, _ = join(run, node, (data, *sides), lambda flags: zero and all(flags[1:]))
    labelled = [p for p in planes if set(p.axes) & inside]
    for plane in labelled:
        if set(plane.axes) - inside or len(labelled) > 1:
            run.freeze(plane.ids, f"normalised over several labelled dimensions at {node}")
    run.statistic(node, _over(labelled[0].ids, data.shape, width) if len(labelled) == 1 else None)
    shapes = [() if v is None else v.shape for v in node.outputs]
    return [Twin(shapes[0], planes), *(Twin(shape) for shape in shapes[1:])]


def _over(ids: Ids, shape: tuple[int, ...], width: int) -> Ids | None:
    """Labels over the normalised dimensions, flat."""
    if max(ids.shape[: ids.ndim - width], default=1) > 1:
        return None
    return np.broadcast_to(ids.reshape(ids.shape[ids.ndim - width :]), shape[len(shape) - width :]).ravel()


@rule("native_group_norm")
def group_norm(run: Propagation, node: Node) -> list[Twin]:
    """Groups of one channel go as a whole; larger ones must all lose the same channels."""
    data, channels, groups = run.twin(node.args[0]), node.args[4], node.args[6]
    rank = len(data.shape)
    sides = [place(run.twin(v), [1], rank) for v in node.args[1:3] if v is not None]
    planes, _ = join(run, node, (data, *sides), lambda flags: len(flags) > 1 and all(flags[1:]))
    results, labels = [], None
    for plane in planes:
        ids = plane.ids
        if 1 not in plane.axes:
            run.freeze(ids, f"normalised over these positions at {node}")
        elif len(plane.axes) == 1:
            if groups == channels:
                run.attribute(node, "num_groups", ids)
            elif groups > 1:
                parted = moves.view((channels,), (groups, channels // groups)).replay(ids.ravel())
                run.unite_along(node, parted, (0,))
            labels = ids.ravel()
        results.append(Plane(ids, plane.zero))
    run.statistic(node, labels, 1)
    shapes = [() if v is None else v.shape for v in node.outputs]
    return [Twin(shapes[0], tuple(results)), *(Twin(shape) for shape in shapes[1:])]
