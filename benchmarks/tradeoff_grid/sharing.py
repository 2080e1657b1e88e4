"""What rows share: stages that are equal to the last setting are run once, and the teacher is asked once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from compressvqa import registry
from compressvqa.running.pipeline import identity_of_data
from compressvqa.running.preflight import preflight
from compressvqa.running.recipe import Recipe, kind_of
from compressvqa.running.run_folder import RunFolder

ANSWERS = "teacher-scores"


def share(recipe: Recipe, run: Path, pool: Path, data: Path) -> list[str]:
    """Puts finished stages of other runs into a run's folder where the recipe up to them is the same.

    Files are linked, not copied; the run then says "done before" of these stages. Folders in which distillation keeps
    what the teacher said become links to one folder of the pool: rows see the same clips.

    Args:
        recipe: the recipe that is about to run.
        run: its folder.
        pool: folder of all runs.
        data: folder of the prepared data.

    Returns:
        names of the stages that were found.
    """
    found, identity = [], _identity(recipe, data)
    for index, config in enumerate(recipe.stages):
        stage = RunFolder(run).stage(recipe, index, identity)
        if stage.result() is None and (other := _finished(stage.path, pool)) is not None:
            shutil.rmtree(stage.path)
            shutil.copytree(other, stage.path, copy_function=os.link, symlinks=True)
            found.append(config.name)
        answers = stage.path / ANSWERS
        if config.kind == "distil" and not answers.exists():
            (pool / ANSWERS).mkdir(parents=True, exist_ok=True)
            answers.symlink_to((pool / ANSWERS).resolve(), target_is_directory=True)
    return found


def _finished(stage: Path, pool: Path) -> Path | None:
    """A finished stage of another run with the same key: made by an equal recipe up to it."""
    key = (stage / "key.txt").read_text()
    for other in sorted(pool.glob(f"*/stages/{stage.name}")):
        if other != stage and (other / "stage.json").exists() and (other / "key.txt").read_text() == key:
            return other
    return None


def _identity(recipe: Recipe, data: Path) -> dict[str, str]:
    """What a run of the recipe will tell its weights and data by."""
    dataset = registry.datasets[kind_of(recipe.data)].value(recipe.data)
    parts = {part: dataset.prepare(data / part, part=part) for part in ("train", "validation")}
    return preflight(recipe).identity | identity_of_data(parts)
