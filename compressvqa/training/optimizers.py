"""The optimisers and learning-rate schedules that a recipe can name."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}


class OptimizerChoice(BaseModel):
    """An optimiser of PyTorch with its settings.

    Defaults of stages are made by `model_construct`: trying an optimiser loads PyTorch's compiler, which takes a second
    that a command without training need not wait for. tests/training/test_optimizers.py tries them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["adamw", "adamax", "adam", "sgd"] = Field("adamw", description="class of torch.optim")
    lr: float = Field(1e-4, gt=0, description="learning rate at its highest")
    betas: tuple[float, float] = Field((0.9, 0.999), description="of the Adam family; unused by sgd")
    weight_decay: float = Field(0.0, ge=0, description="weight decay")

    @model_validator(mode="after")
    def _possible(self) -> OptimizerChoice:
        self.build([torch.nn.Parameter(torch.zeros(1))])  # it says what it does not take, such as betas of 1
        return self

    def build(self, params: Iterable[Any]) -> torch.optim.Optimizer:
        """The optimiser over `params` (tensors or parameter groups)."""
        settings: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        if self.name != "sgd":
            settings["betas"] = self.betas
        return OPTIMIZERS[self.name](params, **settings)


class ScheduleChoice(BaseModel):
    """How the learning rate goes over the steps of a stage."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["constant", "cosine", "halve"] = Field("cosine", description="shape after the warm-up")
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the steps over which the rate rises from zero")
    halve_at: tuple[float, ...] = Field((0.5, 0.667), description="shares of the steps where 'halve' halves the rate")
    floor: float = Field(0.01, ge=0, le=1, description="share of the rate that 'cosine' ends at")

    def factor(self, step: int, steps: int) -> float:
        """The factor on the learning rate at `step` (from 0) of `steps`, in [0, 1].

        >>> [round(ScheduleChoice(kind="cosine", floor=0.0).factor(s, 4), 2) for s in range(5)]
        [1.0, 0.85, 0.5, 0.15, 0.0]
        """
        rise = self.warmup * steps
        if step < rise:
            return (step + 1) / (rise + 1)
        if self.kind == "halve":
            return float(0.5 ** sum(step >= share * steps for share in self.halve_at))
        if self.kind == "cosine":
            share = min(1.0, (step - rise) / max(1.0, steps - rise))
            return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * share))
        return 1.0

    def build(self, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
        """The schedule over `steps` steps; call ``.step()`` once after each step of the optimiser."""
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.factor(step, steps))
