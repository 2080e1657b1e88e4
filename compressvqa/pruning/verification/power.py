"""Whether the comparison could fail at all: for each tensor that lost something, whether a wrong choice would show.

A tensor is observable if zeroing something that was kept moves an output. Where the output's derivative says so, no run
is needed; the others, and what has no derivative, are tried one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.overrides import TorchFunctionMode

from compressvqa.pruning.verification.comparison import difference
from compressvqa.pruning.verification.locate import Place
from compressvqa.pruning.verification.zeroed import Zeroed

NOTICED = 1e-4  # of an output's movement: what a wrong choice must change at least
_RUNS = 128  # tensors that are tried one by one at most


def unobservable(
    zeroed: Zeroed, cut: Mapping[str, Place], inputs: Any, moves: Sequence[float], seed: int
) -> tuple[list[str], list[str]]:
    """Names of the tensors of which nothing would show if others had been zeroed in their place.

    Args:
        zeroed: the original without what went; it is the same again afterwards.
        cut: what it was, by name.
        inputs: what it is called with.
        moves: how far each of its outputs moves between inputs.
        seed: of its random numbers.

    Returns:
        The names, and the names of those that were not tried because there are too many.
    """
    felt = _felt_by_derivative(zeroed, cut, inputs, moves, seed)
    left = [name for name in cut if felt.get(name, 0.0) < NOTICED]
    expected = zeroed.answers(inputs, seed)
    found = []
    for name in left[:_RUNS]:
        changes = (_changed(zeroed, name, cut[name], half, inputs, expected, moves, seed) for half in (0, 1))
        if all(change < NOTICED for change in changes):
            found.append(name)
    return found, left[_RUNS:]


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
) -> dict[str, float]:
    """How much the outputs feel the largest slice of each tensor, as their derivative has it; none where it fails."""
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
        grad, d = by_id.get(id(held[name])), place.cut[0]
        if grad is not None and bool(torch.isfinite(grad).all()):
            slices = (grad * held[name].detach()).abs().movedim(d, 0).reshape(held[name].shape[d], -1).sum(1)
            felt[name] = float(slices.max())
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


