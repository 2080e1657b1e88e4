"""Calling a network as a user does, and leaving it as it was."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves


def run(model: nn.Module, inputs: Any) -> Any:
    """Calls a network on a tuple or list (by position), a dict (by name) or a single tensor."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, (tuple, list)):
        return model(*inputs)
    return model(inputs)


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
    """Parameters and floating-point buffers by name; one that is shared appears once, under its first name."""
    buffers = ((name, b) for name, b in model.named_buffers() if b.is_floating_point() or b.is_complex())
    return {**dict(model.named_parameters()), **dict(buffers)}


@contextlib.contextmanager
def quiet(model: nn.Module, *, fused: bool = False) -> Iterator[None]:
    """The network in eval mode, without gradients and fused attention.

    Where only the results are wanted, `fused` leaves torch's attention as it is: it takes less time and memory.

    Its mode comes back afterwards, also after an error, and so does all else that its modules hold: a mask or a state
    that a forward keeps on `self` would make the network another one for whoever runs it next.
    """
    held = [(m, dict(vars(m)), [dict(t) for t in _tables(m)]) for m in model.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        model.eval()
        torch.backends.mha.set_fastpath_enabled(False)
        with torch.no_grad(), contextlib.nullcontext() if fused else sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, attributes, tables in held:
            vars(module).clear()
            vars(module).update(attributes)
            for table, content in zip(_tables(module), tables, strict=True):
                table.clear()
                table.update(content)


def _tables(module: nn.Module) -> tuple[dict[str, Any], ...]:
    return module._parameters, module._buffers, module._modules
