"""What `compressvqa run --dry-run` prints: the plan of a recipe, without doing any of it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from compressvqa import registry
from compressvqa.recipe import Recipe


def describe(recipe: Recipe, out: Path | None = None) -> str:
    """The recipe as a plan: model, data and stages in order, each with its settings."""
    folder = out if out is not None else Path("runs") / recipe.name
    model = recipe.model
    lines = [
        f"{recipe.name}: {recipe.description}".rstrip(": "),
        f"run folder  {folder}"
        + ("  (holds a run: finished stages are kept)" if (folder / "recipe.yaml").exists() else ""),
        f"model       {model.name}, weights {model.weights or 'random'}  {_settings(model.options)}".rstrip(),
        f"            {registry.models[model.name].summary}",
        f"objective   {recipe.objective.kind}: {registry.objectives[recipe.objective.kind].summary}",
        f"data        {recipe.data.kind}: {_settings(_own(recipe.data, 'kind'))}",
    ]
    for position, stage in enumerate(recipe.stages, 1):
        lines.append(f"{position:>2}. {stage.name:<11} {stage.kind}: {registry.stages[stage.kind].summary}")
        lines.append(f"    {_settings(_own(stage, 'kind', 'name'))}")
    lines.append(f"then        evaluation of each stage, {folder / 'model'}, {folder / 'report.html'}")
    return "\n".join(lines)


def _own(config: BaseModel, *without: str) -> dict[str, object]:
    return {key: value for key, value in config.model_dump(mode="json").items() if key not in without}


def _settings(values: dict[str, object]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())
