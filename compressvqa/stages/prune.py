"""The stage that turns density into fewer channels."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import nn

from compressvqa.pruning import density, density_ratios, prune
from compressvqa.registry import importances, stages
from compressvqa.stages.base import StageConfig, StageContext, StageResult


@stages.register("prune")
class PruneStage:
    """Removes channels, each layer by its density, and proves that the rest computes the same (Feng et al., II-A)."""

    class Config(StageConfig):
        """Settings of channel pruning."""

        rule: str | None = Field("in", description="a registered ratio rule: density to share kept; null: uniform")
        target_params: float | None = Field(None, gt=0, le=1, description="share of the parameters to keep, at most")
        target_macs: float | None = Field(None, gt=0, le=1, description="share of the MACs to keep, at most")
        importance: str = Field("l1", description="a registered importance: which channels of a layer stay")
        protect: tuple[str, ...] = Field((), description="module path patterns whose channels all stay")
        round_to: int = Field(1, ge=1, description="widths are rounded to a multiple of this")
        gradient_batches: int = Field(8, ge=1, description="batches that an importance like 'taylor' sees gradients of")
        batch: int = Field(8, ge=1, description="pairs (or clips) in such a batch")

    def __init__(self, config: Config) -> None:
        self.config = config

    def run(self, network: nn.Module, context: StageContext) -> StageResult:
        """Returns a new, smaller network; its figures say what was removed, and how exactly it matches."""
        config = self.config
        network.zero_grad(set_to_none=True)
        if importances[config.importance].facts.get("gradients"):
            self._take_gradients(network, context)
        ratios = None if config.rule is None else density_ratios(network, config.rule, inputs=context.inputs)
        pruned = prune(
            network,
            context.inputs,
            ratios=ratios,
            target_macs=config.target_macs,
            target_params=config.target_params,
            importance=config.importance,
            protect=config.protect,
            round_to=config.round_to,
            seed=context.seed,
        )
        removed = pruned.removed
        widths = _widths(network)
        figures: dict[str, Any] = {
            "rule": config.rule,
            "max_error": pruned.max_error,
            "dead": list(pruned.dead),
            "removed": {path: len(channels) for path, channels in removed.items()},
            "widths_before": {path: widths[path] for path in removed if path in widths},
            "density": {path: layer.density for path, layer in density(network).items()},
            "plan": str(pruned.plan),
        }
        return StageResult(pruned.model, figures)

    def _take_gradients(self, network: nn.Module, context: StageContext) -> None:
        """Sums the objective's gradients over some batches, as `Parameter.grad`."""
        objective, batches = context.objective, context.batches(self.config.batch)
        network.eval()  # dropout would only add noise
        for step in range(self.config.gradient_batches):
            batch = batches.batch_at(step)
            objective.loss(network(*objective.inputs(batch)), batch).backward()


def _widths(network: nn.Module) -> dict[str, int]:
    names = ("out_channels", "out_features")
    return {
        path: int(getattr(module, name))
        for path, module in network.named_modules()
        for name in names
        if isinstance(getattr(module, name, None), int)
    }
