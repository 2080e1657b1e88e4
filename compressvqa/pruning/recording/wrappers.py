"""What is put around a network to run it faster (`nn.DataParallel`, `torch.compile`), and the network inside.

A wrapper is no part of a network: it is left out of what is looked at, of module paths and of the result.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from compressvqa.pruning.recording.copying import copied
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.torch_private import COMPILED_IN_PLACE, compiled_inside, is_compiled_in_place, tables


def bare(model: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """The network without wrappers, which shares all parameters with the one given, and what was left out.

    A network whose tensors were made under `torch.inference_mode` comes back as a copy, since those can't be trained.
    """
    left: list[str] = []
    while (inside := _inside(model)) is not None:
        left.append(type(model).__name__)
        model = inside
    wrapped = {path: type(m).__name__ for path, m in modules_of(model) if _inside(m) is not None}
    left += [f"{kind} at {path}" for path, kind in wrapped.items()]
    compiled = [m for _, m in modules_of(model) if is_compiled_in_place(m)]
    left += ["compile()"] if compiled else []
    if wrapped or compiled:
        model = _without(model, {})
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
    if any(tensor.is_inference() for tensor in tensors):
        memo = {id(t): _normal(t) for t in tensors}
        model = copied(model, dict(memo))
    return model, tuple(left)


def _inside(module: nn.Module) -> nn.Module | None:
    """The module that a wrapper wraps; None for any other module."""
    if isinstance(module, (DataParallel, DistributedDataParallel)):
        return cast("nn.Module", module.module)
    return compiled_inside(module)


def _without(module: nn.Module, known: dict[int, nn.Module]) -> nn.Module:
    """The same module, or one that holds the same tensors where something inside it is wrapped or compiled."""
    while (inside := _inside(module)) is not None:
        module = inside
    if id(module) not in known:
        below = list(module.modules())
        if any(_inside(m) is not None or is_compiled_in_place(m) for m in below):
            kind = type(module)
            known[id(module)] = again = kind.__new__(kind)
            for name, held in vars(module).items():
                if name != COMPILED_IN_PLACE:
                    vars(again)[name] = type(held)(held) if type(held) in (dict, OrderedDict, set) else held
            for name, child in tables(module)[2].items():
                tables(again)[2][name] = None if child is None else _without(child, known)
        else:
            known[id(module)] = module
    return known[id(module)]


def _normal(tensor: Tensor) -> Tensor:
    """A copy that may be trained."""
    with torch.inference_mode(False):
        fresh = torch.empty_like(tensor, requires_grad=False).copy_(tensor.detach())
        return nn.Parameter(fresh, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fresh
