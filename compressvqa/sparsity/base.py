"""Base steps ``x <- x - a * d`` that a sparsifier shrinks afterwards, on lists of tensors and in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, overload

import torch
from torch import Tensor

from compressvqa.errors import RecipeError
from compressvqa.torch_private import foreach

ADAM_EPS = 1e-8

State = dict[str, Any]
BaseStep = Callable[[list[Tensor], list[Tensor], Sequence[State], dict[str, Any]], None]


def sgd_(params: list[Tensor], grads: list[Tensor], states: Sequence[State], group: dict[str, Any]) -> None:
    """Plain SGD, without momentum: ``d = g``."""
    _decay_(params, group)
    foreach.add_(params, grads, alpha=-group["lr"])


def adamw_(params: list[Tensor], grads: list[Tensor], states: Sequence[State], group: dict[str, Any]) -> None:
    """AdamW (Loshchilov and Hutter, ICLR 2019): ``d = m / (sqrt(v) + 1e-8)``, both moments bias-corrected."""
    beta1, beta2 = group["betas"]
    for param, state in zip(params, states, strict=True):
        if "exp_avg" not in state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(param), torch.zeros_like(param)
    first, second = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
    foreach.lerp_(first, grads, 1 - beta1)
    foreach.mul_(second, beta2)
    foreach.addcmul_(second, grads, grads, 1 - beta2)
    # The corrections differ between parameters, since one without a gradient skips the step.
    scale = foreach.sqrt(second)
    foreach.div_(scale, [math.sqrt(1 - beta2 ** state["updates"]) for state in states])
    foreach.add_(scale, ADAM_EPS)
    _decay_(params, group)
    foreach.addcdiv_(params, first, scale, [-group["lr"] / (1 - beta1 ** state["updates"]) for state in states])


def _decay_(params: list[Tensor], group: dict[str, Any]) -> None:
    if group["weight_decay"] != 0:
        foreach.mul_(params, 1 - group["lr"] * group["weight_decay"])


BASES: dict[str, BaseStep] = {"sgd": sgd_, "adamw": adamw_}


class Sparsifier(torch.optim.Optimizer):
    """An optimiser that takes its step in `update`, without gradients."""

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step. `closure` recomputes the loss, with gradients, and returns it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.update()
        return loss

    def update(self) -> None:
        """Changes the parameters by their gradients."""
        raise NotImplementedError


def base_steps_(optimizer: torch.optim.Optimizer) -> bool:
    """Takes the base step of every parameter that has a gradient; returns whether there was one.

    Raises:
        RecipeError: a gradient is sparse.
    """
    found = False
    for group in optimizer.param_groups:
        params = [param for param in group["params"] if param.grad is not None]
        if any(param.grad.layout != torch.strided for param in params):
            raise RecipeError("a sparse gradient is not supported", where=type(optimizer).__name__, hint="sparse=False")
        if not params:
            continue
        found = True
        states = [optimizer.state[param] for param in params]
        for state in states:
            state["updates"] = state.get("updates", 0) + 1
        settings = {**group, "lr": float(group["lr"])}  # a scheduler may have left a tensor there
        BASES[group["base"]](params, [param.grad for param in params], states, settings)
    return found


def check_base(group: dict[str, Any], where: str) -> None:
    """Refuses settings of a base step that are out of range.

    Raises:
        RecipeError: naming the setting.
    """
    for name in ("lr", "weight_decay"):
        if not group[name] >= 0:
            raise RecipeError(f"{name} is {group[name]!r} and must be at least 0", where=where)
    if group["base"] not in BASES:
        raise RecipeError(f"unknown base step {group['base']!r}", where=where, hint=" or ".join(BASES))
    if not all(0 <= beta < 1 for beta in group["betas"]):
        raise RecipeError(f"betas {group['betas']} must lie in [0, 1)", where=where)
