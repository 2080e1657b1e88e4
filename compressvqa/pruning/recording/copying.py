"""Copies of a network, with other tensors in it."""

from __future__ import annotations

import copy
from collections import OrderedDict
from types import FunctionType
from typing import Any, cast

from torch import Tensor, nn

from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.steps import parts_of, replaced
from compressvqa.torch_private import COMPILED_IN_PLACE, tree_leaves


def copied(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """`copy.deepcopy(model, memo)`, several times as fast: modules are mostly plain values and empty tables.

    Args:
        memo: what to put in the place of objects, by id; tensors that are not in it are copied.
    """
    known = memo.get(id(model))
    if known is not None:
        return cast("nn.Module", known)
    kind = type(model)
    if any(getattr(kind, name, None) is not getattr(nn.Module, name, None) for name in _COPYING):
        for _, module in modules_of(model):
            for tensor in _worked_out(list(vars(module).values())):
                memo.setdefault(id(tensor), tensor.detach().clone())
        return copy.deepcopy(model, memo)
    small = kind.__new__(kind)
    memo[id(model)] = small
    for name, held in vars(model).items():
        if name == COMPILED_IN_PLACE:
            continue  # compiled code of the original
        if type(held) in _PLAIN or (type(held) is tuple and all(type(item) in _PLAIN for item in held)):
            vars(small)[name] = held
        elif name == "_modules":
            vars(small)[name] = {key: m if m is None else copied(m, memo) for key, m in held.items()}
        elif type(held) in (dict, OrderedDict) and not held:
            vars(small)[name] = type(held)()
        elif type(held) in (set, list) and all(type(item) in _PLAIN for item in held):
            vars(small)[name] = _known_or_new(held, memo)
        elif type(held) is FunctionType and any(isinstance(inside, nn.Module) for _, inside in parts_of(held)):
            vars(small)[name] = _rebound(held, memo)
        else:
            vars(small)[name] = _held(held, memo)
    return small


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


_PLAIN = (int, float, bool, str, type(None))
_COPYING = ("__deepcopy__", "__copy__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__new__")
