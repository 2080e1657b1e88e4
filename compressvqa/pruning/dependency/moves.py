"""Data movement on compact label arrays: views, permutations, slices, repeats.

A `Move` replays one movement on an array that has size 1 along every dimension in which it does not differ, so that a
view of a (8, 12, 64, 256, 256) tensor costs no more than its 64 labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compressvqa.pruning.dependency.labels import Ids

Shape = tuple[int, ...]
_END = (1 << 63) - 1


@dataclass(frozen=True)
class Move:
    """One output of a movement operator.

    Args:
        replay: compact array over the input's dimensions -> compact array over the output's.
        origins: for each output dimension, the input dimensions that it is made of.
        cut: input dimensions of which positions are picked by number, so that their length must not change.
        tied: input dimensions that are taken apart into equal pieces, so that every piece must lose the same.
    """

    replay: Callable[[Ids], Ids]
    origins: tuple[tuple[int, ...], ...]
    cut: frozenset[int] = frozenset()
    tied: frozenset[int] = frozenset()


def full(ids: Ids, shape: Shape, dims: Sequence[int]) -> Ids:
    """The array spread over the full length of these dimensions."""
    return np.broadcast_to(ids, tuple(shape[d] if d in dims else n for d, n in enumerate(ids.shape)))


def view(source: Shape, target: Shape) -> Move:
    """A reshape. Only dimensions that are merged or split together are spread out."""
    groups = _groups(source, target)
    origins: list[tuple[int, ...]] = [()] * len(target)
    for ins, outs in groups:
        for d in outs:
            origins[d] = tuple(ins)

    def replay(ids: Ids) -> Ids:
        spread = [d for ins, outs in groups if any(ids.shape[k] > 1 for k in ins) for d in ins]
        shape = [1] * len(target)
        for ins, outs in groups:
            if any(ids.shape[k] > 1 for k in ins):
                for d in outs:
                    shape[d] = target[d]
        return full(ids, source, spread).reshape(shape)

    return Move(replay, tuple(origins))


def _groups(source: Shape, target: Shape) -> list[tuple[list[int], list[int]]]:
    """The finest pairing of runs of source dimensions with runs of target dimensions of equal product."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(source) or j < len(target):
        if i < len(source) and source[i] == 1 and not (j < len(target) and target[j] == 1):
            groups.append(([i], []))
            i += 1
            continue
        if j < len(target) and target[j] == 1 and not (i < len(source) and source[i] == 1):
            groups.append(([], [j]))
            j += 1
            continue
        ins, outs, left, right = [i], [j], source[i], target[j]
        while left != right:
            if left < right:
                i += 1
                ins.append(i)
                left *= source[i]
            else:
                j += 1
                outs.append(j)
                right *= target[j]
        groups.append((ins, outs))
        i, j = i + 1, j + 1
    return groups


def permute(order: Sequence[int]) -> Move:
    """Dimensions in another order."""
    order = [d % len(order) for d in order]
    return Move(lambda ids: ids.transpose(order), tuple((d,) for d in order))


def squeeze(source: Shape, gone: Sequence[int]) -> Move:
    """Leaves out dimensions of size 1."""
    gone = [d % len(source) for d in gone if source[d % len(source)] == 1] if source else []
    return Move(lambda ids: ids.squeeze(tuple(gone)), tuple((d,) for d in range(len(source)) if d not in gone))


def unsqueeze(source: Shape, d: int) -> Move:
    """A new dimension of size 1."""
    d %= len(source) + 1
    origins = [(k,) for k in range(len(source))]
    return Move(lambda ids: np.expand_dims(ids, d), (*origins[:d], (), *origins[d:]))


def expand(source: Shape, target: Shape) -> Move:
    """A broadcast copy; new dimensions in front."""
    new = len(target) - len(source)
    return Move(lambda ids: ids[(None,) * new], ((),) * new + tuple((d,) for d in range(len(source))))


def piece(source: Shape, d: int, start: int, stop: int, step: int = 1, *, whole: bool = False) -> Move:
    """Positions start, start + step, ... before stop of one dimension; `whole` where the caller takes every piece."""
    everything = len(range(start, stop, step)) == source[d]
    cut = frozenset() if everything or whole else frozenset({d})
    tied = frozenset({d}) if whole and not everything else frozenset()

    def replay(ids: Ids) -> Ids:
        return ids if ids.shape[d] == 1 else ids[(slice(None),) * d + (slice(start, stop, step),)]

    return Move(replay, tuple((k,) for k in range(len(source))), cut, tied)


def without(source: Shape, d: int, index: int, *, whole: bool = False) -> Move:
    """One position of one dimension, which is left out."""

    def replay(ids: Ids) -> Ids:
        return np.take(ids, [index if ids.shape[d] > 1 else 0], axis=d).squeeze(d)

    marked = frozenset({d})
    origins = tuple((k,) for k in range(len(source)) if k != d)
    return Move(replay, origins, frozenset() if whole else marked, marked if whole else frozenset())


def flip(source: Shape, dims: Sequence[int]) -> Move:
    """Dimensions backwards: the order of what is kept turns around too, so any cut fits."""
    dims = tuple(d % len(source) for d in dims)
    return Move(lambda ids: np.flip(ids, dims), tuple((d,) for d in range(len(source))))


def roll(source: Shape, shifts: Sequence[int], dims: Sequence[int]) -> Move:
    """Dimensions turned round by a number of positions."""
    dims = [d % len(source) for d in dims]

    def replay(ids: Ids) -> Ids:
        for shift, d in zip(shifts, dims, strict=True):
            if ids.shape[d] > 1:
                ids = np.roll(ids, shift, d)
        return ids

    return Move(replay, tuple((d,) for d in range(len(source))), frozenset(dims))


def repeat(source: Shape, repeats: Sequence[int]) -> Move:
    """Whole copies along each dimension, new dimensions in front."""
    new = len(repeats) - len(source)

    def replay(ids: Ids) -> Ids:
        ids = ids[(None,) * new]
        return np.tile(ids, [n if size > 1 else 1 for n, size in zip(repeats, ids.shape, strict=True)])

    return Move(replay, ((),) * new + tuple((d,) for d in range(len(source))))


def unfold(source: Shape, d: int) -> Move:
    """Sliding windows over one dimension, laid out along a new last one."""
    origins = tuple((k,) for k in range(len(source)))
    return Move(lambda ids: ids[..., None], (*origins, ()), frozenset({d % len(source)}))


def same(source: Shape) -> Move:
    """Nothing moves."""
    return Move(lambda ids: ids, tuple((d,) for d in range(len(source))))


def moves(op: str, source: Shape, args: Sequence[Any], targets: Sequence[Shape]) -> list[Move] | None:
    """The moves of a one-input movement operator, one per output; None where it moves in a way not known here.

    Args:
        op: operator name.
        source: input shape.
        args: arguments after the input.
        targets: output shapes.
    """
    if op in SAME:
        return [same(source)]
    if 0 in source or any(0 in target for target in targets):
        return None
    make = _MAKERS.get(op)
    return None if make is None else make(source, list(args), list(targets))


def _dim(source: Shape, args: list[Any], at: int = 0) -> int:
    return int(args[at] if len(args) > at else 0) % max(len(source), 1)


def _slice(source: Shape, args: list[Any], targets: list[Shape]) -> list[Move]:
    d = _dim(source, args)
    start, stop, step = ([*args[1:], None, None, None])[:3]
    first, last, by = slice(start, None if stop is None or stop >= _END else stop, step or 1).indices(source[d])
    return [piece(source, d, first, last, by)]


def _split(source: Shape, args: list[Any], targets: list[Shape]) -> list[Move]:
    d = _dim(source, args, 1)
    stops = np.cumsum([t[d] for t in targets]).tolist()
    equal = len({t[d] for t in targets}) == 1
    return [piece(source, d, stop - t[d], stop, whole=equal) for stop, t in zip(stops, targets, strict=True)]


def _squeeze(source: Shape, args: list[Any], targets: list[Shape]) -> list[Move]:
    gone = list(range(len(source))) if not args else list(args[0]) if isinstance(args[0], (tuple, list)) else [args[0]]
    return [squeeze(source, gone)]


def _roll(source: Shape, args: list[Any], targets: list[Shape]) -> list[Move] | None:
    dims = list(args[1]) if len(args) > 1 else []
    return [roll(source, list(args[0]), dims)] if dims else None


def _transpose(source: Shape, args: list[Any], targets: list[Shape]) -> list[Move]:
    order = list(range(len(source)))
    if order:
        a, b = args[0] % len(order), args[1] % len(order)
        order[a], order[b] = order[b], order[a]
    return [permute(order)]


SAME = frozenset({
    "_conj", "_conj_physical", "_neg_view", "_to_copy", "alias", "clone", "conj", "conj_physical", "contiguous",
    "detach", "detach_copy", "lift", "lift_fresh", "lift_fresh_copy", "resolve_conj", "resolve_neg", "tril", "triu",
})  # fmt: skip
_MAKERS: dict[str, Callable[[Shape, list[Any], list[Shape]], list[Move] | None]] = {
    **dict.fromkeys(
        ("view", "_unsafe_view", "reshape", "_reshape_alias", "view_copy"),
        lambda source, args, targets: [view(source, targets[0])],
    ),
    "permute": lambda source, args, targets: [permute(args[0])],
    "t": lambda source, args, targets: [permute(range(len(source) - 1, -1, -1))],
    "transpose": _transpose,
    "squeeze": _squeeze,
    "unsqueeze": lambda source, args, targets: [unsqueeze(source, args[0])],
    "expand": lambda source, args, targets: [expand(source, targets[0])],
    "slice": _slice,
    "select": lambda source, args, targets: [without(source, _dim(source, args), args[1])],
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes"), _split),
    "unbind": lambda source, args, targets: [
        without(source, _dim(source, args), k, whole=True) for k in range(len(targets))
    ],
    "flip": lambda source, args, targets: [flip(source, args[0])],
    "roll": _roll,
    "repeat": lambda source, args, targets: [repeat(source, args[0])],
    "unfold": lambda source, args, targets: [unfold(source, args[0])],
    # A complex number is a pair of real ones along a new last dimension; both go, or none.
    "view_as_real": lambda source, args, targets: [unsqueeze(source, -1)],
    "view_as_complex": lambda source, args, targets: [without(source, len(source) - 1, 0, whole=True)],
}
NAMES = tuple(sorted(SAME)) + tuple(_MAKERS)


def spread(shape: Shape) -> Ids:
    """The position of every element in a flat array, in the given shape."""
    return np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
