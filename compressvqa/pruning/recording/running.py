"""Calling a network as a user does, and leaving it as it was."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from compressvqa.pruning.recording.held import held_tensors
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.untouched import Memory, random_states, untouched
from compressvqa.torch_private import CONVOLUTION, layers_unfused, tables, tree_leaves, tree_map_only, uncompiled

WEIGHTED = (CONVOLUTION, nn.Linear)  # layers whose weights are what is sparsified and pruned


def run(model: nn.Module, inputs: Any) -> Any:
    """Calls a network on a tuple or list (by position), a dict (by name) or a single tensor."""
    return call(model, inputs)


def call(function: Callable[..., Any], inputs: Any) -> Any:
    """Calls a function on a tuple or list (by position), a dict (by name) or a single tensor."""
    if isinstance(inputs, Mapping):
        return function(**inputs)
    if isinstance(inputs, (tuple, list)):
        return function(*inputs)
    return function(inputs)


def copied_inputs(inputs: Any) -> Any:
    """The same values in memory of their own: a network may write to what it is given."""
    return tree_map_only(Tensor, lambda tensor: tensor.detach().clone(), inputs)


def tensors_of(tree: Any) -> list[Tensor]:
    """Every tensor in nested tuples, lists, dicts and dataclasses."""
    found: list[Tensor] = []
    for leaf in tree_leaves(tree):
        if isinstance(leaf, Tensor):
            found.append(leaf)
        elif dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
            found += tensors_of([getattr(leaf, f.name) for f in dataclasses.fields(leaf)])
    return found


def leaves_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters, floating-point buffers and tensors held otherwise, by name; a shared one under its first name."""
    parameters: dict[str, Tensor] = {}
    buffers: dict[str, Tensor] = {}
    known: set[int] = set()
    for path, module in modules_of(model):
        prefix = f"{path}." if path else ""
        own, kept, _ = tables(module)
        for found, table in ((parameters, own), (buffers, kept)):
            for name, tensor in table.items():
                if tensor is None or id(tensor) in known:
                    continue
                if table is own or tensor.is_floating_point() or tensor.is_complex():
                    known.add(id(tensor))
                    found[prefix + name] = tensor
    found = {**parameters, **buffers}
    for name, held in held_tensors(model).items():
        if id(held.tensor) not in known and name not in found:
            known.add(id(held.tensor))
            found[name] = held.tensor
    return found


@contextlib.contextmanager
def quiet(
    model: nn.Module,
    *,
    fused: bool = False,
    train: bool = False,
    gradients: bool = False,
    memory: Memory | None = None,
) -> Iterator[None]:
    """The network in eval mode, without gradients and fused attention.

    Where only the results are wanted, `fused` leaves torch's attention as it is: it takes less time and memory. With
    `train` it is in training mode, and what it then writes into its buffers is undone.

    Its mode comes back afterwards, also after an error, and so does all else that its modules hold, and the random
    states: a mask or a state that a forward keeps would make the network another one for whoever runs it next. For a
    network that is run many times, `memory` may hold what it is to be put back to.
    """
    with untouched(model) if memory is None else contextlib.nullcontext(), random_states():
        try:
            model.train(train)
            backend = contextlib.nullcontext() if fused else sdpa_kernel(SDPBackend.MATH)
            with torch.set_grad_enabled(gradients), uncompiled(), layers_unfused(), backend:
                yield
        finally:
            if memory is not None:
                memory.restore()
