"""The stage that trains a network until most of its weights, or whole channels, are exactly zero."""

from __future__ import annotations

import difflib
import inspect
import math
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import nn

from compressvqa.errors import CompressVQAError, RecipeError
from compressvqa.models import also_of
from compressvqa.module_paths import modules_named
from compressvqa.pruning import density
from compressvqa.registry import sparsifiers, stages
from compressvqa.sparsity import BudgetController, DensityController, HalfSpace, regularised_groups
from compressvqa.sparsity.aim import Aim, aim_of
from compressvqa.stages.base import StageContext, StageResult
from compressvqa.stages.train import TrainingConfig
from compressvqa.training.loop import Stateful


@stages.register("sparsify", needs_labels=True, keeps_structure=True, whole_weights=True)
class SparsifyStage:
    """Trains until weights (OBProx-SG: Feng et al., equation 1) or channels (half-space, progressive) are zero."""

    class Config(TrainingConfig):
        """Settings of sparsity training."""

        sparsifier: str = Field("obprox-sg", description="a registered sparsifier")
        lr: float = Field(1e-3, gt=0, description="learning rate at its highest")
        lam: float = Field(1e-4, gt=0, description="lambda, weight of the norm; overruled by a target")
        target_density: float | None = Field(
            None, gt=0, lt=1, description="share of the regularised weights to leave; lambda is steered to it"
        )
        target_params: float | None = Field(
            None, gt=0, le=1, description="sparsifiers of channels: share of the parameters that is left when zeros go"
        )
        target_macs: float | None = Field(
            None, gt=0, le=1, description="sparsifiers of channels: share of the MACs that is left when zeros go"
        )
        target_channels: float | None = Field(
            None, gt=0, le=1, description="sparsifiers of channels: share of the channels to leave"
        )
        protect: tuple[str, ...] = Field((), description="sparsifiers of channels: layers whose channels all stay")
        floor: float = Field(
            0.05, ge=0, lt=1, description="with a target: no layer keeps less than this share of weights (or channels)"
        )
        prox_share: float = Field(0.3, ge=0, le=1, description="share of the steps in the Prox-SG phase (OBProx-SG+)")
        warmup_share: float = Field(
            0.1, ge=0, le=1, description="sparsifiers of channels: share of the steps before the first channel is zero"
        )
        hold: float = Field(
            0.15, ge=0, lt=1, description="with a target: share of the steps, at the end, in which the rest recovers"
        )
        options: dict[str, Any] = Field(default_factory=dict, description="further arguments of the sparsifier")

        @model_validator(mode="after")
        def _targets_fit(self) -> SparsifyStage.Config:
            try:
                takes = _parameters(self.sparsifier)
            except CompressVQAError as error:
                raise ValueError(str(error)) from error
            sizes = (self.target_params, self.target_macs, self.target_channels)
            if "channels" not in takes and (any(size is not None for size in sizes) or self.protect):
                raise ValueError(f"{self.sparsifier!r} works on weights: set target_density, and sizes in `prune`")
            if "channels" in takes and self.target_density is not None:
                raise ValueError(f"{self.sparsifier!r} works on channels: target_params, target_macs, target_channels")
            if self.target_channels is not None and (self.target_params or self.target_macs):
                raise ValueError("target_channels does not go with target_params or target_macs")
            if "widths" in takes and all(size is None for size in sizes):
                raise ValueError(f"{self.sparsifier!r} needs target_params, target_macs or target_channels")
            if self.warmup_share + self.hold >= 1:
                raise ValueError("warmup_share and hold leave no steps to make zeros in")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def check(self, network: nn.Module, teacher: nn.Module) -> None:
        """Looks, before any data is prepared, whether the sparsifier takes its options and `protect` names modules.

        Raises:
            RecipeError: an option that it does not know or take, or a path or pattern that matches nothing.
        """
        config = self.config
        for pattern in config.protect:
            modules_named(network, pattern, RecipeError, where="protect")
        taken = inspect.signature(sparsifiers[config.sparsifier].value).parameters
        anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
        for name in config.options if not anything else ():
            if name not in taken:
                near = difflib.get_close_matches(name, taken, n=1) or sorted(set(taken) - {"params", "lr", "lam"})
                raise RecipeError(
                    f"{config.sparsifier!r} has no option {name!r}", where="options", hint=", ".join(near)
                )
        try:
            if "channels" in taken:
                self._rehearse()
            else:
                self._of_weights(network)
        except CompressVQAError:
            raise
        except Exception as error:  # a sparsifier of the user's own may refuse in any way
            said = " ".join(str(error).split())
            raise RecipeError(f"{config.sparsifier!r} does not take these settings: {said}", where="options") from error

    def _rehearse(self) -> None:
        """Makes a sparsifier of channels for a network of three layers, as finding those of a large one takes long."""
        with torch.random.fork_rng(devices=[]):
            small = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1))
        aim = aim_of(small, (torch.zeros(1, 1, 2, 2),), target_channels=0.5)
        self._of_channels(small, aim, {name: value for name, value in self.config.options.items() if name != "widths"})

    def run(self, network: nn.Module, context: StageContext) -> StageResult:
        """Trains the network in place; its figures hold the density of each layer."""
        of_channels = "channels" in _parameters(self.config.sparsifier)
        figures: dict[str, Any] = {"steps": self.config.steps, "batch": self.config.batch}
        figures |= self._channels(network, context) if of_channels else self._weights(network, context)
        layers = density(network)
        figures["density"] = {path: layer.density for path, layer in layers.items()}
        total = sum(layer.total for layer in layers.values())
        figures["overall_density"] = sum(layer.nonzero for layer in layers.values()) / total
        return StageResult(network, figures)

    def _weights(self, network: nn.Module, context: StageContext) -> dict[str, Any]:
        config = self.config
        optimizer = self._of_weights(network)
        if config.target_density is None:
            config.fit(network, optimizer, context)
            return {}
        controller = DensityController(
            optimizer, config.target_density, total_steps=config.steps, floor=config.floor, hold=config.hold
        )

        def after_step() -> dict[str, float]:
            controller.step()
            return {"density": controller.density, "lam": controller.lam}

        config.fit(network, optimizer, context, after_step=after_step, state={"controller": controller})
        landing = controller.finish()
        return {
            "target_density": landing.target,
            "density_by_training": landing.before,
            "density_after_the_last_cut": landing.after,
            "largest_weight_cut": landing.largest,
            "lam_at_the_end": controller.lam,
            "without_gradient": controller.unreached,
        }

    def _of_weights(self, network: nn.Module) -> Any:
        """The sparsifier of weights, over a network's."""
        config = self.config
        settings: dict[str, Any] = {
            "prox_steps": max(1, round(config.prox_share * config.steps)),
            "orthant_steps": math.inf,
            **config.options,
        }
        groups = regularised_groups(network, lam=config.lam)
        return sparsifiers[config.sparsifier].value(groups, lr=config.lr, lam=config.lam, **settings)

    def _channels(self, network: nn.Module, context: StageContext) -> dict[str, Any]:
        config = self.config
        aim = aim_of(
            network,
            context.inputs,
            also=also_of(network, context.inputs),
            target_params=config.target_params,
            target_macs=config.target_macs,
            target_channels=config.target_channels,
            protect=config.protect,
        )
        channels, optimizer = aim.channels, self._of_channels(network, aim, config.options)
        controller = None
        if aim.used is not None and isinstance(optimizer, HalfSpace):
            controller = BudgetController(optimizer, aim.used, total_steps=config.steps, hold=config.hold)
        state: dict[str, Stateful] = {} if controller is None else {"controller": controller}

        def after_step() -> dict[str, float]:
            figures = {} if controller is None else {"budget_used": controller.step(), "lam": controller.lam}
            return {**figures, "zero_channels": int(channels.zeros().sum())}

        config.fit(network, optimizer, context, after_step=after_step, state=state)
        figures: dict[str, Any] = {}
        if controller is not None:
            landing = controller.finish()
            figures |= {
                "budget_used_by_training": landing.before,
                "channels_zeroed_by_the_last_cut": landing.zeroed,
                "largest_channel_cut": landing.largest,
                "lam_at_the_end": controller.lam,
            }
        gone = channels.removed(channels.zeros())
        names = [group.name for group in channels.groups]
        if aim.used is not None:
            figures["budget_used"] = aim.used(gone)
        return figures | {
            "channels": dict(zip(names, channels.counts.tolist(), strict=True)),
            "zero_channels": dict(zip(names, gone.tolist(), strict=True)),
            "left_out": channels.left_out,
        }

    def _of_channels(self, network: nn.Module, aim: Aim, options: dict[str, Any]) -> Any:
        """The sparsifier of channels, over a network's."""
        config = self.config
        warmup = round(config.warmup_share * config.steps)
        offered: dict[str, Any] = {
            "lam": config.lam,
            "widths": aim.plan.kept,
            "warmup_steps": warmup,
            "prune_steps": max(1, round((1 - config.hold) * config.steps) - warmup),
            "floor": config.floor,
        }
        takes = _parameters(config.sparsifier)
        settings = {name: value for name, value in offered.items() if name in takes} | options
        return sparsifiers[config.sparsifier].value(
            network.named_parameters(), lr=config.lr, channels=aim.channels, **settings
        )


def _parameters(sparsifier: str) -> set[str]:
    """Names of the settings that a sparsifier takes; one that takes `channels` makes channels zero."""
    return set(inspect.signature(sparsifiers[sparsifier].value).parameters)
