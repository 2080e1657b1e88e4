"""The stage that trains a network until most of its weights are exactly zero."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field
from torch import nn

from compressvqa.pruning import density
from compressvqa.registry import sparsifiers, stages
from compressvqa.sparsity import DensityController, regularised_groups
from compressvqa.stages.base import StageContext, StageResult
from compressvqa.stages.train import TrainingConfig
from compressvqa.training.loop import Stateful


@stages.register("sparsify")
class SparsifyStage:
    """Trains on the objective plus lambda * ||weights||_1 with OBProx-SG (Feng et al., equation 1)."""

    class Config(TrainingConfig):
        """Settings of sparsity training."""

        sparsifier: str = Field("obprox-sg", description="a registered sparsifier")
        lr: float = Field(1e-3, gt=0, description="learning rate at its highest")
        lam: float = Field(1e-4, gt=0, description="lambda, weight of the L1 norm; overruled by a target density")
        target_density: float | None = Field(
            None, gt=0, lt=1, description="share of the regularised weights to leave; lambda is steered to it"
        )
        floor: float = Field(0.05, ge=0, lt=1, description="with a target: no layer is driven below this density")
        prox_share: float = Field(0.3, ge=0, le=1, description="share of the steps in the Prox-SG phase (OBProx-SG+)")
        options: dict[str, Any] = Field(default_factory=dict, description="further arguments of the sparsifier")

    def __init__(self, config: Config) -> None:
        self.config = config

    def run(self, network: nn.Module, context: StageContext) -> StageResult:
        """Trains the network in place; its figures hold the density of each layer."""
        config = self.config
        settings: dict[str, Any] = {
            "prox_steps": max(1, round(config.prox_share * config.steps)),
            "orthant_steps": math.inf,
            **config.options,
        }
        groups = regularised_groups(network, lam=config.lam)
        optimizer = sparsifiers[config.sparsifier].value(groups, lr=config.lr, lam=config.lam, **settings)
        state: dict[str, Stateful] = {}
        controller = None
        if config.target_density is not None:
            controller = DensityController(
                optimizer, config.target_density, total_steps=config.steps, floor=config.floor
            )
            state["controller"] = controller

        def after_step() -> dict[str, float]:
            if controller is None:
                return {}
            controller.step()
            return {"density": controller.density, "lam": controller.lam}

        config.fit(network, optimizer, context, after_step=after_step, state=state)
        figures: dict[str, Any] = {"steps": config.steps, "batch": config.batch}
        if controller is not None:
            landing = controller.finish()
            figures |= {
                "target_density": landing.target,
                "density_by_training": landing.before,
                "density_after_the_last_cut": landing.after,
                "largest_weight_cut": landing.largest,
                "lam_at_the_end": controller.lam,
                "without_gradient": controller.unreached,
            }
        layers = density(network)
        figures["density"] = {path: layer.density for path, layer in layers.items()}
        total = sum(layer.total for layer in layers.values())
        figures["overall_density"] = sum(layer.nonzero for layer in layers.values()) / total
        return StageResult(network, figures)
