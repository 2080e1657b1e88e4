"""The judge's one convention: the statistics of a normalisation layer are taken over the channels that were kept.

Zeros would count in them. A normalisation layer is layer, group or RMS norm as torch has it, or a module that is called
one (its class name says so) and has a weight for each channel; and a weight that is standardised before it is used.
Every other statistic (a mean that is a score, a deviation over channels) counts zeros like any other number.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pruning_coverage.judging.found_again import Kept, UnjudgedError

_RANDOM = {torch.rand_like, torch.randn_like, torch.rand, torch.randn, torch.bernoulli}
_MEANS = {torch.mean, Tensor.mean}
_SPREADS = {torch.var, Tensor.var, torch.std, Tensor.std}
_PAIRS = {torch.var_mean, torch.std_mean}
_LOW = {torch.float32, torch.float16, torch.bfloat16}


class Watched(TorchFunctionMode):
    """Draws that depend on the number of channels are made equal; widths of plain normalisations are written down.

    Attributes:
        low: whether something was computed in 32 bits or fewer, although the network is in 64.
        widths: normalised sizes of the layer norms and groups of the group norms without weight, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.low = False
        self.widths: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _RANDOM:
            return torch.full_like(func(*args, **kwargs), 0.3)
        width = _plain_width(func, args, kwargs)
        if width is not None:
            self.widths.append(width)
        out = self.computed(func, args, kwargs, len(self.widths) - 1)
        self.low = self.low or (isinstance(out, Tensor) and out.dtype in _LOW)
        return out

    def computed(self, func: Any, args: Any, kwargs: Any, number: int) -> Any:
        """What a call gives; `number` counts the plain normalisations."""
        del number
        return func(*args, **kwargs)


class KeptStatistics(Watched):
    """For the zeroed original.

    Args:
        model: the original with zeros.
        kept: which elements of its tensors are left.
        widths: `Watched.widths` of the smaller network in the same call.
    """

    def __init__(self, model: nn.Module, kept: Kept, widths: list[int]) -> None:
        super().__init__()
        self._of_smaller = widths
        tensors = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}
        self._kept = {id(tensors[name]): mask for name, mask in kept.items()}
        self._cut = {tensors[n].untyped_storage().data_ptr(): n for n in kept if tensors[n].ndim > 1}
        self._inside: list[Tensor] = []
        self._hooks = [hook for path, module in model.named_modules() for hook in self._follow(path, module, kept)]

    def __exit__(self, *error: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*error)

    def _follow(self, path: str, module: nn.Module, kept: Kept) -> list[Any]:
        """Hooks that say when a normalisation written by hand runs, and which of its channels are kept."""
        named = {n: kept.get(f"{path}.{n}".lstrip(".")) for n, _ in module.named_parameters(recurse=False)}
        masks = [m for m in named.values() if m is not None and m.numel() == max(m.shape, default=0)]
        if "norm" not in type(module).__name__.lower() or not masks:
            return []

        def enter(*_: Any) -> None:
            self._inside.append(masks[0].flatten())

        def leave(*_: Any) -> None:
            self._inside.pop()

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    def computed(self, func: Any, args: Any, kwargs: Any, number: int) -> Any:
        """A normalisation over what is kept, or the call as it is."""
        if func in (F.layer_norm, torch.layer_norm):
            return self._layer_norm(number, *args, **kwargs)
        if func in (F.rms_norm, torch.rms_norm):
            return self._rms_norm(number, *args, **kwargs)
        if func in (F.group_norm, torch.group_norm):
            return self._group_norm(number, *args, **kwargs)
        if args and isinstance(args[0], Tensor):
            if func is F.batch_norm and self._weight(args[0]):
                return self._standardised(*args, **kwargs)
            if func in _MEANS | _SPREADS | _PAIRS:
                mask = (args[0] != 0) if self._weight(args[0]) else self._channels(args[0], *args[1:], **kwargs)
                if mask is not None:
                    return _masked(func, mask, *args, **kwargs)
        return func(*args, **kwargs)

    def _weight(self, x: Tensor) -> bool:
        try:
            return x.untyped_storage().data_ptr() in self._cut
        except NotImplementedError:  # inside torch.vmap, where nothing has a storage
            return False

    def _channels(self, x: Tensor, dim: Any = None, *_: Any, **__: Any) -> Tensor | None:
        """The kept channels of the normalisation that runs, in the shape of a reduced dimension."""
        if not self._inside or dim is None or isinstance(dim, bool):
            return None
        mask = self._inside[-1]
        reduced = [d % x.ndim for d in ([dim] if isinstance(dim, int) else dim)]
        hit = [d for d in reduced if x.shape[d] == len(mask)]
        if len(hit) != 1:
            return None
        return mask.view([-1 if d == hit[0] else 1 for d in range(x.ndim)]).expand(x.shape)

    def _mask(self, weight: Tensor | None, x: Tensor, number: int, own: int) -> tuple[Tensor | None, int]:
        """Which channels count by their weight, and how many; without a weight how many the smaller network has."""
        if weight is not None:
            mask = self._kept.get(id(weight))
            return mask, own if mask is None else int(mask.sum())
        left = self._of_smaller[number] if 0 <= number < len(self._of_smaller) else own
        return None, left

    def _layer_norm(
        self,
        number: int,
        input: Tensor,
        normalized_shape: Any,
        weight: Any = None,
        bias: Any = None,
        eps: Any = 1e-5,
        *_: Any,
    ) -> Tensor:
        dims = tuple(range(-len(tuple(normalized_shape)), 0))
        mask, n = self._mask(weight, input, number, torch.Size(normalized_shape).numel())
        if n == torch.Size(normalized_shape).numel():
            return F.layer_norm(input, normalized_shape, weight, bias, eps)
        y = _normalised(input, dims, mask, n, eps)
        y = y if weight is None else y * weight
        return y if bias is None else y + bias

    def _rms_norm(
        self, number: int, input: Tensor, normalized_shape: Any, weight: Any = None, eps: Any = None, *_: Any
    ) -> Tensor:
        dims = tuple(range(-len(tuple(normalized_shape)), 0))
        mask, n = self._mask(weight, input, number, torch.Size(normalized_shape).numel())
        m = 1.0 if mask is None else mask.to(input.dtype)
        eps = torch.finfo(input.dtype).eps if eps is None else eps
        y = input * m / ((input**2 * m).sum(dims, keepdim=True) / n + eps).sqrt()
        return y if weight is None else y * weight

    def _group_norm(
        self,
        number: int,
        input: Tensor,
        num_groups: int,
        weight: Any = None,
        bias: Any = None,
        eps: Any = 1e-5,
        *_: Any,
    ) -> Tensor:
        mask, n = self._mask(weight, input, number, input.shape[1])
        if n == input.shape[1]:
            return F.group_norm(input, num_groups, weight, bias, eps)
        x = input.reshape(len(input), num_groups, input.shape[1] // num_groups, -1)
        if mask is None:
            each: Any = n // num_groups * x.shape[3]
        else:
            mask = mask.view(1, num_groups, -1, 1)
            each = (mask.sum((2, 3), keepdim=True) * x.shape[3]).clamp(min=1)
        y = _normalised(x, (2, 3), mask, each, eps).view(input.shape)
        shape = (1, -1, *[1] * (input.ndim - 2))
        y = y if weight is None else y * weight.view(shape)
        return y if bias is None else y + bias.view(shape)

    @staticmethod
    def _standardised(
        x: Tensor, mean: Any, var: Any, weight: Any = None, bias: Any = None, *_: Any, **kwargs: Any
    ) -> Tensor:
        """Batch norm of a weight (1, outputs, rest) that is put to mean 0 and deviation 1 for each output."""
        m = (x != 0).to(x.dtype)
        n = m.sum((0, 2), keepdim=True).clamp(min=1)
        centred = (x - (x * m).sum((0, 2), keepdim=True) / n) * m
        y = centred / ((centred**2).sum((0, 2), keepdim=True) / n + kwargs.get("eps", 1e-5)).sqrt()
        weight, bias = kwargs.get("weight", weight), kwargs.get("bias", bias)
        y = y if weight is None else y * weight.view(1, -1, 1)
        return y if bias is None else y + bias.view(1, -1, 1)


def _normalised(x: Tensor, dims: tuple[int, ...], mask: Tensor | None, n: Any, eps: float) -> Tensor:
    """Mean 0 and deviation 1 over `n` elements: those of the mask, or, without one, whatever is not zero and as many
    zeros as are missing: a channel that is gone is zero, and one that is left may be.
    """
    if mask is None:
        if int((x != 0).sum(dims).max()) > (n if isinstance(n, int) else int(n.max())):
            raise UnjudgedError("a normalisation without a weight meets channels that are gone and not zero")
        mean = x.sum(dims, keepdim=True) / n
        return (x - mean) / (x.square().sum(dims, keepdim=True) / n - mean**2 + eps).sqrt()
    m = mask.to(x.dtype)
    centred = (x - (x * m).sum(dims, keepdim=True) / n) * m
    return centred / (centred.square().sum(dims, keepdim=True) / n + eps).sqrt()


def _plain_width(func: Any, args: Any, kwargs: Any) -> int | None:
    """How many elements a normalisation without weight works on; None for other calls."""
    if func in (F.layer_norm, torch.layer_norm, F.rms_norm, torch.rms_norm):
        named = dict(zip(("input", "normalized_shape", "weight"), args, strict=False)) | kwargs
        return torch.Size(named["normalized_shape"]).numel() if named.get("weight") is None else None
    if func in (F.group_norm, torch.group_norm):
        named = dict(zip(("input", "num_groups", "weight"), args, strict=False)) | kwargs
        return named["input"].shape[1] if named.get("weight") is None else None
    return None


def _masked(func: Any, mask: Tensor, x: Tensor, dim: Any = None, *args: Any, **kwargs: Any) -> Any:
    """A mean, variance or deviation over the elements that count."""
    dims = tuple(range(x.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if func in _MEANS:
        keep = bool(args[0]) if args else kwargs.get("keepdim", False)
    else:
        keep = bool(kwargs.get("keepdim", args[1] if len(args) > 1 else False))
    biased = kwargs.get("correction", 1) == 0 or kwargs.get("unbiased", args[0] if args else True) in (False, 0)
    m = mask.to(x.dtype)
    n = m.sum(dims, keepdim=True).clamp(min=1)
    mean = (x * m).sum(dims, keepdim=True) / n
    if func in _MEANS:
        return mean if keep else _squeezed(mean, dims)
    var = ((x - mean) ** 2 * m).sum(dims, keepdim=True) / (n if biased else (n - 1).clamp(min=1))
    spread = var.sqrt() if func in (torch.std, Tensor.std, torch.std_mean) else var
    if not keep:
        spread, mean = _squeezed(spread, dims), _squeezed(mean, dims)
    return (spread, mean) if func in _PAIRS else spread


def _squeezed(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return x.squeeze(tuple(d % x.ndim for d in dims)) if x.ndim else x
