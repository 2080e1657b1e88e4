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

    A hidden channel whose rows and biases are zero stays zero, whatever the gates are: its candidate is tanh(0). With a
    projection, the cell has a width of its own, and the state that is handed on another one.
    """
    packed = isinstance(node.args[3], tuple)
    data, states = node.args[0], node.args[2 if packed else 1]
    weights, biases, layers, _, _, both_ways = node.args[3 if packed else 2 :][:6]
    directions = 2 if both_ways else 1
    each = len(weights) // (layers * directions)
    own = 4 if biases else 2  # and one more, which projects the cell on the state that is handed on
    gates = _GATES.get(node.function.__name__, 1)
    hidden = _labels(run, weights[1], 1)
    cell = _labels(run, weights[own], 1) if each > own else hidden
    steps = int(np.prod(data.shape[:-1]))
    incoming = _last(run, node, run.labels_of(data))
    for state, kind in zip(states if isinstance(states, tuple) else (states,), (hidden, cell), strict=False):
        channels = run.labels_of(state)
        if len(channels.shape) - 1 not in channels.free:
            run.unite(node, kind, _last(run, node, channels))
    for layer in range(layers):
        for direction in range(directions):
            at = (layer * directions + direction) * each
            rows = _rows(run, node, weights[at : at + own], cell, gates)
            columns, back = _labels(run, weights[at], 1), _labels(run, weights[at + 1], 1)
            run.unite(node, columns, incoming)
            run.unite(node, back, hidden)
            run.produces[rows] = True
            run.consumes[columns] = run.consumes[back] = True
            for read in (columns, back):
                run.cost(node, steps * len(rows) * len(read), [AxisLabels(rows, True), AxisLabels(read, True)])
            if each > own:
                _project(run, node, weights[at + own], hidden, cell, steps)
        incoming = np.tile(hidden, directions)
    shapes = [() if v is None else v.shape for v in node.outputs]
    outputs = [_along_last(incoming, shapes[0])]
    outputs += [_along_last(ids, shape) for ids, shape in zip((hidden, cell), shapes[1:], strict=False)]
    return outputs


def _project(run: Labelling, node: Node, weight: Value, hidden: Ids, cell: Ids, steps: int) -> None:
    """What an LSTM hands on is a product of a matrix with the cell: rows go with the state, columns with the cell."""
    rows, columns = _labels(run, weight, 0), _labels(run, weight, 1)
    run.unite(node, rows, hidden)
    run.unite(node, columns, cell)
    run.produces[rows] = True
    run.consumes[columns] = True
    run.cost(node, steps * len(rows) * len(columns), [AxisLabels(rows, True), AxisLabels(columns, True)])


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
