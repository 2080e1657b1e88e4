"""Norm layers over the kept channels: the one convention under which "zeroed" is not taken at its word.

A layer, group or RMS norm takes statistics over channels. Channels that are zero would still count in them, while the
smaller network has them no more. So in the zeroed network these layers take their statistics over the kept channels.
That holds for torch's functions given a weight, for torch's layers without one, and for a layer of somebody's own that
is seen to compute the same as one of torch's. A statistic in the middle of a forward is no layer, and is not touched.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressvqa.pruning.verification.copies import isolated
from compressvqa.pruning.verification.locate import Positions, block
from compressvqa.torch_private import BATCH_OR_INSTANCE_NORM, TorchFunctionMode, tables

LAYERS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_FUNCTIONS = {F.layer_norm: "layer", torch.layer_norm: "layer", F.rms_norm: "rms", torch.rms_norm: "rms"}
_FUNCTIONS |= {F.group_norm: "group", torch.group_norm: "group"}
_SETTINGS = {
    "layer": ("input", "normalized_shape", "weight", "bias", "eps"),
    "rms": ("input", "normalized_shape", "weight", "eps"),
    "group": ("input", "num_groups", "weight", "bias", "eps"),
}


class KeptStatistics(TorchFunctionMode):
    """Lets norms take their statistics over the kept channels.

    Args:
        kept: by id of a norm's weight, or of a layer without one, the positions kept along each of its dimensions.
    """

    def __init__(self, kept: Mapping[int, Positions]) -> None:
        super().__init__()
        self.kept = kept
        self.running: list[int] = []  # layers without a weight whose forward runs

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kind = _FUNCTIONS.get(func)
        if kind is None:
            return func(*args, **(kwargs or {}))
        settings = {**dict(zip(_SETTINGS[kind], args, strict=False)), **(kwargs or {})}
        weight = settings.get("weight")
        key = id(weight) if weight is not None else self.running[-1] if self.running else None
        kept = self.kept.get(key) if key is not None else None
        if kept is None:
            return func(*args, **(kwargs or {}))
        if kind == "group":
            return group_norm(kept=kept[0], **{k: v for k, v in settings.items() if k != "cudnn_enable"})
        normalised = {k: v for k, v in settings.items() if k not in ("normalized_shape", "cudnn_enable")}
        return over_kept(F.layer_norm if kind == "layer" else F.rms_norm, kept=kept, **normalised)


def over_kept(norm: Callable[..., Tensor], input: Tensor, kept: Positions, **settings: Any) -> Tensor:
    """A layer or RMS norm over the kept positions of the last dimensions; the others become zero."""
    first = input.ndim - len(kept)
    every = (*(torch.arange(n) for n in input.shape[:first]), *kept)
    sides = {k: block(v, kept) if isinstance(v, Tensor) else v for k, v in settings.items()}
    part = norm(block(input, every), [len(k) for k in kept], **sides)
    return _spread(part, input, first, kept)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    kept: Tensor,
) -> Tensor:
    """A group norm whose groups consist of the kept ones among their channels; the others become zero."""
    width = input.shape[1] // num_groups
    out = torch.zeros_like(input)
    for group in range(num_groups):
        index = kept[(kept // width) == group].to(input.device)
        if len(index):
            sides = [None if s is None else s[index] for s in (weight, bias)]
            part = F.group_norm(input.index_select(1, index), 1, sides[0], sides[1], eps)
            out = out.index_copy(1, index, part)
    return out


def _spread(part: Tensor, whole: Tensor, first: int, kept: Positions) -> Tensor:
    """Puts a block back to where it stands among zeros."""
    for d in reversed(range(len(kept))):
        size = list(part.shape)
        size[first + d] = whole.shape[first + d]
        part = part.new_zeros(size).index_copy(first + d, kept[d].to(part.device), part)
    return part


# --- layers of somebody's own -------------------------------------------------------------------------------------


def own_norms(original: nn.Module, smaller: nn.Module, names: Mapping[str, str]) -> frozenset[str]:
    """Weights of the layers of somebody's own that are norms over all of their channels in both networks.

    A layer that is one in the original only, for example a sum of squares times a stored number, takes zeros as zeros.

    Args:
        original: the network before pruning.
        smaller: what was made of it.
        names: vectors that lost something: name in the original -> name in the smaller network.
    """
    found = []
    for pair in names.items():
        modules = []
        for model, name in zip((original, smaller), pair, strict=True):
            path, _, last = name.rpartition(".")
            module = model.get_submodule(path)
            if _may_be_one(module, last) and recognised(isolated(module, wide=True), last) is not None:
                modules.append(module)
        if len(modules) == 2:
            found.append(pair[0])
    return frozenset(found)


def _may_be_one(module: nn.Module, weight: str) -> bool:
    """Whether a module is no layer of torch's, has this weight, at most a bias of the same size, and nothing inside."""
    if type(module).__module__.startswith("torch.") or isinstance(module, (*LAYERS, BATCH_OR_INSTANCE_NORM)):
        return False
    parameters, _, inside = tables(module)
    own = [p for p in parameters.values() if p is not None]
    vectors = len(own) <= 2 and all(p.ndim == 1 and len(p) == len(own[0]) for p in own)
    return vectors and parameters.get(weight) is not None and not inside


def replace_own(module: nn.Module, weight: str, kept: Tensor) -> None:
    """Lets a norm layer of somebody's own take its statistics over the kept channels.

    Args:
        module: a layer in a copy of the network, its weights still those of the original; it is among `own_norms`.
        weight: name of its weight.
        kept: positions of the weight that were kept.
    """
    found = recognised(module, weight)
    if found is None:
        return
    norm, dim, plus, bias, eps = found

    def forward(input: Tensor) -> Tensor:
        scale = getattr(module, weight)
        sides = {"weight": scale + 1 if plus else scale}
        if bias is not None:
            sides["bias"] = getattr(module, bias)
        return over_kept(norm, input.movedim(dim, -1), (kept,), **sides, eps=eps).movedim(-1, dim)

    module.forward = forward


def recognised(module: nn.Module, weight: str) -> tuple[Callable[..., Tensor], int, bool, str | None, float] | None:
    """Which norm a layer is, told by its answers to random inputs: a layer norm or an RMS norm, over the last dimension
    or over that of the channels, with its weight or with one plus its weight; None if it is neither.

    Returns:
        (function, dimension,
        whether one is added to its weight, name of its bias, epsilon).
    """
    own = dict(module.named_parameters(recurse=False))
    others = [name for name in own if name != weight]
    if sum(p.default is p.empty and p.kind < 2 for p in inspect.signature(module.forward).parameters.values()) != 1:
        return None
    scale, bias = own[weight], others[0] if others else None
    guesses = [v for k, v in vars(module).items() if "eps" in k and isinstance(v, float)] or [1e-5, 1e-6, 1e-8, 1e-12]
    generator = torch.Generator().manual_seed(len(scale))
    for dim, shape in ((-1, (2, 5, len(scale))), (1, (2, len(scale), 3, 4))):
        x = torch.randn(shape, generator=generator, dtype=torch.float64).to(scale)
        try:
            with torch.no_grad():
                said = module(x)
        except Exception:  # made for inputs of another size
            continue
        if not isinstance(said, Tensor) or said.shape != x.shape:
            continue
        for norm in (F.layer_norm, F.rms_norm) if bias is None else (F.layer_norm,):
            for plus in (False, True):
                for eps in guesses:
                    sides = {"weight": scale + 1 if plus else scale}
                    if bias is not None:
                        sides["bias"] = own[bias]
                    answer = norm(x.movedim(dim, -1), [len(scale)], **sides, eps=eps).movedim(-1, dim)
                    if torch.allclose(said, answer, rtol=1e-6, atol=1e-9 if x.dtype == torch.float64 else 1e-5):
                        return norm, dim, plus, bias, eps
    return None
