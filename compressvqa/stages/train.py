"""The stage that trains a network on the task, for example the teacher."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from compressvqa.registry import stages
from compressvqa.stages.base import StageConfig, StageContext, StageResult
from compressvqa.training.fake_int8 import FakeInt8
from compressvqa.training.loop import FitSettings, Stateful, StepLoss, fit
from compressvqa.training.optimizers import OptimizerChoice, ScheduleChoice

if TYPE_CHECKING:  # a run imports it when it needs it, see running/precision.py
    from lightning_fabric import Fabric


class TrainingConfig(StageConfig):
    """Settings of every stage that trains."""

    steps: int = Field(ge=0, description="number of training steps")
    batch: int = Field(8, ge=1, description="pairs (or clips) in a batch")
    clip_norm: float | None = Field(0.1, gt=0, description="largest norm of the gradient; null: not clipped")
    checkpoint_seconds: float = Field(60, gt=0, description="time between checkpoints in seconds")
    schedule: ScheduleChoice = Field(ScheduleChoice(), description="the learning-rate schedule")
    fake_int8: bool = Field(
        False,
        description="layers of the network that learns round their weights and inputs as int8 does, so that a later "
        "`quantise` costs less; the weights stay floats",
    )

    def rounding(self) -> contextlib.AbstractContextManager[object]:
        """What the network in training is called within."""
        return FakeInt8() if self.fake_int8 else contextlib.nullcontext()

    def fit(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        context: StageContext,
        *,
        step_loss: StepLoss | None = None,
        fabric: Fabric | None = None,
        after_step: Callable[[], dict[str, float]] | None = None,
        state: dict[str, Stateful] | None = None,
    ) -> None:
        """Trains `network` in place in the stage's folder, from its checkpoint where there is one.

        Args:
            step_loss: loss of a batch; by default the objective's.
            fabric: device and precision; by default a fresh one of the context.
            after_step: see `compressvqa.training.fit`.
            state: see `compressvqa.training.fit`.
        """
        objective = context.objective

        def task_loss(model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, float]]:
            with self.rounding():
                scores = model(*objective.inputs(batch))
            return objective.loss(scores, batch), {}

        fit(
            fabric or context.fabric(),
            network,
            optimizer,
            context.batches(self.batch),
            step_loss or task_loss,
            FitSettings(self.steps, context.seed, self.clip_norm, self.checkpoint_seconds),
            checkpoint=context.folder / "checkpoint.pt",
            schedule=self.schedule.build(optimizer, self.steps),
            after_step=after_step,
            state=state,
            on_step=lambda step, figures: context.log(step, self.steps, figures),
        )


@stages.register("train", needs_labels=True, keeps_structure=True)
class TrainStage:
    """Trains the network on the recipe's objective."""

    class Config(TrainingConfig):
        """Settings of plain training. Defaults: RankDVQA (facts: AdamW 1e-4, betas .5 and .999, clip 0.1, batch 8)."""

        optimizer: OptimizerChoice = Field(
            OptimizerChoice.model_construct(name="adamw", lr=1e-4, betas=(0.5, 0.999)), description="the optimiser"
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def run(self, network: nn.Module, context: StageContext) -> StageResult:
        """Trains the network in place."""
        config = self.config
        config.fit(network, config.optimizer.build(network.parameters()), context)
        return StageResult(network, {"steps": config.steps, "batch": config.batch})
