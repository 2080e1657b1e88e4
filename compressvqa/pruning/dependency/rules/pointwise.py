"""Operators that work element by element: whatever meets is tied."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from compressvqa.pruning.dependency.algebra import carried, join, lift
from compressvqa.pruning.dependency.labels import ChannelLabels
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node

# Each was checked to depend, element by element, on nothing but the same (broadcast) positions of its inputs;
# tests/pruning/dependency/test_parts.py runs every one on a probe.
UNARY = (
    "abs", "acos", "acosh", "angle", "asin", "asinh", "atan", "atanh", "bitwise_not", "ceil", "celu", "clamp",
    "clamp_max", "clamp_min", "clip", "cos", "cosh", "deg2rad", "digamma", "elu", "erf", "erfc", "erfinv", "exp",
    "exp2", "expm1", "floor", "frac", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "isfinite",
    "isinf", "isnan", "leaky_relu", "lgamma", "log", "log10", "log1p", "log2", "log_sigmoid", "logical_not",
    "logit", "mish", "nan_to_num", "neg", "positive", "rad2deg", "real", "reciprocal", "relu", "relu6", "round",
    "rsqrt", "selu", "sgn", "sigmoid", "sign", "signbit", "silu", "sin", "sinc", "sinh", "softplus", "softshrink",
    "special_expit", "sqrt", "square", "tan", "tanh", "threshold", "trunc",
)  # fmt: skip
BINARY = (
    "add", "atan2", "bitwise_and", "bitwise_or", "bitwise_xor", "copysign", "div", "divide", "eq", "floor_divide",
    "fmax", "fmin", "fmod", "ge", "gt", "hypot", "le", "lerp", "logaddexp", "logical_and", "logical_or",
    "logical_xor", "lt", "maximum", "minimum", "mul", "multiply", "ne", "pow", "remainder", "rsub", "sub",
    "subtract", "true_divide", "where", "xlogy", "addcmul", "addcdiv", "masked_fill", "_prelu_kernel", "__and__",
    "__or__", "complex", "polar", "float_power", "ldexp", "nextafter", "gcd", "lcm", "heaviside", "logaddexp2",
)  # fmt: skip
_DIVISIONS = frozenset({"div", "divide", "true_divide"})


@rule(*UNARY, *BINARY)
def pointwise(run: Labelling, node: Node) -> list[ChannelLabels]:
    """Ties the labels of all operands after broadcasting."""
    values = list(node.inputs())
    shape = node.outputs[0].shape if node.outputs and node.outputs[0] is not None else ()
    channel_labels = [lift(run.labels_of(value), len(shape)) for value in values]
    if not channel_labels:
        return [ChannelLabels(shape, (), frozenset(range(len(shape))))]
    if node.op in _DIVISIONS and len(channel_labels) > 1 and channel_labels[1].weight:
        # Cut channels of a divisor are left as they are in the proof: 0 / 0 would prove nothing.
        for axis_labels in channel_labels[1].per_axis:
            if axis_labels.zero:
                run.keep_in_proof(axis_labels.ids)
    per_axis, free = join(run, node, channel_labels, lambda flags: stays_zero(node, flags))
    return [
        ChannelLabels(
            shape,
            per_axis,
            free,
            all(t.weight or not t.shape for t in channel_labels) and any(t.weight for t in channel_labels),
            carried(run, node, channel_labels, lambda flags: stays_zero(node, flags)),
        )
    ]


@rule("copy")
def copy(run: Labelling, node: Node) -> list[ChannelLabels]:
    """An assignment: what was there before has no say but in its size."""
    target, source = node.args[0], run.labels_of(node.args[1])
    channels = lift(source, len(target.shape))
    before = run.labels_of(target)
    if before.per_axis:
        join(run, node, (before, channels), all)
    grown = {d for d, size in enumerate(channels.shape) if size == 1 and target.shape[d] > 1}
    return [ChannelLabels(target.shape, channels.per_axis, channels.free | frozenset(grown), channels.weight)]


def stays_zero(node: Node, flags: list[bool]) -> bool:
    """Whether the result is zero wherever the flagged operands are zero, found by trying it on a few numbers."""
    if not any(flags):
        return False
    which: dict[int, bool] = {}
    for value, flag in zip(node.inputs(), flags, strict=True):
        which[value.index] = which.get(value.index, False) or flag

    def probe(tree: Any) -> Any:
        if hasattr(tree, "leaf"):
            return _Sample(tree.dtype, which[tree.index])
        if isinstance(tree, tuple):
            return tuple(probe(item) for item in tree)
        return tree

    arguments, settings = probe(node.args), tuple((key, probe(item)) for key, item in node.kwargs.items())
    try:
        return _gives_zero(node.function, arguments, settings)
    except TypeError:  # an argument that can't be looked up, so nothing is promised
        return False


class _Sample(NamedTuple):
    """Four numbers, or four zeros, in the place of a value."""

    dtype: torch.dtype
    zero: bool


@lru_cache(4096)
def _gives_zero(function: Any, arguments: tuple[Any, ...], settings: tuple[tuple[str, Any], ...]) -> bool:
    """Whether an operator gives nothing but zeros for these samples."""

    def made(tree: Any) -> Any:
        if isinstance(tree, _Sample):
            return _numbers(tree)
        return tuple(made(item) for item in tree) if isinstance(tree, tuple) else tree

    try:
        result = function(*made(arguments), **{key: made(item) for key, item in settings})
    except (RuntimeError, TypeError, ValueError):
        return False  # not to be tried on four numbers, so nothing is promised
    return isinstance(result, Tensor) and bool((result == 0).all())


def _numbers(sample: _Sample) -> Tensor:
    if sample.zero:
        return torch.zeros(4, dtype=sample.dtype)
    if sample.dtype == torch.bool:
        return torch.tensor([True, False, True, False])  # a mask chooses both of what it chooses from
    numbers = torch.tensor([0.7, -1.3, 2.1, -0.4])
    return numbers.to(sample.dtype) if sample.dtype.is_floating_point else torch.ones(4, dtype=sample.dtype)
