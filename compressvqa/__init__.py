"""compressvqa: make deep video-quality networks small and fast, and prove what it cost.

The public verbs stand here; each is imported when it is first used, so that ``import compressvqa`` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from compressvqa import cost, metrics, sparsity
    from compressvqa.cost import profile
    from compressvqa.deploy.exporting import Exported, export
    from compressvqa.distillation import losses
    from compressvqa.errors import (
        CompressVQAError,
        DataError,
        MissingExtraError,
        PruneError,
        RecipeError,
        RegistryError,
        RuntimeRefusedError,
        TargetError,
        TrainingError,
        VerifyError,
        WeightsError,
    )
    from compressvqa.evaluation.evaluate import evaluate
    from compressvqa.models import PerFrame, WholeClip, create_model, example_inputs, list_models, load, save
    from compressvqa.pruning import Verification, density, density_ratios, prune, prune_depth, verify
    from compressvqa.results import Evaluation
    from compressvqa.running.pipeline import RunResult, run
    from compressvqa.running.recipe import Recipe
    from compressvqa.scoring import Score, score

_HOME = {
    "create_model": "compressvqa.models",
    "example_inputs": "compressvqa.models",
    "list_models": "compressvqa.models",
    "load": "compressvqa.models",
    "save": "compressvqa.models",
    "profile": "compressvqa.cost",
    "PerFrame": "compressvqa.models",
    "WholeClip": "compressvqa.models",
    "prune": "compressvqa.pruning",
    "prune_depth": "compressvqa.pruning",
    "density": "compressvqa.pruning",
    "Verification": "compressvqa.pruning",
    "verify": "compressvqa.pruning",
    "density_ratios": "compressvqa.pruning",
    "Evaluation": "compressvqa.results",
    "evaluate": "compressvqa.evaluation",
    "Exported": "compressvqa.deploy.exporting",
    "export": "compressvqa.deploy.exporting",
    "Recipe": "compressvqa.running.recipe",
    "RunResult": "compressvqa.running.pipeline",
    "run": "compressvqa.running.pipeline",
    "Score": "compressvqa.scoring",
    "score": "compressvqa.scoring",
}
_ERRORS = (
    "CompressVQAError",
    "DataError",
    "MissingExtraError",
    "PruneError",
    "RecipeError",
    "RegistryError",
    "RuntimeRefusedError",
    "TargetError",
    "TrainingError",
    "VerifyError",
    "WeightsError",
)
_PACKAGES = {
    "losses": "compressvqa.distillation.losses",
    "pruning": "compressvqa.pruning",
    "metrics": "compressvqa.metrics",
    "cost": "compressvqa.cost",
    "sparsity": "compressvqa.sparsity",
}
_REGISTRIES = {
    "register_model": "models",
    "register_loss": "losses",
    "register_sparsifier": "sparsifiers",
    "register_importance": "importances",
    "register_ratio_rule": "ratio_rules",
    "register_objective": "objectives",
    "register_dataset": "datasets",
    "register_mos_set": "mos_sets",
    "register_scorer": "scorers",
    "register_runtime": "runtimes",
    "register_stage": "stages",
}

__all__ = [
    "CompressVQAError",
    "DataError",
    "Evaluation",
    "Exported",
    "MissingExtraError",
    "PerFrame",
    "PruneError",
    "Recipe",
    "RecipeError",
    "RegistryError",
    "RunResult",
    "RuntimeRefusedError",
    "Score",
    "TargetError",
    "TrainingError",
    "Verification",
    "VerifyError",
    "WeightsError",
    "WholeClip",
    "cost",
    "create_model",
    "density",
    "density_ratios",
    "evaluate",
    "example_inputs",
    "export",
    "list_models",
    "load",
    "losses",
    "metrics",
    "profile",
    "prune",
    "prune_depth",
    "pruning",
    "register_dataset",
    "register_importance",
    "register_loss",
    "register_model",
    "register_mos_set",
    "register_objective",
    "register_ratio_rule",
    "register_runtime",
    "register_scorer",
    "register_sparsifier",
    "register_stage",
    "run",
    "save",
    "score",
    "sparsity",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _ERRORS:
        return getattr(importlib.import_module("compressvqa.errors"), name)
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(_PACKAGES[name])
    if name in _REGISTRIES:
        return getattr(importlib.import_module("compressvqa.registry"), _REGISTRIES[name]).register
    raise AttributeError(f"module 'compressvqa' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
