"""Operators without a rule, tried on random numbers: do channels pass one by one, and may there be fewer of them?

An operator passes channels from dimensions of its inputs to dimensions of its outputs if leaving some of them out gives
what slicing the full result gives. The choices that are left out are the two halves of the channels by every binary
digit of their number: for any two channels one choice has the first and lacks the second, so no channel can depend on
another one, on its own number, or on how many there are. An operator that sums channels up, like a product with a
matrix, must give the same without them as with zeros in their place.

What is random, writes to its inputs, returns no tensor, is too large to be tried, or shows anything else, stays
unknown.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from compressvqa.pruning.dependency.labels import AxisLabels, ChannelLabels
from compressvqa.pruning.recording.graph import Value
from compressvqa.torch_private import may_be_tried

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node

_LARGEST = 1 << 22  # elements of all inputs together
_SIZES = (1.0, 0.01, 1000.0)  # of the random numbers: an operator may do something else with small or large ones
_MOST = 5  # dimensions of one size that may go with another, in all their combinations
Axis = tuple[int, int]  # a value's index and one of its dimensions


@dataclass(frozen=True)
class Finding:
    """What trials showed about dimensions that are cut together.

    Args:
        axes: dimensions of the inputs, cut together.
        along: for each output the dimension on which the channels lie, None where they are summed up or have no part.
        zero: for each output whether it is zero where its channel's inputs are.
    """

    axes: tuple[Axis, ...]
    along: tuple[int | None, ...]
    zero: tuple[bool, ...]


def probed(run: Labelling, node: Node) -> list[ChannelLabels] | None:
    """The labels of each output as trials show them, or None where the operator can't be tried or nothing passes."""
    values = {value.index: value for value in node.inputs()}
    known = {index: run.labels_of(value) for index, value in values.items()}
    labels: dict[Axis, AxisLabels] = {}
    free: list[Axis] = []
    for index, channels in known.items():
        free += [(index, d) for d in channels.free if channels.shape[d] > 1]
        for axis_labels in channels.per_axis:
            if (axis_labels.ids < 0).all():
                free += [(index, d) for d in axis_labels.axes]
            elif len(axis_labels.axes) == 1:
                labels[index, axis_labels.axes[0]] = axis_labels
    if not labels:
        return None
    zeros = frozenset(axis for axis, axis_labels in labels.items() if axis_labels.zero)
    findings = run.trials(node, (tuple(labels), tuple(free), zeros), lambda: _findings(node, labels, free, zeros))
    if not findings:
        return None
    return _labelled(run, node, known, labels, findings)


def _labelled(
    run: Labelling,
    node: Node,
    known: dict[int, ChannelLabels],
    labels: dict[Axis, AxisLabels],
    findings: Sequence[Finding],
) -> list[ChannelLabels]:
    per_output: list[list[AxisLabels]] = [[] for _ in node.outputs]
    passed = {axis for finding in findings for axis in finding.axes}
    weights = {index for index, channels in known.items() if channels.weight}
    reason = f"the operator {node.op!r} is not known, and channels did not pass when it was tried ({node.place})"
    for index, channels in known.items():
        for axis_labels in channels.per_axis:
            if len(axis_labels.axes) > 1 or (index, axis_labels.axes[0]) not in passed:
                run.freeze(axis_labels.ids, reason)
    for finding in findings:
        own = [axis for axis in finding.axes if axis in labels]
        ids = labels[own[0]].ids.ravel()
        for axis in own[1:]:
            run.unite(node, ids, labels[axis].ids.ravel())
        ends = all(d is None for d in finding.along)
        for index, d in own:
            if index in weights and len(weights) < len(known) and (ends or all(i in weights for i, _ in own)):
                role = run.consumes if ends else run.produces
                role[labels[index, d].ids[labels[index, d].ids > 0]] = True
        made = [number for number, value in enumerate(node.outputs) if value is not None]
        for number, home, zero in zip(made, finding.along, finding.zero, strict=True):
            value = node.outputs[number]
            if home is not None and value is not None:
                shape = [-1 if k == home else 1 for k in range(len(value.shape))]
                per_output[number].append(AxisLabels(ids.reshape(shape), zero))
    return [
        ChannelLabels(() if value is None else value.shape, tuple(found))
        for value, found in zip(node.outputs, per_output, strict=True)
    ]


def _findings(
    node: Node, labels: dict[Axis, AxisLabels], free: Sequence[Axis], zeros: frozenset[Axis]
) -> tuple[Finding, ...]:
    """Every set of dimensions that passed: alone, with sizes that follow, or with all others of the same size."""
    found: list[Finding] = []
    left = list(labels)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        trial = _Trial.of(node)
        while left and trial is not None:
            first = left.pop(0)
            same = [axis for axis in left if trial.size(axis) == trial.size(first)]
            follow = tuple(axis for axis in free if trial.size(axis) == trial.size(first))
            finding = next(filter(None, (trial.finding(t, zeros) for t in _together(first, same, follow))), None)
            if finding is not None:
                found.append(finding)
                left = [axis for axis in left if axis not in finding.axes]
    return tuple(found)


def _together(first: Axis, same: Sequence[Axis], follow: tuple[Axis, ...]) -> Iterator[tuple[Axis, ...]]:
    """Sets of dimensions that may go together: few before many, and with those whose size follows."""
    for count in range(len(same) + 1):
        for others in itertools.combinations(same[:_MOST], count):
            yield first, *others
            if follow:
                yield first, *others, *follow


class _Trial:
    """An operator that can be called on random inputs of the recorded sizes."""

    def __init__(self, call: Callable[[dict[int, Tensor]], list[Tensor]], draws: Sequence[dict[int, Tensor]]) -> None:
        self._call, self._draws = call, draws
        self._full = [call(draw) for draw in draws]

    @classmethod
    def of(cls, node: Node) -> _Trial | None:
        """None for what may not or can't be tried."""
        function = node.function
        if not may_be_tried(function):
            return None
        if torch.Tag.nondeterministic_seeded in function.tags or torch.Tag.dynamic_output_shape in function.tags:
            return None
        values = {value.index: value for value in node.inputs()}
        if sum(math.prod(value.shape) for value in values.values()) > _LARGEST or not any(node.outputs):
            return None
        for exact in (True, False):
            trial = cls._attempt(node, values, exact)
            if trial is not None:
                return trial
        return None

    @classmethod
    def _attempt(cls, node: Node, values: dict[int, Value], exact: bool) -> _Trial | None:
        def call(tensors: dict[int, Tensor]) -> list[Tensor]:
            result = node.function(*_given(node.args, tensors), **_given(node.kwargs, tensors))
            return [t for t in (result if isinstance(result, (tuple, list)) else [result]) if isinstance(t, Tensor)]

        shapes = [v.shape for v in node.outputs if v is not None]
        for positive in (False, True):
            try:
                draws = [_draw(node, values, size, exact=exact, positive=positive) for size in _SIZES]
                copies = [{index: t.clone() for index, t in draw.items()} for draw in draws]
                results = [call(draw) for draw in draws]
                torch.manual_seed(1)
                again = [call(draw) for draw in copies]
            except Exception:  # an operator may refuse random numbers in any way
                return None
            if any([tuple(t.shape) for t in full] != shapes for full in results):
                return None
            finite = [all(_finite(t) for t in full) for full in results]
            pairs = [pair for k in range(len(_SIZES)) if finite[k] for pair in zip(results[k], again[k], strict=True)]
            if not all(_same(a, b) for a, b in pairs):
                return None
            if finite[0]:
                return cls(call, [d for d, f in zip(draws, finite, strict=True) if f])
        return None

    def size(self, axis: Axis) -> int:
        """How many positions a dimension has."""
        return self._draws[0][axis[0]].shape[axis[1]]

    def finding(self, axes: tuple[Axis, ...], zeros: frozenset[Axis]) -> Finding | None:
        """What leaving out channels along these dimensions shows, or None where it shows that they do not pass."""
        count = self.size(axes[0])
        along: list[int | None] | None = None
        clear = [True] * len(self._full[0])
        for draw, full in zip(self._draws, self._full, strict=True):
            for keep in _choices(count):
                try:
                    fewer = self._call({**draw, **_changed(draw, axes, partial(_only, keep=keep))})
                    gone = torch.ones(count, dtype=torch.bool).index_fill(0, keep, False).nonzero().ravel()
                    empty = [axis for axis in axes if axis in zeros]
                    zeroed = self._call({**draw, **_changed(draw, empty, partial(_empty, gone=gone))})
                except Exception:  # fewer channels are not accepted, or not without others
                    return None
                places = [_place(a, b, count, len(keep)) for a, b in zip(full, fewer, strict=True)]
                if along is None:
                    along = places
                if places != along or -1 in places:
                    return None
                for number, (a, b, z, d) in enumerate(zip(full, fewer, zeroed, places, strict=True)):
                    if not _same(z if d is None else a.index_select(d, keep), b):
                        return None
                    clear[number] &= d is not None and bool((z.index_select(d, gone) == 0).all())
        assert along is not None
        return Finding(axes, tuple(along), tuple(clear))


def _choices(count: int) -> Iterator[Tensor]:
    """For every binary digit the channels whose number has it, and the others; and all but one."""
    numbers = torch.arange(count)
    for digit in range(max(1, (count - 1).bit_length())):
        has = (numbers >> digit) & 1 == 1
        yield numbers[has]
        yield numbers[~has]
    if count > 2:
        yield numbers[numbers != count // 2]


def _place(full: Tensor, fewer: Tensor, count: int, kept: int) -> int | None:
    """The dimension that became shorter as the input did, None where none changed, -1 for anything else."""
    if full.shape == fewer.shape:
        return None
    changed = [d for d, (a, b) in enumerate(zip(full.shape, fewer.shape, strict=False)) if a != b]
    fits = full.ndim == fewer.ndim and len(changed) == 1
    return changed[0] if fits and (full.shape[changed[0]], fewer.shape[changed[0]]) == (count, kept) else -1


def _changed(
    tensors: dict[int, Tensor], axes: Sequence[Axis], change: Callable[[Tensor, int], Tensor]
) -> dict[int, Tensor]:
    changed: dict[int, Tensor] = {}
    for index, d in axes:
        changed[index] = change(changed.get(index, tensors[index]), d)
    return changed


def _only(tensor: Tensor, d: int, *, keep: Tensor) -> Tensor:
    return tensor.index_select(d, keep)


def _empty(tensor: Tensor, d: int, *, gone: Tensor) -> Tensor:
    return tensor.index_fill(d, gone, 0)


def _given(tree: Any, tensors: dict[int, Tensor]) -> Any:
    if isinstance(tree, Value):
        return tensors[tree.index]
    if isinstance(tree, (tuple, list)):
        return (
            [_given(item, tensors) for item in tree]
            if isinstance(tree, list)
            else tuple(_given(i, tensors) for i in tree)
        )
    if isinstance(tree, dict):
        return {key: _given(item, tensors) for key, item in tree.items()}
    return tree


def _draw(node: Node, values: dict[int, Value], size: float, *, exact: bool, positive: bool) -> dict[int, Tensor]:
    """Random numbers of about a size in place of all but whole ones.

    Raises:
        ValueError: a tensor of whole numbers was not kept while the network was recorded.
    """
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for index, value in values.items():
        if not (value.dtype.is_floating_point or value.dtype.is_complex):
            held = node.payload.get(index)
            if held is None:
                raise ValueError("whole numbers that are not known")
            tensors[index] = held.cpu()
            continue
        parts = torch.randn((*value.shape, 2), generator=generator, dtype=torch.float64) * size
        if positive:
            parts = parts.abs() + 0.1 * size
        drawn = torch.view_as_complex(parts) if value.dtype.is_complex else parts[..., 0]
        wide = torch.complex128 if value.dtype.is_complex else torch.float64
        tensors[index] = drawn.contiguous().to(wide if exact else value.dtype)
    return tensors


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not (a.is_floating_point() or a.is_complex()):
        return torch.equal(a, b)
    rounding = 1e-9 if a.dtype in (torch.float64, torch.complex128) else 1e-4 if a.dtype.itemsize > 2 else 2e-2
    scale = float(a.abs().max()) if a.numel() else 0.0
    return not a.numel() or float((a - b).abs().max()) <= rounding * max(scale, 1e-30)


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
