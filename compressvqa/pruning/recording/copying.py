"""Copies of a network, with other tensors in it."""

from __future__ import annotations

import copy
from collections import OrderedDict
from functools import cache
from types import FunctionType
from typing import Any, cast

from torch import Tensor, nn

from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.steps import parts_of, replaced
from compressvqa.torch_private import COMPILED_IN_PLACE, CONVOLUTION, tree_leaves


def copied(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """`copy.deepcopy(model, memo)`, several times as fast: modules are mostly plain values and empty tables.

    Args:
        memo: what to put in the place of objects, by id; tensors that are not in it are copied.
    """
    known = memo.get(id(model))
    if known is not None:
        return cast("nn.Module", known)
    kind: Any = type(model)
    if not _is_copied_as_any(kind):
        for _, module in modules_of(model):
            for tensor in _worked_out(list(vars(module).values())):
                memo.setdefault(id(tensor), tensor.detach().clone())
        return copy.deepcopy(model, memo)
    small = cast("nn.Module", kind.__new__(kind))
    memo[id(model)] = small
    own = vars(small)
    for name, held in vars(model).items():
        if name != COMPILED_IN_PLACE:  # compiled code of the original
            own[name] = held if _is_plain(held) else _attribute(name, held, memo)
    return small


def _attribute(name: str, held: Any, memo: dict[int, Any]) -> Any:
    """A copy of what a module holds under a name."""
    kind = type(held)
    if name == "_modules":
        return {key: m if m is None else copied(m, memo) for key, m in held.items()}
    if kind in _TABLES and not held:
        return kind()
    if kind in _TABLES and name in _OF_TENSORS:
        return {key: memo[id(t)] if id(t) in memo else _held(t, memo) for key, t in held.items()}
    if kind in (set, list) and all(type(item) in _PLAIN for item in held):
        return _known_or_new(held, memo)
    if kind is FunctionType and any(isinstance(inside, nn.Module) for _, inside in parts_of(held)):
        return _rebound(held, memo)
    return _held(held, memo)


def _is_plain(held: Any) -> bool:
    return type(held) in _PLAIN or (type(held) is tuple and all(type(item) in _PLAIN for item in held))


def _known_or_new(held: Any, memo: dict[int, Any]) -> Any:
    """A copy of a set or list of plain values, one for all who hold it."""
    if id(held) not in memo:
        memo[id(held)] = type(held)(held)
    return memo[id(held)]


def _rebound(held: FunctionType, memo: dict[int, Any]) -> FunctionType:
    """A function that closes over modules, such as `lambda x: self.scale(x)`, closing over their copies."""
    for step, inside in parts_of(held):
        if isinstance(inside, nn.Module):
            held = replaced(held, (step,), copied(inside, memo))
    return held


def _held(held: Any, memo: dict[int, Any]) -> Any:
    """A copy of what a module holds."""
    try:
        return copy.deepcopy(held, memo)
    except RuntimeError:
        worked_out = [tensor for tensor in _worked_out(held) if id(tensor) not in memo]
        if not worked_out:
            raise
        memo.update({id(tensor): tensor.detach().clone() for tensor in worked_out})
        return copy.deepcopy(held, memo)


def _worked_out(held: Any) -> list[Tensor]:
    """Tensors that were worked out of others, such as the weight of a weight norm: torch copies none with its past."""
    return [leaf for leaf in tree_leaves(held) if isinstance(leaf, Tensor) and leaf.grad_fn is not None]


@cache
def _is_copied_as_any(kind: Any) -> bool:
    """Whether a class of modules leaves it to Python how its objects are copied."""
    return all(getattr(kind, name, None) in (getattr(nn.Module, name, None), _ADDS) for name in _COPYING)


_PLAIN = frozenset({int, float, bool, str, type(None)})
_TABLES = frozenset({dict, OrderedDict})
_OF_TENSORS = frozenset({"_parameters", "_buffers"})
_ADDS = CONVOLUTION.__setstate__  # gives a padding mode to those that were pickled before there were several
_COPYING = ("__deepcopy__", "__copy__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__new__")
