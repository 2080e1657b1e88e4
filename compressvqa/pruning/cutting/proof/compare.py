"""How far two networks are apart: differences of outputs against their size and against how much they move.

An output such as `100 - 0.01 * distance` is large whatever the distance is, so that an error is also held against how
much the output moves between inputs. Where it does not move at all, that is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compressvqa.pruning.cutting.proof.observe import Norms, Seen

_ROUNDING = 1e-3  # of the size of a layer's result; a wrong cut changes it by much more
_COLUMNS = 64  # outputs of up to so many numbers an item are scores side by side, each with a scale of its own


@dataclass(frozen=True)
class Distance:
    """How far the outputs of two networks are apart.

    Args:
        error: largest difference, relative to how much an output moves between inputs, or to its largest value where
            that is less or it does not move.
        of_size: largest difference relative to an output's largest value: what rounding explains.
        still: whether no output moves between inputs.
    """

    error: float
    of_size: float
    still: bool = False


@dataclass(frozen=True)
class Scale:
    """What differences of one output are measured against; both broadcast to it."""

    size: Tensor
    unit: Tensor  # the size, or the movement where that is less


def scales_of(runs: Sequence[Seen]) -> tuple[list[list[Scale]], bool]:
    """For each run and each output its scale, and whether no output moves between the inputs of the runs.

    The items of a batch and the runs are the inputs. An output with a single item in all is held against its size.
    """
    found: list[list[Scale]] = [[] for _ in runs]
    moves = False
    for number in range(min((len(run.outputs) for run in runs), default=0)):
        outputs = [run.outputs[number].detach() for run in runs]
        if not all(t.is_floating_point() or t.is_complex() for t in outputs):
            moves |= len({tuple(t.flatten().tolist()) for t in outputs if t.numel() < 1 << 16}) > 1
            for scales in found:
                scales.append(Scale(torch.ones(()), torch.ones(())))
            continue
        values = [_finite(t) for t in outputs]
        for scales, value in zip(found, values, strict=True):
            alike = [v for v in values if v.shape[1:] == value.shape[1:]]
            rounding = 1e-10 if outputs[0].dtype == torch.float64 else torch.finfo(outputs[0].dtype).eps
            scale, moved = _scale(value, torch.cat([v if v.ndim else v[None] for v in alike]), rounding)
            scales.append(scale)
            moves |= moved
    return found, not moves


def _finite(tensor: Tensor) -> Tensor:
    """Real numbers of an output; what is not finite counts as zero."""
    tensor = tensor.abs() if tensor.is_complex() else tensor
    return torch.where(torch.isfinite(tensor), tensor, torch.zeros_like(tensor)).double()


def _scale(value: Tensor, items: Tensor, rounding: float) -> tuple[Scale, bool]:
    """The scale of an output and whether it moves: `items` are the answers to all inputs, an item each."""
    if not value.numel():
        return Scale(torch.ones(()), torch.ones(())), False
    each = items.flatten(1) if items.ndim > 1 else items[:, None]
    columns = value.ndim == 2 and each.shape[1] <= _COLUMNS
    sizes, moved = each.abs().amax(0), each.amax(0) - each.amin(0)
    if not columns:
        sizes, moved = sizes.amax(), moved.amax()
    still = moved <= sizes * rounding
    unit = torch.where(still, sizes, torch.minimum(sizes, moved))
    one = torch.ones_like(sizes)
    return Scale(torch.where(sizes > 0, sizes, one), torch.where(unit > 0, unit, one)), not bool(still.all())


def distance(
    pairs: Sequence[tuple[Seen, Seen]], *, scales: Sequence[Sequence[Scale]] | None = None, norms: bool = True
) -> Distance:
    """How far apart two networks are over several inputs.

    Args:
        pairs: what each input showed of the reference and of the other network.
        scales: what to measure against, for each pair; without them what `scales_of` finds.
        norms: whether the norms of layers are compared as well.
    """
    found_scales, still = scales_of([expected for expected, _ in pairs])
    scales = found_scales if scales is None else scales
    error = of_size = 0.0
    for (expected, found), units in zip(pairs, scales, strict=True):
        against_unit, against_size = _apart(expected.outputs, found.outputs, units)
        inside = differing(expected.norms, found.norms) if norms else 0.0
        error, of_size = max(error, against_unit, inside), max(of_size, against_size, inside)
    return Distance(error, of_size, still)


def _apart(expected: Sequence[Tensor], found: Sequence[Tensor], scales: Sequence[Scale]) -> tuple[float, float]:
    """Largest differences of outputs, relative to their units and to their sizes."""
    if [t.shape for t in expected] != [t.shape for t in found]:
        return math.inf, math.inf
    error = of_size = 0.0
    for a, b, scale in zip(expected, found, scales, strict=False):
        if not a.numel():
            continue
        if not (a.is_floating_point() or a.is_complex()):
            apart = 0.0 if torch.equal(a, b) else math.inf
            error, of_size = max(error, apart), max(of_size, apart)
            continue
        differences = _differences(a.detach(), b.detach())
        error = max(error, _number((differences / scale.unit.to(differences.device)).amax()))
        of_size = max(of_size, _number((differences / scale.size.to(differences.device)).amax()))
    return error, of_size


def _differences(a: Tensor, b: Tensor) -> Tensor:
    same = (a == b) | (torch.isnan(a) & torch.isnan(b))  # also where both are infinite
    return torch.where(same, torch.zeros_like(a), a - b).abs().double()


def _number(value: Tensor) -> float:
    number = float(value)
    return number if math.isfinite(number) else math.inf


def differing(wanted: Norms, found: Norms, counts: Callable[[str], bool] | None = None) -> float:
    """The largest relative difference of a layer's norm, 0 where all are equal but for rounding.

    Args:
        wanted: norms of the reference.
        found: norms of the other network.
        counts: which layers count; all without it.
    """
    norms = [norm for calls in wanted.values() for _, t in calls if math.isfinite(norm := float(t.detach()))]
    worst, least = 0.0, _ROUNDING * max(norms, default=0.0)
    for path, calls in found.items():
        if counts is not None and not counts(path):
            continue
        for (there, before), (here, after) in zip(wanted.get(path, ()), calls, strict=False):
            a, b = float(before.detach()), float(after.detach())
            # A layer over tokens or heads has cut channels among its positions, where its bias makes something of zero.
            if there == here and math.isfinite(a) and abs(a - b) > _ROUNDING * max(a, least):
                worst = max(worst, abs(a - b) / max(a, least))
    return worst
