"""Sees the calls that a forward makes, before torch takes them apart: sizes that are asked for, numbers given."""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from compressvqa.pruning.recording.integers import integers_in, sizes_of
from compressvqa.pruning.recording.lines import unfollowed
from compressvqa.pruning.recording.recorder import Recorder
from compressvqa.torch_private import TorchFunctionMode, is_transformed, seen_through

_SIZE, _SHAPE = Tensor.size, Tensor.shape.__get__  # type: ignore[attr-defined]
_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})


class Calls(TorchFunctionMode):
    """Sees the calls that a forward makes, before torch takes them apart: sizes that are asked for, numbers given."""

    def __init__(self, recorder: Recorder, *, origins: bool) -> None:
        super().__init__()
        self._recorder, self._origins = recorder, origins

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, recorder = kwargs or {}, self._recorder
        if func is F.multi_head_attention_forward:
            with self:
                return seen_through()(*args, **kwargs)
        origins = self._origins and not (args and is_transformed(args[0]))  # sizes inside torch.vmap have none
        if origins and func == _SHAPE:
            return sizes_of(func(*args), recorder.read(args[0]))
        if origins and func is _SIZE:
            sizes = sizes_of(args[0].shape, recorder.read(args[0]))
            d = args[1] if len(args) > 1 else kwargs.get("dim")
            return sizes if d is None else sizes[d]
        name = getattr(func, "__name__", "")
        if origins and name in ("numel", "nelement"):
            first, *others = (*sizes_of(args[0].shape, recorder.read(args[0])), 1)
            return math.prod(others, start=first) if len(others) > 1 else first
        if name in _RECURRENT:
            return recorder.whole("recurrent", func, args, kwargs)
        if func is F.scaled_dot_product_attention and kwargs.get("scale") is not None:
            name = "attention of a given scale"
        numbers = tuple(integers_in([*args, *kwargs.values()]))
        outer = recorder.called, recorder.call
        recorder.called, recorder.call = numbers, name
        try:
            return func(*args, **kwargs)
        finally:
            recorder.called, recorder.call = outer


class UnfollowedCalls(Calls):
    """The same for calls."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with unfollowed():
            return super().__torch_function__(func, types, args, kwargs)
