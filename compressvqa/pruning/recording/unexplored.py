"""What code that no run reached may read, and what its results may stand in for.

For every module or parameter that did not run, the user's code is searched for the places that use it. A second run is
followed line by line: where a place lies in a branch that was not taken, the names that the branch reads held tensors
when it was passed by, and the names that its result flows into hold tensors afterwards. The channels of all these are
those that the unreached thing may meet. Nothing is run that the forward does not run by itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence, Set
from types import CodeType, FunctionType

from torch import nn

from compressvqa.pruning.recording.boundaries import Boundaries
from compressvqa.pruning.recording.entries import Entry
from compressvqa.pruning.recording.graph import Graph, Value
from compressvqa.pruning.recording.lines import FollowedCall, LineLog
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.reading import Reading
from compressvqa.pruning.recording.regions import FunctionCall
from compressvqa.pruning.recording.returns import may_end_otherwise, returned_otherwise
from compressvqa.pruning.recording.running import leaves_of
from compressvqa.pruning.recording.source import (
    DYNAMIC,
    attributes_set_by,
    chain_of,
    functions_of,
    is_getattr,
    mentions,
    pattern_of,
    runs_it,
    statement_of,
    tree_of,
    words_of,
    words_of_constructors,
)
from compressvqa.pruning.recording.unreached import CONTAINERS, Unreached

Kept = dict[int, tuple[Value, tuple[str, ...]]]


class Exploration:
    """The search for what unreached things may meet.

    Args:
        model: the network.
        things: what no run reached.
    """

    def __init__(self, model: nn.Module, things: Sequence[Unreached]) -> None:
        self.model, self.things = model, things
        words = {code: words_of(code) for code in functions_of(model)}
        # For each thing, the functions that use it, or that use one that does.
        self.known: list[dict[CodeType, Set[str]]] = []
        for thing in things:
            names = set(thing.names)
            found: dict[CodeType, Set[str]] = {}
            while fresh := [c for c in words if c not in found and _may_use(c, words[c], names, not thing.module)]:
                for code in fresh:
                    found[code] = words[code]
                    if code.co_name not in ("forward", "__call__"):
                        names.add(code.co_name)
            self.known.append(found)
        building = words_of_constructors(model)
        self.changing = {n for code in words if code.co_name not in building for n in attributes_set_by(code)}
        weighty = ((path, m) for path, m in modules_of(model) if path and any(True for _ in m.parameters()))
        self.path_of = {id(m): path for path, m in weighty}
        self.path_of |= {id(t): name for name, t in leaves_of(model).items()}

    @property
    def needed(self) -> bool:
        """Whether any code mentions any of the things."""
        return any(self.known)

    def log(self) -> LineLog:
        """What has to follow the run."""
        return LineLog([thing.held_by for thing in self.things])

    def meets(
        self, calls: Sequence[FollowedCall], graph: Graph, boundaries: Boundaries
    ) -> dict[int, tuple[Value, tuple[str, ...]]]:
        """Values whose channels unreached things may read or stand in for, with the paths of these, by value index."""
        found: Kept = {}
        for number, thing in enumerate(self.things):
            reading = Reading(thing, number, calls, self.known[number], self.path_of, self.changing)
            values = reading.values()
            for path in reading.beside:
                values.update(_ends_of(path, self.model, graph, boundaries))
            values.update(self._beside(number, calls, graph, boundaries))
            values.update(self._inside_torch(thing, boundaries))
            found |= {v.index: (v, (*found.get(v.index, (v, ()))[1], thing.path)) for v in values}
        return found

    def _beside(self, number: int, calls: Sequence[FollowedCall], graph: Graph, ends: Boundaries) -> Iterator[Value]:
        """What modules that ran take and give, where a method that did not run uses both them and the thing."""
        thing, known = self.things[number], self.known[number]
        executed = {call.code for call in calls}
        # A helper that ran was followed itself.
        names = {*thing.names, *(code.co_name for code in known if code not in executed)} - {"forward", "__call__"}
        for code in known:
            if code in executed or _SETTING_UP.match(code.co_name):
                continue
            tree = tree_of(code)
            owners = [path for path, module in modules_of(self.model) if code in _codes_of(type(module))]
            if tree is None:
                chains = [["self", word] for word in words_of(code)]
            else:
                function = FunctionCall(tree, FollowedCall(code, {}, {}, None))
                uses = list(_uses(tree, names, not thing.module))
                inside = {n for use in uses for n in function.region(statement_of(use), use).inside()}
                found = [n for n in inside if isinstance(n, ast.Attribute) and runs_it(n, tensor=True)]
                chains = [chain_of(n) or ["", n.attr] for n in found]
            helpers = {chain[-1] for chain in chains if len(chain) == 2} - {"forward", "__call__"}
            for call in calls:
                if call.code.co_name in helpers:  # a method that ran
                    yield from call.ends()
            for chain in chains:
                for path in self._paths(chain, owners):
                    yield from _ends_of(path, self.model, graph, ends)

    def _paths(self, chain: Sequence[str], owners: Sequence[str]) -> Iterator[str]:
        """Modules and tensors that ``self.a.b`` may mean in a method of some modules."""
        if chain[0] not in ("self", "cls"):
            yield from (p for p, _ in modules_of(self.model) if p and p.rpartition(".")[2] == chain[-1])
            return
        for owner in owners:
            for end in range(2, len(chain) + 1):
                yield ".".join([*([owner] if owner else []), *chain[1:end]])

    def _inside_torch(self, thing: Unreached, boundaries: Boundaries) -> Iterator[Value]:
        """What a layer of torch takes and gives, where some part of it did not run: its code is not followed."""
        owner = thing.path.rpartition(".")[0]
        while owner:
            module = self.model.get_submodule(owner)
            if type(module).__module__.startswith("torch.") and type(module).forward is not nn.Module.forward:
                yield from boundaries.get(owner, ())
            elif not isinstance(module, (nn.ModuleList, nn.ModuleDict)):
                break
            owner = owner.rpartition(".")[0]


def _codes_of(kind: type) -> set[CodeType]:
    found = set()
    for above in kind.__mro__:
        for held in vars(above).values():
            function = getattr(held, "fget", getattr(held, "__func__", held))
            if isinstance(function, FunctionType):
                found.add(function.__code__)
    return found


def _may_use(code: CodeType, words: Set[str], names: set[str], tensor: bool) -> bool:
    if not mentions(words, names):
        return False
    tree = tree_of(code)
    return tree is None or any(True for _ in _uses(tree, names, tensor))


_SETTING_UP = re.compile(r"_?(init|reset|freeze|unfreeze|load|save|set|update)(_|$)")


def _uses(tree: ast.AST, names: set[str], tensor: bool) -> Iterator[ast.expr]:
    """Where a function uses something of one of these names, as far as its text says."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if (node.attr in names or node.attr in DYNAMIC) and runs_it(node, tensor):
                yield node
        elif isinstance(node, ast.Name):
            if node.id in names and runs_it(node, tensor):
                yield node
        elif is_getattr(node):
            assert isinstance(node, ast.Call)
            pattern = pattern_of(node.args[1])
            if pattern is None or any(pattern.fullmatch(name) for name in names):
                yield node


def _ends_of(path: str, model: nn.Module, graph: Graph, ends: Boundaries) -> Iterator[Value]:
    """What a module takes and gives; for a list what its elements do, for one that was not called all its tensors."""
    if path in graph.leaves:
        yield graph.leaves[path]
        return
    try:
        module = model.get_submodule(path)
    except AttributeError:
        return
    if not any(True for _ in module.parameters()):
        return  # it takes any number of channels
    if path in ends:
        yield from ends[path]
    elif isinstance(module, CONTAINERS):
        for name, _ in module.named_children():
            yield from _ends_of(f"{path}.{name}", model, graph, ends)
    else:
        yield from (value for leaf, value in graph.leaves.items() if leaf.startswith(f"{path}."))


def follow(
    model: nn.Module,
    graph: Graph,
    again: Callable[..., Graph],
    things: Sequence[Unreached],
    entries: Sequence[Entry],
) -> Graph:
    """The graph, with what unreached things may meet, and what may be returned in another case, in `graph.kept`.

    Args:
        model: the network.
        graph: what was recorded.
        again: records it once more, followed by a `LineLog`, with the boundaries of modules.
        things: what no run reached.
        entries: the ways in which the network is called.
    """
    otherwise = may_end_otherwise(model, entries)
    if not things and not otherwise:
        return graph
    exploration = Exploration(model, things)
    if not exploration.needed and not otherwise and not any(_in_torch(model, thing) for thing in things):
        return graph
    log, boundaries = exploration.log(), Boundaries()
    graph = again(log, boundaries)
    paths = {id(module): path for path, module in modules_of(model)}
    graph.otherwise.update(returned_otherwise(log.calls, exploration.changing, paths, boundaries))
    graph.kept.update(exploration.meets(log.calls, graph, boundaries))
    return graph


def _in_torch(model: nn.Module, thing: Unreached) -> bool:
    owner = model.get_submodule(thing.path.rpartition(".")[0])
    return type(owner).__module__.startswith("torch.")
