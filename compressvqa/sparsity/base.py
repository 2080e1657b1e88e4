"""Base steps ``x <- x - a * d`` that a sparsifier shrinks afterwards: torch's own, on lists of tensors and in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from compressvqa.errors import RecipeError

State = dict[str, Any]
BaseStep = Callable[[list[Tensor], list[Tensor], Sequence[State], dict[str, Any]], None]


def sgd_(params: list[Tensor], grads: list[Tensor], states: Sequence[State], group: dict[str, Any]) -> None:
    """Plain SGD, without momentum: ``d = g``."""
    sgd(
        params, grads, [None] * len(params), foreach=True, lr=group["lr"], weight_decay=group["weight_decay"],
        momentum=0.0, dampening=0.0, nesterov=False, maximize=False,
    )  # fmt: skip


def adamw_(params: list[Tensor], grads: list[Tensor], states: Sequence[State], group: dict[str, Any]) -> None:
    """AdamW (Loshchilov and Hutter, ICLR 2019): ``d = m / (sqrt(v) + 1e-8)``, both moments bias-corrected."""
    beta1, beta2 = group["betas"]
    for param, state in zip(params, states, strict=True):
        if "exp_avg" not in state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(param), torch.zeros_like(param)
        if "step" not in state:
            state["step"] = torch.tensor(float(state.pop("updates", 0)))  # as checkpoints of version 0.1 call it
    first, second, steps = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
    adamw(
        params, grads, first, second, [], steps, foreach=True, lr=group["lr"], weight_decay=group["weight_decay"],
        beta1=beta1, beta2=beta2, eps=1e-8, amsgrad=False, maximize=False,
    )  # fmt: skip


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
