"""Multiply-accumulates of traced operators: one small rule an operator, and a list of those that count as nothing.

A rule gets the inputs and outputs of a node of a TorchScript trace and returns ``{kind: MACs}``.
Kinds: "conv" and "linear" (what the papers' tables count), "matmul", "attention" and "recurrent".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

Values = list[Any]
MacRule = Callable[[Values, Values], "Counter[str]"]
Sizes = list[int]


def _shape(value: Any) -> Sizes:
    sizes = value.type().sizes()
    if sizes is None:
        raise ValueError(f"the trace has no shape for {value.debugName()}")
    return list(sizes)


def _items(value: Any) -> Values:
    """The tensors of a list argument."""
    return list(value.node().inputs())


def _integers(value: Any) -> list[int]:
    """A list of integers, which a trace holds as one constant or as a list of constants."""
    constant = value.toIValue()
    return list(constant) if constant is not None else [item.toIValue() for item in _items(value)]


def _convolution(inputs: Values, outputs: Values) -> Counter[str]:
    """Output positions x weight elements; a transposed convolution works on the input's positions."""
    transposed = len(inputs) > 7 and bool(inputs[6].toIValue())  # the shorter forms have no such argument
    x, weight, out = _shape(inputs[0]), _shape(inputs[1]), _shape(outputs[0])
    spatial = len(weight) - 2
    positions = (x if transposed else out)[-spatial:]
    batch = x[0] if len(x) == spatial + 2 else 1
    return Counter(conv=batch * math.prod(positions) * math.prod(weight))


def _deformable(inputs: Values, outputs: Values) -> Counter[str]:
    """Output positions x weight elements, as for a convolution; sampling between pixels counts as nothing."""
    out, weight = _shape(outputs[0]), _shape(inputs[1])
    return Counter(conv=out[0] * math.prod(out[2:]) * math.prod(weight))


def _linear(inputs: Values, outputs: Values) -> Counter[str]:
    return Counter(linear=math.prod(_shape(outputs[0])) * _shape(inputs[1])[-1])


def _bilinear(inputs: Values, outputs: Values) -> Counter[str]:
    """x1' W x2 for every output: the product with W, then the one with x2."""
    out, weight = _shape(outputs[0]), _shape(inputs[2])
    positions = math.prod(out[:-1])
    return Counter(matmul=positions * (math.prod(weight) + weight[0] * weight[2]))


def _product(left: int = 0) -> MacRule:
    """Matrix products of two operands: output elements x inner size (the last of the left operand's)."""

    def rule(inputs: Values, outputs: Values) -> Counter[str]:
        return Counter(matmul=math.prod(_shape(outputs[0])) * _shape(inputs[left])[-1])

    return rule


def _summed_product(inputs: Values, outputs: Values) -> Counter[str]:
    """addbmm: the products of a batch, added up."""
    del outputs
    batch, rows, inner = _shape(inputs[1])
    return Counter(matmul=batch * rows * inner * _shape(inputs[2])[-1])


def _outer(inputs: Values, outputs: Values) -> Counter[str]:
    del inputs
    return Counter(matmul=math.prod(_shape(outputs[0])))


def _einsum(inputs: Values, outputs: Values) -> Counter[str]:
    del outputs
    path = _integers(inputs[2]) if len(inputs) > 2 else None
    return Counter(matmul=einsum_macs(inputs[0].toIValue(), [_shape(value) for value in _items(inputs[1])], path))


def einsum_macs(equation: str, shapes: list[Sizes], path: list[int] | None = None) -> int:
    """MACs of an einsum contracted pair by pair: for each pair, the product of the sizes of all its labels.

    Args:
        equation: as `torch.einsum` takes it; ``...`` allowed.
        shapes: of the operands.
        path: positions of the pairs, flat, as opt_einsum gives them; from left to right without it.

    >>> einsum_macs("bij,bjk->bik", [[2, 3, 4], [2, 4, 5]])
    120
    """
    terms, _, result = equation.replace(" ", "").partition("->")
    operands: list[set[str]] = []
    sizes: dict[str, int] = {}
    for term, shape in zip(terms.split(","), shapes, strict=True):
        named = len(term.replace("...", ""))
        # Dimensions under "..." are aligned at the right, so they get their labels from the right.
        dots = [f"...{len(shape) - named - i}" for i in range(len(shape) - named)]
        labels = _labels(term, dots)
        operands.append(set(labels))
        for label, size in zip(labels, shape, strict=True):
            sizes[label] = max(sizes.get(label, 1), size)
    if "->" in equation:
        every = sorted({label for operand in operands for label in operand if label.startswith("...")})
        kept = set(_labels(result, every))
    else:
        letters = terms.replace("...", "").replace(",", "")
        kept = {label for label in sizes if label.startswith("...") or letters.count(label) == 1}
    total = 0
    steps = list(path or [])
    while len(operands) > 1:
        first, second = (steps.pop(0), steps.pop(0)) if len(steps) > 1 else (0, 1)
        pair = operands[first] | operands[second]
        total += math.prod(sizes[label] for label in pair)
        operands = [operand for i, operand in enumerate(operands) if i not in (first, second)]
        needed = kept.union(*operands) if operands else kept
        # torch contracts left to right and puts the result first; a path counts on it being last.
        operands = [*operands, pair & needed] if path else [pair & needed, *operands]
    return total


def _labels(term: str, dots: list[str]) -> list[str]:
    before, found, after = term.partition("...")
    return [*before, *dots, *after] if found else list(before)


def _attention(inputs: Values, outputs: Values) -> Counter[str]:
    """Scaled dot product: query x key, then weights x value (the softmax between them counts as nothing)."""
    del outputs
    query, key, value = (_shape(v) for v in inputs[:3])
    batch = math.prod(max(a, b) for a, b in zip(query[:-2], key[:-2], strict=True))
    return Counter(attention=batch * query[-2] * key[-2] * (query[-1] + value[-1]))


def _recurrent(inputs: Values, outputs: Values) -> Counter[str]:
    """GRU, LSTM, RNN: every step of every sequence goes once through every weight matrix."""
    del outputs
    # The weights are the last list among the arguments: an LSTM's states are a list too and stand before them.
    weights = [value for value in inputs if value.node().kind() == "prim::ListConstruct"][-1]
    shapes = [_shape(weight) for weight in _items(weights)]
    steps = math.prod(_shape(inputs[0])[:-1])
    return Counter(recurrent=steps * sum(math.prod(shape) for shape in shapes if len(shape) == 2))


def _recurrent_cell(inputs: Values, outputs: Values) -> Counter[str]:
    del outputs
    batch = math.prod(_shape(inputs[0])[:-1])
    return Counter(recurrent=batch * (math.prod(_shape(inputs[2])) + math.prod(_shape(inputs[3]))))


def _contraction(inputs: Values, outputs: Values) -> Counter[str]:
    """tensordot: output elements x the sizes of the dimensions summed over."""
    left = _shape(inputs[0])
    return Counter(matmul=math.prod(_shape(outputs[0])) * math.prod(left[d] for d in _integers(inputs[2])))


RULES: dict[str, MacRule] = {
    **dict.fromkeys(["_convolution", "_convolution_mode", "conv1d", "conv2d", "conv3d"], _convolution),
    "torchvision::deform_conv2d": _deformable,
    "linear": _linear,
    "bilinear": _bilinear,
    **dict.fromkeys(["matmul", "mm", "bmm", "mv", "dot", "vdot", "inner", "cdist"], _product()),
    **dict.fromkeys(["addmm", "baddbmm", "addmv"], _product(left=1)),
    "addbmm": _summed_product,
    **dict.fromkeys(["outer", "ger"], _outer),
    "tensordot": _contraction,
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
    **dict.fromkeys(["gru", "lstm", "rnn_tanh", "rnn_relu"], _recurrent),
    **dict.fromkeys(["gru_cell", "lstm_cell", "rnn_tanh_cell", "rnn_relu_cell"], _recurrent_cell),
}
"""Rule of each counted operator, without the ``aten::`` before the names of torch's own."""

_MOVES = """
    alias arange as_strided broadcast_tensors cat chunk clone column_stack concat constant_pad_nd contiguous copy
    detach diagonal empty empty_like expand expand_as eye flatten flip full full_like gather hstack index index_add
    index_copy index_fill index_put index_select lift lift_fresh linspace meshgrid movedim narrow new_empty new_full
    new_ones new_zeros numpy_T ones ones_like pad permute pixel_shuffle pixel_unshuffle reflection_pad1d
    reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d
    reshape reshape_as real imag resolve_conj resolve_neg roll scatter scatter_add select select_scatter set_data
    slice slice_scatter split split_with_sizes squeeze stack swapaxes t take_along_dim tensor_split tile to transpose
    tril triu type_as unbind unflatten unfold unsafe_chunk unsafe_split unsqueeze view view_as view_as_complex
    view_as_real vstack where zeros zeros_like im2col col2im channel_shuffle _pack_padded_sequence
    _pad_packed_sequence
"""
_NUMBERS = "Bool Float Int IntImplicit FloatImplicit ScalarImplicit item size numel dim scalar_tensor tensor is_nonzero"
_POINTWISE = """
    abs acos add addcdiv addcmul asin atan atan2 bitwise_and bitwise_not bitwise_or ceil clamp clamp_max clamp_min cos
    div eq erf exp expm1 fill floor floor_divide fmod frac ge gt hypot isfinite isinf isnan le lerp log log10 log1p log2
    logaddexp logical_and logical_not logical_or logical_xor logit lt masked_fill maximum minimum mul nan_to_num ne neg
    pow reciprocal remainder round rsqrt rsub sgn sign sin sinh sqrt square sub tan true_divide trunc xlogy zero
    __and__ __or__ __rsub__ __rpow__
"""
_ACTIVATIONS = """
    alpha_dropout celu dropout elu feature_dropout gelu glu hardshrink hardsigmoid hardswish hardtanh leaky_relu
    log_sigmoid log_softmax mish prelu relu relu6 rrelu selu sigmoid silu softmax softplus softshrink tanh threshold
"""
_REDUCTIONS = """
    all amax amin any argmax argmin argsort count_nonzero cummax cummin cumprod cumsum frobenius_norm linalg_norm
    linalg_vector_norm logsumexp max mean median min norm prod sort std std_mean sum topk var var_mean
    cosine_similarity
"""
_LAYERS = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d batch_norm embedding grid_sampler group_norm instance_norm
    layer_norm max_pool1d max_pool2d max_pool3d rms_norm upsample_bicubic2d upsample_bilinear2d upsample_linear1d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d _upsample_bicubic2d_aa
    _upsample_bilinear2d_aa one_hot
"""
FREE: frozenset[str] = frozenset(" ".join((_MOVES, _NUMBERS, _POINTWISE, _ACTIVATIONS, _REDUCTIONS, _LAYERS)).split())
"""Operators that count as nothing by convention: data movement, pointwise work, reductions, pooling, normalisation."""
