"""The ranking objective of RankDVQA: which of two distorted clips is better?

P(a better than b) = sigmoid(score(a) - score(b)), trained with binary cross-entropy against the label
(Feng et al., "RankDVQA: Deep VQA based on Ranking-inspired Hybrid Training", arXiv 2202.08595, section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional

from compressvqa.registry import objectives

if TYPE_CHECKING:
    from compressvqa.data.pairs import RankBatch


@objectives.register("rank-pairs")
class RankPairsObjective:
    """Binary cross-entropy on which clip of a pair is better; the clips may have different references."""

    class Config(BaseModel):
        """The ranking objective has no settings; the pairs are set under `data`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

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
        """Binary cross-entropy of the margins against `better_a`; 0-d."""
        margins = self.margins(scores).float()
        return functional.binary_cross_entropy_with_logits(margins, batch.better_a.to(margins))
