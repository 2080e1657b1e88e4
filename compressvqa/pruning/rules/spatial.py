"""Pooling, padding, resizing and sampling: space is mixed, batch and channels pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compressvqa.pruning.labels import Plane, Twin
from compressvqa.pruning.rules import rule
from compressvqa.pruning.rules.reduction import across

if TYPE_CHECKING:
    from compressvqa.pruning.graph import Node
    from compressvqa.pruning.propagate import Propagation

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
def pool(run: Propagation, node: Node) -> list[Twin]:
    """The last one, two or three dimensions are mixed; no pool makes a channel of zeros anything else."""
    twin = run.twin(node.args[0])
    rank = len(twin.shape)
    dims = range(rank - _DIMS[node.op], rank)
    planes = tuple(
        Plane(ids, plane.zero) for plane in twin.planes if (ids := across(run, node, plane, dims)) is not None
    )
    return [Twin(() if v is None else v.shape, planes) for v in node.outputs]


@rule("constant_pad_nd")
def pad(run: Propagation, node: Node) -> list[Twin]:
    """Padding beside the channels' dimension changes nothing; padding along it adds positions that stay."""
    twin, widths = run.twin(node.args[0]), list(node.args[1])
    constant = node.args[2] if len(node.args) > 2 else node.kwargs.get("value", 0)
    rank = len(twin.shape)
    around = [(widths[2 * k], widths[2 * k + 1]) if 2 * k < len(widths) else (0, 0) for k in range(rank)][::-1]
    shape = node.outputs[0].shape if node.outputs[0] is not None else ()
    planes = []
    for plane in twin.planes:
        ids = plane.ids
        for d in plane.axes:
            before, after = around[d]
            ids = ids[(slice(None),) * d + (slice(max(-before, 0), ids.shape[d] - max(-after, 0)),)]
            if min(before, after) < 0:
                run.freeze(plane.ids, f"channels are cropped by number at {node}")
            ids = np.pad(ids, [(max(before, 0), max(after, 0)) if k == d else (0, 0) for k in range(rank)])
        planes.append(Plane(ids, plane.zero and constant in (0, None)))
    free = frozenset(d for d in twin.free if around[d] == (0, 0))
    return [Twin(shape, tuple(planes), free, twin.weight)]


@rule("im2col")
def im2col(run: Propagation, node: Node) -> list[Twin]:
    """Patches: every channel becomes a run of kernel positions."""
    twin, kernel = run.twin(node.args[0]), int(np.prod(node.args[1]))
    shape = node.outputs[0].shape if node.outputs[0] is not None else ()
    planes = []
    for plane in twin.planes:
        ids = across(run, node, plane, range(len(twin.shape) - 2, len(twin.shape)))
        if ids is not None:
            ids = ids[..., 0]
            planes.append(Plane(ids.repeat(kernel, axis=-2) if ids.shape[-2] > 1 else ids, plane.zero))
    return [Twin(shape, tuple(planes))]


@rule("grid_sampler_2d", "grid_sampler_3d", "grid_sampler")
def sample(run: Propagation, node: Node) -> list[Twin]:
    """Sampling at places that a second tensor names: the channels of the first pass, those of the second are frozen."""
    twin, grid = run.twin(node.args[0]), run.twin(node.args[1])
    for plane in grid.planes:
        run.freeze(plane.ids, f"they say where to sample at {node}")
    planes = tuple(
        Plane(ids, plane.zero)
        for plane in twin.planes
        if (ids := across(run, node, plane, range(2, len(twin.shape)))) is not None
    )
    return [Twin(() if v is None else v.shape, planes) for v in node.outputs]
