"""What a pruning must leave as it was: the network that it was given, and everybody's random numbers."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_PLAIN = (int, float, str, bool, type(None), tuple, list, dict)


class Snapshot:
    """The state of a network and of the random generators at one moment."""

    def __init__(self, model: Any) -> None:
        self._state = _state(model)
        self._random = (torch.get_rng_state(), random.getstate(), np.random.get_state())

    def changed(self, model: Any) -> list[str]:
        """What is not as it was."""
        now = _state(model)
        said = [name for name in {**self._state, **now} if not _equal(self._state.get(name), now.get(name))]
        if not torch.equal(self._random[0], torch.get_rng_state()):
            said.append("torch's random state")
        if self._random[1] != random.getstate():
            said.append("Python's random state")
        if str(self._random[2]) != str(np.random.get_state()):
            said.append("NumPy's random state")
        return said


def _state(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if isinstance(model, torch.jit.ScriptModule) or not isinstance(model, nn.Module):
        return found
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        found[name] = None if isinstance(tensor, nn.parameter.UninitializedTensorMixin) else tensor.detach().clone()
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if not name.startswith("_") and isinstance(value, (*_PLAIN, Tensor)):
                found[f"{path}.{name}"] = _copied(value)
    return found


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, (tuple, list)):
        return [type(value).__name__, *(_copied(v) for v in value)]
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return value if isinstance(value, _PLAIN) else repr(type(value))


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        alike = isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and a.dtype == b.dtype
        return alike and torch.equal(a.nan_to_num(), b.nan_to_num()) if alike else False
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    return bool(a == b)
