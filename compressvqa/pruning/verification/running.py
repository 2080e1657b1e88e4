"""Running copies of networks so that nothing outside them changes: random states, modes of torch, what classes hold."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.running import run, tensors_of
from compressvqa.torch_private import layers_unfused, tree_map_only


def answers(model: nn.Module, inputs: Any, seed: int, *, gradients: bool = False) -> list[Tensor]:
    """The tensors that a network returns, on the CPU; the same draws of random numbers for the same seed.

    The inputs are copied first, since a network may write into them.
    """
    home = next((t.device for t in [*model.parameters(), *model.buffers()]), None)
    own = tree_map_only(Tensor, lambda t: t.detach().clone().to(home or t.device), inputs)
    with undisturbed(model, seed), torch.set_grad_enabled(gradients):
        return [t.cpu() if gradients else t.detach().cpu() for t in tensors_of(run(model, own))]


@contextlib.contextmanager
def undisturbed(model: nn.Module, seed: int) -> Iterator[None]:
    """Seeds every source of random numbers, and puts everything back that is not the network's own."""
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_available() and torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    states = [torch.cuda.get_rng_state(device) for device in cuda]
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    dtype = torch.get_default_dtype()
    shared = _held_by_classes(model)
    try:
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed CUDA as well, now or later
        for device in cuda:
            torch.cuda.default_generators[device].manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        if any(p.dtype == torch.float64 for p in model.parameters()):
            torch.set_default_dtype(torch.float64)  # `torch.zeros` in a forward is as wide as the network
        with layers_unfused(), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_rng_state(torch_state)
        for device, state in zip(cuda, states, strict=True):
            torch.cuda.set_rng_state(state, device)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        for kind, name, held, content in shared:
            _put_back(kind, name, held, content)


def _held_by_classes(model: nn.Module) -> list[tuple[type, str, Any, Any]]:
    """Counters and containers that stand on the classes of a network's modules, with copies of the containers."""
    kinds = {kind for _, module in modules_of(model) for kind in type(module).__mro__}
    found: list[tuple[type, str, Any, Any]] = []
    for kind in kinds:
        if kind.__module__.partition(".")[0] in ("torch", "builtins"):
            continue
        for name, held in list(vars(kind).items()):
            if name.startswith("__"):
                continue
            if isinstance(held, (list, dict, set)):
                found.append((kind, name, held, copy.copy(held)))
            elif held is None or isinstance(held, (int, float, str, tuple, Tensor)):
                found.append((kind, name, held, None))
    return found


def _put_back(kind: type, name: str, held: Any, content: Any) -> None:
    if vars(kind).get(name) is not held:
        setattr(kind, name, held)
    if isinstance(held, list):
        held[:] = content
    elif isinstance(held, (dict, set)):
        held.clear()
        held.update(content)
