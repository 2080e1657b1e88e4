"""The ranking objective of RankDVQA: which of two distorted clips is better?

P(a better than b) = sigmoid(score(a) - score(b)), trained with binary cross-entropy against the label
(Feng et al., "RankDVQA: Deep VQA based on Ranking-inspired Hybrid Training", arXiv 2202.08595, section 3).

A score belongs to a clip and not to its pair, so a batch of B pairs holds B (2B - 1) comparisons and not B: with
``pairs: all`` each of them that the data knows an answer to counts. They cost nothing, as no clip is scored twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from compressvqa.errors import TrainingError
from compressvqa.registry import objectives

if TYPE_CHECKING:
    from compressvqa.data.pairs import RankBatch


@objectives.register("rank-pairs", takes="ranked pairs")
class RankPairsObjective:
    """Binary cross-entropy on which clip of a pair is better; the clips may have different references."""

    class Config(BaseModel):
        """Which comparisons count; the pairs themselves are set under `data`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        pairs: Literal["drawn", "all"] = Field(
            "drawn", description="learn from the pairs as drawn, or from any two clips of a batch whose order is known"
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def inputs(self, batch: RankBatch) -> tuple[Tensor, Tensor]:
        """The network's arguments: reference, distorted, each (2B, frames, 3, height, width), all a before all b."""
        return torch.cat([batch.reference_a, batch.reference_b]), torch.cat([batch.distorted_a, batch.distorted_b])

    def keys(self, batch: RankBatch) -> list[str]:
        """A name for each of the 2B clips; equal names mean equal clips."""
        return [*batch.keys_a, *batch.keys_b]

    def margins(self, scores: Tensor) -> Tensor:
        """score(a) - score(b), (B,), the logit of "a is better", from the (2B,) scores of `inputs`."""
        a, b = scores.chunk(2)
        return a - b

    def loss(self, scores: Tensor, batch: RankBatch) -> Tensor:
        """Binary cross-entropy of the margins against the probabilities, a mean weighted by the batch's weights; 0-d.

        Raises:
            TrainingError: `pairs` is "all" and the data set knows its pairs only.
        """
        if self.config.pairs == "all":
            preferred, weight = getattr(batch, "preferred", None), getattr(batch, "weight", None)
            if preferred is None or weight is None:
                raise TrainingError("the data set does not say how clips of different pairs compare",
                                    where="objective rank-pairs", hint="pairs: drawn")  # fmt: skip
            # Each two clips once; a clip and itself never.
            above, below = torch.triu_indices(len(scores), len(scores), 1, device=scores.device)
            margins = scores[above].float() - scores[below].float()
            return _weighted(margins, preferred[above, below], weight[above, below])
        margins = self.margins(scores).float()
        weight = getattr(batch, "weight", None)
        weight = None if weight is None else weight.diagonal(len(margins))
        return _weighted(margins, batch.better_a, weight)


def _weighted(margins: Tensor, preferred: Tensor, weight: Tensor | None) -> Tensor:
    loss = functional.binary_cross_entropy_with_logits(margins, preferred.to(margins), reduction="none")
    if weight is None:
        return loss.mean()
    weight = weight.to(loss)
    return (loss * weight).sum() / weight.sum().clamp_min(1e-6)
