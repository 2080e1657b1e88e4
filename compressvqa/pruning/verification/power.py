"""Whether the comparison could fail at all: for each tensor that lost something, whether a wrong choice would show.

A tensor is observable if zeroing something that was kept moves an output. Where the output's derivative says so, no run
is needed; the others, and what has no derivative, are tried one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from compressvqa.pruning.verification.comparison import difference
from compressvqa.pruning.verification.locate import Place
from compressvqa.pruning.verification.zeroed import Zeroed
from compressvqa.torch_private import TorchFunctionMode

NOTICED = 3e-5  # of an output's movement: what a wrong choice must change at least; a comparison allows 1e-5
SILENT = 1e-9  # of it: less is rounding
_RUNS = 24  # tensors that are tried one by one at most


@dataclass(frozen=True)
class Power:
    """What a comparison could not have noticed.

    Args:
        unobservable: names of tensors of which nothing would show if others had been zeroed in their place.
        silent: for the other tensors, how many of their kept channels move no output on what was tried.
        untried: names of tensors that were not tried, because too many have no derivative.
    """

    unobservable: tuple[str, ...] = ()
    silent: Mapping[str, int] = field(default_factory=dict)
    untried: tuple[str, ...] = ()


Moving = tuple[Zeroed, Sequence[float]]  # a network, and how far each of its outputs moves between inputs


def power_of(networks: Sequence[Moving], cut: Mapping[str, Place], inputs: Any, seed: int) -> Power:
    """What the comparison of these networks with a smaller one could not notice.

    Args:
        networks: the original without what went, with different weights; they are the same again afterwards.
        cut: what went, by name.
        inputs: what they are called with.
        seed: of their random numbers.
    """
    felt: dict[str, list[Tensor]] = {}
    for zeroed, moves in networks:
        for name, parts in _felt_by_derivative(zeroed, cut, inputs, moves, seed).items():
            before = felt.get(name, [torch.zeros_like(part) for part in parts])
            felt[name] = [torch.maximum(a, b) for a, b in zip(before, parts, strict=True)]
    left = [name for name in cut if name not in felt or max(float(part.max()) for part in felt[name]) < NOTICED]
    zeroed, moves = networks[0]
    expected = zeroed.answers(inputs, seed) if left else []
    hidden = []
    for name in left[:_RUNS]:
        changes = (_changed(zeroed, name, cut[name], half, inputs, expected, moves, seed) for half in (0, 1))
        if all(change < NOTICED for change in changes):
            hidden.append(name)
    silent = {
        name: max(int((part[cut[name].kept[d]] < SILENT).sum()) for d, part in zip(cut[name].cut, parts, strict=True))
        for name, parts in felt.items()
        if name not in left
    }
    return Power(tuple(hidden), {name: count for name, count in silent.items() if count}, tuple(left[_RUNS:]))


def _changed(
    zeroed: Zeroed,
    name: str,
    place: Place,
    half: int,
    inputs: Any,
    expected: Sequence[Tensor],
    moves: Sequence[float],
    seed: int,
) -> float:
    """How much the outputs change where every second position that was kept is zero as well."""
    d, tensor = place.cut[0], zeroed.tensor(name)
    before = tensor.detach().clone()
    with torch.no_grad():
        tensor.index_fill_(d, place.kept[d][half::2].to(tensor.device), 0)
    try:
        return difference(zeroed.answers(inputs, seed), expected, moves)
    except Exception:  # a network that can't run so notices
        return math.inf
    finally:
        with torch.no_grad():
            tensor.copy_(before)


def _felt_by_derivative(
    zeroed: Zeroed, cut: Mapping[str, Place], inputs: Any, moves: Sequence[float], seed: int
) -> dict[str, list[Tensor]]:
    """How much the outputs feel each slice of each tensor, along every dimension that lost something.

    Nothing where the derivative can't be taken.
    """
    held = {name: zeroed.tensor(name) for name in cut}
    leaves = {id(t): t for t in held.values() if t.is_leaf}
    needed = {key: t.requires_grad for key, t in leaves.items()}
    try:
        for tensor in leaves.values():
            tensor.requires_grad_(True)
        with _DifferentiableNorms():
            outputs = zeroed.answers(inputs, seed, gradients=True)
        generator = torch.Generator().manual_seed(seed)
        score = torch.zeros((), dtype=torch.float64)
        for output, moved in zip(outputs, moves, strict=True):
            if moved and output.requires_grad and output.is_floating_point():
                weights = torch.randn(output.shape, generator=generator, dtype=torch.float64)
                score = score + (output.double() * weights).sum() / moved
        if not score.requires_grad:
            return {}
        grads = torch.autograd.grad(score, list(leaves.values()), allow_unused=True)
    except Exception:  # something in it has no derivative, or is written in place
        return {}
    finally:
        for key, tensor in leaves.items():
            tensor.requires_grad_(needed[key])
    by_id = dict(zip(leaves, grads, strict=True))
    felt = {}
    for name, place in cut.items():
        grad, tensor = by_id.get(id(held[name])), held[name].detach()
        if grad is not None and bool(torch.isfinite(grad).all()):
            shares = (grad * tensor).abs().cpu().double()
            felt[name] = [shares.movedim(d, 0).reshape(tensor.shape[d], -1).sum(1) for d in place.cut]
    return felt


class _DifferentiableNorms(TorchFunctionMode):
    """Spells batch norms out, since torch has no derivative with respect to their running statistics."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.batch_norm:
            return func(*args, **kwargs)
        return _batch_norm(*args, **kwargs)


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if training or running_mean is None or running_var is None:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    size = (1, -1, *[1] * (input.ndim - 2))
    out = (input - running_mean.view(size)) / (running_var.view(size) + eps).sqrt()
    out = out if weight is None else out * weight.view(size)
    return out if bias is None else out + bias.view(size)
