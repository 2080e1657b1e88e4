"""The stage that teaches a small network what a large one knows."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from compressvqa.arithmetic import Arithmetic, Precision, arithmetic_on
from compressvqa.distillation import DistillationLoss, FeatureTaps, Outputs, Teacher, Teachers, pair_taps
from compressvqa.distillation.layout import Channels
from compressvqa.distillation.positions import Positions
from compressvqa.errors import CompressVQAError, TrainingError
from compressvqa.registry import stages
from compressvqa.stages.base import StageContext, StageResult
from compressvqa.stages.train import TrainingConfig
from compressvqa.training.loop import Stateful
from compressvqa.training.optimizers import OptimizerChoice
from compressvqa.training.sharding import mesh_of, shard
from compressvqa.training.world import inside, parts_of, together

if TYPE_CHECKING:  # a run imports it when it needs it, see running/precision.py
    from lightning_fabric import Fabric

log = logging.getLogger(__name__)

CLIPS_MEASURED = 128  # that several teachers' scales are measured on: a deviation is then known to about 6 %

Answers = Callable[[nn.Module, Any], tuple[Outputs, Outputs]]
"""(the network in training, batch) -> what teacher and student say of the batch."""


@stages.register("distil", two_networks=True, keeps_structure=True)
class DistilStage:
    """Multi-level knowledge distillation from an earlier stage's network (Feng et al., equations 3 to 8)."""

    class Config(TrainingConfig):
        """Settings of distillation. Defaults: RankDVQA-mini (three levels of equal weight, task 0.1, AdaMax)."""

        teacher: str | None = Field(
            None,
            description="who teaches: an earlier stage by its name, or one of the recipe's networks as it is built, "
            "`teacher` or a name under `teachers`",
        )
        teachers: dict[str, float] | list[str] | None = Field(
            None,
            description="several who teach together, {name: weight} or a list of names: scores are averaged on the "
            "first one's scale, probabilities as they are; features are the first one's",
        )
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
            "32",
            description="arithmetic of a teacher that only answers: `32`, `bf16` for a large one, or `auto`, "
            "which is bf16 where the device has instructions for it (without them it crawls)",
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
            OptimizerChoice.model_construct(name="adamax", lr=1e-4, betas=(0.9, 0.999)), description="the optimiser"
        )

        @property
        def teaching(self) -> dict[str, float]:
            """Who teaches, and by what weight."""
            if self.teachers is None:
                return super().teaching
            return self.teachers if isinstance(self.teachers, dict) else dict.fromkeys(self.teachers, 1.0)

        @model_validator(mode="after")
        def _someone_teaches(self) -> DistilStage.Config:
            if (self.teacher is None) == (self.teachers is None):
                raise ValueError("set `teacher` to a name, or `teachers` to {name: weight}; one of the two")
            if not self.teaching or not all(0 < weight < math.inf for weight in self.teaching.values()):
                raise ValueError("`teachers` holds at least one name, each with a weight above 0")
            if isinstance(self.teachers, list) and len(self.teaching) < len(self.teachers):
                raise ValueError("`teachers` names one twice: give it a weight, {name: weight}")
            if len(self.teaching) > 1 and self.teacher_task_weight > 0:
                raise ValueError(
                    "of several teachers none learns along: set `teacher_task_weight: 0`, or one `teacher`"
                )
            return self

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
            if self.fake_int8 and self.teacher_task_weight > 0:
                raise ValueError("`fake_int8` rounds a teacher that learns along as well: set `teacher_task_weight: 0`")
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
        mesh = mesh_of(fabric)
        # Networks whose weights are shared out come to the device in parts.
        device = fabric.device if mesh is None else torch.device("cpu")
        sources = {name: context.network_of(name).to(device) for name in config.teaching}
        source = next(iter(sources.values()))
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
        trained, teachers = network, None
        if config.teacher_task_weight > 0:
            trained = both = _Both(network, source.requires_grad_(True))
            answers = self._answers_of_both(both, pairs, context.objective)
            figures["teacher_task_weight"] = config.teacher_task_weight
        else:
            # Processes that have a part each ask together: all must remember the same, and so only what they said.
            precision = arithmetic_on(config.teacher_precision, fabric.device.type)
            kept = context.folder / "teacher-scores" if mesh is None else None
            teachers = self._teachers(sources, pairs, kept, precision)
            if mesh is not None:
                for whole in sources.values():
                    shard(whole, mesh)
            teachers.measure(self._measured_on(context, fabric, many=len(sources) > 1))
            answers = self._answers(network, teachers, pairs, context.objective)
            state["teacher"] = teachers
        if pairs:
            torch.manual_seed(context.seed)
            place = fabric.device if teachers is not None else device
            batch = context.batches(config.batch).batch_at(0)
            with torch.no_grad():
                seen = batch if place != fabric.device else fabric.to_device(batch)
                distillation.add_projections(*answers(trained.to(place).eval(), seen))
            distillation.to(fabric.device)
        optimizer = config.optimizer.build(self._parameters(network, distillation, source))
        step_loss = self._step_loss(distillation, answers, context.objective)
        config.fit(trained, optimizer, context, step_loss=step_loss, fabric=fabric, state=state)
        if teachers is not None:
            figures |= teachers.figures()
        if teachers is not None and pairs:
            figures["features_of_the_teacher"] = teachers.first.whole_because or "remembered"
        return StageResult(network, figures)

    def _pairs(self, student: nn.Module, teacher: nn.Module) -> dict[str, str]:
        if "feature" not in self.config.build_loss(self.config.features).needs:
            return {}
        return pair_taps(student, teacher, self.config.features)

    def _teachers(
        self, sources: Mapping[str, nn.Module], pairs: Mapping[str, str], folder: Path | None, precision: Arithmetic
    ) -> Teachers:
        config = self.config
        made = {
            name: Teacher(
                source,
                folder,
                features=list(dict.fromkeys(pairs.values())) if position == 0 else (),
                precision=precision,
                channels=config.teacher_channels or config.channels,
                mean=config.positions == "mean",
                clip_bytes=config.remember_features,
            )
            for position, (name, source) in enumerate(sources.items())
        }
        return Teachers(made, config.teaching)

    def _measured_on(
        self, context: StageContext, fabric: Fabric, *, many: bool
    ) -> Iterator[tuple[tuple[Tensor, ...], list[str]]]:
        """The first batches of the training: what teachers say of them is remembered, so that it costs nothing."""
        objective, seen = context.objective, 0
        batches = context.batches(self.config.batch) if many and self.config.steps else None
        for step in range(self.config.steps):
            if batches is None or seen >= CLIPS_MEASURED:
                return
            batch = fabric.to_device(batches.batch_at(step))
            keys = objective.keys(batch)
            seen += len(keys)
            yield objective.inputs(batch), keys

    def _answers(self, student: nn.Module, teachers: Teachers, pairs: Mapping[str, str], objective: Any) -> Answers:
        def answers(model: nn.Module, batch: Any) -> tuple[Outputs, Outputs]:
            inputs, keys = objective.inputs(batch), objective.keys(batch)
            # Both sides' features in one order: over several processes share after share.
            theirs, each = teachers(inputs, keys, parts_of(model, len(keys)) if pairs else [slice(0, len(keys))])
            margins = torch.stack([objective.margins(scores) for scores in each])
            # Hooks are set on the network itself: under Fabric's wrapper the module paths are other ones.
            with FeatureTaps(inside(model, student), list(pairs), channels=self.config.channels) as taps:
                with self.config.rounding():
                    scores = model(*inputs).float()
                features = together(model, taps.take())
            return (
                theirs._replace(margins=margins[0] if theirs.shares is None else margins),
                Outputs(objective.margins(scores), scores, features),
            )

        return answers

    def _answers_of_both(self, both: _Both, pairs: Mapping[str, str], objective: Any) -> Answers:
        channels = self.config.teacher_channels or self.config.channels
        paths = list(dict.fromkeys(pairs.values()))

        def answers(model: nn.Module, batch: Any) -> tuple[Outputs, Outputs]:
            tapped = inside(model, both)
            with ExitStack() as stack:
                ours = stack.enter_context(
                    FeatureTaps(tapped.get_submodule("student"), list(pairs), channels=self.config.channels)
                )
                theirs = stack.enter_context(
                    FeatureTaps(tapped.get_submodule("teacher"), paths, channels=channels, detach=True)
                )
                scores, marks = (answer.float() for answer in model(*objective.inputs(batch)))
                return (
                    Outputs(objective.margins(marks.detach()), marks, together(model, theirs.take())),
                    Outputs(objective.margins(scores), scores, together(model, ours.take())),
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
