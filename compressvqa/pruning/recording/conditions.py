"""Conditions that are how a network is built, not how it is called: `self.shortcut is None`, `self.pool == "avg"`."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Set
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from compressvqa.pruning.recording.lines import FollowedCall
from compressvqa.pruning.recording.source import UNKNOWN, Function, chain_of, look_up, nodes_in, parent_of


def can_never_be(node: ast.AST, tree: Function, call: FollowedCall, changing: Set[str]) -> bool:
    """Whether a piece of a function can't be come to in any call on the same module.

    Args:
        node: the piece.
        tree: the function.
        call: a call of it, which knows the module.
        changing: attributes that some function sets while a network runs; these may be another thing later.
    """
    settings = Settings(tree, call, changing)
    while node is not tree:
        above = parent_of(node)
        if isinstance(above, (ast.If, ast.IfExp)) and node is not above.test:
            known = settings.decide(above.test)
            first = node is above.body or (isinstance(above.body, list) and node in above.body)
            if known is not None and known is not first:
                return True
        if isinstance(above, ast.match_case) and node in above.body and settings.misses(above):
            return True
        blocks = (getattr(above, name, None) for name in ("body", "orelse"))
        block: list[ast.AST] = next((b for b in blocks if isinstance(b, list) and node in b), [])
        for before in block[: block.index(node)] if block else []:
            if isinstance(before, ast.If):
                known = settings.decide(before.test)
                taken = before.body if known else before.orelse
                if known is not None and taken and isinstance(taken[-1], (ast.Return, ast.Raise)):
                    return True
        node = above
    return False


@dataclass(frozen=True)
class Settings:
    """What conditions come to for good, by what a module's constructor set.

    Decided are: whether an attribute is None, and comparisons of a word (a string, a member of an enumeration) with
    constants, such as ``self.pool == "avg"``, also by way of a local name. A flag (``if self.aux:``) and a number are
    not: people switch these.

    Args:
        tree: the function.
        call: a call of it.
        changing: attributes that some function sets while a network runs.
    """

    tree: Function
    call: FollowedCall
    changing: Set[str]

    def decide(self, test: ast.expr) -> bool | None:
        """What a condition is in every call; None where that can't be told."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            inner = self.decide(test.operand)
            return None if inner is None else not inner
        if isinstance(test, ast.BoolOp):
            parts = [self.decide(part) for part in test.values]
            decides = isinstance(test.op, ast.Or)
            if decides in parts:
                return decides
            return None if None in parts else not decides
        return self._compared(test) if isinstance(test, ast.Compare) and len(test.ops) == 1 else None

    def _compared(self, test: ast.Compare) -> bool | None:
        left, right, how = self._held(test.left), self._held(test.comparators[0]), test.ops[0]
        if isinstance(how, (ast.Is, ast.IsNot)):
            known = left is not UNKNOWN and right is None
            return (left is None) is isinstance(how, ast.Is) if known else None
        among = isinstance(test.comparators[0], (ast.Tuple, ast.List, ast.Set)) and right is not UNKNOWN
        fits = among if isinstance(how, (ast.In, ast.NotIn)) else _is_word(right)
        if type(how) not in _COMPARING or not fits or not _is_word(left):
            return None
        return bool(_COMPARING[type(how)](left, right))

    def misses(self, case: ast.match_case) -> bool:
        """Whether a case of a `match` is for another word."""
        above = parent_of(case)
        assert isinstance(above, ast.Match)
        word, patterns = self._held(above.subject), _alternatives(case.pattern)
        if not _is_word(word) or not all(isinstance(one, ast.MatchValue) for one in patterns):
            return False
        values = [self._held(one.value) for one in patterns if isinstance(one, ast.MatchValue)]
        return all(value is not UNKNOWN and value != word for value in values)

    def _held(self, node: ast.expr, further: int = 3) -> Any:
        """The object that an expression is in every call; UNKNOWN where that can't be told."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            items = [self._held(item) for item in node.elts]
            return UNKNOWN if any(item is UNKNOWN for item in items) else items
        chain = chain_of(node)
        if chain is None:
            return UNKNOWN
        if len(chain) > 1:
            if self.changing & {*chain[1:]}:
                return UNKNOWN
            held = look_up(chain, self.call.objects, {})
            outside = look_up(chain, {}, self.call.globals) if held is UNKNOWN else None
            return outside if isinstance(outside, Enum) else held
        origin = _only_origin(chain[0], self.tree)
        return self._held(origin, further - 1) if origin is not None and further else UNKNOWN


_COMPARING: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda one, others: one in others,
    ast.NotIn: lambda one, others: one not in others,
}


def _is_word(held: Any) -> bool:
    return isinstance(held, (str, Enum))


def _alternatives(pattern: ast.pattern) -> list[ast.pattern]:
    return pattern.patterns if isinstance(pattern, ast.MatchOr) else [pattern]


@lru_cache(maxsize=4096)
def _only_origin(name: str, tree: Function) -> ast.expr | None:
    """What a local name is set to, where it is set once, as a whole, before anything else can happen to it."""
    sets = [n for n in nodes_in(tree) if isinstance(n, ast.Name) and n.id == name and not isinstance(n.ctx, ast.Load)]
    arguments = tree.args
    taken = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    if len(sets) != 1 or name in taken:
        return None
    above = parent_of(sets[0])
    if isinstance(above, ast.Assign) and above.targets == sets:
        return above.value
    if not isinstance(above, (ast.Tuple, ast.List)):
        return None
    whole = parent_of(above)
    if (
        not isinstance(whole, ast.Assign)
        or whole.targets != [above]
        or not isinstance(whole.value, (ast.Tuple, ast.List))
    ):
        return None
    starred = any(isinstance(one, ast.Starred) for one in (*above.elts, *whole.value.elts))
    return None if starred else whole.value.elts[above.elts.index(sets[0])]
