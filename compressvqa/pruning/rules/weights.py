"""Operators that only compute weights from parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressvqa.pruning.algebra import join
from compressvqa.pruning.labels import Plane, Twin
from compressvqa.pruning.rules import rule

if TYPE_CHECKING:
    from compressvqa.pruning.graph import Node
    from compressvqa.pruning.propagate import Propagation


@rule("_weight_norm_interface")
def weight_norm(run: Propagation, node: Node) -> list[Twin]:
    """w = g v / |v|: rows of the direction go with rows of the size, columns with what they read.

    A row is cut by its size g alone: a direction of zeros would have no norm.
    """
    direction, size = run.twin(node.args[0]), run.twin(node.args[1])
    d = node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", 0)
    planes, free = join(run, node, (direction, size), any)
    leaf = node.args[0].leaf
    if leaf is not None:
        run.unzeroed.add((leaf, d))
    shapes = [() if v is None else v.shape for v in node.outputs]
    norms = tuple(Plane(p.ids, False) for p in planes if set(p.axes) == {d})
    return [Twin(shapes[0], planes, free, direction.weight), Twin(shapes[1], norms, frozenset(), True)]
