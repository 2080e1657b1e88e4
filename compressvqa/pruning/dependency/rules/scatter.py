"""Writes by index: the dimension that is written by number keeps its size, the others pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compressvqa.pruning.dependency.algebra import join, lift, place
from compressvqa.pruning.dependency.labels import ChannelLabels
from compressvqa.pruning.dependency.rules.picks import is_mask, picked, squeezed, without_dims
from compressvqa.pruning.dependency.rules.registry import rule
from compressvqa.pruning.recording.graph import Value

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


@rule("scatter", "scatter_add", "scatter_reduce")
def scatter(run: Labelling, node: Node) -> list[ChannelLabels]:
    """`y[i][index[i][j][k]][k] = x[i][j][k]`: along the other dimensions all of them must be of one size."""
    values = [v for v in node.args[:4] if isinstance(v, Value)]
    d, whole = node.args[1] % max(len(node.args[0].shape), 1), node.args[0].shape
    if any(v.shape[k] != size for v in values for k, size in enumerate(whole) if k != d):
        return run.block(node, "part of a tensor is written by number")
    stays = len(values) > 2 or node.args[3] == 0
    # The index decides where zeros land, not whether they are zeros.
    return _joined(run, node, [without_dims(run, node, run.labels_of(v), [d]) for v in values], d, stays, index=1)


@rule("index_add", "index_copy", "index_reduce", "index_fill")
def index_write(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Whole slices of one dimension are written, added or multiplied at the places that a list of numbers names."""
    d, what = node.args[1] % max(len(node.args[0].shape), 1), node.args[3]
    if run.labels_of(node.args[2]).per_axis:
        return run.block(node, "channels are picked by number")
    operands = [without_dims(run, node, run.labels_of(node.args[0]), [d])]
    if isinstance(what, Value) and what.shape:
        operands.append(without_dims(run, node, run.labels_of(what), [d]))
    number = not isinstance(what, Value)
    stays = len(operands) > 1 or (number and what == 0)
    return _joined(run, node, operands, d, stays)


@rule("index_put")
def index_put(run: Labelling, node: Node) -> list[ChannelLabels]:
    """`x[i, :, j] = y` with index tensors or masks; the dimensions that are not indexed pass."""
    target, picks, new = run.labels_of(node.args[0]), node.args[1], run.labels_of(node.args[2])
    given = [p for p in picks if p is not None]
    if len(given) == 1 and is_mask(given[0]) and given[0].shape == target.shape and not any(n > 1 for n in new.shape):
        # `x[x < 0] = 0` works element by element.
        per_axis, free = join(run, node, [target, run.labels_of(given[0])], lambda flags: False)
        return [ChannelLabels(target.shape, per_axis, free)]
    if any(run.labels_of(p).per_axis for p in given):
        return run.block(node, "channels are picked by number")
    dims, others, homes, rank = picked(picks, len(target.shape))
    if len(new.shape) > rank:
        return run.block(node, "a write by number is not followed")
    block = [k for k in range(rank) if k not in homes]
    slices = squeezed(without_dims(run, node, lift(new, rank), block), block)
    operands = [without_dims(run, node, target, dims), place(slices, others, len(target.shape))]
    per_axis, free = join(run, node, operands, all)
    return [ChannelLabels(target.shape, per_axis, free)]


@rule("masked_scatter")
def masked_scatter(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Elements are taken one after another: what lands where depends on every one before."""
    return run.block(node, "elements are written one after another")


def _joined(
    run: Labelling, node: Node, operands: Sequence[ChannelLabels], d: int, stays: bool, index: int | None = None
) -> list[ChannelLabels]:
    def zero(flags: list[bool]) -> bool:
        return stays and all(flag for number, flag in enumerate(flags) if number != index)

    per_axis, free = join(run, node, operands, zero)
    output = node.outputs[0]
    assert output is not None
    return [ChannelLabels(output.shape, per_axis, free - {d})]
