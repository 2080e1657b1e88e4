"""Base steps ``x <- x - a * d`` that a sparsifier shrinks afterwards, on lists of tensors and in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

ADAM_EPS = 1e-8

State = dict[str, Any]
BaseStep = Callable[[list[Tensor], list[Tensor], Sequence[State], dict[str, Any]], None]


def sgd_(params: list[Tensor], grads: list[Tensor], states: Sequence[State], group: dict[str, Any]) -> None:
    """Plain SGD, without momentum: ``d = g``."""
    _decay_(params, group)
    torch._foreach_add_(params, grads, alpha=-group["lr"])


def adamw_(params: list[Tensor], grads: list[Tensor], states: Sequence[State], group: dict[str, Any]) -> None:
    """AdamW (Loshchilov and Hutter, ICLR 2019): ``d = m / (sqrt(v) + 1e-8)``, both moments bias-corrected."""
    beta1, beta2 = group["betas"]
    for param, state in zip(params, states, strict=True):
        if "exp_avg" not in state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(param), torch.zeros_like(param)
    first, second = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
    torch._foreach_lerp_(first, grads, 1 - beta1)
    torch._foreach_mul_(second, beta2)
    torch._foreach_addcmul_(second, grads, grads, 1 - beta2)
    # The corrections differ between parameters, since one without a gradient skips the step.
    scale = torch._foreach_sqrt(second)
    torch._foreach_div_(scale, [math.sqrt(1 - beta2 ** state["updates"]) for state in states])
    torch._foreach_add_(scale, ADAM_EPS)
    _decay_(params, group)
    torch._foreach_addcdiv_(params, first, scale, [-group["lr"] / (1 - beta1 ** state["updates"]) for state in states])


def _decay_(params: list[Tensor], group: dict[str, Any]) -> None:
    if group["weight_decay"] != 0:
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])


BASES: dict[str, BaseStep] = {"sgd": sgd_, "adamw": adamw_}
