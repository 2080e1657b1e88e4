"""Why layers are tied: the facts of a trace, told by operator and source line. `Trace` -> `Explanation`.

The operators that tied channels are gone through once more in the order in which they ran. Each brings together the
layers whose channels reach it; what it brought together for the first time is what it is named for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compressvqa.module_paths import covers
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.grouping import find_groups
from compressvqa.pruning.dependency.names import unmatched
from compressvqa.pruning.dependency.trace import Trace, Unknown
from compressvqa.pruning.recording.graph import Node


@dataclass(frozen=True)
class Tie:
    """One operator that tied layers.

    Args:
        operator: its name, for example "add".
        module: path of the module that ran it ("" for the network itself).
        place: file and line of the nearest caller outside torch.
        joins: the layers and parameters that it brought together, in the order of running: of those tied before only
            the first. A single one if it tied outputs of one layer to each other.
        before: how many layers had been tied to the first of `joins` already.
    """

    operator: str
    module: str
    place: str
    joins: tuple[str, ...]
    before: int = 0

    def __str__(self) -> str:
        where = f"{self.operator} in {self.module or 'the network'} ({self.place})"
        if len(self.joins) == 1:
            return f"{where} ties outputs of {self.joins[0]} to each other"
        more = f" and {self.before} more" if self.before else ""
        return f"{where} ties {', '.join(self.joins[1:])} with {self.joins[0]}{more}"


@dataclass(frozen=True)
class ExplainedGroup:
    """A group of channels and all that there is to say about it.

    Args:
        group: the group.
        norms: paths of the normalisations that fall with its channels.
        biases: paths of the layers that make its channels and have a bias.
        parameters: names of other parameters that fall with them, such as position embeddings.
        buffers: names of other buffers that fall with them.
        ties: the operators that tied its layers, in the order of running.
        dead: whether nothing reads what its layers make.
    """

    group: Group
    norms: tuple[str, ...]
    biases: tuple[str, ...]
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    ties: tuple[Tie, ...]
    dead: bool

    @property
    def coupling(self) -> str | None:
        """Groups of one coupling keep equally many units."""
        return self.group.coupling

    @property
    def unit(self) -> int:
        """Channels that go together."""
        return self.group.unit

    def concerns(self, pattern: str) -> bool:
        """Whether a pattern names the group, or a layer or parameter that has a part in it."""
        group = self.group
        names = (group.name, *group.producers, *group.consumers, *self.norms, *self.parameters, *self.buffers)
        return any(covers(pattern, name) for name in names)

    def to_dict(self) -> dict[str, Any]:
        """As JSON would hold it."""
        group = self.group
        return {
            "name": group.name,
            "channels": group.channels,
            "kept_because": group.frozen,
            "dead": self.dead,
            "coupling": self.coupling,
            "unit": self.unit,
            "numbers": list(group.numbers),
            "producers": dict(group.producers),
            "consumers": dict(group.consumers),
            "norms": list(self.norms),
            "biases": list(self.biases),
            "parameters": list(self.parameters),
            "buffers": list(self.buffers),
            "slots": [
                {"tensor": s.leaf, "dim": s.dim, "per_channel": int(s.indices.shape[1]), "role": s.role}
                for s in group.slots
            ],
            "ties": [
                {"operator": t.operator, "module": t.module, "place": t.place, "joins": list(t.joins)}
                for t in self.ties
            ],
        }


@dataclass(frozen=True)
class Explanation:
    """What a network's channels are tied to, and why.

    Args:
        groups: every group, in network order.
        layers: paths of the layers that make or read channels, in the order in which they first ran.
        operators: number of operators that ran.
        parameter_count: of the whole network.
        dead: paths of modules whose result nothing reads, with their parameter counts.
        uncalled: paths of modules with parameters that never ran.
        unknown: operators without a rule; what they touch is kept.
    """

    groups: tuple[ExplainedGroup, ...]
    layers: tuple[str, ...]
    operators: int
    parameter_count: int
    dead: dict[str, int]
    uncalled: tuple[str, ...]
    unknown: tuple[Unknown, ...]

    def about(self, patterns: Iterable[str]) -> Explanation:
        """Only the groups with a layer or parameter that one of the patterns names.

        Raises:
            PruneError: a pattern names nothing.
        """
        patterns = list(patterns)
        for pattern in patterns:
            if not any(fact.concerns(pattern) for fact in self.groups):
                raise unmatched(pattern, [fact.group for fact in self.groups], "group")
        return replace(self, groups=tuple(g for g in self.groups if any(g.concerns(p) for p in patterns)))

    def to_dict(self) -> dict[str, Any]:
        """As JSON would hold it."""
        return {
            "parameters": self.parameter_count,
            "operators": self.operators,
            "groups": [group.to_dict() for group in self.groups],
            "dead": dict(self.dead),
            "uncalled": list(self.uncalled),
            "unknown_operators": [{"operator": u.operator, "module": u.module, "place": u.place} for u in self.unknown],
        }


def explain(trace: Trace, protect: Sequence[str] = ()) -> Explanation:
    """Says of every group of channels what is in it and why.

    Args:
        trace: the facts of a run.
        protect: paths (a module, a parent, or a shell pattern) of layers whose outputs are kept.

    Raises:
        PruneError: a path of `protect` names no layer that makes channels.
    """
    groups = find_groups(trace, protect)
    for pattern in protect:
        if not any(covers(pattern, path) for group in groups for path in group.producers):
            raise unmatched(pattern, groups, "protect")
    normed = _read_by_norms(trace)
    ties = _Replay(trace, groups, normed).run()
    return Explanation(
        groups=tuple(_facts(trace, g, normed, ties[n]) for n, g in enumerate(groups)),
        layers=_layers(trace, groups),
        operators=len(trace.graph.nodes),
        parameter_count=sum(trace.parameters.values()),
        dead=dict(trace.dead),
        uncalled=trace.uncalled,
        unknown=trace.unknown_ops,
    )


def _facts(trace: Trace, group: Group, normed: set[str], ties: Sequence[Tie]) -> ExplainedGroup:
    kinds: dict[str, dict[str, None]] = {kind: {} for kind in ("norms", "biases", "parameters", "buffers")}
    for slot in group.slots:
        owner = trace.owners[slot.leaf]
        if slot.role != "with":
            continue
        if owner in group.producers:
            kinds["biases"][owner] = None
        elif slot.leaf in normed and owner:
            kinds["norms"][owner] = None
        elif owner not in group.consumers:
            kinds["parameters" if slot.leaf in trace.parameters else "buffers"][slot.leaf] = None
    dead = bool(group.producers) and trace.is_dead(group.producers)
    return ExplainedGroup(group, **{kind: tuple(names) for kind, names in kinds.items()}, ties=tuple(ties), dead=dead)


def _read_by_norms(trace: Trace) -> set[str]:
    """Names of the parameters and buffers that a normalisation reads as its own."""
    return {
        value.leaf
        for node in trace.graph.nodes
        if node.op.endswith(("_norm", "_norm_legit", "_norm_legit_no_training"))
        for value in node.inputs()
        if value.leaf is not None
    }


def _layers(trace: Trace, groups: Sequence[Group]) -> tuple[str, ...]:
    """Layers in the order in which they first ran; those that never ran come last."""
    first: dict[str, int] = {}
    for number, node in enumerate(trace.graph.nodes):
        for value in node.inputs():
            if value.leaf is not None:
                first.setdefault(trace.owners[value.leaf] or value.leaf, number)
    named = dict.fromkeys(path for g in groups for path in (*g.producers, *g.consumers))
    return tuple(sorted(named, key=lambda path: first.get(path, len(trace.graph.nodes))))


class _Classes:
    """Union-find over the members of one group; a class is called by the first of its layers that ran."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}
        self.age: dict[str, int] = {}
        self.layers: dict[str, int] = {}  # how many layers and raw parameters a class holds, by its oldest member

    def meet(self, member: str, layer: bool) -> None:
        """A member that an operator read."""
        if member not in self.parent:
            self.parent[member], self.age[member], self.layers[member] = member, len(self.age), int(layer)

    def find(self, member: str) -> str:
        """The oldest member of its class that is a layer, if there is one."""
        while self.parent[member] != member:
            member = self.parent[member]
        return member

    def unite(self, roots: Sequence[str]) -> None:
        """One class of several, given by their oldest members in order."""
        for other in roots[1:]:
            self.parent[other] = roots[0]
            self.layers[roots[0]] += self.layers[other]

    def ordered(self, roots: Iterable[str]) -> list[str]:
        """Classes with layers first, by age."""
        return sorted(roots, key=lambda r: (self.layers[r] == 0, self.age[r]))


@dataclass(frozen=True)
class _Member:
    """A part of a group: what a layer makes or reads, or a parameter that falls with it."""

    group: int
    name: str
    role: str  # as in Slot
    layer: bool  # whether a tie is worth telling: not for what is only read, nor for norms

    @property
    def key(self) -> str:
        return f"reader:{self.name}" if self.role == "in" else self.name


Carried = dict[int, frozenset[str]]  # by group: the oldest members of the classes whose channels a value carries


class _Replay:
    """Follows the channels of every group through a run and unites members where operators tied them."""

    def __init__(self, trace: Trace, groups: Sequence[Group], normed: set[str]) -> None:
        self.trace, self.groups = trace, groups
        self.classes = [_Classes() for _ in groups]
        self.ties: list[list[Tie]] = [[] for _ in groups]
        self.folds: list[dict[tuple[bool, bool], Tie]] = [{} for _ in groups]
        self.members: dict[str, list[_Member]] = {}
        for number, group in enumerate(groups):
            for slot in group.slots:
                owner = trace.owners[slot.leaf] or slot.leaf
                if slot.role != "with":
                    member = _Member(number, owner, slot.role, slot.role == "out")
                elif owner in group.producers:
                    member = _Member(number, owner, "out", True)  # a bias is a part of its layer
                elif owner in group.consumers:
                    member = _Member(
                        number, owner, "in", False
                    )  # as is what a reader keeps of its own, a spectral norm
                else:
                    member = _Member(number, slot.leaf, "with", slot.leaf not in normed)
                self.members.setdefault(slot.leaf, []).append(member)

    def run(self) -> list[list[Tie]]:
        """The ties of every group."""
        tied = self._tied()
        leaves = {v.index: self.members.get(name, []) for name, v in self.trace.graph.leaves.items()}
        flow: dict[int, Carried] = {}
        for number, node in enumerate(self.trace.graph.nodes):
            values = [v.index for v in node.inputs()]
            outputs = [v.index for v in node.outputs if v is not None]
            own = [m for index in values for m in leaves.get(index, ())]
            sides = [flow[index] for index in values if index in flow]
            if not own and not sides:
                continue
            for member in own:
                self.classes[member.group].meet(member.key, member.layer)
            if number in tied:
                # An operator may tie several groups at once (laid side by side before), of which the labels name one.
                for g in {g for side in sides for g in side} | {m.group for m in own}:
                    data = {root for side in sides for root in side.get(g, ())}
                    mine = [m for m in own if m.group == g]
                    inward = {m.key for m in mine if m.role == "in"}
                    outward = {m.key for m in mine if m.role != "in"}
                    # A layer that reads the channels ties its inputs to them, not what it makes.
                    for keys in (data | inward, outward) if inward else (data | outward,):
                        self._tie(node, g, keys, own=bool(mine), makes=not data, sure=g in tied[number])
            if not sides and all(index in leaves for index in values):
                leaves.update(dict.fromkeys(outputs, own))  # still a weight: halved, reshaped, standardised
            else:
                carried = self._carried(sides, own)
                flow.update(dict.fromkeys(outputs, carried))
        for g, found in enumerate(self.folds):
            if found:
                self.ties[g].insert(0, found[min(found)])
        return self.ties

    def _carried(self, sides: Sequence[Carried], own: Sequence[_Member]) -> Carried:
        """What the result of an operator carries: a layer's own channels in place of those that it read."""
        read = {m.group for m in own if m.role == "in"}
        found: dict[int, set[str]] = {}
        for side in sides:
            for g, roots in side.items():
                if g not in read:
                    found.setdefault(g, set()).update(map(self.classes[g].find, roots))
        for m in own:
            if m.role != "in":
                found.setdefault(m.group, set()).add(self.classes[m.group].find(m.key))
        return {g: frozenset(roots) for g, roots in found.items()}

    def _tied(self) -> dict[int, set[int]]:
        """Numbers of the groups that every operator tied, by its number."""
        run = self.trace.dependencies
        of_root: dict[int, int] = {}
        for number, group in enumerate(self.groups):
            slot = group.slots[0]
            labels = run.slots.first[slot.leaf][slot.dim] + slot.indices[:, 0]
            of_root.update(dict.fromkeys(run.classes.find(labels).tolist(), number))
        found = {}
        for number, some in run.classes.ties.items():
            roots = run.classes.find(np.asarray(some, dtype=np.int64)).ravel().tolist()
            found[number] = {of_root[root] for root in roots if root in of_root}
        return found

    def _tie(self, node: Node, g: int, keys: Iterable[str], *, own: bool, makes: bool, sure: bool) -> None:
        classes = self.classes[g]
        ordered = classes.ordered({classes.find(key) for key in keys})
        told = [root for root in ordered if classes.layers[root]]
        if len(told) > 1:
            self.ties[g].append(Tie(node.op, node.module, node.place, tuple(told), classes.layers[told[0]] - 1))
        elif told and sure and max(self.groups[g].producers.values()) > 1:
            # Who merely reads what was laid over each other before, or makes it, is named only where nobody else is.
            blame = (makes, own)
            self.folds[g].setdefault(blame, Tie(node.op, node.module, node.place, (told[0],)))
        classes.unite(ordered)
