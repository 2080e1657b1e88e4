"""What each operator does to channel labels: one small file a family, one registered function a rule.

A rule is called with the propagation and the recorded operator and returns the labels of each output. An operator
without a rule freezes every channel that it touches; it is never taken for an elementwise one.
"""

from __future__ import annotations

from compressvqa.pruning.dependency import moves
from compressvqa.pruning.dependency.rules import (  # noqa: F401  (they register themselves)
    bilinear,
    contraction,
    creation,
    deformable,
    distance,
    gating,
    indexing,
    joining,
    movement,
    normalisation,
    packing,
    pointwise,
    quantise,
    ranking,
    recurrent,
    reduction,
    scatter,
    searching,
    spatial,
    weights,
)
from compressvqa.pruning.dependency.rules.registry import OperatorRule, known, rule, rule_of

# Operators whose rules carry labels that are merged with others (`ChannelLabels.merged`), or freeze them.
MERGED_CARRIERS = (
    frozenset({*moves.NAMES, *pointwise.UNARY, *pointwise.BINARY}) | contraction.PRODUCTS | reduction.REDUCTIONS
)

__all__ = ["MERGED_CARRIERS", "OperatorRule", "known", "rule", "rule_of"]
