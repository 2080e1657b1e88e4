"""Data movement: the labels make the same move, so folds, windows, shuffles and interleaves are exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from compressvqa.pruning.dependency import moves
from compressvqa.pruning.dependency.constraints import named, slices
from compressvqa.pruning.dependency.labels import FIXED, FREE, MERGED, AxisLabels, ChannelLabels, Ids
from compressvqa.pruning.dependency.rules.registry import rule
from compressvqa.pruning.recording.integers import origins
from compressvqa.torch_private import schema_of

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.dependency.moves import Move
    from compressvqa.pruning.recording.graph import Node

_LARGEST = 1 << 27  # elements of a tensor that is written through views; beyond, its channels are frozen


@rule(*moves.NAMES)
def movement(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Replays a one-input movement on every axis_labels."""
    channels = run.labels_of(node.args[0])
    shapes = [() if v is None else v.shape for v in node.outputs]
    arguments = [*node.args[1:], *node.kwargs.values()] if node.op not in moves.SAME else []
    found = moves.moves(node.op, channels.shape, arguments, shapes)
    if found is None:
        return run.block(node, "the movement is not known")
    return [moved(run, node, channels, move, shape) for move, shape in zip(found, shapes, strict=True)]


def moved(run: Labelling, node: Node, channels: ChannelLabels, move: Move, shape: tuple[int, ...]) -> ChannelLabels:
    """The channels after one move."""
    per_axis: list[AxisLabels] = []
    merged: list[AxisLabels] = []
    follows: set[int] = set()
    for axis_labels in channels.per_axis:
        ids = _before(run, node, axis_labels, move)
        if ids is None:
            continue
        after = AxisLabels(move.replay(ids), axis_labels.zero)
        if (ids < 0).all():  # sizes that follow whoever reads them, once they were merged with others
            follows.update(after.axes)
        elif (beside := _beside(run, node, per_axis, after, weight=channels.weight)) is not None:
            per_axis = beside
        else:
            # Two labelled dimensions became one, as in `weight.flatten(1)`; they may come apart again.
            merged.append(after)
    for axis_labels in channels.merged:
        if (move.cut | move.tied) & set(axis_labels.axes):
            run.freeze(axis_labels.ids, f"{MERGED} at {node}")
        else:
            merged.append(AxisLabels(move.replay(axis_labels.ids), axis_labels.zero))
    copies, free = _sizes(run, node, channels, move, shape, follows, {d for p in per_axis for d in p.axes})
    return ChannelLabels(shape, (*per_axis, *copies), frozenset(free), channels.weight, tuple(merged))


def _sizes(
    run: Labelling,
    node: Node,
    channels: ChannelLabels,
    move: Move,
    shape: tuple[int, ...],
    follows: set[int],
    labelled: set[int],
) -> tuple[list[AxisLabels], set[int]]:
    """Labels of copies whose number can follow, and dimensions whose size follows whoever reads them."""
    copies: list[AxisLabels] = []
    free = set()
    for d, sources in enumerate(move.origins):
        if node.op == "view_as_real" and d == len(shape) - 1:
            continue  # a real and an imaginary part, whatever reads them
        long = [s for s in sources if channels.shape[s] > 1]
        copied = not long and shape[d] > 1  # broadcast: the size follows whoever reads it
        if copied and (numbered := _copied(run, node, d)) is not None:
            copies.append(AxisLabels(numbered, False))
        elif copied or d in follows or (long and channels.free.issuperset(long)):
            free.add(d)
        elif channels.free & set(long) and move.origins.count(sources) == 1 and d not in labelled:
            # Copies were merged with positions that are no copies, as heads with the batch.
            copies.append(AxisLabels(np.full([n if k == d else 1 for k, n in enumerate(shape)], FREE), False))
    return copies, free


def _before(run: Labelling, node: Node, axis_labels: AxisLabels, move: Move) -> Ids | None:
    """Labels that a move may be made with: tied where it picks or takes apart; None where their channels are kept."""
    ids = axis_labels.ids
    if cut := move.cut & set(axis_labels.axes):
        if set(axis_labels.axes) - cut and (
            node.op == "select" or (run.settled and run.attention == "heads") or run.may_tie(ids)
        ):
            # `qkv[0]`: positions of that dimension all stay, so channels go in all of them or in none.
            ids = run.unite_along(node, ids, sorted(cut))
        elif (equal := _equal_pieces(node, move, ids.shape)) is not None:
            run.unite(node, *np.broadcast_arrays(*equal(ids)))
        elif len(axis_labels.axes) == 1 and _told(run, node, ids.ravel(), next(iter(cut)), move):
            run.segment(move.replay(ids))
        else:
            run.freeze(ids, f"channels are picked by number at {node}")
            return None
    if tied := move.tied & set(axis_labels.axes):
        ids = _tie_pieces(run, node, ids, move, tied)
    return ids


def _beside(
    run: Labelling, node: Node, per_axis: list[AxisLabels], after: AxisLabels, *, weight: bool
) -> list[AxisLabels] | None:
    """The labels with further ones, which must lie along other dimensions; None where they do not."""
    if any(set(after.axes) & set(other.axes) for other in per_axis):
        after = AxisLabels(_narrow(after.ids), after.zero)
        per_axis = [AxisLabels(_narrow(other.ids), other.zero) for other in per_axis]
    met = [other for other in per_axis if set(after.axes) & set(other.axes)]
    if not met:
        return [*per_axis, after]
    heads = not weight and not run.may_tie(after.ids) and all(run.may_tie(other.ids) for other in met)
    if heads or (not weight and run.is_made(after.ids) and not any(run.is_made(other.ids) for other in met)):
        for other in met:  # the width of keys or values that all heads share, or positions that are learnt
            run.freeze(other.ids, f"{'all heads share them' if heads else 'no layer makes them'} at {node}")
        return [*(other for other in per_axis if other not in met), after]
    return None


def _narrow(ids: Ids) -> Ids:
    """Size 1 along every dimension in which the labels are equal."""
    for d in range(ids.ndim):
        if ids.shape[d] > 1 and (ids == (one := ids.take([0], axis=d))).all():
            ids = one
    return ids


def _copied(run: Labelling, node: Node, d: int) -> Ids | None:
    """Labels of the copies of one position, where a number that can follow says how many there are."""
    (value,) = node.outputs
    ids = None if value is None else run.made(value, d)
    return None if ids is None or value is None else ids.reshape([-1 if k == d else 1 for k in range(len(value.shape))])


def _equal_pieces(node: Node, move: Move, shape: tuple[int, ...]) -> Callable[[Ids], tuple[Ids, Ids]] | None:
    """For one piece of `x.tensor_split(n)`: lays all pieces over the first, where they are equally long."""
    if node.call != "tensor_split" or len(move.cut) != 1:
        return None
    (d,) = move.cut
    value, parts = node.outputs[0], node.called[:1]
    if value is None or shape[d] % value.shape[d] or [shape[d] // value.shape[d]] != [int(p) for p in parts]:
        return None

    def laid(ids: Ids) -> tuple[Ids, Ids]:
        pieces = ids.swapaxes(0, d).reshape(int(parts[0]), value.shape[d], -1)
        return pieces, pieces[:1]

    return laid


def _told(run: Labelling, node: Node, ids: Ids, d: int, move: Move) -> bool:
    """Whether the piece that is taken may shrink: its bounds are numbers that can follow, or what they count is kept.

    A bound without an origin is a plain number: the channels that it counts stay, all others are free.
    """
    if node.op == "slice":
        if len(node.args) > 4 and node.args[4] != 1:
            return False
        for first, last in named(node, len(ids)):
            run.freeze(ids[first:last], f"they are counted by a plain number at {node}")
        return True
    if node.op in ("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes"):
        sizes = node.args[1] if isinstance(node.args[1], (tuple, list)) else [node.args[1]]
        if any(origin is None for origin in origins(node.called, sizes)):
            piece = move.replay(ids.reshape([-1 if k == d else 1 for k in range(len(node.args[0].shape))]))
            run.freeze(piece, f"they are counted by a plain number at {node}")
        return True
    return False


def _tie_pieces(run: Labelling, node: Node, ids: Ids, move: Move, dims: frozenset[int]) -> Ids:
    """Position i of one piece goes with position i of every other piece."""
    first = move.replay(ids)
    for d in dims:
        length = ids.shape[d]
        size = first.shape[d] if first.ndim == ids.ndim else 1
        pieces = ids.swapaxes(0, d).reshape(length // size, size, -1)
        run.unite(node, pieces, pieces[:1])
    return ids


@rule("write_view")
def write_view(run: Labelling, node: Node) -> list[ChannelLabels]:
    """A write through views of a tensor: the written part takes the new labels, the rest keeps its own."""
    base, new, chain = run.labels_of(node.args[0]), run.labels_of(node.args[1]), node.args[2]
    if not base.per_axis and not new.per_axis:
        return [ChannelLabels(base.shape, (), base.free & _free_of(base, new), base.weight)]
    replayed, cut = _through(base.shape, chain)
    if replayed is None:
        for axis_labels in (*base.per_axis, *new.per_axis):
            run.freeze(axis_labels.ids, f"a write through a view is not followed at {node}")
        return [ChannelLabels(base.shape)]
    if len(base.per_axis) > 1 or len(new.per_axis) > 1:
        for axis_labels in (*base.per_axis, *new.per_axis):
            run.freeze(axis_labels.ids, f"a write into a tensor labelled along several dimensions at {node}")
        return [ChannelLabels(base.shape)]
    # Where no partner has labels, a free tensor (zeros) asks for nothing and any other keeps its size.
    flat = np.full(int(np.prod(base.shape)), FREE if _all_free(base) else FIXED, dtype=np.int64)
    for axis_labels in base.per_axis:
        flat = np.broadcast_to(axis_labels.ids, base.shape).flatten()
    fill = new.per_axis[0].ids if new.per_axis else np.array(FREE if _all_free(new) else FIXED)
    there, fill = flat[replayed], np.broadcast_to(fill, new.shape)
    if base.per_axis:
        run.unite(node, there, fill)
    flat[replayed] = np.where(there > 0, there, np.where(there == FREE, fill, FIXED))
    ids = _compact(flat.reshape(base.shape))
    sliced = {d: view for view, d in slices(base.shape, chain)}
    for d in cut:
        if ids.shape[d] == 1 or sum(size > 1 for size in ids.shape) > 1:
            continue
        if d not in sliced or (len(sliced[d].args) > 4 and sliced[d].args[4] != 1):
            run.freeze(ids, f"channels are written by number at {node}")
            continue
        for first, last in named(sliced[d], base.shape[d]):
            run.freeze(ids.ravel()[first:last], f"they are counted by a plain number at {node}")
    # What is written without labels is a number, and only `zero_` is known to write zeros.
    written = all(p.zero for p in new.per_axis) if new.per_axis else _name_of(node) == "zero_"
    zero = all(p.zero for p in base.per_axis) and written
    return [ChannelLabels(base.shape, (AxisLabels(ids, zero),), frozenset(), base.weight)]


def _name_of(node: Node) -> str:
    name: str = schema_of(node.function).name
    return name.rpartition("::")[2]


def _through(shape: tuple[int, ...], chain: tuple[tuple[Node, int], ...]) -> tuple[Ids | None, set[int]]:
    """Flat positions of the base that a chain of views looks at, and the base dimensions that it picks from."""
    if int(np.prod(shape)) > _LARGEST:
        return None, set()
    positions = moves.spread(shape)
    origins: list[tuple[int, ...]] = [(d,) for d in range(len(shape))]
    cut: set[int] = set()
    for view, number in chain:
        outputs = [() if v is None else v.shape for v in view.outputs]
        found = moves.moves(view.op, positions.shape, [*view.args[1:], *view.kwargs.values()], outputs)
        if found is None:
            return None, set()
        move, target = found[number], outputs[number]
        for d in move.cut | move.tied:
            cut.update(origins[d])
        positions = np.broadcast_to(move.replay(positions), target)
        origins = [tuple(o for s in sources for o in origins[s]) for sources in move.origins]
    return positions, cut


def _compact(ids: Ids) -> Ids:
    """Size 1 along every dimension in which equal labels (or nothing asked for) stand."""
    for d in range(ids.ndim):
        one = ids.max(axis=d, keepdims=True)
        if ((ids == one) | (ids == FREE)).all():
            ids = one
    return ids


def _all_free(channels: ChannelLabels) -> bool:
    return all(d in channels.free for d, size in enumerate(channels.shape) if size > 1)


def _free_of(base: ChannelLabels, new: ChannelLabels) -> frozenset[int]:
    return base.free if _all_free(new) else frozenset()
