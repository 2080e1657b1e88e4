"""The recipe of a row: data and objective of a recipe that is given, stages built here."""

from __future__ import annotations

import copy
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

import compressvqa as cv
from compressvqa.running.recipe import schema
from compressvqa.stages import StageConfig, StageContext, StageResult
from tradeoff_grid.rows import CUTS, LOSSES, SPARSITY, Row

BATCH = 8
SPARSE_LR, DISTIL_LR = 1e-3, 2e-3
# Of a density controller: no layer keeps less than this share of its weights, or half of what is kept overall.
FLOOR = 0.05


class NotPossibleError(Exception):
    """A row can't be run here, and why."""


@dataclass(frozen=True)
class Setup:
    """What all rows have in common.

    Args:
        base: the recipe whose data, objective, clip and runtime they take.
        model: its model's name and options.
        teacher: folder of the trained network.
        second: folder of a second teacher, or None.
        sparse_steps, distil_steps: of the grid; a row without sparsity training distils for their sum.
        long: how many times as many steps the long rows take.
    """

    base: dict[str, Any]
    teacher: Path
    second: Path | None
    sparse_steps: int
    distil_steps: int
    long: int


def base_of(recipe: str, changes: list[str]) -> dict[str, Any]:
    """The data of a recipe with settings changed: whatever stages it has are left out."""
    known = cv.Recipe.load(recipe, changes).model_dump(mode="json")
    return {key: value for key, value in known.items() if key not in ("stages", "teacher", "unlabelled")}


def recipe_of(row: Row, setup: Setup) -> cv.Recipe:
    """The row's recipe.

    Raises:
        NotPossibleError: it needs what is not given, or what this version has not.
    """
    data = copy.deepcopy(setup.base)
    data |= {"name": row.name, "description": describe(row), "seed": row.seed}
    data["model"] = {**data["model"], "weights": str(setup.teacher)}
    teachers: dict[str, Any] = {"teacher": "teacher"}
    optimizer = {"name": "adamw", "lr": 5e-4}
    stages = [{"kind": "train", "name": "teacher", "steps": 0, "batch": BATCH, "optimizer": optimizer}]
    if row.second_teacher:
        if setup.second is None:
            raise NotPossibleError("no --second-teacher was given")
        config = json.loads((setup.second / "config.json").read_text())
        data["teacher"] = {"name": config["model"], "weights": str(setup.second)}
        stages.append({**stages[0], "name": "second", "network": "teacher"})
        teachers = {"teachers": ["teacher", "second"]}
    data["stages"] = stages + _compressed(row, setup, teachers)
    try:
        return _schema().model_validate(data)
    except ValidationError as error:
        raise NotPossibleError(f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from error


@functools.cache
def _schema() -> type[cv.Recipe]:
    return schema()  # takes a tenth of a second, and there are a hundred rows


def describe(row: Row) -> str:
    """The row in words."""
    words = [f"{row.budget} % of the MACs", SPARSITY[row.sparsity], f"cut {CUTS[row.cuts]}", f"losses: {row.losses}"]
    return "; ".join([*words, *([row.change] if row.change else []), f"seed {row.seed}"])


def _compressed(row: Row, setup: Setup, teachers: dict[str, Any]) -> list[dict[str, Any]]:
    """Sparsity, cut and distillation, `row.cuts` times; each time the same share of what is left goes."""
    longer = setup.long if row.part == "long" else 1
    sparse, distil = setup.sparse_steps * longer, setup.distil_steps * longer
    if row.sparsity == "none":  # as many steps in all as the others
        sparse, distil = 0, sparse + distil
    share = (row.budget / 100) ** (1 / row.cuts)
    stages: list[dict[str, Any]] = []
    for number in range(1, row.cuts + 1):
        # The last ones carry no number: rows of one and of several cuts see the same batches in the end.
        suffix = "" if number == row.cuts else f"-{number}"
        if sparse:
            stages.append(_sparsify(row, share, _part(sparse, number, row.cuts)) | {"name": f"sparse{suffix}"})
        stages.append(_prune(row, share) | {"name": f"pruned{suffix}"})
        if row.redrawn:
            stages.append({"kind": "redraw", "name": f"redrawn{suffix}"})
        stages.append(_distil(row, _part(distil, number, row.cuts), teachers) | {"name": f"distilled{suffix}"})
    return stages


def _part(steps: int, number: int, cuts: int) -> int:
    return steps * number // cuts - steps * (number - 1) // cuts


def _sparsify(row: Row, share: float, steps: int) -> dict[str, Any]:
    common = {"kind": "sparsify", "steps": steps, "batch": BATCH, "lr": SPARSE_LR, "options": {"base": "adamw"},
              "schedule": {"kind": "constant"}}  # fmt: skip
    if row.sparsity == "obprox":
        return {**common, "sparsifier": "obprox-sg", "target_density": share, "floor": min(FLOOR, share / 2)}
    return {**common, "sparsifier": "progressive", "target_macs": share}


def _prune(row: Row, share: float) -> dict[str, Any]:
    if row.sparsity == "progressive":
        return {"kind": "prune", "rule": "zeros", **dict(row.prune)}
    # As in recipes/rankdvqa_mini.yaml: the size of the few weights that OBProx-SG leaves says little of a channel.
    how = {"rule": "in", "importance": "activation"} if row.sparsity == "obprox" else {"rule": None}
    return {"kind": "prune", "target_macs": share, **how, **dict(row.prune)}


def _distil(row: Row, steps: int, teachers: dict[str, Any]) -> dict[str, Any]:
    optimizer = {"name": "adamax", "lr": DISTIL_LR, "betas": [0.9, 0.999]}
    schedule = {"kind": "cosine", "warmup": 0.05}
    return {"kind": "distil", **teachers, "steps": steps, "batch": BATCH, "optimizer": optimizer,
            "schedule": schedule, **LOSSES[row.losses], **dict(row.distil)}  # fmt: skip


@cv.register_stage("redraw")
class Redraw:
    """Draws all weights anew, as the constructor would: the widths stay, what was learnt goes."""

    class Config(StageConfig):
        """It has no settings."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def run(self, network: nn.Module, context: StageContext) -> StageResult:
        """Every layer with a `reset_parameters`, and last the network's own, if it has one, which knows better."""
        torch.manual_seed(context.seed)
        for module in (*list(network.modules())[1:], network):
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        return StageResult(network, {"redrawn": True})
