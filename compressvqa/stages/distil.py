"""The stage that teaches a small network what a large one knows."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from compressvqa.distillation import DistillationLoss, FeatureTaps, Outputs, Teacher
from compressvqa.errors import CompressVQAError
from compressvqa.registry import stages
from compressvqa.stages.base import StageContext, StageResult
from compressvqa.stages.train import TrainingConfig
from compressvqa.training.loop import Stateful
from compressvqa.training.optimizers import OptimizerChoice


@stages.register("distil")
class DistilStage:
    """Multi-level knowledge distillation from an earlier stage's network (Feng et al., equations 3 to 8)."""

    class Config(TrainingConfig):
        """Settings of distillation. Defaults: RankDVQA-mini (three levels of equal weight, task 0.1, AdaMax)."""

        teacher: str = Field(description="name of the earlier stage whose network teaches")
        losses: dict[str, float] = Field(
            {"instance": 1.0, "batch": 1.0, "class": 1.0}, description="registered losses and their weights"
        )
        loss_options: dict[str, dict[str, Any]] = Field(
            default_factory=dict, description="further arguments of losses: {loss: {argument: value}}"
        )
        task_weight: float = Field(0.1, ge=0, description="weight of the recipe's objective (alpha of equation 8)")
        temperatures: tuple[float, ...] = Field(
            (1.0,), min_length=1, description="margins are divided by each before they become probabilities"
        )
        symmetric: bool = Field(True, description="probabilities are [p, 1-p], so that a swapped pair costs the same")
        features: dict[str, str] = Field(
            default_factory=dict, description="for losses on features: {module path of the student: of the teacher}"
        )
        optimizer: OptimizerChoice = Field(
            OptimizerChoice(name="adamax", lr=1e-4, betas=(0.9, 0.999)), description="the optimiser"
        )

        @model_validator(mode="after")
        def _losses_fit(self) -> DistilStage.Config:
            try:
                needs = self.build_loss().needs
            except CompressVQAError as error:
                raise ValueError(str(error)) from error
            if "feature" in needs and not self.features:
                raise ValueError("a loss on features needs `features`: {module path of the student: of the teacher}")
            return self

        def build_loss(self) -> DistillationLoss:
            """The weighted sum of the losses."""
            return DistillationLoss(
                self.losses,
                settings=self.loss_options,
                temperatures=self.temperatures,
                symmetric=self.symmetric,
                pairs=self.features,
            )

    def __init__(self, config: Config) -> None:
        self.config = config

    def run(self, network: nn.Module, context: StageContext) -> StageResult:
        """Trains the student in place; the teacher scores each clip once."""
        config, objective = self.config, context.objective
        distillation = config.build_loss()
        tapped = config.features if "feature" in distillation.needs else {}
        fabric = context.fabric()
        teacher = Teacher(
            context.network_of(config.teacher).to(fabric.device),
            context.folder / "teacher-scores",
            features=list(tapped.values()),
        )

        def answers(model: nn.Module, batch: Any) -> tuple[Outputs, Outputs]:
            """What the teacher and the student say of a batch."""
            inputs = objective.inputs(batch)
            theirs = teacher(inputs, objective.keys(batch))
            # Hooks are set on the network itself: under Fabric's wrapper the module paths are other ones.
            with FeatureTaps(network, list(tapped)) if tapped else nullcontext() as taps:
                scores = model(*inputs).float()
                features = taps.take() if taps is not None else {}
            assert theirs.scores is not None
            return (
                theirs._replace(margins=objective.margins(theirs.scores)),
                Outputs(objective.margins(scores), scores, features),
            )

        if tapped:
            torch.manual_seed(context.seed)
            network.to(fabric.device)
            batch = fabric.to_device(context.batches(config.batch).batch_at(0))
            with torch.no_grad():
                distillation.to(fabric.device).add_projections(*answers(network, batch))

        def step_loss(model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, float]]:
            theirs, ours = answers(model, batch)
            total, parts = distillation(theirs, ours)
            task = objective.loss(ours.scores, batch)
            return total + config.task_weight * task, {**parts, "task": task.item()}

        optimizer = config.optimizer.build([*network.parameters(), *distillation.parameters()])
        state: dict[str, Stateful] = {"projections": distillation, "teacher": teacher}
        config.fit(network, optimizer, context, step_loss=step_loss, fabric=fabric, state=state)
        figures = {
            "steps": config.steps,
            "batch": config.batch,
            "losses": config.losses,
            "task_weight": config.task_weight,
            "clips_scored_by_the_teacher": len(teacher.cache),
            "scores_asked_of_the_teacher": teacher.cache.hits + teacher.cache.misses,
        }
        return StageResult(network, figures)
