"""What code that no run reached may read, and what its results may stand in for.

For every module or parameter that did not run, the user's code is searched for the places that mention it. A second
run is followed line by line: where a place lies in a branch that was not taken, the names that the branch reads held
tensors when it was passed by, and the names that it sets hold tensors afterwards. The channels of all these are the ones
that the unreached module may meet. Nothing is run that the forward does not run by itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import nn

from compressvqa.pruning.recording.graph import Graph, Value
from compressvqa.pruning.recording.lines import Call, LineLog
from compressvqa.pruning.recording.running import leaves_of
from compressvqa.pruning.recording.source import (
    DYNAMIC,
    UNKNOWN,
    Function,
    chain_of,
    functions_of,
    look_up,
    mentions,
    parent_of,
    pattern_of,
    runs_it,
    statement_of,
    tree_of,
    words_of,
)
from compressvqa.pruning.recording.unreached import CONTAINERS, Unreached

Boundaries = dict[str, set[Value]]  # what modules took and gave, by path


class Search:
    """The search for what unreached things may meet.

    Args:
        model: the network.
        things: what no run reached.
    """

    def __init__(self, model: nn.Module, things: Sequence[Unreached]) -> None:
        self.model, self.things = model, things
        words = {code: words_of(code) for code in functions_of(model)}
        # For each thing, the functions that use it, or that use one that does.
        self.known: list[dict[CodeType, set[str]]] = []
        for thing in things:
            names = set(thing.names)
            found: dict[CodeType, set[str]] = {}
            while fresh := [c for c in words if c not in found and _may_use(c, words[c], names, not thing.module)]:
                for code in fresh:
                    found[code] = words[code]
                    if code.co_name not in ("forward", "__call__"):
                        names.add(code.co_name)
            self.known.append(found)
        weighty = ((path, m) for path, m in model.named_modules() if path and any(True for _ in m.parameters()))
        self.path_of = {id(m): path for path, m in weighty}
        self.path_of |= {id(t): name for name, t in leaves_of(model).items()}

    @property
    def needed(self) -> bool:
        """Whether any code mentions any of the things."""
        return any(self.known)

    def log(self) -> LineLog:
        """What has to follow the run."""
        return LineLog([thing.held_by for thing in self.things])

    def meets(self, calls: Sequence[Call], graph: Graph, boundaries: Boundaries) -> dict[int, tuple[Value, str]]:
        """Values whose channels an unreached thing may read or stand in for, with the thing's path, by value index."""
        found: dict[int, tuple[Value, str]] = {}
        executed = {call.code for call in calls}
        for number, thing in enumerate(self.things):
            reading = _Reading(self, number, calls, executed)
            values = reading.values()
            for path in reading.beside:
                values.update(_ends_of(path, self.model, graph, boundaries))
            values.update(self._beside(number, executed, graph, boundaries))
            values.update(self._inside_torch(thing, boundaries))
            found |= {v.index: (v, thing.path) for v in values if v.index not in found}
        return found

    def _beside(self, number: int, executed: set[CodeType], graph: Graph, ends: Boundaries) -> Iterator[Value]:
        """What modules that ran take and give, where a method that did not run uses both them and the thing."""
        thing, known = self.things[number], self.known[number]
        # A helper that ran was followed itself.
        names = {*thing.names, *(code.co_name for code in known if code not in executed)} - {"forward", "__call__"}
        for code in known:
            if code in executed or _SETTING_UP.match(code.co_name):
                continue
            tree = tree_of(code)
            owners = [path for path, module in self.model.named_modules() if code in _codes_of(type(module))]
            if tree is None:
                chains = [["self", word] for word in words_of(code)]
            else:
                function = _Function(tree, Call(code, {}, {}, None))
                uses = list(_uses(tree, names, not thing.module))
                inside = {n for use in uses for n in function.region(statement_of(use)).inside()}
                found = [n for n in inside if isinstance(n, ast.Attribute) and runs_it(n, tensor=True)]
                chains = [chain_of(n) or ["", n.attr] for n in found]
            for chain in chains:
                for path in self._paths(chain, owners):
                    yield from _ends_of(path, self.model, graph, ends)

    def _paths(self, chain: Sequence[str], owners: Sequence[str]) -> Iterator[str]:
        """Modules and tensors that ``self.a.b`` may mean in a method of some modules."""
        if chain[0] not in ("self", "cls"):
            yield from (p for p, _ in self.model.named_modules() if p and p.rpartition(".")[2] == chain[-1])
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


def _may_use(code: CodeType, words: set[str], names: set[str], tensor: bool) -> bool:
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
        elif _is_getattr(node):
            assert isinstance(node, ast.Call)
            pattern = pattern_of(node.args[1])
            if pattern is None or any(pattern.fullmatch(name) for name in names):
                yield node


def _is_getattr(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr" and len(node.args) > 1


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


@dataclass
class _Reading:
    """The search for one thing through the calls of a run."""

    search: Search
    number: int
    calls: Sequence[Call]
    executed: set[CodeType]
    vague: set[str] = field(default_factory=set)  # attributes that hold nothing now, but may hold its result
    beside: set[str] = field(default_factory=set)  # paths of what is used together with it

    @property
    def thing(self) -> Unreached:
        return self.search.things[self.number]

    def values(self) -> set[Value]:
        """Everything that it may meet."""
        found: set[Value] = set()
        known = self.search.known[self.number]
        while True:
            before = len(self.vague)
            pending = {id(call): set[str]() for call in self.calls}  # local names that may hold its result
            for call in reversed(self.calls):  # what is called comes after its caller
                words = known.get(call.code) or (words_of(call.code) if call.listed[self.number] else None)
                names = pending[id(call)]
                if words is None and not names and not (self.vague & words_of(call.code)):
                    continue
                if call.code.co_name in ("<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"):
                    continue  # it is part of the statement that it stands in
                self._read(call, names, found, pending)
            if len(self.vague) == before:
                return found

    def _read(self, call: Call, names: set[str], found: set[Value], pending: dict[int, set[str]]) -> None:
        tree = tree_of(call.code)
        if tree is None:  # without its source, all that the function has in hand
            for _, held in call.lines:
                for values in held.values():
                    found.update(values)
            found.update(call.returned)
            return
        function = _Function(tree, call)
        done: set[ast.AST] = set()
        while True:
            places = [node for node in self._places(function, names) if node not in done]
            if not places:
                return
            for node in places:
                done.add(node)
                statement, soft = statement_of(node), isinstance(node, ast.Name) and _is_carried(node)
                region = function.region(statement)
                if not soft:
                    found.update(region.reads())
                    found.update(region.writes())
                    self.beside |= self._paths(region)
                if region.returns:
                    if not soft:
                        found.update(call.returned)
                    if call.nothing and call.caller is not None:
                        self._tell(call.caller, pending)
                for name, here in region.stores().items():
                    if not here:
                        names.add(name)
                self.vague |= region.attributes()

    def _paths(self, region: _Region) -> set[str]:
        """Paths of the modules and tensors, other than the thing, that a region uses."""
        paths = self.search.path_of
        found = set()
        for node in region.inside():
            if isinstance(node, ast.Attribute) and not self._is_number(node, region.function.call):
                held = self._look_up(node, region.function.call)
                if id(held) in paths and not self.thing.held_by(held):
                    found.add(paths[id(held)])
        return found

    def _is_number(self, node: ast.Attribute, call: Call) -> bool:
        """Whether all that is asked of an object is a number or the like (`self.embed.grid_size`)."""
        while isinstance(above := parent_of(node), ast.Attribute):
            node = above
        return isinstance(self._look_up(node, call), (int, float, str, tuple, torch.dtype, torch.device))

    def _tell(self, caller: tuple[Call, int], pending: dict[int, set[str]]) -> None:
        """A call may give the result in place of None: the names that its caller keeps it under hold it then."""
        above, line = caller
        tree = tree_of(above.code)
        if tree is None:
            return
        function = _Function(tree, above)
        for statement in function.at(line):
            region = function.region(statement)
            pending[id(above)] |= {name for name, values in region.stores().items() if not values}
            self.vague |= region.attributes()
            if region.returns and above.nothing and above.caller is not None:
                self._tell(above.caller, pending)

    def _places(self, function: _Function, names: set[str]) -> Iterator[ast.expr]:
        """Where a function uses the thing, or what may hold its result."""
        call, thing = function.call, self.thing
        tensor = not thing.module
        helpers = {c.co_name for c in self.search.known[self.number]} - {"forward", "__call__"}
        for node in ast.walk(function.tree):
            if isinstance(node, ast.Attribute):
                if node.attr in thing.names or node.attr in helpers or node.attr in self.vague:
                    if self._means(node, function, helpers) and runs_it(node, tensor or node.attr in self.vague):
                        yield node
                elif node.attr in DYNAMIC:
                    owner = self._look_up(node.value, call)
                    if (owner is UNKNOWN or _contains(owner, thing)) and runs_it(node, tensor):
                        yield node
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                if node.id in call.listed[self.number]:
                    if _is_direct(node) and runs_it(node, tensor):
                        yield node
                elif node.id in names:
                    if runs_it(node, True):
                        yield node
                elif node.id in helpers:
                    held = self._look_up(node, call)
                    code = getattr(held, "__code__", None)
                    if code not in self.executed or _is_conditional(node) or not function.ran(statement_of(node)):
                        yield node
            elif _is_getattr(node):
                assert isinstance(node, ast.Call)
                pattern = pattern_of(node.args[1])
                if pattern is None or any(pattern.fullmatch(name) for name in thing.names):
                    owner = self._look_up(node.args[0], call)
                    if owner is UNKNOWN or _contains(owner, thing):
                        yield node

    def _look_up(self, node: ast.expr, call: Call) -> Any:
        chain = chain_of(node)
        return UNKNOWN if chain is None else look_up(chain, call.objects, call.globals)

    def _means(self, node: ast.Attribute, function: _Function, helpers: set[str]) -> bool:
        """Whether an attribute that has the right name is the thing, as far as that can be told."""
        held = self._look_up(node, function.call)
        if node.attr in self.vague and (held is UNKNOWN or held is None):
            return True
        if held is UNKNOWN:
            return True
        if isinstance(held, (FunctionType, staticmethod, classmethod)) or callable(getattr(held, "__func__", None)):
            # What ran was followed itself; what did not may be called with other arguments.
            code = getattr(getattr(held, "__func__", held), "__code__", None)
            missed = code not in self.executed or _is_conditional(node) or not function.ran(statement_of(node))
            return node.attr in helpers and missed
        return self.thing.held_by(held)


def _contains(owner: Any, thing: Unreached) -> bool:
    if isinstance(owner, nn.Module):
        inside = [*owner.modules(), *owner.parameters(), *owner.buffers()]
        return any(id(item) in thing.things for item in inside)
    return thing.held_by(owner)


def _is_conditional(node: ast.AST) -> bool:
    """Whether an expression may be passed over while its statement runs."""
    while not isinstance(node, ast.stmt):
        if isinstance(node, (ast.IfExp, ast.BoolOp, ast.comprehension)):
            return True
        node = parent_of(node)
    return False


def _is_direct(node: ast.Name) -> bool:
    """Whether a name of a list (or of a module that is one) is used for what it lists."""
    above = parent_of(node)
    return (
        not isinstance(above, ast.Attribute)
        or above.attr in {"values", "items", "keys", *DYNAMIC}
        or (isinstance(parent_of(above), ast.Call) and node.id != "self")
    )


def _is_carried(node: ast.Name) -> bool:
    """Whether a name is only handed on in a tuple or the like, and meets nothing."""
    above = parent_of(node)
    while not isinstance(above, ast.stmt):
        if isinstance(above, ast.keyword):
            above = parent_of(above)
            if not isinstance(above, ast.Call) or not _is_a_class(above.func):
                return False
        elif not isinstance(above, (ast.Tuple, ast.List, ast.Dict, ast.Starred)):
            return False
        above = parent_of(above)
    return isinstance(above, (ast.Return, ast.Assign, ast.AnnAssign))


def _is_a_class(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return bool(name) and name[0].isupper()


class _Function:
    """A function's tree beside one call of it."""

    def __init__(self, tree: Function, call: Call) -> None:
        self.tree, self.call = tree, call
        self.seen = {line for line, _ in call.lines}

    def ran(self, statement: ast.stmt) -> bool:
        """Whether a statement was come to."""
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and statement is self.tree:
            return True
        above = parent_of(statement)
        if isinstance(above, ast.stmt) and above.lineno == statement.lineno and above is not self.tree:
            return False  # `if large: x = ...` on one line: it can't be told
        first, last = statement.lineno, statement.end_lineno or statement.lineno
        body = getattr(statement, "body", None)
        if isinstance(body, list) and body:
            last = max(first, body[0].lineno - 1)
        return any(first <= line <= last for line in self.seen)

    def at(self, line: int) -> list[ast.stmt]:
        """The innermost statements on a line."""
        found = [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.stmt)
            and node is not self.tree
            and node.lineno <= line <= (node.end_lineno or node.lineno)
            and not getattr(node, "body", None)
        ]
        return found or [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.stmt) and node is not self.tree and node.lineno == line
        ]

    def region(self, statement: ast.stmt) -> _Region:
        """The smallest part around a statement that was come to."""
        here: ast.AST = statement
        while not (isinstance(here, ast.stmt) and self.ran(here)):
            above = parent_of(here)
            if above is self.tree:
                assert isinstance(here, ast.stmt)
                return _Region(self, statement, here, self._before(here))
            here = above
        return _Region(self, statement, here, None)

    def _before(self, statement: ast.AST) -> ast.stmt | None:
        """The last statement that ran of those that stand before one in the function's own body."""
        body = self.tree.body
        number = next((k for k, item in enumerate(body) if item is statement), len(body))
        return next((item for item in reversed(body[:number]) if self.ran(item)), None)


class _Region:
    """A statement that a mention lies in and that was come to, with what names hold when it is come to and left.

    Args:
        function: the function and the call of it.
        mention: the innermost statement around the mention.
        node: the smallest one around that which was come to; where there is none, the one of the function's body.
        before: where there is none: the last statement that ran before it, which ended the call.
    """

    def __init__(self, function: _Function, mention: ast.stmt, node: ast.stmt, before: ast.stmt | None) -> None:
        self.function, self.mention, self.node = function, mention, node
        self.missed = not function.ran(node)
        place = before or node
        self.first, self.last = place.lineno, place.end_lineno or place.lineno
        # What a branch that was not taken begins with is what the line that decides begins with.
        self.header = max(self.first, place.body[0].lineno - 1) if isinstance(place, ast.If) else self.last

    @cached_property
    def _parts(self) -> tuple[list[ast.AST], list[ast.AST]]:
        """What was not done and has to do with the mention: what its result flows into, and what these are made of."""
        body = self.function.tree.body
        tops = body[body.index(self.node) :] if self.missed else [self.node]
        units = [unit for top in tops for unit in self._units(top)]
        flows: list[ast.AST] = [self.mention]
        while fresh := [u for u in units if u not in flows and any(_reads(u) & _stores(f) for f in flows)]:
            flows += fresh
        feeds = list(flows)
        while fresh := [u for u in units if u not in feeds and any(_stores(u) & _reads(f) for f in feeds)]:
            feeds += fresh
        return flows, feeds

    def _units(self, node: ast.AST) -> Iterator[ast.AST]:
        """Statements that were not come to, and the first lines of those with a body."""
        if node is self.mention:
            return
        inner = [c for c in ast.iter_child_nodes(node) if isinstance(c, (ast.stmt, ast.ExceptHandler, ast.match_case))]
        if isinstance(node, ast.stmt) and not self.function.ran(node):
            if not inner:
                yield node
            yield from (c for c in ast.iter_child_nodes(node) if inner and isinstance(c, (ast.expr, ast.withitem)))
        for child in inner:
            yield from self._units(child)

    @property
    def returns(self) -> bool:
        """Whether its result may end the call: then what the call returned may be something else."""
        return any(isinstance(node, ast.Return) for part in self._parts[0] for node in ast.walk(part))

    def inside(self) -> Iterator[ast.AST]:
        """Everything in it that has to do with the mention."""
        for part in self._parts[1]:
            yield from ast.walk(part)

    def reads(self) -> set[Value]:
        """What the names that it reads held when it was come to."""
        names = {name for part in self._parts[1] for name in _reads(part)}
        found: set[Value] = set()
        for line, held in self.function.call.lines:
            if self.first <= line <= self.header:
                for name in names & held.keys():
                    found.update(held[name])
        return found

    def stores(self) -> dict[str, set[Value]]:
        """The names that its result flows into, with what they held after it was left."""
        if self.missed:
            return {}
        after: dict[str, set[Value]] = {name: set() for part in self._parts[0] for name in _stores(part)}
        inside = False
        for line, held in self.function.call.lines:
            within = self.first <= line <= self.last
            if inside and not within:
                for name in after.keys() & held.keys():
                    after[name].update(held[name])
            inside = within
        return after

    def writes(self) -> set[Value]:
        """What the names that its result flows into held after it was left."""
        return {value for values in self.stores().values() for value in values}

    def attributes(self) -> set[str]:
        """Attributes that its result flows into."""
        nodes = (node for part in self._parts[0] for node in ast.walk(part))
        return {n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}


_FACTS = frozenset("shape size ndim dim dtype device numel requires_grad".split())


def _reads(part: ast.AST) -> set[str]:
    """Names whose tensors a piece of code reads; sizes of a tensor are no reading of it."""
    found = set()
    for node in ast.walk(part):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            above = parent_of(node)
            if not (isinstance(above, ast.Attribute) and above.attr in _FACTS):
                found.add(node.id)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def _stores(part: ast.AST) -> set[str]:
    """Names that a piece of code sets, or changes: by a method call (`rows.append(y)`) or a part (`rows[0] = y`)."""
    found = set()
    for node in ast.walk(part):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            found.add(node.value.id)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            chain = chain_of(node.value.func)
            if chain is not None and len(chain) == 2:
                found.add(chain[0])
    return found - {"self"}


def follow(model: nn.Module, graph: Graph, again: Callable[..., Graph], things: Sequence[Unreached]) -> Graph:
    """The graph, with what unreached things may meet in `graph.kept`.

    Args:
        model: the network.
        graph: what was recorded.
        again: records it once more, followed by a `LineLog`, with the boundaries of modules.
        things: what no run reached.
    """
    search = Search(model, things)
    if not search.needed and not any(_in_torch(model, thing) for thing in things):
        return graph
    log, boundaries = search.log(), Boundaries()
    graph = again(log, boundaries)
    graph.kept.update(search.meets(log.calls, graph, boundaries))
    return graph


def _in_torch(model: nn.Module, thing: Unreached) -> bool:
    owner = model.get_submodule(thing.path.rpartition(".")[0])
    return type(owner).__module__.startswith("torch.")
