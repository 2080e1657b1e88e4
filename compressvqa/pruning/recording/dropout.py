"""Training mode without dropout, which draws a number for each channel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from compressvqa.torch_private import TorchFunctionMode

_DROPOUT = frozenset(
    {"dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d"}
    | {"alpha_dropout", "alpha_dropout_", "feature_dropout", "feature_dropout_"}
    | {"feature_alpha_dropout", "feature_alpha_dropout_"}
)
_DROPOUT_GIVEN = {"scaled_dot_product_attention": (4, "dropout_p"), "multi_head_attention_forward": (10, "dropout_p")}
_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})


class WithoutDropout(TorchFunctionMode):
    """Dropout drops nothing while this lasts, also in training mode.

    It draws a number for each channel: two networks of other widths draw others, and could not be compared.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), dict(kwargs or {})
        if name in _DROPOUT:
            return args[0] if args else kwargs["input"]
        if name == "native_dropout":
            data: Tensor = args[0] if args else kwargs["input"]
            return data, torch.ones_like(data, dtype=torch.bool)
        if name in _DROPOUT_GIVEN:
            place, word = _DROPOUT_GIVEN[name]
            args, kwargs = _replaced(args, kwargs, place, word, 0.0)
        elif name in _RECURRENT:
            # The only float among the arguments is the share that is dropped between layers.
            args = tuple(0.0 if isinstance(a, float) else a for a in args)
        elif name in ("rrelu", "rrelu_"):
            args, kwargs = _replaced(args, kwargs, 3, "training", False)
        return func(*args, **kwargs)


def _replaced(args: Any, kwargs: dict[str, Any], place: int, name: str, value: Any) -> tuple[Any, dict[str, Any]]:
    """Arguments in which one has another value."""
    if place < len(args):
        return (*args[:place], value, *args[place + 1 :]), kwargs
    return args, {**kwargs, name: value}
