"""Follows one thing that did not run through the calls of a run: where it is used, and what it meets there."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import nn

from compressvqa.pruning.recording.conditions import can_never_be
from compressvqa.pruning.recording.graph import Value
from compressvqa.pruning.recording.lines import FollowedCall
from compressvqa.pruning.recording.regions import FunctionCall, Region
from compressvqa.pruning.recording.source import (
    DYNAMIC,
    UNKNOWN,
    chain_of,
    is_getattr,
    look_up,
    parent_of,
    pattern_of,
    runs_it,
    statement_of,
    tree_of,
    words_of,
)
from compressvqa.pruning.recording.unreached import Unreached


@dataclass
class Reading:
    """The search for one thing through the calls of a run.

    Args:
        thing: what did not run.
        number: its place among the things that the calls were followed for.
        calls: of the run.
        known: the functions that use it, or one that does, with their words.
        path_of: paths of modules with parameters and names of tensors, by id.
        changing: attributes that functions set while the network runs.
    """

    thing: Unreached
    number: int
    calls: Sequence[FollowedCall]
    known: Mapping[CodeType, Set[str]]
    path_of: Mapping[int, str]
    changing: Set[str]
    vague: set[str] = field(default_factory=set)  # attributes that hold nothing now, but may hold its result
    beside: set[str] = field(default_factory=set)  # paths of what is used together with it

    def __post_init__(self) -> None:
        self.executed = {call.code for call in self.calls}
        self.helpers = {code.co_name for code in self.known} - {"forward", "__call__"}

    def values(self) -> set[Value]:
        """Everything that it may meet."""
        found: set[Value] = set()
        while True:
            before = len(self.vague)
            pending = {id(call): set[str]() for call in self.calls}  # local names that may hold its result
            for call in reversed(self.calls):  # what is called comes after its caller
                words = self.known.get(call.code) or (words_of(call.code) if call.listed[self.number] else None)
                names = pending[id(call)]
                if words is None and not names and not (self.vague & words_of(call.code)):
                    continue
                if call.code.co_name in ("<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"):
                    continue  # it is part of the statement that it stands in
                self._read(call, names, found, pending)
            if len(self.vague) == before:
                return found

    def _read(self, call: FollowedCall, names: set[str], found: set[Value], pending: dict[int, set[str]]) -> None:
        tree = tree_of(call.code)
        if tree is None:  # without its source, all that the function has in hand
            for _, held in call.lines:
                for values in held.values():
                    found.update(values)
            found.update(call.returned)
            return
        function = FunctionCall(tree, call)
        done: set[ast.AST] = set()
        while True:
            places = [node for node in self._places(function, names) if node not in done]
            if not places:
                return
            for node in places:
                done.add(node)
                statement, soft = statement_of(node), isinstance(node, ast.Name) and _is_carried(node)
                region = function.region(statement, node)
                if not soft:
                    found.update(region.reads())
                    found.update(region.writes())
                    found.update(self._helped(region))
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

    def _helped(self, region: Region) -> Iterator[Value]:
        """What methods that ran, and that a region calls as well, took and gave."""
        for node in region.inside():
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                held = self._look_up(node, region.function.call)
                code = getattr(getattr(held, "__func__", held), "__code__", None)
                for call in self.calls if code in self.executed else ():
                    if call.code is code:
                        yield from call.ends()

    def _paths(self, region: Region) -> set[str]:
        """Paths of the modules and tensors, other than the thing, that a region uses."""
        paths, found = self.path_of, set()
        for node in region.inside():
            if isinstance(node, ast.Attribute) and not self._is_number(node, region.function.call):
                held = self._look_up(node, region.function.call)
                if id(held) in paths and not self.thing.held_by(held):
                    found.add(paths[id(held)])
        return found

    def _is_number(self, node: ast.Attribute, call: FollowedCall) -> bool:
        """Whether all that is asked of an object is a number or the like (`self.embed.grid_size`)."""
        while isinstance(above := parent_of(node), ast.Attribute):
            node = above
        return isinstance(self._look_up(node, call), (int, float, str, tuple, torch.dtype, torch.device))

    def _tell(self, caller: tuple[FollowedCall, int], pending: dict[int, set[str]]) -> None:
        """A call may give the result in place of None: the names that its caller keeps it under hold it then."""
        above, line = caller
        tree = tree_of(above.code)
        if tree is None:
            return
        function = FunctionCall(tree, above)
        for statement in function.at(line):
            region = function.region(statement)
            pending[id(above)] |= {name for name, values in region.stores().items() if not values}
            self.vague |= region.attributes()
            if region.returns and above.nothing and above.caller is not None:
                self._tell(above.caller, pending)

    def _places(self, function: FunctionCall, names: set[str]) -> Iterator[ast.expr]:
        """Where a function uses the thing, or what may hold its result."""
        for node in ast.walk(function.tree):
            if isinstance(node, ast.Attribute):
                found = self._is_attribute(node, function)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                found = self._is_name(node, function, names)
            else:
                found = is_getattr(node) and self._is_got(node, function.call)
            if found and not can_never_be(node, function.tree, function.call, self.changing):
                assert isinstance(node, ast.expr)
                yield node

    def _is_attribute(self, node: ast.Attribute, function: FunctionCall) -> bool:
        tensor = not self.thing.module or node.attr in self.vague
        if node.attr in self.thing.names or node.attr in self.helpers or node.attr in self.vague:
            return self._means(node, function) and runs_it(node, tensor)
        return node.attr in DYNAMIC and self._may_list(node.value, function.call) and runs_it(node, tensor)

    def _is_name(self, node: ast.Name, function: FunctionCall, names: set[str]) -> bool:
        if node.id in function.call.listed[self.number]:
            return _is_direct(node) and runs_it(node, not self.thing.module)
        if node.id in names:
            return runs_it(node, tensor=True)
        return node.id in self.helpers and self._is_missed(node, self._look_up(node, function.call), function)

    def _is_got(self, node: ast.AST, call: FollowedCall) -> bool:
        """Whether `getattr` may give it."""
        assert isinstance(node, ast.Call)
        pattern = pattern_of(node.args[1])
        fits = pattern is None or any(pattern.fullmatch(name) for name in self.thing.names)
        return fits and self._may_list(node.args[0], call)

    def _may_list(self, node: ast.expr, call: FollowedCall) -> bool:
        owner = self._look_up(node, call)
        return owner is UNKNOWN or _contains(owner, self.thing)

    def _is_missed(self, node: ast.expr, held: Any, function: FunctionCall) -> bool:
        """Whether a call of a helper did not take place: one that did was followed itself."""
        code = getattr(getattr(held, "__func__", held), "__code__", None)
        return code not in self.executed or _is_conditional(node) or not function.ran(statement_of(node))

    def _look_up(self, node: ast.expr, call: FollowedCall) -> Any:
        chain = chain_of(node)
        return UNKNOWN if chain is None else look_up(chain, call.objects, call.globals)

    def _means(self, node: ast.Attribute, function: FunctionCall) -> bool:
        """Whether an attribute that has the right name is the thing, as far as that can be told."""
        held = self._look_up(node, function.call)
        if held is UNKNOWN or (held is None and node.attr in self.vague):
            return True
        if isinstance(held, (FunctionType, staticmethod, classmethod)) or callable(getattr(held, "__func__", None)):
            return node.attr in self.helpers and self._is_missed(node, held, function)
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
