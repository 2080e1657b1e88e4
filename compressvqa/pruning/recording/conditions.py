"""Conditions that are how a network is built, not how it is called: `self.shortcut is None`."""

from __future__ import annotations

import ast
from collections.abc import Set

from compressvqa.pruning.recording.lines import FollowedCall
from compressvqa.pruning.recording.source import UNKNOWN, Function, chain_of, look_up, parent_of


def can_never_be(node: ast.AST, tree: Function, call: FollowedCall, changing: Set[str]) -> bool:
    """Whether a piece of a function can't be come to in any call on the same module.

    Args:
        node: the piece.
        tree: the function.
        call: a call of it, which knows the module.
        changing: attributes that some function sets while a network runs; these may be another thing later.
    """
    while node is not tree:
        above = parent_of(node)
        if isinstance(above, (ast.If, ast.IfExp)) and node is not above.test:
            known = value_of(above.test, call, changing)
            first = node is above.body or (isinstance(above.body, list) and node in above.body)
            if known is not None and known is not first:
                return True
        blocks = (getattr(above, name, None) for name in ("body", "orelse"))
        block: list[ast.AST] = next((b for b in blocks if isinstance(b, list) and node in b), [])
        for before in block[: block.index(node)] if block else []:
            if isinstance(before, ast.If):
                known = value_of(before.test, call, changing)
                taken = before.body if known else before.orelse
                if known is not None and taken and isinstance(taken[-1], (ast.Return, ast.Raise)):
                    return True
        node = above
    return False


def value_of(test: ast.expr, call: FollowedCall, changing: Set[str]) -> bool | None:
    """What a condition is in every call; None where that can't be told."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = value_of(test.operand, call, changing)
        return None if inner is None else not inner
    if isinstance(test, ast.BoolOp):
        parts = [value_of(part, call, changing) for part in test.values]
        decides = isinstance(test.op, ast.Or)
        if decides in parts:
            return decides
        return None if None in parts else not decides
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], (ast.Is, ast.IsNot)):
        return None
    chain, other = chain_of(test.left), test.comparators[0]
    if chain is None or len(chain) < 2 or not isinstance(other, ast.Constant) or other.value is not None:
        return None
    held = UNKNOWN if changing & {*chain[1:]} else look_up(chain, call.objects, {})
    return None if held is UNKNOWN else (held is None) is isinstance(test.ops[0], ast.Is)
