"""Channels that a view lays over two dimensions and that nothing reads apart: along which of the two they can be cut.

`x.view(b, self.groups, -1, h, w).transpose(1, 2).flatten(1, 2)` shuffles channels. Every group can lose the same
positions, or whole groups can go; which one the network bears is said by its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compressvqa.pruning.dependency.constraints import along
from compressvqa.pruning.dependency.given import VIEWS, first, numbers_given
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
    if node.call in _SAID:
        numbers = numbers_given(node)
        ranks = [_follows(run, numbers[d]) for d in axes]
    else:
        ranks = _own(node, axes)
    best = max(ranks)
    return None if best == 0 else max(d for d, rank in zip(axes, ranks, strict=True) if rank == best)


_SAID = VIEWS | {"unflatten"}


def _own(node: Node, axes: Sequence[int]) -> list[int]:
    """The ranks of dimensions that torch itself folds: by a small number, which stays."""
    shape, last = first(node).shape, len(axes) - 1
    if "channel_shuffle" in node.call:  # groups, channels of a group
        return [int(k == last) for k in range(len(axes))]
    kept = max(range(len(axes)), key=lambda k: (shape[axes[k]], -k))
    return [int(k == kept) for k in range(len(axes))]


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
