"""The stage that puts STANet around a PQANet and trains it on opinion scores.

It is a stage and not just an objective with a dataset, because the costly part, the patch network's scores and features
of every clip, depends on the network: a dataset prepares its data before there is one, and `train` would run the frozen
patch network again at every step. So the clips are described once, as `distil` asks its teacher once, and a step trains
on descriptions. To train the patch network too, let a `train` stage on the same data follow: it sees pixels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from compressvqa.data.mos_pairs import MosPairSampler
from compressvqa.errors import DataError, RecipeError
from compressvqa.models import RankDVQASTANet, STANet
from compressvqa.registry import stages
from compressvqa.stages.base import StageContext, StageResult
from compressvqa.stages.descriptions import DescribedBatch, DescribedPairs, Descriptions
from compressvqa.stages.train import TrainingConfig
from compressvqa.training.optimizers import OptimizerChoice


@stages.register("pool", needs_labels=True)
class PoolStage:
    """Puts STANet around a PQANet and trains it, the PQANet frozen, on pairs of scored clips (RankDVQA, section 3)."""

    class Config(TrainingConfig):
        """Settings of pooling. With ``pooling: mean`` nothing is trained: the row to compare STANet's with."""

        steps: int = Field(1000, ge=0, description="number of training steps")
        clip_norm: float | None = Field(1.0, gt=0, description="largest norm of the gradient; null: not clipped")
        pooling: Literal["stanet", "mean"] = Field("stanet", description="what weighs the patches")
        features: tuple[int, int] | None = Field(
            None, description="stages of the extractor that STANet reads; null: the third and the last that is left"
        )
        options: dict[str, Any] = Field(
            default_factory=dict,
            description="further arguments of rankdvqa-stanet: hidden, patch, stride, patches_per_forward",
        )
        patches: int | None = Field(
            64, ge=2, description="patches of a clip that are described, drawn from all its blocks; null: all"
        )
        patches_per_step: int | None = Field(
            16, ge=2, description="of these, patches that a step sees, drawn anew each time; null: all"
        )
        optimizer: OptimizerChoice = Field(
            OptimizerChoice.model_construct(name="adamw", lr=1e-3), description="the optimiser"
        )

        @model_validator(mode="after")
        def _options_are_its(self) -> PoolStage.Config:
            known = {"hidden", "patch", "stride", "patches_per_forward"}
            if unknown := set(self.options) - known:
                raise ValueError(f"options: {min(unknown)!r} is none of {', '.join(sorted(known))}")
            return self

    data_kinds = ("mos-pairs",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def check(self, network: nn.Module, teacher: nn.Module) -> None:
        """Looks, before any data is prepared, whether STANet can be put around the network.

        Raises:
            CompressVQAError: the network has no such features, or an option is unknown.
        """
        config = self.config
        try:
            with torch.random.fork_rng(devices=[]):
                RankDVQASTANet.around(
                    network, stages=config.features, pooling=config.pooling, **_with_tuples(config.options)
                )
        except TypeError as error:
            raise RecipeError(f"an option that STANet does not take: {error}", where="options") from error

    def run(self, network: nn.Module, context: StageContext) -> StageResult:
        """Returns a `rankdvqa-stanet` around a copy of `network`; a copy of its PQANet, where it is one already."""
        config = self.config
        torch.manual_seed(context.seed)
        pooled = RankDVQASTANet.around(
            network, stages=config.features, pooling=config.pooling, **_with_tuples(config.options)
        )
        figures: dict[str, Any] = {"pooling": config.pooling, "stages_read": list(pooled.stages)}
        if pooled.pooling is None:
            return StageResult(pooled, figures)
        sampler = context.batches(config.batch)
        if not isinstance(sampler, MosPairSampler):
            raise DataError("the stage `pool` learns from scored clips", hint="data: {kind: mos-pairs, source: ...}")
        fabric = context.fabric()
        descriptions = Descriptions(
            sampler.clips, pooled, context.folder / "patches", patches=config.patches, seed=context.seed
        )
        descriptions.make(pooled, fabric.device)
        _fit_to_features(pooled.pooling, descriptions)
        task = _Task(pooled.pooling, _scale(descriptions) / getattr(context.objective.config, "scale", 1.0))
        pairs = DescribedPairs(sampler, descriptions, config.patches_per_step)

        def step_loss(model: nn.Module, batch: DescribedBatch) -> tuple[Tensor, dict[str, float]]:
            return context.objective.loss(model(batch.scores, batch.features, batch.there), batch), {}

        described = replace(context, batches=lambda _: pairs)
        config.fit(task, config.optimizer.build(task.parameters()), described, step_loss=step_loss, fabric=fabric)
        pooled.cpu()
        figures |= {
            "steps": config.steps,
            "batch": config.batch,
            "clips": len(sampler.clips),
            "patches": sum(len(descriptions.scores(index)) for index in range(len(sampler.clips))),
            "scale": float(task.cpu().scale.detach().exp()),
            **_look(task, descriptions),
        }
        return StageResult(pooled, figures)


class _Task(nn.Module):
    """STANet and the scale from patch scores to opinions, which is learnt along and not kept."""

    def __init__(self, stanet: STANet, scale: float) -> None:
        super().__init__()
        self.stanet = stanet
        self.scale = nn.Parameter(torch.tensor(scale).log())

    def forward(self, scores: Tensor, features: Tensor, there: Tensor) -> Tensor:
        """(N, P), (N, P, frames, channels, 4, 4) and (N, P) to (N,) opinions, up to a constant."""
        saliency = self.stanet.saliency(features.flatten(0, 1)).reshape(scores.shape).float()
        weights = saliency.masked_fill(~there, -torch.inf).softmax(dim=1)
        return self.scale.exp() * (weights * scores).sum(dim=1)


@torch.no_grad()
def _fit_to_features(stanet: STANet, descriptions: Descriptions) -> None:
    """Divides the first convolution's weights by the size of the features that it will read.

    Features of a trained PQANet can be a hundredth of what an initialisation expects: the weights of the patches then
    stay equal for hundreds of steps.
    """
    looked_at = np.linspace(0, len(descriptions.clips) - 1, min(32, len(descriptions.clips))).astype(int)
    squares = [float(descriptions.features(index).square().mean()) for index in looked_at]
    first = stanet.weigh[0]
    assert isinstance(first, nn.Conv3d)
    first.weight.div_(max(float(np.mean(squares)) ** 0.5, 1e-8))


def _scale(descriptions: Descriptions) -> float:
    """Opinion per unit of score by which mean pooling fits best; where that is nothing, the ratio of their spreads."""
    means = np.array([float(descriptions.scores(index).mean()) for index in range(len(descriptions.clips))])
    spread = max(float(means.std()), 1e-6)
    slope = float(np.mean((means - means.mean()) * descriptions.clips.opinions)) / spread**2
    return max(slope, 0.1 / spread)


@torch.inference_mode()
def _look(task: _Task, descriptions: Descriptions) -> dict[str, float]:
    """SROCC over the training clips, and over how large a share of the patches the weights are as good as spread."""
    from compressvqa.metrics import correlation

    task.cpu().eval()
    pooled, plain, shares = [], [], []
    for index in range(len(descriptions.clips)):
        scores = torch.from_numpy(descriptions.scores(index).copy())
        weights = task.stanet.saliency(descriptions.features(index)).softmax(dim=0)
        pooled.append(float((weights * scores).sum()))
        plain.append(float(scores.mean()))
        shares.append(float(1 / weights.square().sum()) / len(weights))
    opinions = descriptions.clips.opinions
    return {
        "srocc_on_training_clips": correlation(pooled, opinions, "none").srocc,
        "srocc_on_training_clips_of_the_mean": correlation(plain, opinions, "none").srocc,
        "effective_share_of_patches": float(np.mean(shares)),
    }


def _with_tuples(options: dict[str, Any]) -> dict[str, Any]:
    """YAML knows lists only."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
