"""What a network would return if its code went another way: `return (score, features) if ask else score`.

Whoever asks for features later gets those of the smaller network, which are fewer: they are what it returns, as much as
the score is. So they keep their channels. What goes into a layer there is read by that layer, and may be cut.

Looked at are the functions that are called from outside, and those that they pass an option of theirs to.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import lru_cache, partial
from pathlib import Path
from types import CodeType
from typing import Any

from torch import nn

from compressvqa.pruning.recording.boundaries import Boundaries
from compressvqa.pruning.recording.conditions import can_never_be
from compressvqa.pruning.recording.entries import Entry
from compressvqa.pruning.recording.flows import Flow
from compressvqa.pruning.recording.graph import Value
from compressvqa.pruning.recording.lines import FollowedCall
from compressvqa.pruning.recording.regions import FunctionCall
from compressvqa.pruning.recording.source import Function, chain_of, is_getattr, look_up, nodes_in, parent_of, tree_of

Otherwise = dict[int, tuple[Value, str]]


def may_end_otherwise(model: nn.Module, entries: Sequence[Entry]) -> bool:
    """Whether the network may return something else in another case, as far as the text of what is called says."""
    for method in dict.fromkeys(entry.method for entry in entries):
        called: Any = model
        for name in method.split(".") if method else ():
            called = getattr(called, name)
        function = called.forward if isinstance(called, nn.Module) else called
        code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
        if not isinstance(code, CodeType):
            continue
        tree = tree_of(code)
        if tree is None or not tree.args.args:
            continue
        itself = FollowedCall(code, {}, {tree.args.args[0].arg: getattr(function, "__self__", None)}, None)
        always = partial(_always_runs, tree=tree)
        flow = Flow(tree, always, lambda _: False, _layer_calls(tree, itself))
        if flow.otherwise or flow.given or any(True for _ in _told(flow, tree)):
            return True
    return False


def returned_otherwise(
    calls: Sequence[FollowedCall], changing: Set[str], path_of: Mapping[int, str], boundaries: Boundaries
) -> Otherwise:
    """Values that the network would return in another case, by index, with the place of that.

    Args:
        calls: of the runs, followed line by line.
        changing: attributes that functions set while the network runs.
        path_of: paths of modules, by id.
        boundaries: what modules took and gave.
    """
    found: Otherwise = {}
    pending, done = [call for call in calls if call.caller is None], set[CodeType]()
    while pending:
        code = pending[0].code
        alike = [call for call in pending if call.code is code]
        pending = [call for call in pending if call.code is not code]
        tree = tree_of(code)
        if tree is None or code in done:
            continue
        done.add(code)
        file = Path(code.co_filename).name
        functions = [FunctionCall(tree, call) for call in alike]
        flow = _flow(functions, tree, changing)
        for place, names in flow.otherwise:
            at = f"{file}:{place.lineno}"
            found |= {value.index: (value, at) for f in functions for value in _held(f.call, place, names)}
        for layer, names in flow.given:
            at = f"{file}:{layer.lineno}"
            paths = {path_of[id(m)] for call in alike for m in _layers_of(layer, tree, call) if id(m) in path_of}
            gave = {value for path in paths for value in boundaries.gave.get(path, ())}
            held = {v for call in alike for _, line in call.lines for name in names & line.keys() for v in line[name]}
            if not gave & held:  # else the other way puts into that name what this one does: the same channels
                found |= {value.index: (value, at) for value in gave}
        told = list(_told(flow, tree))
        pending += [c for c in calls if c.caller and c.caller[0] in alike and _is_one_of(c, told, tree)]
    return found


def _flow(functions: Sequence[FunctionCall], tree: Function, changing: Set[str]) -> Flow:
    return Flow(
        tree,
        ran=lambda statement: any(function.ran(statement) for function in functions),
        never=lambda node: all(can_never_be(node, tree, function.call, changing) for function in functions),
        layers=_layer_calls(tree, functions[0].call),
    )


def _held(call: FollowedCall, place: ast.stmt, names: Set[str]) -> Iterator[Value]:
    """What names held when a statement was come to; of one with a body, its first lines."""
    body = getattr(place, "body", None)
    last = max(place.lineno, body[0].lineno - 1) if isinstance(body, list) else place.end_lineno or place.lineno
    for line, held in call.lines:
        if place.lineno <= line <= last:
            for name in names & held.keys():
                yield from held[name]


@lru_cache(maxsize=16384)
def _always_runs(statement: ast.stmt, tree: Function) -> bool:
    """Whether a statement stands in no branch and after none that may return."""
    above = parent_of(statement)
    if above is not tree and not isinstance(above, (ast.With, ast.AsyncWith)):
        return False
    body: list[ast.stmt] = above.body
    before = (node for item in body[: body.index(statement)] for node in nodes_in(item))
    return not any(isinstance(node, ast.Return) for node in before) and (above is tree or _always_runs(above, tree))


def _layer_calls(tree: Function, call: FollowedCall) -> list[ast.Call]:
    """Calls of layers that make channels of their own, also through a function that is given the layers."""
    return [node for node in _calls_in(tree) if _layers_of(node, tree, call)]


def _layers_of(node: ast.Call, tree: Function, call: FollowedCall) -> list[nn.Module]:
    given = (item for argument in node.args for item in _items(argument))
    parts = [_called_by(node, tree), *(_origin(item, tree) for item in given)]
    return [module for part in parts for module in _modules_of(part, call) if _makes_channels(module)]


def _called_by(node: ast.Call, tree: Function) -> ast.AST:
    """What a call calls."""
    return node.func.args[0] if is_getattr(node.func) else _origin(node.func, tree)  # type: ignore[attr-defined]


def _origin(node: ast.AST, tree: Function) -> ast.AST:
    """An expression; of a local name (`for block in self.blocks: x = block(x)`), where it comes from."""
    return _origins_in(tree).get(node.id, node) if isinstance(node, ast.Name) else node


@lru_cache(maxsize=4096)
def _origins_in(tree: Function) -> dict[str, ast.AST]:
    """Where each local name of a function comes from, the first time."""
    found: dict[str, ast.AST] = {}
    for node in nodes_in(tree):
        targets: Sequence[ast.AST] = ()
        if isinstance(node, (ast.For, ast.comprehension)):
            targets, value = [node.target], node.iter
        elif isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        for name in (name for target in targets for name in _names_in(target)):
            found.setdefault(name, value)
    return found


@lru_cache(maxsize=4096)
def _calls_in(tree: Function) -> list[ast.Call]:
    return [node for node in nodes_in(tree) if isinstance(node, ast.Call)]


def _is_one_of(call: FollowedCall, nodes: Sequence[ast.Call], tree: Function) -> bool:
    """Whether a call was made by one of these expressions of its caller, and not by another on the same line."""
    assert call.caller is not None
    above, line = call.caller
    for node in nodes:
        if node.lineno <= line <= (node.end_lineno or node.lineno):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            modules = list(_modules_of(_called_by(node, tree), above))
            itself = call.objects.get(call.code.co_varnames[0]) if call.code.co_varnames else None
            if any(itself is module for module in modules) or (not modules and call.code.co_name == name):
                return True
    return False


def _items(argument: ast.expr) -> Sequence[ast.expr]:
    return argument.elts if isinstance(argument, (ast.List, ast.Tuple)) else [argument]


def _modules_of(part: ast.AST, call: FollowedCall) -> Iterator[nn.Module]:
    """Modules that an expression names, without calling them."""
    if isinstance(part, ast.Call):
        for argument in part.args if isinstance(part.func, ast.Name) else ():  # zip, enumerate, reversed
            yield from _modules_of(argument, call)
        return
    if isinstance(part, (ast.Subscript, ast.Starred)):
        part = part.value
    chain = chain_of(part)
    held = look_up(chain, call.objects, {}) if chain and len(chain) > 1 else None
    if isinstance(held, (nn.ModuleList, nn.ModuleDict)):
        yield from held.children()
    elif isinstance(held, nn.Module):
        yield held


def _makes_channels(module: nn.Module) -> bool:
    """A norm or an activation hands on the channels that it takes; what holds a matrix makes others."""
    return any(parameter.ndim > 1 for parameter in module.parameters())


def _told(flow: Flow, tree: Function) -> Iterator[ast.Call]:
    """Calls whose results may be returned, and that are given an option that this function takes itself."""
    given, first = tree.args, len(tree.args.args) - len(tree.args.defaults)
    options = {argument.arg for argument in [*given.args[first:], *given.kwonlyargs]}
    options |= {argument.arg for argument in (given.vararg, given.kwarg) if argument is not None}
    for statement in flow.feeding:
        for node in nodes_in(statement):
            if isinstance(node, ast.Call):
                arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
                if any(isinstance(n, ast.Name) and n.id in options for a in arguments for n in nodes_in(a)):
                    yield node


def _names_in(target: ast.AST) -> set[str]:
    return {node.id for node in nodes_in(target) if isinstance(node, ast.Name)}
