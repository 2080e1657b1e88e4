"""Both networks side by side: the smaller one, and the original in which everything that went is zero."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only

from pruning_coverage.judging.found_again import Kept, UnjudgedError, everything_kept
from pruning_coverage.judging.statistics import KeptStatistics, Watched

TOLERANCE = 1e-5  # of how far the output moves between inputs
_ROUNDING = {"64": 1e-12, "32": 5e-6}  # of the output's largest value, by the bits that were computed in
_COARSE = 0.05  # of the output's largest value: where it moves less, 32 bits could hide an error
_LITTLE, _NOISE = 1e-3, 10  # below this share of the movement, an error of so many times what rounding does is rounding
_FELT = 1e-3  # what was removed must change the output by so much for a comparison to say anything


@dataclass(frozen=True)
class Call:
    """One way of calling a network.

    Args:
        args: by position (tuple) or by name (dict).
        method: the network itself, or the name of a method of it.
        train: in training mode.
    """

    args: Any
    method: str = ""
    train: bool = False


@dataclass(frozen=True)
class Judgement:
    """What the judge found.

    Args:
        outcome: "right", "silently wrong", "broken" (it does not run, or returns other shapes), "nothing removed" or
            "not judged".
        said: the error, or why it is not judged.
        calls: how many calls were compared.
        error: the largest difference, as a share of the output's movement.
    """

    outcome: str
    said: str = ""
    calls: int = 0
    error: float = 0.0


def judge(original: nn.Module, smaller: nn.Module, calls: Sequence[Call]) -> Judgement:
    """Compares a smaller network with the original whose missing elements are zero; in 64 bits before it says "wrong".

    Args:
        original: the network before pruning, from `distinct`.
        smaller: what became of a copy of it.
        calls: what both are called with; a call that the original can't answer is left out.
    """
    original, smaller = _unwrapped(original), _unwrapped(smaller)
    try:
        kept = everything_kept(original, smaller)
        networks = [copy.deepcopy(original), copy.deepcopy(smaller), _zeroed(original, kept)]
    except UnjudgedError as doubt:
        return Judgement("not judged", str(doubt))
    first = _tried(networks, kept, calls, bits=32)
    if first.outcome in ("right", "broken", "nothing removed"):
        return first
    original, smaller, zeroed = map(_wide, networks)
    last = _tried([original, smaller, zeroed], kept, calls, bits=64)
    if last.outcome == "silently wrong" and last.error < _LITTLE:
        # A score that is the square of a difference of nearly equal features has lost most of its digits.
        noise = _tried([original, nudged(zeroed), zeroed], kept, calls, bits=64)
        if last.error <= _NOISE * noise.error:
            return Judgement("not judged", "rounding alone, in 64 bits, moves its output about as far", last.calls)
    return last


def nudged(model: nn.Module) -> nn.Module:
    """A copy whose weights are each the next number up or down, or the same, which is what rounding may do to it."""
    model, dice = copy.deepcopy(model), torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dtype == torch.float64 and parameter.numel() > 1:
                step = torch.randint(-1, 2, parameter.shape, generator=dice).double()
                parameter.mul_(1 + step * torch.finfo(torch.float64).eps)
    return model


def _unwrapped(model: nn.Module) -> nn.Module:
    """The network inside nn.DataParallel or torch.compile, without tensors that hang on an earlier run."""
    while isinstance(model, nn.DataParallel) or hasattr(model, "_orig_mod"):
        model = model.module if isinstance(model, nn.DataParallel) else model._orig_mod
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor) and value.grad_fn is not None:  # a normed weight made anew by a hook
                vars(module)[name] = value.detach()
    return model


def _tried(networks: list[nn.Module], kept: Kept, calls: Sequence[Call], *, bits: int) -> Judgement:
    """The comparison over all calls, computed in so many bits."""
    found: list[tuple[str, list[Tensor], list[Tensor], list[Tensor], float]] = []
    for call in calls:
        answers = _answers(networks, kept, call, bits)
        if isinstance(answers, Judgement):
            return answers
        if answers is not None:
            found.append((f"{call.method}/{call.train}", *answers))
    if not found:
        return Judgement("not judged", "the original answers none of the calls")
    if not kept:
        error = max(_largest(a, b) for _, a, b, *_ in found)
        return Judgement("nothing removed" if error < 1e-5 else "silently wrong", "no parameter lost anything")
    return _compared(found, bits)


def _compared(found: list[tuple[str, list[Tensor], list[Tensor], list[Tensor], float]], bits: int) -> Judgement:
    """The largest error over all calls, against how far the output moves."""
    worst, felt, still = 0.0, 0.0, False
    for way in dict.fromkeys(way for way, *_ in found):
        same = [entry for entry in found if entry[0] == way]
        for number in range(len(same[0][3])):
            references = [entry[3][number] for entry in same if number < len(entry[3])]
            if not all(bool(torch.isfinite(t).all()) for t in references):
                return Judgement("not judged", "the zeroed network's output is not finite")
            movement, size = _movement(references), max(float(t.abs().max()) for t in references if t.numel())
            still = still or movement <= 1e-9 * size
            if bits == 32 and movement < _COARSE * size:
                return Judgement("not judged", "its movement is too small for 32 bits")
            for _, whole, smaller, reference, rounding in same:
                if number >= len(reference) or not reference[number].numel():
                    continue
                error = float((smaller[number] - reference[number]).abs().max())
                worst = max(worst, 0.0 if error <= rounding * size else error / (movement or size or 1.0))
                felt = max(felt, float((whole[number] - reference[number]).abs().max()) / (movement or size or 1.0))
    if worst > TOLERANCE or math.isnan(worst):
        return Judgement("silently wrong", f"off by {worst:.1e} of its movement", len(found), worst)
    if felt < _FELT:
        return Judgement("not judged", "its output is the same with and without what was removed", len(found))
    return Judgement("right", "the output does not move" if still else "", len(found))


def _answers(
    networks: list[nn.Module], kept: Kept, call: Call, bits: int
) -> tuple[list[Tensor], list[Tensor], list[Tensor], float] | Judgement | None:
    """What the original, the smaller network and the zeroed original answer, and how exact that is."""
    args, (original, smaller, zeroed) = _doubled(call.args) if bits == 64 else call.args, networks
    try:
        whole, _ = _run(original, call, args, Watched())
    except Exception:  # the original does not take this call
        return None
    try:
        found, mode = _run(smaller, call, args, Watched())
    except Exception as error:  # a network may fail in any way
        return Judgement("broken", f"{type(error).__name__}: {error}".splitlines()[0][:300])
    if [t.shape for t in found] != [t.shape for t in whole]:
        return Judgement("broken", "its outputs have other shapes")
    try:
        reference, low = _run(zeroed, call, args, KeptStatistics(zeroed, kept, mode.widths))
    except UnjudgedError as doubt:
        return Judgement("not judged", str(doubt))
    # What is in 32 bits although the network is in 64 gets the error of 32 bits; a first look in 32 bits gets none.
    return whole, found, reference, 0.0 if bits == 32 else _ROUNDING["32" if mode.low or low.low else "64"]


def _run(model: nn.Module, call: Call, args: Any, mode: Watched) -> tuple[list[Tensor], Watched]:
    """All numbers that a call returns; the network's state is left as it was."""
    model.train(call.train)
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    called = getattr(model, call.method) if call.method else model
    args = copy.deepcopy(args)
    with _restored(model), torch.no_grad(), mode:
        out = called(**args) if isinstance(args, dict) else called(*args) if isinstance(args, tuple) else called(args)
        numbers = [t for t in _flat(out) if t.is_floating_point() or t.is_complex()]
    return [torch.view_as_real(t) if t.is_complex() else t.double() for t in numbers], mode


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    """Puts buffers and attributes back afterwards: queues, counters, logs."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    before = [
        (
            module,
            {name: list(v) if isinstance(v, list) else v for name, v in vars(module).items()},
            dict(module._buffers),
        )
        for module in model.modules()
    ]
    try:
        yield
    finally:
        for module, attributes, owned in before:
            vars(module).clear()
            vars(module).update(attributes)
            module._buffers.clear()
            module._buffers.update(owned)
        for buffer, value in buffers:
            buffer.copy_(value)


def _flat(out: Any) -> list[Tensor]:
    if hasattr(out, "to_tuple"):  # the results of transformers
        out = out.to_tuple()
    return [t for t in tree_flatten(out)[0] if isinstance(t, Tensor)]


def _movement(references: list[Tensor]) -> float:
    """How far an output strays from its mean, over all inputs that it was tried on."""
    flat = torch.cat([t.flatten() for t in references])
    return float((flat - flat.mean()).abs().max()) if flat.numel() else 0.0


def _largest(a: list[Tensor], b: list[Tensor]) -> float:
    return max((float((x - y).abs().max()) for x, y in zip(a, b, strict=True) if x.numel()), default=0.0)


def _zeroed(original: nn.Module, kept: Kept) -> nn.Module:
    """A copy of the original without the elements that are gone.

    A tied weight gets its zeros in every place: it may have lost other elements in each, so it is taken apart.
    """
    model = copy.deepcopy(original)
    tensors = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, mask in kept.items():
            path, _, last = name.rpartition(".")
            owner = model.get_submodule(path)
            if name in tensors:
                tensor = tensors[name].detach()
                owner.register_parameter(
                    last, nn.Parameter(torch.where(_stays(name, mask), tensor, 0), requires_grad=False)
                )
            else:
                getattr(owner, last).mul_(mask)
    return model


def _stays(name: str, mask: Tensor) -> Tensor:
    """The elements that are not set to zero.

    A row that is gone from the direction of a normed weight stays: its size is zero already, and a direction of zeros
    has no length to divide by.
    """
    if name.endswith(("original1", "weight_v")):
        return mask | ~mask.flatten(1).any(1).view(-1, *[1] * (mask.ndim - 1))
    return mask


def _wide(model: nn.Module) -> nn.Module:
    """A copy in 64 bits, with the tensors that are no parameters."""
    model = copy.deepcopy(model).double()
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if not name.startswith("_") and isinstance(value, (Tensor, list, tuple, dict)):
                vars(module)[name] = _doubled(value)
    return model


def _doubled(value: Any) -> Any:
    value = tree_map_only(Tensor, lambda t: t.double() if t.is_floating_point() else t, value)
    return tree_map_only(np.ndarray, lambda a: a.astype(np.float64) if a.dtype.kind == "f" else a, value)
