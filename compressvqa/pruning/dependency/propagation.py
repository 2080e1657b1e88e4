"""Carries channel labels through a recorded run: `Graph` -> `Dependencies`, tied classes of slots and frozen ones.

Each pass walks the operators once and lets their rules unite labels. Passes repeat until no labels are united any more:
a tensor whose channels were laid over two dimensions (frames and channels, heads and width) may only turn out to be
cuttable along one of them once everything that reads it has spoken. What is still spread over two then is frozen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from compressvqa.pruning.dependency.constraints import SizeConstraint, along, constraints_of, remarked
from compressvqa.pruning.dependency.dependencies import Dependencies, Freeze, OperatorCost, Statistic
from compressvqa.pruning.dependency.folds import foldable
from compressvqa.pruning.dependency.given import VIEWS
from compressvqa.pruning.dependency.labels import FIXED, FREE, MERGED, AxisLabels, ChannelLabels, Classes, Ids, Slots
from compressvqa.pruning.dependency.made import made_sizes
from compressvqa.pruning.dependency.rules import MERGED_CARRIERS, rule_of
from compressvqa.pruning.dependency.rules.probing import probed
from compressvqa.pruning.recording.graph import Graph, Node, Value
from compressvqa.pruning.recording.integers import Attribute, Int, SizeOf, leaves, origin_of

_LAID = "they are laid over several dimensions"

T = TypeVar("T")


class Propagation:
    """One walk after another over a graph.

    Args:
        graph: a recorded run.
        attention: "keep" leaves heads and their width as they are, "heads" lets whole heads go, "width" the same
            channels of every head.
    """

    def __init__(self, graph: Graph, *, attention: str = "keep") -> None:
        self.graph, self.attention = graph, attention
        self.settled = False  # whether nothing but attention is left to decide
        self.attends = False  # whether there is something to decide
        self._firm: NDArray[np.bool_] | None = None  # once folds are decided on: labels that stay for another reason
        self._made = made_sizes(graph)
        made = {_name(*key): (size,) for key, (size, _) in self._made.items()}
        self.slots = Slots.of({name: value.shape for name, value in graph.leaves.items()} | made)
        self.classes = Classes.of(len(self.slots))
        self.produces: NDArray[np.bool_] = np.zeros(len(self.slots), bool)
        self.consumes: NDArray[np.bool_] = np.zeros(len(self.slots), bool)
        self.headed: NDArray[np.bool_] = np.zeros(len(self.slots), bool)  # labels that lie over heads and their width
        self.unknown: dict[str, Node] = {}
        self.probed: dict[str, Node] = {}
        self._trials: dict[Hashable, Any] = {}
        self.unzeroed: set[tuple[str, int]] = set()
        self._users: dict[int, list[Node]] | None = None
        self._makers: dict[int, Node] | None = None
        self._used = {value.index for node in graph.nodes for value in node.inputs()} | {v.index for v in graph.outputs}
        self._used |= graph.kept.keys()
        self._used |= _asked(graph)
        self._start()

    def run(self) -> Dependencies:
        """Repeats passes until nothing is united any more; only then heads are decided on, and passes go on."""
        while True:
            before = self.classes.unions
            self._start()
            self._pass()
            self.classes.compress()
            # What is united matters for labels over several dimensions only; without these, one pass says it all.
            if self.classes.unions == before or not self._spread:
                decides = self._waits() or (self._spread and self.attention != "keep")
                if not self.settled and decides:
                    self.settled = True
                elif self._firm is None and self._folds():
                    continue
                else:
                    return self._result()

    def _result(self) -> Dependencies:
        if self.learnt:
            self._mark_learnt(self.classes.find(np.concatenate(self.learnt)))
        for key in self._made:  # no layer makes or reads these
            first, size = self.slots.first[_name(*key)][0], self._made[key][0]
            self.produces[first : first + size] = self.consumes[first : first + size] = False
        return Dependencies(
            attention=self.attention,
            attends=self.attends,
            slots=self.slots,
            classes=self.classes,
            produces=self.produces,
            consumes=self.consumes,
            freezes=tuple(self.freezes),
            costs=tuple(self.costs),
            statistics=tuple(self.statistics),
            constraints=tuple(self._binding()),
            segments=tuple(self.segments),
            factors=tuple(self.factors),
            counted=self.counted,
            unzeroed=frozenset(self.unzeroed),
            unknown=tuple(self.unknown.values()),
            probed=tuple(node for key, node in self.probed.items() if key not in self.unknown),
            values=self.channel_labels,
        )

    def _mark_learnt(self, roots: Ids) -> None:
        """Rows of matrices make the channels with these roots that nothing else makes."""
        root_of = self.classes.find(np.arange(len(self.slots), dtype=np.int64))
        wanted = np.zeros(len(self.slots), bool)
        wanted[roots] = True
        wanted[root_of[self.produces]] = False
        known = [self.graph.leaves.get(name) for name in self.slots.names]
        matrices = np.array([value is not None and len(value.shape) == 2 for value in known], dtype=bool)
        self.produces |= wanted[root_of] & (self.slots.dim == 0) & matrices[self.slots.leaf]

    def _binding(self) -> list[SizeConstraint]:
        """The constraints without those that count nothing but tensors which no layer's width has a say in."""
        if not self._made:
            return self.constraints
        real = np.zeros(len(self.slots), bool)
        of_leaves = self.slots.leaf < len(self.graph.leaves)
        of_leaves[0] = False
        real[self.classes.find(np.flatnonzero(of_leaves))] = True
        return [c for c in self.constraints if not (c.ids > 0).any() or real[self.classes.find(c.ids[c.ids > 0])].any()]

    def _start(self) -> None:
        self.freezes: list[Freeze] = []
        self.costs: list[OperatorCost] = []
        self.statistics: list[Statistic] = []
        self.counted: dict[tuple[str, str], Ids] = {}
        self.segments: list[Ids] = []
        self.factors: list[tuple[Ids, Ids]] = []
        self.by_head: set[int] = set()  # values that were made of queries and keys which lie over several heads
        self.learnt: list[Ids] = []
        self.constraints: list[SizeConstraint] = []
        self.channel_labels: dict[int, ChannelLabels] = {}
        self.number, self.entry, self._spread = 0, 0, False
        self._asked: list[Ids] = []  # labels over several dimensions that an operator may tie once all else is tied
        self._merges = False
        self._stuck: list[Ids] = []  # labels that lie over several dimensions at a view
        self._orders: Counter[tuple[str, str, str]] = Counter()

    def _pass(self) -> None:
        starts = {start: entry for entry, start in enumerate(self.graph.starts)}
        for number, node in enumerate(self.graph.nodes):
            self.number = number
            if number in starts:
                self._orders.clear()
                self.entry = starts[number]
            rule = rule_of(node.op)
            channel_labels = self._without_rule(node) if rule is None else rule(self, node)
            if self._merges:
                self._merged_end(node)
            for value, channels in zip(node.outputs, channel_labels, strict=True):
                if value is not None and value.index in self._used:
                    self.channel_labels[value.index] = self._settle(node, channels)
                elif value is not None and node.is_numbered:
                    self.channel_labels[value.index] = channels
            self.constraints += constraints_of(self, node)
        for remark in self.graph.remarks:
            self.constraints += remarked(self, remark)
        self._keep_ends()

    def _keep_ends(self) -> None:
        """Keeps what is returned, would be in another case, or may be read by what did not run."""
        reasons = [(value, "the network returns these channels") for value in self.graph.outputs]
        for value, place in self.graph.otherwise.values():
            reasons.append((value, f"the network may return these channels in another case ({place})"))
        for value, paths in self.graph.kept.values():
            who = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
            reasons.append((value, f"{who} did not run, and may read or replace them"))
        for value, reason in reasons:
            for axis_labels in (*self.labels_of(value).per_axis, *self.labels_of(value).merged):
                self.freeze(axis_labels.ids, reason)

    # -- for rules ----------------------------------------------------------------------------------------------------

    def labels_of(self, value: Value) -> ChannelLabels:
        """What is known about a value."""
        if value.index not in self.channel_labels:
            self.channel_labels[value.index] = self.slots.labels_of(value.leaf, value.shape)
        return self.channel_labels[value.index]

    def made(self, value: Value, d: int) -> Ids | None:
        """Labels, flat, of a dimension that is as long as a number which can follow says; None where it can't."""
        if (value.index, d) not in self._made:
            return None
        size, origin = self._made[value.index, d]
        sizes = [leaf for leaf in leaves(origin) if isinstance(leaf, SizeOf)]
        cut = [ids for leaf in sizes if ((ids := along(self.labels_of(leaf.value), leaf.dim)) > 0).any()]
        if isinstance(origin, SizeOf):
            return cut[0] if cut else None
        if not cut and not any(isinstance(leaf, Attribute) for leaf in leaves(origin)):
            return None
        first = self.slots.first[_name(value.index, d)][0]
        return np.arange(first, first + size, dtype=np.int64)

    def unite(self, node: Node, a: Ids, b: Ids) -> None:
        """Ties two arrays of labels, position by position after broadcasting; what meets a fixed element is frozen."""
        a, b = np.broadcast_arrays(a, b)
        if self.classes.unite(a, b):
            self.classes.ties.setdefault(self.number, []).append(int(a.max()))
        for one, other in ((a, b), (b, a)):
            fixed = other == FIXED
            if fixed.any() and (stuck := fixed & (one > 0)).any():
                self.freeze(one[stuck], f"they meet channels that can't be cut at {node}")

    def unite_along(self, node: Node, ids: Ids, dims: Sequence[int]) -> Ids:
        """Ties all labels along these dimensions; returns one of each, with size 1 there."""
        for d in dims:
            if ids.shape[d] > 1:
                one = ids.max(axis=d, keepdims=True)
                self.unite(node, ids, one)
                ids = one
        return ids

    def freeze(self, ids: Ids, reason: str, *, first: bool = False) -> None:
        """Marks labels as not to be cut; the `first` reason is the one that is told."""
        ids = ids[ids > 0]
        if ids.size:
            self.freezes.insert(0 if first else len(self.freezes), Freeze(ids, reason))

    def _without_rule(self, node: Node) -> list[ChannelLabels]:
        """Tries the operator out; what it does not pass, and what can't be tried, is frozen."""
        found = probed(self, node) if any(self.labels_of(value).per_axis for value in node.inputs()) else None
        if found is None:
            return self.refuse(node)
        self.probed.setdefault(f"{node.op} in {node.module}", node)
        return found

    def trials(self, node: Node, key: Hashable, work: Callable[[], T]) -> T:
        """The result of trying an operator, which is done once for all walks."""
        place = id(node), key
        if place not in self._trials:
            self._trials[place] = work()
        return cast("T", self._trials[place])

    def refuse(self, node: Node) -> list[ChannelLabels]:
        """Freezes whatever an operator without a rule touches, and remembers to say so."""
        if any(self.labels_of(value).per_axis for value in node.inputs()):
            self.unknown.setdefault(f"{node.op} in {node.module}", node)
        return self.block(node, f"the operator {node.op!r} is not known")

    def block(self, node: Node, reason: str) -> list[ChannelLabels]:
        """Freezes everything that goes into an operator; its outputs are fixed."""
        for value in node.inputs():
            for axis_labels in self.labels_of(value).per_axis:
                self.freeze(
                    axis_labels.ids, f"{reason} at {node}" if node.op not in reason else f"{reason} ({node.place})"
                )
        return [ChannelLabels(() if value is None else value.shape) for value in node.outputs]

    def factor(self, columns: Ids, ids: Ids) -> None:
        """Says that positions of a weight go with these labels as well as with those that they are tied to."""
        self.factors.append((columns.ravel(), ids.ravel()))

    def attribute(self, node: Node, name: str, ids: Ids) -> None:
        """Says that an integer attribute of the running module counts these labels."""
        self.counted[node.module, name] = ids.ravel()

    def segment(self, ids: Ids) -> None:
        """Says that these labels are named apart from others: how many of them go is a question of its own."""
        self.segments.append(np.unique(ids[ids > 0]))

    def cost(self, node: Node, macs: int, per_axis: Sequence[AxisLabels]) -> None:
        """Books the multiply-accumulates of an operator; only the first entry counts."""
        if self.entry:
            return
        self.costs.append(OperatorCost(self.number, node.module, macs, tuple(p.ids.ravel() for p in per_axis)))

    def statistic(self, node: Node, labels: Ids | None, axis: int | None = None, *, by_hand: bool = False) -> None:
        """Books a mean or variance; every operator that may be one is counted, also one without labels (None)."""
        key = (node.op, node.module, node.place)
        place = node.place if by_hand and labels is not None else ""
        flat = np.zeros(0, np.int64) if labels is None else labels.ravel()
        self.statistics.append(Statistic(key, self._orders[key], axis, flat, place, self.entry))
        self._orders[key] += 1

    def heads(self, ids: Ids) -> None:
        """Says that these labels lie over the heads of attention and over their width."""
        self.attends = True
        self.headed[ids[ids > 0]] = True
        self.headed[self.classes.find(ids[ids > 0])] = True

    def learnt_rows(self, ids: Ids) -> None:
        """Says that rows of weights make these channels where no product with data shows it (learnt queries)."""
        self.learnt.append(ids[ids > 0])

    def is_shared(self, node: Node, data: Ids, weight: Ids) -> bool:
        """Whether a weight along some of the dimensions of the data is one that all heads share; then it is frozen.

        Until all else is tied this is not known, and no weight of this kind is tied.
        """
        if self.may_tie(data):
            return False
        self.freeze(weight, f"all heads share them at {node}")
        return True

    def may_tie(self, ids: Ids) -> bool:
        """Whether labels over several dimensions may be tied along some of them.

        Not before all else is tied, since only one of the dimensions may turn out to differ; and not those of
        attention, whose heads and width are the user's choice.
        """
        if self.settled:
            return not self._is_headed(ids)
        self._asked.append(ids)
        return False

    def _is_headed(self, ids: Ids) -> bool:
        ids = np.maximum(ids, 0)
        return bool(self.headed[ids].any() or self.headed[self.classes.find(ids)].any())

    def _waits(self) -> bool:
        """Whether there is anything to decide that is not the user's choice."""
        return not all(self._is_headed(ids) for ids in self._asked)

    def is_made(self, ids: Ids) -> bool:
        """Whether some layer makes these channels, as far as is known; positions of a table are made by none.

        Earlier walks have found it out; during the first one it is not known.
        """
        if not self.settled:
            return False
        made = np.zeros(len(self.slots), bool)
        made[self.classes.find(np.flatnonzero(self.produces))] = True
        roots = self.classes.find(ids)
        return bool(made[roots[roots > 0]].any())

    def keep_in_proof(self, ids: Ids) -> None:
        """Says that these slots are not set to zero in the network that a pruned one is compared with."""
        labels = np.unique(ids[ids > 0])
        for leaf, d in set(zip(self.slots.leaf[labels].tolist(), self.slots.dim[labels].tolist(), strict=True)):
            self.unzeroed.add((self.slots.names[leaf], d))

    def maker(self, value: Value) -> Node | None:
        """The operator that made a value."""
        if self._makers is None:
            self._makers = {v.index: node for node in self.graph.nodes for v in node.outputs if v is not None}
        return self._makers.get(value.index)

    def users(self, value: Value) -> list[Node]:
        """The operators that read a value."""
        if self._users is None:
            self._users = {}
            for node in self.graph.nodes:
                for read in node.inputs():
                    self._users.setdefault(read.index, []).append(node)
        return self._users.get(value.index, [])

    # -- inside -------------------------------------------------------------------------------------------------------

    def _settle(self, node: Node, channels: ChannelLabels) -> ChannelLabels:
        """Drops dimensions along which labels do not differ after all; freezes what is left over two dimensions."""
        per_axis = []
        for axis_labels in channels.per_axis:
            ids = axis_labels.ids
            if len(axis_labels.axes) > 1:
                self._spread = True
                ids = self._shrink(ids)
            axes = [d for d, size in enumerate(ids.shape) if size > 1]
            if len(axes) > 1 and self._firm is not None and self._may_fold(ids):
                kept = foldable(self, node, axes)
                if kept is not None:
                    ids = self.unite_along(node, ids, [d for d in axes if d != kept])
                    axes = [kept]
            if not axes:
                single = not axis_labels.axes
                self.freeze(
                    ids, f"{'a single channel is picked' if single else 'all are tied to each other'} at {node}"
                )
                continue
            if len(axes) > 1:
                if node.op in VIEWS:
                    self._stuck.append(ids)
                self.freeze(ids, f"{_LAID} at {node}")
            per_axis.append(AxisLabels(ids, axis_labels.zero))
        merged = self._come_apart(node, channels.merged, per_axis) if channels.merged else ()
        return ChannelLabels(channels.shape, tuple(per_axis), channels.free, channels.weight, merged)

    def _come_apart(
        self, node: Node, merged: Sequence[AxisLabels], per_axis: list[AxisLabels]
    ) -> tuple[AxisLabels, ...]:
        """Labels that are still merged with others; those that are not any more are added to the others."""
        left = []
        self._merges = True
        for axis_labels in merged:
            ids = AxisLabels(self._shrink(axis_labels.ids), axis_labels.zero)
            if any(set(ids.axes) & set(other.axes) for other in per_axis):
                left.append(ids)
            elif len(ids.axes) == 1:
                per_axis.append(ids)
            else:
                self.freeze(ids.ids, f"{_LAID if ids.axes else 'all are tied to each other'} at {node}")
        return tuple(left)

    def _merged_end(self, node: Node) -> None:
        """Keeps the channels of merged labels that an operator does not carry on."""
        if node.op not in MERGED_CARRIERS:
            for value in node.inputs():
                for axis_labels in self.labels_of(value).merged:
                    self.freeze(axis_labels.ids, f"{MERGED} at {node}")

    def _folds(self) -> bool:
        """Whether some labels lie over several dimensions and are kept for that reason alone; they are decided on next.

        Labels that are kept for another reason, such as attention's, are left as they are.
        """
        if not self._stuck:
            return False
        self._firm = np.zeros(len(self.slots), bool)
        for freeze in self.freezes:
            if not freeze.reason.startswith(_LAID):
                self._firm[self.classes.find(freeze.ids)] = True
        return any(self._may_fold(ids) for ids in self._stuck)

    def _may_fold(self, ids: Ids) -> bool:
        firm, some = self._firm, ids[ids > 0][:1]
        assert firm is not None
        return not firm[self.classes.find(some)].any() and not firm[np.maximum(self.classes.find(ids), 0)].any()

    def _shrink(self, ids: Ids) -> Ids:
        for d in range(ids.ndim):
            if ids.shape[d] > 1:
                one = ids.max(axis=d, keepdims=True)
                roots, root = self.classes.find(ids), self.classes.find(one)
                if ((roots == root) | (roots == FREE)).all():
                    ids = one
        return ids


def _name(value: int, d: int) -> str:
    """What the slots of a tensor that the forward makes are called; no parameter is called so."""
    return f"({value}, {d})"


def _asked(graph: Graph) -> set[int]:
    """Values whose size some number is made of."""
    numbers = [origin_of(n) for node in graph.nodes if node.is_numbered for n in node.called if isinstance(n, Int)]
    numbers += [side for remark in graph.remarks for side in (remark.left, remark.right)]
    return {leaf.value.index for n in set(numbers) for leaf in leaves(n) if isinstance(leaf, SizeOf)}
