"""Which names of a function flow into what it returns, and what would if statements ran that did not.

A backward walk over the statements, as compilers do it for live variables. What goes into a layer ends there: the layer
reads it, and what the layer gives is its own.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from compressvqa.pruning.recording.regions import reads_of, stores_of
from compressvqa.pruning.recording.source import Function, nodes_in

Live = dict[str, bool]  # names that flow into a return, and whether through something that did not run
_SILENT = (ast.Pass, ast.Global, ast.Nonlocal, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_TRIES = tuple(getattr(ast, name) for name in ("Try", "TryStar") if hasattr(ast, name))  # the second is of Python 3.11


@dataclass
class Flow:
    """What one function returns, and what it would return if it went another way.

    Args:
        tree: the function.
        ran: whether a statement was come to.
        never: whether a piece of it can't be come to in any call.
        layers: calls of layers.

    Attributes:
        otherwise: statements that ran, with the names that would be returned had what follows them, or they
            themselves, gone another way.
        given: calls of layers whose results would be returned then, each with the names that it would be put into.
        feeding: statements whose results may be returned.
    """

    tree: Function
    ran: Callable[[ast.stmt], bool]
    never: Callable[[ast.AST], bool]
    layers: Sequence[ast.Call]
    otherwise: list[tuple[ast.stmt, frozenset[str]]] = field(default_factory=list)
    given: list[tuple[ast.Call, frozenset[str]]] = field(default_factory=list)
    feeding: list[ast.stmt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._inside = {node for layer in self.layers for node in nodes_in(layer)}
        self._block(self.tree.body, {}, None)

    def _block(self, body: Sequence[ast.stmt], after: Live, around: ast.stmt | None) -> Live:
        """What is live where a block begins; `around` is the statement that it is part of, where that ran."""
        live, body = after, [item for item in body if not _says_nothing(item) and not self.never(item)]
        for number in reversed(range(len(body))):
            live = self._statement(body[number], live)
            before = body[number - 1] if number else around
            if before is not None and self.ran(before) and not self.ran(body[number]):
                self._note(before, (name for name, missed in live.items() if missed))
        return live

    def _note(self, place: ast.stmt, names: Iterator[str]) -> None:
        if found := frozenset(names):
            self.otherwise.append((place, found))

    def _statement(self, statement: ast.stmt, after: Live) -> Live:
        """What is live before a statement."""
        around = statement if self.ran(statement) else None
        if isinstance(statement, ast.Raise):
            return {}
        if isinstance(statement, _LOOPS):
            return self._loop(statement, after, around)
        if isinstance(statement, _TRIES):
            last = self._block(statement.finalbody, after, around)
            tried = self._block(statement.body, self._block(statement.orelse, last, around), around)
            return _joined([tried, *(self._block(handler.body, last, around) for handler in statement.handlers)])
        if isinstance(statement, ast.Match):
            return _joined([after, *(self._block(case.body, after, around) for case in statement.cases)])
        if isinstance(statement, (ast.If, ast.With, ast.AsyncWith)):
            ways = [statement.body, statement.orelse] if isinstance(statement, ast.If) else [statement.body]
            return _joined([self._block(way, after, around) for way in ways])
        return self._simple(statement, after)

    def _loop(self, loop: ast.For | ast.AsyncFor | ast.While, after: Live, around: ast.stmt | None) -> Live:
        after = begun = self._block(loop.orelse, after, around)
        for _ in range(2):  # what one round sets, the next one reads
            begun = _joined([after, self._block(loop.body, begun, around)])
            if not isinstance(loop, ast.While):
                items = begun.keys() & set(_names(loop.target))
                told = any(begun[name] for name in items)
                begun = _joined([begun, dict.fromkeys(self._reads(loop.iter) if items else (), told)])
        return begun

    def _simple(self, statement: ast.stmt, after: Live) -> Live:
        """What is live before a statement without a body."""
        missed = not self.ran(statement)
        if isinstance(statement, ast.Return):
            stored, live = {"": missed}, {}
        else:
            stored = {name: after[name] for name in stores_of(statement) & after.keys()}
            anew = {name for target in _targets(statement) for name in _names(target)}
            live = {name: told for name, told in after.items() if name not in anew}
        if not stored:
            return after
        self.feeding.append(statement)
        others = [] if missed else self._choices(statement)
        if others:
            self._note(statement, (name for value in others for name in self._reads(value)))
        for part in [statement] if missed else others:
            self._give(part, frozenset(stored) - {""})
        return _joined([live, dict.fromkeys(self._reads(statement), missed or any(stored.values()))])

    def _reads(self, part: ast.AST) -> set[str]:
        tests = {node for choice in _conditional(part) for node in nodes_in(choice.test)}
        return reads_of(part, self._inside | tests)

    def _give(self, part: ast.AST, names: frozenset[str]) -> None:
        """Notes the layers whose results a piece of code passes on: those inside the arguments of others are read."""
        if part in self.layers:
            assert isinstance(part, ast.Call)
            self.given.append((part, names))
            return
        for child in ast.iter_child_nodes(part):
            self._give(child, names)

    def _choices(self, statement: ast.stmt) -> list[ast.expr]:
        """The values of the conditional expressions in a statement whose conditions are not decided for good."""
        found = []
        for choice in _conditional(statement):
            open_ones = [value for value in (choice.body, choice.orelse) if not self.never(value)]
            if choice not in self._inside and len(open_ones) > 1:
                found += open_ones
        return found


def _says_nothing(statement: ast.stmt) -> bool:
    """Whether a statement does nothing when it is come to, so that nobody can tell whether it was."""
    return (
        isinstance(statement, _SILENT)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        or (isinstance(statement, ast.AnnAssign) and statement.value is None)
    )


def _joined(ways: Sequence[Live]) -> Live:
    found: Live = {}
    for way in ways:
        for name, told in way.items():
            found[name] = found.get(name, False) or told
    return found


def _targets(statement: ast.stmt) -> list[ast.expr]:
    """What an assignment sets anew as a whole."""
    if isinstance(statement, ast.Assign):
        return statement.targets
    return [statement.target] if isinstance(statement, ast.AnnAssign) else []


def _names(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    for part in target.elts if isinstance(target, (ast.Tuple, ast.List)) else ():
        yield from _names(part)


def _conditional(part: ast.AST) -> list[ast.IfExp]:
    return [node for node in nodes_in(part) if isinstance(node, ast.IfExp)]
