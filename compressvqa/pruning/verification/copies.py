"""Copies that nothing leads back from: what is done to a copy, or by it, does not reach the network that it is of.

Besides parameters and buffers, a network may hold tensors as plain attributes, a list that its forward appends to, and
hooks that close over all of these or over the network itself. A copy has its own of each.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from compressvqa.errors import VerifyError
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.torch_private import tree_leaves

_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_WIDE = {torch.complex64: torch.complex128, torch.complex32: torch.complex128}


def isolated(model: nn.Module, *, wide: bool = False) -> nn.Module:
    """A copy of a network in eval mode that shares no tensor, list or hook with it.

    Args:
        model: the network, which is left as it was.
        wide: floating-point tensors become float64, complex ones complex128.

    Raises:
        VerifyError: it holds something that can't be copied.
    """
    memo: dict[int, Any] = {}
    for tensor in held_tensors(model):
        if id(tensor) not in memo:
            fresh = tensor.detach().clone()
            fresh = fresh.to(_wider(fresh.dtype)) if wide else fresh
            memo[id(tensor)] = nn.Parameter(fresh, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fresh
    try:
        made = copy.deepcopy(model, memo)
    except Exception as error:  # a lock, an open file, an object that refuses
        raise VerifyError(
            f"the network can't be copied ({type(error).__name__}: {error})".splitlines()[0],
            hint="keep open files, locks and generators out of its modules",
        ) from error
    for _, module in modules_of(made):
        for table in (vars(module), *(vars(module)[name] for name in _HOOKS)):
            for key, held in list(table.items()):
                if isinstance(held, types.FunctionType) and held.__closure__:
                    table[key] = _with_own_closure(held, memo)
    return made.eval()


def held_tensors(model: nn.Module) -> Iterator[Tensor]:
    """Every tensor that a network's modules hold, also as a plain attribute or in a list or dict."""
    for _, module in modules_of(model):
        for held in tree_leaves([value for name, value in vars(module).items() if name != "_modules"]):
            if isinstance(held, Tensor) and not isinstance(held, (UninitializedBuffer, UninitializedParameter)):
                yield held


def _wider(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype.is_floating_point else _WIDE.get(dtype, dtype)


def _with_own_closure(function: types.FunctionType, memo: dict[int, Any]) -> types.FunctionType:
    """The function over copies of what it closes over; what can't be copied stays the same object."""
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(types.CellType(copy.deepcopy(cell.cell_contents, memo)))
        except Exception:  # an empty cell, or an object that refuses
            cells.append(cell)
    made = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, tuple(cells)
    )
    made.__kwdefaults__ = function.__kwdefaults__
    made.__dict__.update(function.__dict__)
    return made
