"""Many runs of a recipe with other settings, and which of them is worth its cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressvqa.errors import CompressVQAError, RecipeError
from compressvqa.executors import Unit
from compressvqa.files import write_json, write_text
from compressvqa.jobs.space import titles
from compressvqa.report import pareto_front, plot_tradeoff
from compressvqa.running.pipeline import run
from compressvqa.running.recipe import Recipe

RECIPES, TRIALS, DATA = "recipes", "trials", "data"


def trial_unit(
    recipe: str, overrides: Sequence[str], trial: Mapping[str, Any], out: Path, until: str | None = None
) -> Unit:
    """A run with some settings; named by the whole recipe that comes of them.

    Args:
        recipe: path or name of the recipe.
        overrides: settings that all trials share, as `--set` takes them.
        trial: {setting: value} of this one.
        out: folder of the sweep.
        until: the stage after which it ends, to go on later in the same folder; None: the last one.

    Raises:
        RecipeError: the recipe has faults with these settings, or no such stage before its last.
    """
    given = [*overrides, *(f"{key}={json.dumps(value)}" for key, value in trial.items())]
    loaded = Recipe.load(recipe, given)
    whole = unit = _named(loaded)
    if until is not None:
        if until == loaded.stages[-1].name:
            raise RecipeError(f"after {until!r} there is nothing left to stop", where="--stop-after",
                              hint="an earlier stage")  # fmt: skip
        loaded = loaded.up_to(until)
        unit = _named(loaded)
    file = out / RECIPES / f"{unit.name}.yaml"
    text = loaded.to_yaml()
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        write_text(file, text)
    arguments = {"recipe": file, "folder": out / TRIALS / whole.name, "data": out / DATA}
    return Unit(unit.name, arguments, titles([trial])[0])


def _named(recipe: Recipe) -> Unit:
    return Unit.named({"work": "sweep", "recipe": recipe.key(len(recipe.stages))}, {})


def run_trial(recipe: Path, folder: Path, data: Path) -> dict[str, Any]:
    """Runs a recipe, or goes on where it was stopped.

    Returns:
        {"row": the last row of its table, "model": the folder of its network}; {"failed": why} of a run that these
        settings can't end: the other trials go on.
    """
    try:
        found = run(recipe, out=folder, data_folder=data)
    except CompressVQAError as error:
        return {"failed": str(error)}
    return {"row": found.table[-1], "model": str(found.model)}


@dataclass(frozen=True)
class Swept:
    """What a sweep found.

    Args:
        rows: a row a trial that ended: "stage" (its settings in words), "trial" (the settings), "recipe", "model", size
            and accuracy.
        failed: {settings in words: why} of those that did not.
        stopped: {settings in words: why} of those that did not keep up.
        front: places in `rows` that no other beats, from the cheapest to the dearest.
        chosen: the cheapest on the front that is within reach of the best.
    """

    rows: list[dict[str, Any]]
    failed: dict[str, str]
    stopped: dict[str, str]
    front: list[int]
    chosen: dict[str, Any]


def weigh(
    trials: Sequence[Mapping[str, Any]], units: Sequence[Unit], results: Mapping[str, Any], *,
    accuracy: str, cost: str, within: float,
) -> Swept:  # fmt: skip
    """Weighs trials against each other.

    Args:
        trials: the settings of each.
        units: as `trial_unit` gives them.
        results: {name of a unit: what `run_trial` returned, with "stopped" where it was stopped early}.
        accuracy: key of the table to have much of.
        cost: key to have little of.
        within: how much less accuracy than the best may be chosen.

    Raises:
        CompressVQAError: no trial ended with both figures.
    """
    rows: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    stopped: dict[str, str] = {}
    for trial, unit, name in zip(trials, units, titles(trials), strict=True):
        found = results[unit.name]
        if "failed" in found:
            failed[name] = found["failed"]
            continue
        if "stopped" in found:
            stopped[name] = found["stopped"]
            continue
        facts = {"trial": dict(trial), "recipe": str(unit.arguments["recipe"]), "model": found["model"]}
        rows.append({**found["row"], "stage": name, "origin": None, **facts})
    front = pareto_front([(row.get(cost), row.get(accuracy)) for row in rows])
    if not front:
        why = next(iter(failed.values()), f"no run has {accuracy} and {cost}")
        raise CompressVQAError(f"none of {len(trials)} trials can be weighed ({why})", where="sweep")
    best = max(rows[place][accuracy] for place in front)
    chosen = next(rows[place] for place in front if rows[place][accuracy] >= best - within)
    return Swept(rows, failed, stopped, front, chosen)


def write_sweep(swept: Swept, out: Path, *, accuracy: str) -> list[Path]:
    """Writes sweep.json, chosen.yaml and the figure with the Pareto front; returns the paths."""
    write_json(out / "sweep.json", {
        "trials": swept.rows, "failed": swept.failed, "stopped": swept.stopped,
        "front": [swept.rows[place]["stage"] for place in swept.front], "chosen": swept.chosen,
    })  # fmt: skip
    write_text(out / "chosen.yaml", Path(swept.chosen["recipe"]).read_text(encoding="utf-8"))
    shown = [
        {key: value for key, value in row.items() if key not in ("trial", "recipe", "model")} for row in swept.rows
    ]
    return [
        out / "sweep.json",
        out / "chosen.yaml",
        *plot_tradeoff(shown, out / "tradeoff", accuracy=accuracy, front=True),
    ]
