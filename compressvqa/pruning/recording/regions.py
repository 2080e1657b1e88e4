"""The part of a function around a line: what it would have read, and what its result would have stood in for."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

from compressvqa.pruning.recording.graph import Value
from compressvqa.pruning.recording.lines import FollowedCall
from compressvqa.pruning.recording.source import Function, chain_of, nodes_in, parent_of


class FunctionCall:
    """A function's tree beside one call of it."""

    def __init__(self, tree: Function, call: FollowedCall) -> None:
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
            for node in nodes_in(self.tree)
            if isinstance(node, ast.stmt)
            and node is not self.tree
            and node.lineno <= line <= (node.end_lineno or node.lineno)
            and not getattr(node, "body", None)
        ]
        return found or [
            node
            for node in nodes_in(self.tree)
            if isinstance(node, ast.stmt) and node is not self.tree and node.lineno == line
        ]

    def region(self, statement: ast.stmt, mention: ast.AST | None = None) -> Region:
        """The smallest part around a statement that was come to; of two values, that with the mention counts."""
        aside = _other_values(mention)
        here: ast.AST = statement
        while not (isinstance(here, ast.stmt) and self.ran(here)):
            above = parent_of(here)
            if above is self.tree:
                assert isinstance(here, ast.stmt)
                return Region(self, statement, here, self._before(here), aside)
            here = above
        return Region(self, statement, here, None, aside)

    def _before(self, statement: ast.AST) -> ast.stmt | None:
        """The last statement that ran of those that stand before one in the function's own body."""
        body = self.tree.body
        number = next((k for k, item in enumerate(body) if item is statement), len(body))
        return next((item for item in reversed(body[:number]) if self.ran(item)), None)


class Region:
    """A statement that a mention lies in and that was come to, with what names hold when it is come to and left.

    Args:
        function: the function and the call of it.
        mention: the innermost statement around the mention.
        node: the smallest one around that which was come to; where there is none, the one of the function's body.
        before: where there is none: the last statement that ran before it, which ended the call.
        aside: expressions that are not worked out where the mention is (`a if large else b`).
    """

    def __init__(
        self,
        function: FunctionCall,
        mention: ast.stmt,
        node: ast.stmt,
        before: ast.stmt | None,
        aside: Sequence[ast.AST] = (),
    ) -> None:
        self._aside = {inner for part in aside for inner in nodes_in(part)}
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
        while fresh := [u for u in units if u not in flows and any(reads_of(u) & stores_of(f) for f in flows)]:
            flows += fresh
        feeds = list(flows)
        while fresh := [u for u in units if u not in feeds and any(stores_of(u) & reads_of(f) for f in feeds)]:
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
        return any(isinstance(node, ast.Return) for part in self._parts[0] for node in nodes_in(part))

    def inside(self) -> Iterator[ast.AST]:
        """Everything in it that has to do with the mention."""
        for part in self._parts[1]:
            yield from (node for node in nodes_in(part) if node not in self._aside)

    def reads(self) -> set[Value]:
        """What the names that it reads held when it was come to."""
        names = {name for part in self._parts[1] for name in reads_of(part, self._aside)}
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
        after: dict[str, set[Value]] = {name: set() for part in self._parts[0] for name in stores_of(part)}
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
        nodes = (node for part in self._parts[0] for node in nodes_in(part))
        return {n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}


_FACTS = frozenset(("shape", "size", "ndim", "dim", "dtype", "device", "numel", "requires_grad"))


def _other_values(mention: ast.AST | None) -> list[ast.AST]:
    """The other values of the conditional expressions that a mention lies in."""
    found: list[ast.AST] = []
    while mention is not None and not isinstance(mention, ast.stmt):
        above = parent_of(mention)
        if isinstance(above, ast.IfExp) and mention is not above.test:
            found.append(above.orelse if mention is above.body else above.body)
        mention = above
    return found


def reads_of(part: ast.AST, aside: Collection[ast.AST] = ()) -> set[str]:
    """Names whose tensors a piece of code reads; sizes of a tensor are no reading of it."""
    found = set()
    for node in nodes_in(part):
        if node in aside:
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            above = parent_of(node)
            if not (isinstance(above, ast.Attribute) and above.attr in _FACTS):
                found.add(node.id)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def stores_of(part: ast.AST) -> set[str]:
    """Names that a piece of code sets, or changes: by a method call (`rows.append(y)`) or a part (`rows[0] = y`)."""
    found = set()
    for node in nodes_in(part):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            found.add(node.value.id)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            chain = chain_of(node.value.func)
            if chain is not None and len(chain) == 2:
                found.add(chain[0])
    return found - {"self"}
