"""The stage that trains a network on the task, for example the teacher."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor, nn

from compressvqa.registry import stages
from compressvqa.stages.base import StageConfig, StageContext, StageResult
from compressvqa.training.loop import FitSettings, fit
from compressvqa.training.optimizers import OptimizerChoice, ScheduleChoice


class TrainingConfig(StageConfig):
    """Settings of every stage that trains."""

    steps: int = Field(ge=0, description="number of training steps")
    batch: int = Field(8, ge=1, description="pairs (or clips) in a batch")
    clip_norm: float | None = Field(0.1, gt=0, description="largest norm of the gradient; null: not clipped")
    checkpoint_seconds: float = Field(60, gt=0, description="time between checkpoints in seconds")

    def fit_settings(self, seed: int) -> FitSettings:
        """The part of the settings that the training loop takes."""
        return FitSettings(self.steps, seed, self.clip_norm, self.checkpoint_seconds)


@stages.register("train")
class TrainStage:
    """Trains the network on the recipe's objective."""

    class Config(TrainingConfig):
        """Settings of plain training. Defaults: RankDVQA (facts: AdamW 1e-4, betas .5 and .999, clip 0.1, batch 8)."""

        optimizer: OptimizerChoice = Field(
            OptimizerChoice(name="adamw", lr=1e-4, betas=(0.5, 0.999)), description="the optimiser"
        )
        schedule: ScheduleChoice = Field(ScheduleChoice(), description="the learning-rate schedule")

    def __init__(self, config: Config) -> None:
        self.config = config

    def run(self, network: nn.Module, context: StageContext) -> StageResult:
        """Trains the network in place."""
        config, objective = self.config, context.objective
        optimizer = config.optimizer.build(network.parameters())

        def step_loss(model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, float]]:
            return objective.loss(model(*objective.inputs(batch)), batch), {}

        fit(
            context.fabric(),
            network,
            optimizer,
            context.batches(config.batch),
            step_loss,
            config.fit_settings(context.seed),
            checkpoint=context.folder / "checkpoint.pt",
            schedule=config.schedule.build(optimizer, config.steps),
            on_step=lambda step, figures: context.log(step, config.steps, figures),
        )
        return StageResult(network, {"steps": config.steps, "batch": config.batch})
