"""Ways in which a pruned network comes out wrong, each done to a right one. A verifier must refuse them all."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressvqa.pruning.verification.correspondence import named_tensors

Kept = Mapping[str, tuple[tuple[int, ...], ...]]  # as `Verification.kept`
Breakage = Callable[[nn.Module, nn.Module, Kept, random.Random], "str | None"]
BREAKAGES: dict[str, Breakage] = {}


def breakage(function: Breakage) -> Breakage:
    BREAKAGES[function.__name__] = function
    return function


def _tensors(small: nn.Module, kept: Kept, *, ndim: int = 1) -> list[str]:
    return [name for name, t in named_tensors(small).items() if name in kept and t.ndim >= ndim and t.numel() > 1]


def _cut(original: nn.Module, name: str, kept: Kept) -> list[int]:
    size = named_tensors(original)[name].shape
    return [d for d, positions in enumerate(kept[name]) if len(positions) < size[d]]


def _block(tensor: Tensor, positions: list[list[int]]) -> Tensor:
    for d, index in enumerate(positions):
        tensor = tensor.index_select(d, torch.tensor(index))
    return tensor


@breakage
def another_channel_in_one_tensor(original: nn.Module, small: nn.Module, kept: Kept, dice: random.Random) -> str | None:
    """One of the removed channels stands where a kept one should, in one tensor only."""
    names = _tensors(small, kept)
    if not names:
        return None
    name = dice.choice(names)
    d = dice.choice(_cut(original, name, kept))
    positions = [list(k) for k in kept[name]]
    gone = sorted(set(range(named_tensors(original)[name].shape[d])) - set(positions[d]))
    positions[d][dice.randrange(len(positions[d]))] = dice.choice(gone)
    with torch.no_grad():
        named_tensors(small)[name].copy_(_block(named_tensors(original)[name], positions))
    return name


@breakage
def rows_swapped(original: nn.Module, small: nn.Module, kept: Kept, dice: random.Random) -> str | None:
    """Two kept channels have changed places in one tensor only."""
    tensors = named_tensors(small)
    names = [n for n in _tensors(small, kept) if any(tensors[n].shape[d] > 1 for d in _cut(original, n, kept))]
    if not names:
        return None
    name = dice.choice(names)
    d = dice.choice([d for d in _cut(original, name, kept) if tensors[name].shape[d] > 1])
    a, b = dice.sample(range(tensors[name].shape[d]), 2)
    order = list(range(tensors[name].shape[d]))
    order[a], order[b] = order[b], order[a]
    with torch.no_grad():
        tensors[name].copy_(tensors[name].index_select(d, torch.tensor(order)).clone())
    return name


@breakage
def shifted_values(original: nn.Module, small: nn.Module, kept: Kept, dice: random.Random) -> str | None:
    """A tensor that lost channels was moved a little, as by training."""
    name = dice.choice(_tensors(small, kept) or [""])
    if not name:
        return None
    with torch.no_grad():
        named_tensors(small)[name].add_(1e-3)
    return name


@breakage
def a_zeroed_channel(original: nn.Module, small: nn.Module, kept: Kept, dice: random.Random) -> str | None:
    """One channel more is zero."""
    name = dice.choice(_tensors(small, kept) or [""])
    if not name:
        return None
    tensor, d = named_tensors(small)[name], _cut(original, name, kept)[0]
    with torch.no_grad():
        tensor.index_fill_(d, torch.tensor(dice.randrange(tensor.shape[d])), 0)
    return name


def _modules(small: nn.Module, kinds: tuple[type[nn.Module], ...]) -> list[tuple[str, nn.Module]]:
    return [(path, m) for path, m in small.named_modules() if isinstance(m, kinds)]


@breakage
def statistics_of_other_channels(original: nn.Module, small: nn.Module, kept: Kept, dice: random.Random) -> str | None:
    """A batch norm's running mean is that of its neighbours."""
    found = [(p, m) for p, m in _modules(small, (nn.modules.batchnorm._BatchNorm,)) if f"{p}.running_mean" in kept]
    if not found:
        return None
    path, module = dice.choice(found)
    if len(module.running_mean) < 2:
        return None
    module.running_mean.copy_(module.running_mean.roll(1))
    return f"{path}.running_mean"


@breakage
def norm_divides_by_the_old_width(original: nn.Module, small: nn.Module, kept: Kept, dice: random.Random) -> str | None:
    """A norm takes its statistics over zeros as well."""
    found = [(p, m) for p, m in _modules(small, (nn.LayerNorm, nn.RMSNorm)) if f"{p}.weight" in kept]
    if not found:
        return None
    path, module = dice.choice(found)
    more = original.get_submodule(path).weight.numel() - module.weight.numel()

    def forward(x: Tensor) -> Tensor:
        wide, scale = F.pad(x, (0, more)), F.pad(module.weight, (0, more))
        if isinstance(module, nn.LayerNorm):
            bias = None if module.bias is None else F.pad(module.bias, (0, more))
            return F.layer_norm(wide, scale.shape, scale, bias, module.eps)[..., : x.shape[-1]]
        return F.rms_norm(wide, scale.shape, scale, module.eps)[..., : x.shape[-1]]

    module.forward = forward
    return f"{path}.weight"


def _wrap(small: nn.Module, path: str, factor: float, shift: float) -> str:
    module = small.get_submodule(path)
    inner = module.forward
    module.forward = lambda *args, **kwargs: (  # names of parameters stay
        y * factor + shift * torch.arange(y.numel()).sin().view(y.shape).to(y)
        if isinstance(y := inner(*args, **kwargs), Tensor)
        else y
    )
    return path


def _cut_layers(small: nn.Module, kept: Kept) -> list[str]:
    layers = (nn.Linear, nn.modules.conv._ConvNd)
    return [p for p, m in _modules(small, layers) if f"{p}.weight" in kept]


@breakage
def a_divisor_that_counts_channels(
    original: nn.Module, small: nn.Module, kept: Kept, dice: random.Random
) -> str | None:
    """What a layer makes is divided by the new width instead of the old."""
    layers = _cut_layers(small, kept)
    if not layers:
        return None
    path = dice.choice(layers)
    before, after = (m.get_submodule(path).weight.numel() for m in (original, small))
    return _wrap(small, path, after / before, 0.0)


@breakage
def an_offset(original: nn.Module, small: nn.Module, kept: Kept, dice: random.Random) -> str | None:
    """What a layer makes is moved by constants that no parameter holds."""
    layers = _cut_layers(small, kept)
    return _wrap(small, dice.choice(layers), 1.0, 0.1) if layers else None


@breakage
def another_activation(original: nn.Module, small: nn.Module, kept: Kept, dice: random.Random) -> str | None:
    """A layer's results are bent."""
    layers = _cut_layers(small, kept)
    if not layers:
        return None
    module = small.get_submodule(path := dice.choice(layers))
    inner = module.forward
    module.forward = lambda x: (y := inner(x)) + 0.1 * y.square()
    return path


@breakage
def a_tensor_put_back_together(original: nn.Module, small: nn.Module, kept: Kept, dice: random.Random) -> str | None:
    """A weight's kept inputs are the first ones instead of those that were kept."""
    names = _tensors(small, kept, ndim=2)
    if not names:
        return None
    name = dice.choice(names)
    d = dice.choice(_cut(original, name, kept))
    first = list(range(len(kept[name][d])))
    if first == list(kept[name][d]):
        return None
    positions = [first if e == d else list(k) for e, k in enumerate(kept[name])]
    with torch.no_grad():
        named_tensors(small)[name].copy_(_block(named_tensors(original)[name], positions))
    return name
