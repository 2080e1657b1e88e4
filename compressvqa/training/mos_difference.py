"""The objective that RankDVQA's pooling is trained by: how much better is one clip than another?

Mean squared error between the difference of two clips' scores and that of their opinion scores (Feng et al., "RankDVQA:
Deep VQA based on Ranking-inspired Hybrid Training", arXiv 2202.08595, section 3). A difference leaves the scale's zero
open, so scores of different tests need no common one; its unit is the data set's, see `MosPairs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from compressvqa.registry import objectives

if TYPE_CHECKING:
    from compressvqa.data.mos_pairs import MosBatch


@objectives.register("mos-difference", takes="pairs of scored clips")
class MosDifferenceObjective:
    """Squared error between score differences and differences of opinion scores, for pairs of any two clips."""

    class Config(BaseModel):
        """Settings of the objective."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        scale: float = Field(
            1.0, gt=0, description="standard deviations of opinion that one unit of the network's score stands for"
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def inputs(self, batch: MosBatch) -> tuple[Tensor, ...]:
        """The network's arguments, (2B, frames, 3, height, width) each, all a before all b; no reference, if none."""
        distorted = torch.cat([batch.distorted_a, batch.distorted_b])
        if batch.reference_a is None or batch.reference_b is None:
            return (distorted,)
        return torch.cat([batch.reference_a, batch.reference_b]), distorted

    def keys(self, batch: MosBatch) -> list[str]:
        """A name for each of the 2B clips; equal names mean equal clips."""
        return [*batch.keys_a, *batch.keys_b]

    def margins(self, scores: Tensor) -> Tensor:
        """score(a) - score(b), (B,), from the (2B,) scores of `inputs`."""
        a, b = scores.chunk(2)
        return a - b

    def loss(self, scores: Tensor, batch: MosBatch) -> Tensor:
        """Mean squared error of `scale` times the margins against `difference`; 0-d."""
        margins = self.config.scale * self.margins(scores).float()
        return functional.mse_loss(margins, batch.difference.to(margins))
