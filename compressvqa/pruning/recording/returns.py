"""What a network would return where its forward ends otherwise than it did: `(score, features) if ask else score`.

Whoever asks for features later gets those of the smaller network, which are fewer: they are what it returns, as much as
the score is. Only what the network itself returns counts; what an inner module returns is read by the network's code.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import nn

from compressvqa.pruning.recording.graph import Value
from compressvqa.pruning.recording.lines import FollowedCall
from compressvqa.pruning.recording.regions import FunctionCall, reads_of
from compressvqa.pruning.recording.source import Function, chain_of, tree_of


def may_end_otherwise(model: nn.Module) -> bool:
    """Whether the forward of a network has more than one thing to return, as far as its text says."""
    tree = _forward_of(model)
    return tree is not None and len(list(_ends(tree))) > 1


def returned_otherwise(model: nn.Module, calls: Sequence[FollowedCall]) -> dict[int, tuple[Value, tuple[str, ...]]]:
    """Values that the forward would return in another case, by index, with the place of that return.

    Args:
        model: the network.
        calls: of the runs, followed line by line.
    """
    found: dict[int, tuple[Value, tuple[str, ...]]] = {}
    tree = _forward_of(model)
    if tree is None:
        return found
    code = type(model).forward.__code__
    itself = code.co_varnames[0]
    mine = [FunctionCall(tree, call) for call in calls if call.code is code and call.objects.get(itself) is model]
    inner = [node for node in ast.walk(tree) if _is_module_call(node, model, itself)]
    for statement, end in _ends(tree):
        ways = [_values(function, statement, end, inner) for function in mine]
        if any(way and way <= set(function.call.returned) for way, function in zip(ways, mine, strict=True)):
            continue  # so it ended once, and what it returned is kept as it is
        place = f"another return of the forward ({Path(code.co_filename).name}:{end.lineno})"
        found |= {value.index: (value, (place,)) for way in ways for value in way}
    return found


def _forward_of(model: nn.Module) -> Function | None:
    code = getattr(type(model).forward, "__code__", None)
    return None if code is None else tree_of(code)


def _ends(tree: Function) -> Iterator[tuple[ast.Return, ast.expr]]:
    """Everything that a function may return, with the statement that does it."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop(0)
        if isinstance(node, ast.Return) and node.value is not None:
            yield from ((node, end) for end in _choices(node.value))
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            pending[:0] = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr)]


def _choices(value: ast.expr) -> Iterator[ast.expr]:
    if isinstance(value, ast.IfExp):
        yield from (*_choices(value.body), *_choices(value.orelse))
    else:
        yield value


def _is_module_call(node: ast.AST, model: nn.Module, itself: str) -> bool:
    """Whether it calls a module of the network: what goes in is read by that module, and not returned."""
    chain = chain_of(node.func) if isinstance(node, ast.Call) else None
    if not chain or chain[0] != itself:
        return False
    held: object = model
    for name in chain[1:]:
        held = getattr(held, name, None)
    return isinstance(held, nn.Module)


def _values(function: FunctionCall, statement: ast.Return, end: ast.expr, inner: Sequence[ast.AST]) -> set[Value]:
    """The tensors that one end of a call gives, or would have given."""
    if not function.ran(statement):
        return function.region(statement, aside=inner).reads()
    names = reads_of(end, {node for part in inner for node in ast.walk(part)})
    _, held = function.call.lines[-1]  # when it returned
    return {value for name in names & held.keys() for value in held[name]}
