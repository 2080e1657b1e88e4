"""The stage that teaches a small network what a large one knows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from compressvqa.distillation import DistillationLoss, FeatureTaps, Outputs, Teacher, pair_taps
from compressvqa.distillation.layout import Channels
from compressvqa.distillation.positions import Positions
from compressvqa.distillation.teacher import Precision
from compressvqa.errors import CompressVQAError, TrainingError
from compressvqa.registry import stages
from compressvqa.stages.base import StageContext, StageResult
from compressvqa.stages.train import TrainingConfig
from compressvqa.training.loop import Stateful
from compressvqa.training.optimizers import OptimizerChoice

log = logging.getLogger(__name__)

Answers = Callable[[nn.Module, Any], tuple[Outputs, Outputs]]
"""(the network in training, batch) -> what teacher and student say of the batch."""


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
            default_factory=dict,
            description="for losses on features: {module path of the student: of the teacher}; `*` within a name and "
            "`**` for any names make patterns, paired in the order of the networks, the longer side thinned evenly",
        )
        channels: Channels = Field(
            "auto",
            description="where features hold their channels: `second` (N, C, ...), `last` (N, ..., C), or `auto`: the "
            "axis as long as the module's last parameter",
        )
        teacher_channels: Channels | None = Field(None, description="the same for the teacher; null: as `channels`")
        positions: Positions = Field(
            "equal",
            description="features of different size: `equal` refuses them, `resize` pools the finer map, `mean` "
            "compares averages over all positions (tokens beside maps; small enough to be remembered)",
        )
        teacher_precision: Precision = Field(
            "32", description="arithmetic of a teacher that only answers: `32`, or `bf16` for a large one"
        )
        remember_features: int = Field(
            2**18,
            ge=0,
            description="the teacher's features are remembered where those of a clip take at most so many bytes; "
            "otherwise it runs at each step",
        )
        teacher_task_weight: float = Field(
            0.0,
            ge=0,
            description="above 0 the teacher learns along: weight of the recipe's objective on its own scores (1 in "
            "InternVQA); distillation still moves the student only",
        )
        teacher_lr: float | None = Field(
            None, gt=0, description="learning rate of a teacher that learns along; null: the optimiser's"
        )
        optimizer: OptimizerChoice = Field(
            OptimizerChoice(name="adamax", lr=1e-4, betas=(0.9, 0.999)), description="the optimiser"
        )

        @model_validator(mode="after")
        def _losses_fit(self) -> DistilStage.Config:
            try:
                needs = self.build_loss(self.features).needs
            except CompressVQAError as error:
                raise ValueError(str(error)) from error
            if "feature" in needs and not self.features:
                raise ValueError("a loss on features needs `features`: {module path of the student: of the teacher}")
            return self

        @model_validator(mode="after")
        def _labels_are_there(self) -> DistilStage.Config:
            if self.data == "unlabelled":
                for name in ("task_weight", "teacher_task_weight"):
                    if getattr(self, name) > 0:
                        raise ValueError(f"`data: unlabelled` has no labels to learn the task from: set `{name}: 0`")
            if self.teacher_lr is not None and self.teacher_task_weight == 0:
                raise ValueError("`teacher_lr` is set, but the teacher does not learn: set `teacher_task_weight`")
            return self

        def build_loss(self, pairs: Mapping[str, str]) -> DistillationLoss:
            """The weighted sum of the losses, over features paired as {path of the student: of the teacher}."""
            return DistillationLoss(
                self.losses,
                settings=self.loss_options,
                temperatures=self.temperatures,
                symmetric=self.symmetric,
                pairs=pairs,
                positions=self.positions,
            )

    def __init__(self, config: Config) -> None:
        self.config = config

    def check(self, student: nn.Module, teacher: nn.Module) -> None:
        """Looks, before any data is prepared, whether the networks have the modules that `features` names.

        Raises:
            RecipeError: a path or pattern matches nothing (the nearest paths are named), or is ambiguous.
        """
        self._pairs(student, teacher)

    def run(self, network: nn.Module, context: StageContext) -> StageResult:
        """Trains the student in place; a teacher that does not learn along is shown each clip once."""
        config, fabric = self.config, context.fabric()
        source = context.network_of(config.teacher).to(fabric.device)
        pairs = self._pairs(network, source)
        if pairs:
            log.info("features: %s", ", ".join(f"{ours} from {theirs}" for ours, theirs in pairs.items()))
        distillation = config.build_loss(pairs)
        state: dict[str, Stateful] = {"projections": distillation}
        figures: dict[str, Any] = {
            "steps": config.steps,
            "batch": config.batch,
            "losses": config.losses,
            "task_weight": config.task_weight,
        }
        if pairs:
            figures["features"] = pairs
        trained, teacher = network, None
        if config.teacher_task_weight > 0:
            trained = _Both(network, source.requires_grad_(True))
            answers = self._answers_of_both(network, source, pairs, context.objective)
            figures["teacher_task_weight"] = config.teacher_task_weight
        else:
            teacher = self._teacher(source, pairs, context)
            answers = self._answers(network, teacher, pairs, context.objective)
            state["teacher"] = teacher
        if pairs:
            torch.manual_seed(context.seed)
            trained.to(fabric.device).eval()
            batch = fabric.to_device(context.batches(config.batch).batch_at(0))
            with torch.no_grad():
                distillation.to(fabric.device).add_projections(*answers(trained, batch))
        optimizer = config.optimizer.build(self._parameters(network, distillation, source))
        step_loss = self._step_loss(distillation, answers, context.objective)
        config.fit(trained, optimizer, context, step_loss=step_loss, fabric=fabric, state=state)
        if teacher is not None:
            figures["clips_scored_by_the_teacher"] = len(teacher.cache)
            figures["scores_asked_of_the_teacher"] = teacher.cache.hits + teacher.cache.misses
        if teacher is not None and pairs:
            figures["features_of_the_teacher"] = teacher.whole_because or "remembered"
        return StageResult(network, figures)

    def _pairs(self, student: nn.Module, teacher: nn.Module) -> dict[str, str]:
        if "feature" not in self.config.build_loss(self.config.features).needs:
            return {}
        return pair_taps(student, teacher, self.config.features)

    def _teacher(self, source: nn.Module, pairs: Mapping[str, str], context: StageContext) -> Teacher:
        config = self.config
        return Teacher(
            source,
            context.folder / "teacher-scores",
            features=list(dict.fromkeys(pairs.values())),
            precision=config.teacher_precision,
            channels=config.teacher_channels or config.channels,
            mean=config.positions == "mean",
            clip_bytes=config.remember_features,
        )

    def _answers(self, student: nn.Module, teacher: Teacher, pairs: Mapping[str, str], objective: Any) -> Answers:
        def answers(model: nn.Module, batch: Any) -> tuple[Outputs, Outputs]:
            inputs = objective.inputs(batch)
            theirs = teacher(inputs, objective.keys(batch))
            assert theirs.scores is not None
            # Hooks are set on the network itself: under Fabric's wrapper the module paths are other ones.
            with FeatureTaps(student, list(pairs), channels=self.config.channels) as taps:
                scores = model(*inputs).float()
                features = taps.take()
            return (
                theirs._replace(margins=objective.margins(theirs.scores)),
                Outputs(objective.margins(scores), scores, features),
            )

        return answers

    def _answers_of_both(
        self, student: nn.Module, teacher: nn.Module, pairs: Mapping[str, str], objective: Any
    ) -> Answers:
        channels = self.config.teacher_channels or self.config.channels
        paths = list(dict.fromkeys(pairs.values()))

        def answers(model: nn.Module, batch: Any) -> tuple[Outputs, Outputs]:
            with ExitStack() as stack:
                ours = stack.enter_context(FeatureTaps(student, list(pairs), channels=self.config.channels))
                theirs = stack.enter_context(FeatureTaps(teacher, paths, channels=channels, detach=True))
                scores, marks = (answer.float() for answer in model(*objective.inputs(batch)))
                return (
                    Outputs(objective.margins(marks.detach()), marks, theirs.take()),
                    Outputs(objective.margins(scores), scores, ours.take()),
                )

        return answers

    def _step_loss(
        self, distillation: DistillationLoss, answers: Answers, objective: Any
    ) -> Callable[[nn.Module, Any], tuple[Tensor, dict[str, float]]]:
        config = self.config

        def step_loss(model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, float]]:
            theirs, ours = answers(model, batch)
            assert theirs.scores is not None
            total, figures = distillation(theirs._replace(scores=theirs.scores.detach()), ours)
            labelled = getattr(batch, "opinion", batch) is not None
            if not labelled and config.task_weight + config.teacher_task_weight > 0:
                raise TrainingError("the clips have no labels", where=config.name, hint="task_weight: 0")
            if labelled:
                task = objective.loss(ours.scores, batch)
                total, figures = total + config.task_weight * task, {**figures, "task": task.item()}
            if config.teacher_task_weight > 0:
                task = objective.loss(theirs.scores, batch)
                total, figures = total + config.teacher_task_weight * task, {**figures, "teacher_task": task.item()}
            return total, figures

        return step_loss

    def _parameters(self, network: nn.Module, distillation: nn.Module, teacher: nn.Module) -> list[Any]:
        ours = [*network.parameters(), *distillation.parameters()]
        if self.config.teacher_task_weight == 0:
            return ours
        return [
            {"params": ours},
            {"params": list(teacher.parameters()), "lr": self.config.teacher_lr or self.config.optimizer.lr},
        ]


class _Both(nn.Module):
    """Student and teacher as one network in training: one checkpoint, one bound on the gradient's norm."""

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        return self.student(*inputs), self.teacher(*inputs)
