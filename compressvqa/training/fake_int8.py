"""Layers that work in int8 while a network learns, so that rounding it afterwards costs little."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from compressvqa.torch_private import TorchFunctionMode

_TINY = 1e-12  # a tensor of zeros has a scale too


class FakeInt8(TorchFunctionMode):
    """Inside, convolutions and matrix products take what they are given as int8 would hold it, gradients pass through.

    Weights are rounded per output channel to -127..127 (symmetric), all else per tensor to 256 steps between its
    least and its greatest value (and 0) in the batch at hand. Nothing is kept: the network's weights stay floats, and
    outside it works in float as before. Jacob et al. 2018, "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference", section 3; ranges are those of the batch instead of running ones.

    >>> weight, ones = torch.tensor([[1.0, 0.003]]), torch.ones(1, 2)
    >>> with FakeInt8():
    ...     print(F.linear(ones, weight))
    tensor([[1.]])
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _LAYERS:
            args, kwargs = _with_weight(args, kwargs, _LAYERS[func])
        elif func in _PRODUCTS:
            args = tuple(_as_int8(part) for part in args)
        return func(*args, **kwargs)


def _with_weight(args: tuple[Any, ...], kwargs: dict[str, Any], axis: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a layer, with input and weight rounded, however they were given."""
    given = dict(zip(("input", "weight"), args, strict=False)) | kwargs
    rounded = {"input": _as_int8(given["input"]), "weight": _as_int8(given["weight"], axis)}
    kept = {name: value for name, value in kwargs.items() if name not in rounded}
    named = {name: value for name, value in rounded.items() if name in kwargs}
    return (*[rounded[name] for name in ("input", "weight") if name not in kwargs], *args[2:]), kept | named


def _as_int8(given: Any, axis: int | None = None) -> Any:
    """A tensor as int8 would hold it; `axis` counts the channels that each have a scale of their own."""
    if not isinstance(given, Tensor) or not given.is_floating_point() or not given.numel():
        return given
    values = given.float()  # torch's kernels know no other kind
    if axis is not None:
        others = [d for d in range(values.ndim) if d != axis]
        scales = values.detach().abs().amax(others).clamp_min(_TINY) / 127
        zeros = torch.zeros_like(scales, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(values, scales, zeros, axis, -127, 127).to(given.dtype)
    low, high = (end.float() for end in torch.aminmax(values.detach()))
    low, high = low.clamp_max(0), high.clamp_min(0)
    scale = (high - low).clamp_min(_TINY) / 255
    zero = (-low / scale).round().clamp(0, 255).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(values, scale, zero, 0, 255).to(given.dtype)


_LAYERS = {
    F.linear: 0, F.conv1d: 0, F.conv2d: 0, F.conv3d: 0,
    F.conv_transpose1d: 1, F.conv_transpose2d: 1, F.conv_transpose3d: 1,
}  # fmt: skip
_PRODUCTS = frozenset({torch.matmul, torch.bmm, Tensor.matmul, Tensor.__matmul__, Tensor.bmm})
