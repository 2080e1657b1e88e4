"""A folded network as the words that the kernel reads: kinds of numbers chosen, weights rounded, in its order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from compressvqa.deploy.native.fold import Folded, FoldedConvolution, FoldedScale, Numbers

Precision: TypeAlias = Literal["float32", "int16", "mixed", "int8"]
Words: TypeAlias = npt.NDArray[np.uint32]

FLOAT, SHORTS, BYTES = 0, 1, 2
CHANNELS = {FLOAT: 1, SHORTS: 2, BYTES: 4}  # of a word
WHITE = 16384  # what weights take white for, where it is a whole number; the kernel corrects for each format's own
# Ranges are so many times as wide as what calibration saw: in int16 twelve bits are left, in bytes seven and a half.
ROOM, ROOM_OF_BYTES = 8, 1.5
SENSITIVE = 3  # stages that read 16 bits in "mixed"


@dataclass(frozen=True)
class Ranges:
    """What a convolution of the extractor puts out, after its LeakyReLU: (channels,) each.

    Args:
        least: of all positions.
        most: likewise.
        mean: likewise.
        unit_mean: the mean once each position is brought to unit length.
    """

    least: Numbers
    most: Numbers
    mean: Numbers
    unit_mean: Numbers


@dataclass(frozen=True)
class _Steps:
    """How a layer's output is written down: ``round(value * up + zero)``."""

    kind: int
    up: Numbers
    zero: Numbers


def kinds_of(precision: Precision, stages: int) -> list[tuple[int, int]]:
    """What the two convolutions of each stage read.

    In "mixed" the first three stages read 16 bits: with bytes in one of their layers, flat parts of real pictures are
    off by up to .03 of the range of scores; with bytes after them nothing changes (docs/speed.md).
    """
    if precision == "float32":
        return [(FLOAT, FLOAT)] * stages
    if precision == "int8":
        return [(SHORTS, BYTES), *[(BYTES, BYTES)] * (stages - 1)]
    return [(SHORTS, SHORTS) if precision == "int16" or k < SENSITIVE else (BYTES, BYTES) for k in range(stages)]


def packed(folded: Folded, precision: Precision, ranges: list[tuple[Ranges, Ranges]]) -> Words:
    """All words of a network.

    Args:
        folded: the network.
        precision: which kinds of numbers.
        ranges: of both convolutions of each stage; not read where `precision` is "float32".
    """
    kinds = kinds_of(precision, len(folded.stages))
    parts = [_whole(folded.frames, len(folded.scales))]
    mean = np.append(np.full(3, 0.45), 1.0)  # of RGB, about, and of ones
    steps = _Steps(kinds[0][0], np.full(4, 1.0 if precision == "float32" else float(WHITE)), np.zeros(4))
    for k, (stage, scale) in enumerate(zip(folded.stages, folded.scales, strict=True)):
        for j, layer in enumerate(stage):
            last = j == 1 and k + 1 == len(folded.stages)
            reads = FLOAT if last else kinds[k][1] if j == 0 else kinds[k + 1][0]
            after = _steps(reads, layer, ranges[k][j] if ranges else None)
            parts.append(_convolution(layer, steps, after, mean, largest=WHITE if k == j == 0 else 32768))
            steps, mean = after, ranges[k][j].mean if ranges else np.zeros(len(layer.bias))
        parts.append(_scale(scale, ranges[k][1].unit_mean) if ranges else _scale(scale, None))
    return np.concatenate([part.reshape(-1) for part in parts])


def _steps(kind: int, layer: FoldedConvolution, ranges: Ranges | None) -> _Steps:
    outputs = len(layer.bias)
    if kind == FLOAT or ranges is None:
        return _Steps(FLOAT, np.ones(outputs), np.zeros(outputs))
    if kind == SHORTS:
        size = np.maximum(np.maximum(ranges.most, -ranges.least), 1e-6)
        return _Steps(kind, 32767 / (size * ROOM), np.zeros(outputs))
    # A word for a channel that never says anything still needs a step.
    least, most = (ROOM_OF_BYTES * end for end in (np.minimum(ranges.least, 0), np.maximum(ranges.most, 0)))
    up = 255 / np.maximum(most - least, 1e-6)
    return _Steps(kind, up, np.round(-least * up))


def _convolution(layer: FoldedConvolution, before: _Steps, after: _Steps, mean: Numbers, *, largest: int) -> Words:
    weight, bias = layer.weight, layer.bias
    outputs, inputs = weight.shape[:2]
    kind = before.kind
    if kind == FLOAT:
        rounded, scale = weight, np.ones(outputs)
    else:
        weight = weight / before.up[None, :inputs, None, None]
        sizes = np.abs(weight).reshape(outputs, -1)
        # A sum of int16 products must fit 32 bits whatever the picture holds; a weight fits its own.
        least = sizes.max(1) / (127 if kind == BYTES else 32767)
        if kind == SHORTS:
            # Rounding adds half a step to each weight at most.
            least = np.maximum(least, sizes.sum(1) * largest / (2**31 - 2**16 - largest * sizes.shape[1] / 2))
        scale = np.where(least > 0, least, 1.0)
        rounded = np.round(weight / scale[:, None, None, None])
        left = weight - rounded * scale[:, None, None, None]
        # What rounding takes from the weights adds up where inputs are not zero on average: it is put back on average.
        typical = mean[:inputs] * before.up[:inputs]
        bias = bias + (left * typical[None, :, None, None]).sum(axis=(1, 2, 3))
        bias = bias - scale * (rounded * before.zero[None, :inputs, None, None]).sum(axis=(1, 2, 3))
    border = _words(before.zero[None, :inputs], kind).reshape(-1)
    return _joined(
        _whole(kind, after.kind, inputs, outputs),
        # (outputs, inputs, 3, 3) to [group][row][column][output]
        _words(rounded.transpose(2, 3, 0, 1), kind).transpose(3, 0, 1, 2),
        scale, bias, after.up, after.zero, border,
    )  # fmt: skip


def _scale(scale: FoldedScale, unit_mean: Numbers | None) -> Words:
    kind = FLOAT if unit_mean is None else BYTES
    merged, frames, _, channels = scale.weight.shape[:4]
    heads, hidden = len(scale.query_key), len(scale.first)
    if unit_mean is None:
        rounded, step, bias = scale.weight, np.ones(merged), scale.bias
    else:
        size = np.abs(scale.weight).reshape(merged, -1).max(1) / 127
        size = np.where(size > 0, size, 1.0)
        rounded = np.round(scale.weight / size[:, None, None, None, None, None])
        step = size / 127  # features are 127 times a unit vector,
        # and those of the two sides lie around 128, of which outside of the picture there is as much.
        bias = scale.bias - step * 128 * rounded[:, :, :2].sum(axis=(1, 2, 3, 4, 5))
        # As in a convolution; of the difference nothing is known.
        left = (scale.weight - rounded * size[:, None, None, None, None, None])[:, :, :2]
        bias = bias + np.einsum("otscyx,c->o", left, unit_mean)
    # (outputs, frames, what, channels, 3, 3) to [frame][group][row][what][column][output]
    words = _words(rounded.transpose(0, 1, 2, 4, 5, 3), kind).transpose(1, 5, 3, 2, 4, 0)
    assert words.shape[0] == frames
    return _joined(
        _whole(kind, channels, merged, heads, hidden), words, step, bias, scale.query_key, scale.query_bias,
        scale.project_value, scale.project_bias, scale.position, scale.first, scale.first_bias, scale.second,
        scale.second_bias, scale.last, np.array([scale.constant]),
    )  # fmt: skip


def _words(values: Numbers, kind: int) -> Words:
    """Channels, the last dimension, packed into words; the last word is filled up with zeros."""
    together = CHANNELS[kind]
    missing = -values.shape[-1] % together
    filled = np.concatenate([values, np.zeros((*values.shape[:-1], missing))], axis=-1)
    if kind == FLOAT:
        return np.ascontiguousarray(filled, np.float32).view(np.uint32)
    # Borders of bytes go up to 255, weights down to -127: both wrap into a byte.
    whole = np.ascontiguousarray(filled.astype(np.int64).astype(np.int16 if kind == SHORTS else np.int8))
    return whole.view(np.uint32)


def _whole(*numbers: int) -> Words:
    return np.array(numbers, np.int32).view(np.uint32)


def _joined(*parts: Words | Numbers) -> Words:
    typed = [part if part.dtype == np.uint32 else np.asarray(part, np.float32) for part in parts]
    return np.concatenate([np.ascontiguousarray(part).view(np.uint32).reshape(-1) for part in typed])
