"""What the kernel calculates with, worked out of a RankDVQA of any widths: exact rewrites only, in float64.

- Range shift and first convolution become one. Its border of zeros was grey and would now be black, so a fourth channel
  that is 1 inside of the picture carries what the means take away.
- Query times key becomes one matrix a head: of ``(Wq x + bq) . (Wk y + bk)``, softmax over y sees only
  ``x' Wq'Wk y + bq'Wk y``.
- The projection of values becomes one matrix a head: softmax's weights sum to one, so the values' bias is a constant.
- The last convolution, the head and the mean over positions are linear: one weight a channel and tap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from compressvqa.errors import WeightsError
from compressvqa.models.rankdvqa import RankDVQA
from compressvqa.models.rankdvqa_parts import WINDOW, Scale

Numbers = npt.NDArray[np.float64]
TOKENS = WINDOW * WINDOW
SLOPE = 0.1  # of every LeakyReLU; rankdvqa.cpp has it too


@dataclass(frozen=True)
class FoldedConvolution:
    """3x3, before a LeakyReLU of slope 0.1.

    Args:
        weight: (outputs, inputs, 3, 3).
        bias: (outputs,).
    """

    weight: Numbers
    bias: Numbers


@dataclass(frozen=True)
class FoldedScale:
    """What one scale does with features of both sides, C channels of tokens inside.

    Args:
        weight: of `conv_in`, (C, frames, 3, channels, 3, 3); the 3 are reference, distorted, difference.
        bias: of `conv_in`, (C,).
        query_key: (heads, C, C): token's channel, other token's channel.
        query_bias: (heads, C), for the other token's channel.
        project_value: (heads, C, C): mixed channel, output channel.
        project_bias: (C,).
        position: (heads, 16, 16), the bias of each pair of positions.
        first, first_bias, second, second_bias: of the MLP, (hidden, C), (hidden,), (hidden, C), (C,).
        last: (C, 3, 3), the head's weights times those of `conv_out`.
        constant: what its bias adds to the score.
    """

    weight: Numbers
    bias: Numbers
    query_key: Numbers
    query_bias: Numbers
    project_value: Numbers
    project_bias: Numbers
    position: Numbers
    first: Numbers
    first_bias: Numbers
    second: Numbers
    second_bias: Numbers
    last: Numbers
    constant: float


@dataclass(frozen=True)
class Folded:
    """A whole network.

    Args:
        frames: of a block.
        stages: two convolutions each, as many as there are scales; the very first reads R, G, B in [0, 1] and a channel
            of ones.
        scales: one for each stage.
    """

    frames: int
    stages: tuple[tuple[FoldedConvolution, FoldedConvolution], ...]
    scales: tuple[FoldedScale, ...]


def fold(model: RankDVQA) -> Folded:
    """Folds a network; its stages after the last scale give nothing to the score and are left out.

    Raises:
        WeightsError: a layer is not one that `RankDVQA` has, or its weights are not finite.
    """
    scales = tuple(_scale(one, f"scales.{k}", model.frames) for k, one in enumerate(model.scales))
    stages = []
    for k in range(len(scales)):
        where = f"extractor.stages.{k}"
        layers = list(model.extractor.stages[k].children()) if k < len(model.extractor.stages) else []
        kinds = [type(layer) for layer in layers]
        known = kinds == [nn.Conv2d, nn.LeakyReLU, nn.Conv2d, nn.LeakyReLU]
        if not known or any(layer.negative_slope != SLOPE for layer in layers[1::2]):
            raise WeightsError("is no stage of two convolutions that native code knows", where=where)
        stages.append((_convolution(layers[0], 2, where + ".0"), _convolution(layers[2], 1, where + ".2")))
    stages[0] = (_with_range_shift(stages[0][0], model), stages[0][1])
    for k, ((_, second), scale) in enumerate(zip(stages, scales, strict=True)):
        if scale.weight.shape[3] != second.weight.shape[0]:
            raise WeightsError("reads another number of channels than its stage has", where=f"scales.{k}.conv_in")
    return Folded(model.frames, tuple(stages), scales)


def _numbers(values: Tensor | None, where: str, shape: Sequence[int] = ()) -> Numbers:
    if values is None:
        return np.zeros(shape)
    found = values.detach().double().cpu().numpy()
    if not np.isfinite(found).all():
        raise WeightsError("holds numbers that are not finite", where=where, hint="its weights may be damaged")
    return np.asarray(found, np.float64)


def _convolution(layer: Any, stride: int, where: str) -> FoldedConvolution:
    sound = isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) and layer.padding == (1, 1)
    if not sound or layer.stride != (stride, stride) or layer.groups != 1 or layer.dilation != (1, 1):
        raise WeightsError(f"is no 3x3 convolution of stride {stride} as native code knows it", where=where)
    return FoldedConvolution(_numbers(layer.weight, where), _numbers(layer.bias, where, (layer.out_channels,)))


def _linear(layer: Any, where: str) -> tuple[Numbers, Numbers]:
    if not isinstance(layer, nn.Linear):
        raise WeightsError("is no linear layer", where=where)
    return _numbers(layer.weight, where), _numbers(layer.bias, where, (layer.out_features,))


def _with_range_shift(layer: FoldedConvolution, model: RankDVQA) -> FoldedConvolution:
    """Reads RGB in [0, 1] and ones, instead of shifted colours."""
    shift = model.range_shift.shift.double().cpu().numpy().reshape(3)
    scale = model.range_shift.scale.double().cpu().numpy().reshape(3)
    colours = layer.weight * (2 / scale)[None, :, None, None]
    ones = -(layer.weight * ((1 + shift) / scale)[None, :, None, None]).sum(axis=1, keepdims=True)
    if model.range_shift.flip:
        colours = colours[:, ::-1]
    return FoldedConvolution(np.concatenate([colours, ones], axis=1), layer.bias)


def _scale(scale: Any, where: str, frames: int) -> FoldedScale:
    if not isinstance(scale, Scale):
        raise WeightsError("is no scale of RankDVQA", where=where)
    merge = _convolution(scale.conv_in, 1, where + ".conv_in")
    width = merge.weight.shape[0]
    attention = scale.attention
    qkv, qkv_bias = _linear(attention.qkv, where + ".attention.qkv")
    projection, project_bias = _linear(attention.proj, where + ".attention.proj")
    heads = attention.heads
    query, key, value = qkv.reshape(3, heads, -1, width)
    query_bias, _, value_bias = qkv_bias.reshape(3, heads, -1)
    projection = projection.reshape(width, heads, -1)
    table = _numbers(attention.position_bias, where)[attention.position_index.cpu().numpy().reshape(-1)]
    first, first_bias = _linear(scale.mlp.fc1, where + ".mlp.fc1")
    second, second_bias = _linear(scale.mlp.fc2, where + ".mlp.fc2")
    if not isinstance(scale.mlp.act, nn.GELU) or scale.mlp.act.approximate != "none":
        raise WeightsError("is no exact GELU", where=where + ".mlp.act")
    out = _convolution(scale.conv_out, 1, where + ".conv_out")
    head = _numbers(scale.head.weight, where + ".head")[0, :, 0, 0]
    head_bias = _numbers(scale.head.bias, where + ".head", (1,))[0]
    return FoldedScale(
        weight=merge.weight.reshape(width, frames, 3, -1, 3, 3),
        bias=merge.bias,
        query_key=attention.scale * np.einsum("hdi,hdj->hij", query, key),
        query_bias=attention.scale * np.einsum("hd,hdj->hj", query_bias, key),
        project_value=np.einsum("ohd,hdi->hio", projection, value),
        project_bias=project_bias + np.einsum("ohd,hd->o", projection, value_bias),
        position=table.reshape(TOKENS, TOKENS, heads).transpose(2, 0, 1),
        first=first, first_bias=first_bias, second=second.T, second_bias=second_bias,
        last=np.einsum("o,ocyx->cyx", head, out.weight),
        constant=float(head @ out.bias + head_bias),
    )  # fmt: skip
