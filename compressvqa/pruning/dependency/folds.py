"""Channels that a view lays over two dimensions and that nothing reads apart: along which of the two they can be cut.

`x.view(b, self.groups, -1, h, w).transpose(1, 2).flatten(1, 2)` shuffles channels. Every group can lose the same
positions, or whole groups can go; which one the network bears is said by its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compressvqa.pruning.dependency.constraints import along
from compressvqa.pruning.dependency.given import VIEWS, numbers_given
from compressvqa.pruning.recording.integers import Attribute, Int, SizeOf, leaves

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling
    from compressvqa.pruning.recording.graph import Node


def foldable(run: Labelling, node: Node, axes: Sequence[int]) -> int | None:
    """The dimension of a view along which the channels go, all alike in the other ones; None where no number follows.

    A size that is worked out (-1, or a share of the channels) comes before a number that is set anew; of several, the
    last.
    """
    if node.op not in VIEWS:
        return None
    numbers = numbers_given(node)
    ranks = [_follows(run, numbers[d]) for d in axes]
    if not node.called:  # torch's own, such as a channel shuffle: it folds by a small number that stays
        ranks = [0] * len(axes)
        ranks[max(range(len(axes)), key=lambda k: node.outputs[0].shape[axes[k]])] = 1  # type: ignore[union-attr]
    best = max(ranks)
    return None if best == 0 else max(d for d, rank in zip(axes, ranks, strict=True) if rank == best)


def _follows(run: Labelling, number: int | None) -> int:
    """2 for a size that follows by itself, 1 for one that is set anew, 0 for a plain number."""
    if number is None:
        return 0
    if number == -1:
        return 2
    if not isinstance(number, Int):
        return 0
    found = list(leaves(number.origin))
    if any(isinstance(leaf, SizeOf) and (along(run.labels_of(leaf.value), leaf.dim) > 0).any() for leaf in found):
        return 2
    return int(any(isinstance(leaf, Attribute) for leaf in found))
