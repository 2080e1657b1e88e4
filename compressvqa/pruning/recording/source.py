"""Source code of functions as trees: who mentions a name, and whether a mention is one that makes it run."""

from __future__ import annotations

import ast
import copy
import dis
import linecache
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import nn

from compressvqa.pruning.recording.modules import modules_of
from compressvqa.torch_private import tables

# Attributes by which code gets at modules without naming them.
DYNAMIC = frozenset({"children", "named_children", "modules", "named_modules", "_modules", "get_submodule", "__dict__"})
# What is called on a module or tensor that does not run it.
_IDLE_METHODS = frozenset(
    (
        "parameters",
        "named_parameters",
        "buffers",
        "named_buffers",
        "apply",
        "requires_grad_",
        "train",
        "eval",
        "state_dict",
        "load_state_dict",
        "zero_grad",
        "register_forward_hook",
        "register_forward_pre_hook",
        "add_module",
        "append",
        "extend",
        "insert",
        "reset_parameters",
        "init_weights",
        "numel",
        "size",
        "dim",
    )
)
_IDLE_CALLS = frozenset(
    ("isinstance", "hasattr", "len", "print", "repr", "str", "type", "id", "callable", "range", "super", "issubclass")
)
_THROUGH = frozenset(("enumerate", "zip", "reversed", "list", "tuple", "iter", "sorted", "next"))
_OTHER_FUNCTIONS = frozenset(dir(nn.Module)) - {"forward", "__call__"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@lru_cache(maxsize=256)
def _functions_in(file: str, text: str) -> dict[tuple[str, int], Function]:
    """Functions of a file by name and first line, that of a decorator where there is one; lambdas as functions."""
    found: dict[tuple[str, int], Function] = {}
    lambdas: dict[int, list[ast.Lambda]] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            found[node.name, first] = node
        elif isinstance(node, ast.Lambda):
            lambdas.setdefault(node.lineno, []).append(node)
    for line, alike in lambdas.items():
        if len(alike) == 1:  # which of several on a line is meant can't be told
            inside = copy.deepcopy(alike[0])  # its nodes also stand in the function that it is written in
            body = ast.copy_location(ast.Return(inside.body), inside.body)
            function = ast.FunctionDef("<lambda>", inside.args, [body], [], None)
            found["<lambda>", line] = ast.copy_location(function, inside)
    return found


@lru_cache(maxsize=4096)
def tree_of(code: CodeType) -> Function | None:
    """The tree of a function, whose nodes know what is above; None where its source can't be read."""
    text = "".join(linecache.getlines(code.co_filename))
    if not text:
        return None
    try:
        tree = _functions_in(code.co_filename, text).get((code.co_name, code.co_firstlineno))
    except SyntaxError:
        return None
    for node in ast.walk(tree) if tree is not None else ():
        for child in ast.iter_child_nodes(node):
            child.parent = node  # type: ignore[attr-defined]
    return tree


@lru_cache(maxsize=16384)
def nodes_in(part: ast.AST) -> tuple[ast.AST, ...]:
    """`ast.walk(part)`, walked once: the trees of a file are kept, and the same pieces are asked for in every trace."""
    return tuple(ast.walk(part))


@lru_cache(maxsize=4096)
def words_of(code: CodeType) -> frozenset[str]:
    """Names, attributes and string constants in a function, also in those inside it."""
    found = {*code.co_names, *code.co_freevars}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= words_of(constant)
        elif isinstance(constant, str):
            found.add(constant)
        elif isinstance(constant, (tuple, frozenset)):
            found |= {item for item in constant if isinstance(item, str)}
    return frozenset(found)


def words_of_constructors(model: nn.Module) -> set[str]:
    """Words of the constructors of the user's classes, among them the methods that they call."""
    kinds = {above for _, module in modules_of(model) for above in type(module).__mro__}
    codes = (getattr(vars(kind).get("__init__"), "__code__", None) for kind in kinds)
    return {word for code in codes if code is not None for word in words_of(code)}


def functions_of(model: nn.Module) -> dict[CodeType, FunctionType]:
    """The user's functions that a run of the network may come to: methods of its classes, what these name, and what its
    modules keep. Constructors and the like are left out."""
    found: dict[CodeType, FunctionType] = {}
    for kind in dict.fromkeys(type(module) for _, module in modules_of(model)):
        hidden: set[str] = set()  # overridden, and not called by `super`
        for above in kind.__mro__:
            if above.__module__.startswith("torch.") or above is object:
                continue
            for name, held in vars(above).items():
                if name in _OTHER_FUNCTIONS or name in hidden:
                    continue
                functions = list(_functions_behind(held))
                for function in functions:
                    _add(function, found)
                if not any("super" in words_of(function.__code__) for function in functions):
                    hidden.add(name)
    for _, module in modules_of(model):
        for held in vars(module).values():
            for item in _items(held):
                for function in _functions_behind(item):
                    _add(function, found)
    return found


def _functions_behind(held: Any) -> Iterator[FunctionType]:
    if isinstance(held, FunctionType):
        yield held
    for name in ("__func__", "fget", "__wrapped__", "func"):
        inner = getattr(held, name, None)
        if isinstance(inner, FunctionType):
            yield inner


def _items(held: Any, depth: int = 2) -> Iterator[Any]:
    yield held
    if depth and isinstance(held, (list, tuple, Mapping)):
        for item in held.values() if isinstance(held, Mapping) else held:
            yield from _items(item, depth - 1)


def _add(function: FunctionType, found: dict[CodeType, FunctionType]) -> None:
    """Adds a function and those that it names."""
    code = function.__code__
    if code in found or _is_library(function):
        return
    found[code] = function
    words, seen = words_of(code), function.__globals__
    for word in words:
        held = seen.get(word)
        if isinstance(held, FunctionType):
            _add(held, found)
        elif isinstance(held, ModuleType) and not held.__name__.startswith(("torch", "numpy")):
            for other in words:
                named = vars(held).get(other)
                if isinstance(named, FunctionType):
                    _add(named, found)
    for cell in function.__closure__ or ():
        try:
            inner = cell.cell_contents
        except ValueError:
            continue
        if isinstance(inner, FunctionType):
            _add(inner, found)


def _is_library(function: FunctionType) -> bool:
    home = (function.__module__ or "").partition(".")[0]
    return home == "torch" or home in sys.stdlib_module_names


def mentions(words: Set[str], names: Iterable[str]) -> bool:
    """Whether a function's words hold one of these names, or a way to get at them without a name."""
    return any(name in words for name in names) or bool(words & (DYNAMIC | {"getattr", "vars"}))


def chain_of(node: ast.AST) -> list[str] | None:
    """``a.b.c`` as its names; None for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else None


@lru_cache(maxsize=4096)
def attributes_set_by(code: CodeType) -> frozenset[str]:
    """Attributes that a function, or one inside it, sets."""
    found = {str(i.argval) for i in dis.get_instructions(code) if i.opname == "STORE_ATTR"}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= attributes_set_by(constant)
    return frozenset(found)


UNKNOWN = object()


def look_up(chain: list[str], objects: Mapping[str, Any], outside: Mapping[str, Any]) -> Any:
    """The object that a chain of names means, without running a property; UNKNOWN where that can't be told."""
    thing = objects.get(chain[0], outside.get(chain[0], UNKNOWN))
    for name in chain[1:]:
        if thing is UNKNOWN:
            return UNKNOWN
        if isinstance(thing, nn.Module):
            held: Any = UNKNOWN
            for table in (vars(thing), *tables(thing)):
                if name in table:
                    held = table[name]
                    break
            else:
                for kind in type(thing).__mro__:
                    if name in vars(kind):
                        held = vars(kind)[name]
                        held = UNKNOWN if isinstance(held, property) or hasattr(type(held), "__set__") else held
                        break
            thing = held
        else:
            thing = vars(thing).get(name, UNKNOWN) if hasattr(thing, "__dict__") else UNKNOWN
    return thing


def parent_of(node: ast.AST) -> ast.AST:
    """The node above."""
    above: ast.AST = node.parent  # type: ignore[attr-defined]
    return above


def statement_of(node: ast.AST) -> ast.stmt:
    """The innermost statement around an expression."""
    while not isinstance(node, ast.stmt):
        node = parent_of(node)
    return node


def pattern_of(node: ast.expr) -> re.Pattern[str] | None:
    """What strings an expression may give: a constant, or an f-string; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.compile(re.escape(node.value))
    if isinstance(node, ast.JoinedStr):
        parts = [re.escape(str(p.value)) if isinstance(p, ast.Constant) else ".*" for p in node.values]
        return re.compile("".join(parts))
    return None


def is_getattr(node: ast.AST) -> bool:
    """Whether it is ``getattr(thing, name)``."""
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr" and len(node.args) > 1


def runs_it(node: ast.expr, tensor: bool) -> bool:
    """Whether a mention of a module or tensor is one that uses it: not an assignment to it, a check, a listing.

    Args:
        node: the mention.
        tensor: whether it is a tensor, which a sum or a return uses as well.
    """
    if not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
        return False
    last, here, above = "", node, parent_of(node)
    while isinstance(above, (ast.Attribute, ast.Subscript)) and above.value is here:
        last = above.attr if isinstance(above, ast.Attribute) else ""
        if not isinstance(above.ctx, ast.Load):
            return isinstance(above, ast.Subscript) and tensor
        here, above = above, parent_of(above)
    if isinstance(above, ast.Call) and above.func is here:
        return last not in _IDLE_METHODS
    return _is_used(here, tensor)


def _is_used(here: ast.AST, tensor: bool) -> bool:
    """Whether what stands around an expression does something with it."""
    above = parent_of(here)
    while not isinstance(above, ast.stmt):
        said = _uses_it(here, above)
        if said is not None:
            return said
        here, above = above, parent_of(above)
    idle = isinstance(above, (ast.If, ast.While, ast.Assert, ast.Expr, ast.Delete, ast.Raise))
    return not idle and (tensor or not isinstance(above, ast.Return))


def _uses_it(here: ast.AST, above: ast.AST) -> bool | None:
    """Whether an expression does something with one of its parts; None where what is above it decides."""
    if isinstance(above, ast.Call):
        name = above.func.attr if isinstance(above.func, ast.Attribute) else getattr(above.func, "id", "")
        if name in _IDLE_CALLS or (name.endswith("_") and not name.endswith("__")):
            return False
        return None if name in _THROUGH else True
    if isinstance(above, ast.Compare):
        return not any(isinstance(op, (ast.Is, ast.IsNot, ast.In, ast.NotIn)) for op in above.ops)
    if isinstance(above, ast.IfExp) and above.test is here:
        return False
    return True if isinstance(above, (ast.BinOp, ast.comprehension, ast.Lambda)) else None
