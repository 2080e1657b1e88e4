"""What an operator's rule may ask and say: the small side of a propagation that rules are written against."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from compressvqa.pruning.dependency.labels import AxisLabels, ChannelLabels, Classes, Ids
from compressvqa.pruning.recording.graph import Graph, Node, Value

T = TypeVar("T")


class Labelling(Protocol):
    """One walk over a recorded run, as the rules see it. `propagation.py` says what each call does."""

    graph: Graph
    attention: str
    number: int
    settled: bool
    classes: Classes
    produces: NDArray[np.bool_]
    consumes: NDArray[np.bool_]
    unzeroed: set[tuple[str, int]]
    by_head: set[int]

    def labels_of(self, value: Value) -> ChannelLabels:
        """What is known about a value."""

    def made(self, value: Value, d: int) -> Ids | None:
        """Labels of a dimension that is as long as a number which can follow says."""

    def unite(self, node: Node, a: Ids, b: Ids) -> None:
        """Ties two arrays of labels, position by position."""

    def unite_along(self, node: Node, ids: Ids, dims: Sequence[int]) -> Ids:
        """Ties all labels along these dimensions; returns one of each."""

    def freeze(self, ids: Ids, reason: str, *, first: bool = False) -> None:
        """Marks labels as not to be cut."""

    def trials(self, node: Node, key: Hashable, work: Callable[[], T]) -> T:
        """The result of trying an operator, which is done once for all walks."""

    def block(self, node: Node, reason: str) -> list[ChannelLabels]:
        """Freezes everything that goes into an operator."""

    def factor(self, columns: Ids, ids: Ids) -> None:
        """Says that positions of a weight go with these labels as well as with those that they are tied to."""

    def attribute(self, node: Node, name: str, ids: Ids) -> None:
        """Says that an integer attribute of the running module counts these labels."""

    def segment(self, ids: Ids) -> None:
        """Says that these labels are named apart from others."""

    def cost(self, node: Node, macs: int, per_axis: Sequence[AxisLabels]) -> None:
        """Books the multiply-accumulates of an operator."""

    def statistic(self, node: Node, labels: Ids | None, axis: int | None = None, *, by_hand: bool = False) -> None:
        """Books a mean or variance."""

    def heads(self, ids: Ids) -> None:
        """Says that these labels lie over the heads of attention and over their width."""

    def learnt_rows(self, ids: Ids) -> None:
        """Says that rows of weights make these channels where no product with data shows it."""

    def is_shared(self, node: Node, data: Ids, weight: Ids) -> bool:
        """Whether all heads share a weight; then it is frozen."""

    def may_tie(self, ids: Ids) -> bool:
        """Whether labels over several dimensions may be tied along some of them: late, and not those of attention."""

    def is_made(self, ids: Ids) -> bool:
        """Whether some layer makes these channels, as far as is known; positions of a table are made by none."""

    def keep_in_proof(self, ids: Ids) -> None:
        """Says that these slots are not set to zero in the network that a pruned one is compared with."""

    def maker(self, value: Value) -> Node | None:
        """The operator that made a value."""

    def users(self, value: Value) -> list[Node]:
        """The operators that read a value."""
