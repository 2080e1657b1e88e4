"""Whether somebody's pruned network computes what is left of the original: the same judge for torch-pruning and for us.

It knows nothing of how the network was pruned. Before the pruning every weight gets noise, so that its values are
unique; afterwards each tensor of the pruned network is found again inside the original's, which tells what was removed.
The reference is the original with those rows and columns zeroed, whose layer and group normalisations take mean and
variance over the channels that were kept. Pruned and reference must agree on fresh inputs to 1e-5, relative to the
output's largest value; in doubt float64 decides. What can't be told apart is not judged.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

TOLERANCE = 1e-5
_ROUNDING = 1e-2  # up to here float32 may be at fault
_OF_ACTIVATIONS = ("native_batch_norm", "_native_batch_norm_legit", "_batch_norm_with_update")  # unless in training
_STATISTICS = (*_OF_ACTIVATIONS, "mean", "std", "var", "var_mean", "std_mean", "linalg_vector_norm")
_FELT = 1e-3  # what was removed must change the output by so much for a comparison to say anything


@dataclass(frozen=True)
class Judgement:
    """What the judge found.

    Args:
        outcome: "right", "silently wrong", "broken" (it does not run, or returns other shapes) or "not judged".
        said: the error, or why it is not judged.
    """

    outcome: str
    said: str = ""


class UnjudgedError(Exception):
    """It can't be told what was removed."""


def shaken(model: nn.Module) -> nn.Module:
    """A copy whose weights and running statistics hold noise, so that no value stands twice and none is zero."""
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.is_floating_point() or not parameter.numel():
                continue
            if parameter.ndim < 2:  # evenly spread, so that no two are equal
                steps = torch.randperm(parameter.numel(), generator=generator).view_as(parameter)
                parameter.copy_(parameter.mean() + (steps + 0.5) / (2 * parameter.numel()) - 0.25)
            else:
                fan_in = parameter.numel() / len(parameter)
                parameter.add_(torch.randn(parameter.shape, generator=generator) * (0.5 / math.sqrt(fan_in)))
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
                assert module.running_var is not None
                module.running_mean += 0.1 * torch.randn(module.running_mean.shape, generator=generator)
                module.running_var *= 0.75 + 0.5 * torch.rand(module.running_var.shape, generator=generator)
    return model


def judge(original: nn.Module, pruned: nn.Module, inputs: Any) -> Judgement:
    """Compares a pruned network with its zeroed original.

    Args:
        original: the network before pruning, from `shaken`.
        pruned: what became of a copy of it.
        inputs: what both are called with; fresh ones of the same size and range are drawn.
    """
    fresh = _fresh(inputs)
    try:
        found = _outputs(pruned, fresh)
    except Exception as error:  # a network may fail in any way
        return Judgement("broken", f"{type(error).__name__}: {error}".splitlines()[0])
    try:
        whole = _outputs(original, fresh)
        if [t.shape for t in found] != [t.shape for t in whole]:
            return Judgement("broken", "its outputs have other shapes")
        kept = _kept(original, pruned)
        reference = _reference(original, kept, fresh)
        if kept and _error(whole, reference) < _FELT:
            raise UnjudgedError("its output is the same with and without the removed channels")
        error = _error(found, reference)
        if TOLERANCE < error < _ROUNDING:
            double = tree_map_only(Tensor, lambda t: t.double() if t.is_floating_point() else t, fresh)
            found = _outputs(copy.deepcopy(pruned).double(), double)
            error = _error(found, _reference(copy.deepcopy(original).double(), kept, double))
    except UnjudgedError as doubt:
        return Judgement("not judged", str(doubt))
    return Judgement("right" if error <= TOLERANCE else "silently wrong", f"off by {error:.1e}")


def _outputs(model: nn.Module, inputs: Any) -> list[Tensor]:
    torch.manual_seed(5)
    with torch.no_grad():
        out = model.eval()(**inputs) if isinstance(inputs, dict) else model(*inputs)
    return [t for t in tree_flatten(out)[0] if isinstance(t, Tensor)]


def _fresh(inputs: Any) -> Any:
    generator = torch.Generator().manual_seed(7)

    def draw(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or not tensor.ndim:
            return tensor
        low, high = float(tensor.min()), float(tensor.max())
        return (torch.rand(tensor.shape, generator=generator) * (high - low) + low).to(tensor)

    return tree_map_only(Tensor, draw, inputs)


def _error(found: list[Tensor], expected: list[Tensor]) -> float:
    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        if not bool(torch.isfinite(b).all()):
            raise UnjudgedError("the zeroed network's output is not finite")
        scale = float(b.abs().max()) if b.numel() else 0.0
        worst = max(worst, float((a - b).abs().max()) / (scale or 1.0) if b.numel() else 0.0)
    return worst


# --- what was removed ---------------------------------------------------------------------------------------------

Kept = dict[str, list[list[int]]]  # tensor name: for each dimension the positions that were kept


def _kept(original: nn.Module, pruned: nn.Module) -> Kept:
    if any(parametrize.is_parametrized(module) for module in original.modules()):
        raise UnjudgedError("zeroing a parametrised weight changes its norm")
    kept: Kept = {}
    after = dict(pruned.named_parameters(remove_duplicate=False))
    for name, tensor in original.named_parameters(remove_duplicate=False):
        if name in after and not (tensor.shape == after[name].shape and torch.equal(tensor, after[name])):
            kept[name] = positions(tensor.detach(), after[name].detach(), name)
    return kept


def positions(before: Tensor, after: Tensor, name: str = "") -> list[list[int]]:
    """For each dimension, where the rows of `after` stand in `before`.

    Raises:
        UnjudgedError: it is not a part of it, or may be more than one part.

    >>> positions(torch.arange(12.0).view(3, 4), torch.tensor([[8.0, 11.0]]))
    [[2], [0, 3]]
    """
    if (
        before.ndim != after.ndim
        or not after.numel()
        or any(a > b for a, b in zip(after.shape, before.shape, strict=True))
    ):
        raise UnjudgedError(f"{name} is {tuple(after.shape)}, not a part of {tuple(before.shape)}")
    for corner in (before == after[(0,) * after.ndim]).nonzero().tolist()[:50]:
        found = []
        for d in range(before.ndim):
            line_after = after[tuple(slice(None) if k == d else 0 for k in range(before.ndim))]
            line_before = before[tuple(slice(None) if k == d else corner[k] for k in range(before.ndim))]
            index = _in_order((line_after[:, None] == line_before[None]).tolist(), unique=before.ndim == 1)
            if index is None:
                break
            found.append(index)
        else:
            part = before
            for d, index in enumerate(found):
                part = part.index_select(d, torch.tensor(index))
            if torch.equal(part, after):
                return found
    raise UnjudgedError(f"{name} is not found again in the original")


def _in_order(hits: list[list[bool]], *, unique: bool) -> list[int] | None:
    """The first rising choice of one hit in each row; None without one, or where a row has several but must not."""
    chosen = [-1]
    for row in hits:
        if unique and sum(row) != 1:
            return None
        following = next((k for k in range(chosen[-1] + 1, len(row)) if row[k]), None)
        if following is None:
            return None
        chosen.append(following)
    return chosen[1:]


# --- the original without it --------------------------------------------------------------------------------------


def _reference(original: nn.Module, kept: Kept, inputs: Any) -> list[Tensor]:
    model = copy.deepcopy(original)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    norms: dict[int, Tensor] = {}
    cut: dict[int, str] = {}
    with torch.no_grad():
        for name, places in kept.items():
            path, _, last = name.rpartition(".")
            module = model.get_submodule(path)
            if "RMS" in type(module).__name__:
                raise UnjudgedError(f"{path}: the mean square over kept channels is not followed")
            tensor = nn.Parameter(parameters[name].detach().clone())  # a tied weight may be cut in two ways
            for d, index in enumerate(places):
                gone = sorted(set(range(tensor.shape[d])) - set(index))
                tensor.index_fill_(d, torch.tensor(gone, dtype=torch.long), 0)
            setattr(module, last, tensor)
            cut[tensor.untyped_storage().data_ptr()] = name
            if tensor.ndim == 1:
                norms[id(tensor)] = torch.tensor(places[0])
    for path, module in model.named_modules():
        plain = isinstance(module, (nn.LayerNorm, nn.GroupNorm)) and module.weight is None
        if plain and kept:
            raise UnjudgedError(f"{path} has no weight to tell which of its channels were kept")
    with _KeptStatistics(norms, cut):
        return _outputs(model, inputs)


class _KeptStatistics(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Layer and group normalisations take mean and variance over the channels that were kept, by their weight."""

    def __init__(self, kept: dict[int, Tensor], cut: dict[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kept, self._cut = kept, cut

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.rpartition("::")[2]
        if name == "native_layer_norm" and id(args[2]) in self._kept:
            x, _, weight, bias, eps = args
            index = self._kept[id(args[2])]
            part = func(x[..., index], [len(index)], weight[index], None if bias is None else bias[index], eps)
            return (torch.zeros_like(x).index_copy(-1, index, part[0]), *part[1:])
        if name == "native_group_norm" and id(args[1]) in self._kept:
            return (_group_norm(args, self._kept[id(args[1])]), None, None)
        if name in _STATISTICS and isinstance(args[0], Tensor) and not (name in _OF_ACTIVATIONS and not args[5]):
            weight = self._cut.get(args[0].untyped_storage().data_ptr())
            if weight is not None:
                raise UnjudgedError(f"{weight} is standardised: its mean and variance over what is left are others")
        return func(*args, **(kwargs or {}))


def _group_norm(args: Any, kept: Tensor) -> Tensor:
    x, weight, bias, _, channels, _, groups, eps = args
    out = torch.zeros_like(x)
    for index in kept.split([int((kept // (channels // groups) == g).sum()) for g in range(groups)]):
        if len(index):
            part = x[:, index].flatten(1)
            part = (part - part.mean(1, keepdim=True)) / (part.var(1, correction=0, keepdim=True) + eps).sqrt()
            part = part.view_as(x[:, index])
            sides = [s[index].view(1, -1, *[1] * (x.ndim - 2)) for s in (weight, bias)]
            out[:, index] = part * sides[0] + sides[1]
    return out
