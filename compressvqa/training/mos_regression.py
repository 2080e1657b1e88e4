"""The objective of plain regression: a network's score of a clip is to be the clip's opinion score.

The loss is a sum of registered losses on scores, with the opinions where distillation has the teacher's scores.
InternVQA (arXiv 2502.19026) trains teacher and student so, by the squared error alone: the term L2(scores, MOS) of its
total. Opinions are in standard deviations, see `ScoredBatch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from compressvqa.distillation import DistillationLoss, Outputs
from compressvqa.errors import CompressVQAError, TrainingError
from compressvqa.registry import objectives

if TYPE_CHECKING:
    from compressvqa.data.scored import ScoredBatch


@objectives.register("mos", takes="scored clips")
class MosObjective:
    """Regression of single clips' scores on their opinion scores, by one or several losses."""

    class Config(BaseModel):
        """Settings of the objective."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        losses: dict[str, float] = Field(
            {"score-mse": 1.0}, description="registered losses on scores and their weights; opinions are the teacher"
        )
        loss_options: dict[str, dict[str, Any]] = Field(
            default_factory=dict, description="further arguments of losses: {loss: {argument: value}}"
        )

        @model_validator(mode="after")
        def _on_scores(self) -> MosObjective.Config:
            try:
                needs = self.build_loss().needs
            except CompressVQAError as error:
                raise ValueError(str(error)) from error
            if needs != {"score"}:
                other = ", ".join(sorted(needs - {"score"}))
                raise ValueError(f"an opinion is a score: losses on {other} compare two networks (distil.losses)")
            return self

        def build_loss(self) -> DistillationLoss:
            """The weighted sum of the losses."""
            return DistillationLoss(self.losses, settings=self.loss_options)

    def __init__(self, config: Config) -> None:
        self.config = config
        self._loss = config.build_loss()

    def inputs(self, batch: ScoredBatch) -> tuple[Tensor, ...]:
        """The network's arguments, (N, frames, 3, height, width) each: reference (if there is one) and distorted."""
        return (batch.distorted,) if batch.reference is None else (batch.reference, batch.distorted)

    def keys(self, batch: ScoredBatch) -> list[str]:
        """A name for each of the N clips; equal names mean equal clips."""
        return list(batch.keys)

    def margins(self, scores: Tensor) -> Tensor:
        """Score of each clip minus that of the one before it (of the first: the last), (N,), from (N,) scores."""
        return scores - scores.roll(1)

    def loss(self, scores: Tensor, batch: ScoredBatch) -> Tensor:
        """The weighted sum of the losses of (N,) scores against the opinions; 0-d.

        Raises:
            TrainingError: nobody was asked about these clips.
        """
        if batch.opinion is None:
            raise TrainingError("the clips have no opinion scores to learn from", where="objective mos",
                                hint="a distil stage with `data: unlabelled` and `task_weight: 0`")  # fmt: skip
        opinion = batch.opinion.to(scores.device)
        total: Tensor = self._loss(Outputs(scores=opinion), Outputs(scores=scores.float()))[0]
        return total
