"""Recurrent layers, each call of which is recorded as one operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compressvqa.pruning.dependency.labels import FIXED, AxisLabels, ChannelLabels, Ids
from compressvqa.pruning.dependency.rules.registry import rule

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node, Value

_GATES = {"lstm": 4, "gru": 3}


@rule("recurrent")
def recurrent(run: Labelling, node: Node) -> list[ChannelLabels]:
    """`nn.RNN`, `nn.GRU`, `nn.LSTM`: one width for all layers and directions, so hidden channel i goes in all of them.

    A hidden channel whose rows and biases are zero stays zero, whatever the gates are: its candidate is tanh(0).
    """
    packed = isinstance(node.args[3], tuple)
    data, states = node.args[0], node.args[2 if packed else 1]
    weights, biases, layers, _, _, both_ways = node.args[3 if packed else 2 :][:6]
    directions = 2 if both_ways else 1
    each = len(weights) // (layers * directions)
    if each != (4 if biases else 2):
        return run.block(node, "recurrent layers with a projection are kept as they are")
    gates = _GATES.get(node.function.__name__, 1)
    hidden = _labels(run, weights[1], 1)
    steps = int(np.prod(data.shape[:-1]))
    incoming = _last(run, node, run.labels_of(data))
    for state in states if isinstance(states, tuple) else (states,):
        channels = run.labels_of(state)
        if len(channels.shape) - 1 not in channels.free:
            run.unite(node, hidden, _last(run, node, channels))
    for layer in range(layers):
        for direction in range(directions):
            at = (layer * directions + direction) * each
            rows = _rows(run, node, weights[at : at + each], hidden, gates)
            columns, back = _labels(run, weights[at], 1), _labels(run, weights[at + 1], 1)
            run.unite(node, columns, incoming)
            run.unite(node, back, hidden)
            run.produces[rows] = True
            run.consumes[columns] = run.consumes[back] = True
            for read in (columns, back):
                run.cost(node, steps * len(rows) * len(read), [AxisLabels(rows, True), AxisLabels(read, True)])
        incoming = np.tile(hidden, directions)
    shapes = [() if v is None else v.shape for v in node.outputs]
    outputs = [_along_last(incoming, shapes[0])]
    outputs += [_along_last(hidden, shape) for shape in shapes[1:]]
    return outputs


def _labels(run: Labelling, value: Value, d: int) -> Ids:
    """Labels of one dimension of a weight, flat; a weight that is computed may have none."""
    for axis_labels in run.labels_of(value).per_axis:
        if axis_labels.axes == (d,):
            return axis_labels.ids.ravel()
    return np.full(value.shape[d], FIXED, dtype=np.int64)


def _last(run: Labelling, node: Node, channels: ChannelLabels) -> Ids:
    """Labels of the last dimension, flat; those of other dimensions are frozen, since steps and layers are mixed."""
    found = np.full(channels.shape[-1], FIXED, dtype=np.int64)
    for axis_labels in channels.per_axis:
        if axis_labels.axes == (len(channels.shape) - 1,):
            found = axis_labels.ids.ravel()
        else:
            run.freeze(axis_labels.ids, f"steps are mixed at {node}")
    return found


def _rows(run: Labelling, node: Node, tensors: Any, hidden: Ids, gates: int) -> Ids:
    """Row i of every gate of both weights and biases goes with hidden channel i."""
    for tensor in tensors:
        run.unite(node, _labels(run, tensor, 0).reshape(gates, -1), hidden[None])
    return _labels(run, tensors[0], 0)


def _along_last(ids: Ids, shape: tuple[int, ...]) -> ChannelLabels:
    return ChannelLabels(shape, (AxisLabels(ids.reshape([1] * (len(shape) - 1) + [-1]), True),))


@rule("mkldnn_rnn_layer", "_cudnn_rnn", "_thnn_fused_gru_cell", "_thnn_fused_lstm_cell", "lstm_mps")
def kernel(run: Labelling, node: Node) -> list[ChannelLabels]:
    """A recurrent kernel that is called by itself."""
    return run.block(node, "recurrent kernels are kept as they are")
