"""What a propagation found out: which labels are tied, which are frozen and why, what follows the widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressvqa.pruning.dependency.bindings import Key, bindings
from compressvqa.pruning.dependency.constraints import SizeConstraint, along
from compressvqa.pruning.dependency.labels import ChannelLabels, Classes, Ids, Slots
from compressvqa.pruning.recording.graph import Node, Value


@dataclass(frozen=True)
class Freeze:
    """Labels that may not be cut, and why."""

    ids: Ids
    reason: str


@dataclass(frozen=True)
class OperatorCost:
    """The multiply-accumulates of one operator; they shrink by the kept share of each array of labels."""

    node: int
    module: str
    macs: int
    labels: tuple[Ids, ...]


@dataclass(frozen=True)
class Statistic:
    """A mean or variance over labelled channels, which is taken over those that are kept.

    Args:
        key: the operator, the path of the module and the source line: the same for inputs of any size.
        order: how many of the same key came before.
        axis: the dimension that holds the channels; None where several flat ones at the end do (layer norm).
        labels: along that dimension, flat; none where no channel is concerned.
        place: file and line, where it is written by hand; empty for a layer.
        entry: which of the trace's entries takes it; orders count anew in each.
    """

    key: tuple[str, str, str]
    order: int
    axis: int | None
    labels: Ids
    place: str = ""
    entry: int = 0


@dataclass(frozen=True, eq=False)
class Dependencies:
    """The result of a propagation. Arrays and tables are not written to any more.

    Args:
        attention: what may go of attention's heads: "keep" nothing, "heads" whole heads, "width" the same channels of
            every head.
        attends: whether the network has attention whose heads could go.
        slots: the numbering of labels.
        classes: which labels are tied.
        produces: for each label, whether some layer makes its channel.
        consumes: for each label, whether some layer reads its channel.
        freezes: labels that may not be cut; the first reason counts.
        costs: the work of every operator.
        statistics: means and variances that are taken over the kept channels.
        constraints: numbers in the forward that follow the widths.
        segments: labels that the forward names apart from others.
        factors: positions of weights, and other labels that they go with as well: those of an outer product's second
            factor.
        counted: integer attributes of layers, by (module path, name), and the labels that they count.
        unzeroed: (leaf, dimension) whose cut slots stay as they are in the network that a pruned one is held against.
        unknown: operators without a rule that touched channels.
        probed: operators without a rule that were tried out, and pass channels.
        values: what is known about the channels of every value.
    """

    attention: str
    attends: bool
    slots: Slots
    classes: Classes
    produces: NDArray[np.bool_]
    consumes: NDArray[np.bool_]
    freezes: tuple[Freeze, ...]
    costs: tuple[OperatorCost, ...]
    statistics: tuple[Statistic, ...]
    constraints: tuple[SizeConstraint, ...]
    segments: tuple[Ids, ...]
    factors: tuple[tuple[Ids, Ids], ...]
    counted: Mapping[tuple[str, str], Ids]
    unzeroed: frozenset[tuple[str, int]]
    unknown: tuple[Node, ...]
    probed: tuple[Node, ...]
    values: Mapping[int, ChannelLabels]

    def labels_of(self, value: Value) -> ChannelLabels:
        """What is known about the channels of a value."""
        known = self.values.get(value.index)
        return self.slots.labels_of(value.leaf, value.shape) if known is None else known

    def attributes(self) -> dict[Key, tuple[int, Ids]]:
        """Integer attributes that follow their labels: their number now and what they count."""
        known: dict[Key, tuple[int, Ids]] = {
            (path, name, ()): (len(ids), ids) for (path, name), ids in self.counted.items()
        }
        return known | bindings(
            self.constraints, lambda size: bool((along(self.labels_of(size.value), size.dim) > 0).any())
        )
