"""Tensors that modules hold as plain attributes, such as a position table that is no buffer, or a list of kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn

from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.steps import ITEM, Steps, said

_LONG = 64  # a longer list is data and no part of a network
_EVERY_MODULE = frozenset(vars(nn.Module()))


class Held(NamedTuple):
    """A tensor, and where it is: the module's path, its attribute, and the way from there."""

    tensor: Tensor
    module: str
    attribute: str
    steps: Steps


def held_tensors(model: nn.Module) -> dict[str, Held]:
    """Floating-point tensors in the attributes of modules, and in lists, tuples and dictionaries there, by name.

    Parameters, buffers and what a graph of gradients has made are none of them.

    >>> net = nn.ReLU()
    >>> net.tables = [Tensor(3), {"a": Tensor(2)}]
    >>> list(held_tensors(net))
    ['tables[0]', "tables[1]['a']"]
    """
    found: dict[str, Held] = {}
    for path, module in modules_of(model):
        for name, value in vars(module).items():
            if name not in _EVERY_MODULE and type(value) in _KINDS:
                for steps, tensor in _tensors(value):
                    found[(f"{path}.{name}" if path else name) + said(steps)] = Held(tensor, path, name, steps)
    return found


_KINDS = frozenset({Tensor, list, tuple, dict})


def _tensors(value: Any, steps: Steps = ()) -> Iterator[tuple[Steps, Tensor]]:
    if type(value) is Tensor:
        if (value.is_floating_point() or value.is_complex()) and value.grad_fn is None:
            yield steps, value
    elif type(value) in _KINDS and len(value) <= _LONG and len(steps) < 2:
        for key, item in value.items() if type(value) is dict else enumerate(value):
            if type(item) in _KINDS and isinstance(key, (int, str)):
                yield from _tensors(item, (*steps, (ITEM, key)))
