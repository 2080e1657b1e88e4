"""What `compressvqa run --dry-run` prints: the plan of a recipe, without doing any of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from compressvqa import registry
from compressvqa.models.factory import entry_of
from compressvqa.running.recipe import ModelChoice, Recipe, kind_of


def plan(recipe: Recipe, out: Path | None = None, data_folder: Path | None = None) -> dict[str, Any]:
    """What `describe` says, as JSON would hold it: settings that are the defaults are left out."""
    folder = out if out is not None else Path("runs") / recipe.name
    chosen = recipe.model_dump(mode="json", exclude_defaults=True)
    return {
        "name": recipe.name,
        "description": recipe.description,
        "folder": folder,
        "holds_a_run": (folder / "recipe.yaml").exists(),
        "data_folder": data_folder or folder / "data",
        "networks": {name: {"name": one.registered, "weights": one.weights} for name, one in recipe.networks().items()},
        "objective": chosen.get("objective"),
        "data": chosen.get("data"),
        "unlabelled": chosen.get("unlabelled"),
        "stages": [
            {
                "kind": stage.kind,  # type: ignore[attr-defined]  # every registered one has it
                "name": stage.name,
                **stage.model_dump(mode="json", exclude_defaults=True),
            }
            for stage in recipe.stages
        ],
        "model": folder / "model",
        "report": folder / "report.html",
    }


def describe(recipe: Recipe, out: Path | None = None, data_folder: Path | None = None) -> str:
    """The recipe as a plan: model, data and stages in order, each with the settings that are not the defaults."""
    folder = out if out is not None else Path("runs") / recipe.name
    held = "  (holds a run: finished stages are kept)" if (folder / "recipe.yaml").exists() else ""
    objective = registry.objectives[kind_of(recipe.objective)]
    lines = [
        f"{recipe.name}: {recipe.description}".rstrip(": "),
        f"run folder  {folder}{held}",
        *([] if data_folder is None else [f"data folder {data_folder}"]),
        _network("model", recipe.model),
        *(_network(name, choice) for name, choice in recipe.networks().items() if name != "model"),
        f"objective   {kind_of(recipe.objective)}: {objective.summary}",
        f"data        {kind_of(recipe.data)}: {registry.datasets[kind_of(recipe.data)].summary}",
        *_settings(recipe.data),
    ]
    if recipe.unlabelled is not None:
        kind = kind_of(recipe.unlabelled)
        lines += [f"unlabelled  {kind}: {registry.datasets[kind].summary}", *_settings(recipe.unlabelled)]
    for position, stage in enumerate(recipe.stages, 1):
        lines.append(f"{position:>2}. {stage.name:<11} {kind_of(stage)}: {registry.stages[kind_of(stage)].summary}")
        lines += _settings(stage)
    lines.append(f"then        each stage is evaluated; {folder / 'model'}, {folder / 'report.html'}")
    lines.append("Settings that are the defaults are not shown: `compressvqa recipes show RECIPE --full` has all.")
    return "\n".join(lines)


def _network(role: str, choice: ModelChoice) -> str:
    name = choice.registered
    return f"{role:<11} {name}, weights {choice.weights or 'random'}: {entry_of(name).summary}"


def _settings(config: BaseModel) -> list[str]:
    chosen = config.model_dump(mode="json", exclude_defaults=True, exclude={"kind", "name"})
    return [f"              {key}: {json.dumps(value)}" for key, value in chosen.items()]
