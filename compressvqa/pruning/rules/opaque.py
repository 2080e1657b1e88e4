"""Layers that run as one kernel and are kept as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressvqa.pruning.labels import Twin
from compressvqa.pruning.rules import rule

if TYPE_CHECKING:
    from compressvqa.pruning.graph import Node
    from compressvqa.pruning.propagate import Propagation


@rule("mkldnn_rnn_layer", "_cudnn_rnn", "_thnn_fused_gru_cell", "_thnn_fused_lstm_cell", "lstm_mps")
def recurrent(run: Propagation, node: Node) -> list[Twin]:
    """A recurrent layer."""
    return run.block(node, "recurrent layers are kept as they are")


@rule("_trilinear")
def bilinear(run: Propagation, node: Node) -> list[Twin]:
    """A bilinear layer."""
    return run.block(node, "bilinear layers are kept as they are")
