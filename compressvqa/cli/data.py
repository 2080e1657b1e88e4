"""`compressvqa data`: prepare training data, check data sets."""

from __future__ import annotations

from pathlib import Path

from compressvqa.cli.app import Overrides, data_app, print_json


@data_app.command("prepare")
def data_prepare(recipe: str, out: Path, overrides: Overrides = None) -> None:
    """Prepare the data of a recipe in a folder: give it to `run` as --data-folder."""
    from compressvqa import registry
    from compressvqa.progress import bar
    from compressvqa.recipe import Recipe

    choice = Recipe.load(recipe, overrides or ()).data
    dataset = registry.datasets[choice.kind].value(choice)
    for part in ("train", "validation"):
        with bar(f"data: {part}") as progress:
            examples = dataset.prepare(out / part, part=part, progress=progress)
        print_json({part: examples.summary()})
