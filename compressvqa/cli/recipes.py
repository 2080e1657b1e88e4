"""`compressvqa recipes`: list, show, copy, check, schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressvqa.cli.app import Overrides, print_json, recipes_app
from compressvqa.errors import CompressVQAError


@recipes_app.command("list")
def recipes_list() -> None:
    """List the recipes that ship with the package."""
    import yaml

    from compressvqa.running.recipe import shipped

    for name, path in shipped().items():
        print(f"{name:<24} {' '.join(str(yaml.safe_load(path.read_text()).get('description', '')).split())}")


@recipes_app.command("show")
def recipes_show(
    recipe: str,
    overrides: Overrides = None,
    full: Annotated[bool, typer.Option(help="Every default filled in.")] = False,
) -> None:
    """Print a recipe."""
    from compressvqa.running.recipe import Recipe, find

    print(Recipe.load(recipe, overrides or ()).to_yaml() if full or overrides else find(recipe).read_text(), end="")


@recipes_app.command("copy")
def recipes_copy(recipe: str, to: Annotated[Path, typer.Argument(help="File to write; must not exist.")]) -> None:
    """Copy a recipe that ships, to change it."""
    from compressvqa.running.recipe import find

    text = find(recipe).read_text(encoding="utf-8")
    try:
        with to.open("x", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise CompressVQAError(f"can't be written: {error.strerror or error}", where=to) from error
    print(to)


@recipes_app.command("check")
def recipes_check(
    recipe: str,
    overrides: Overrides = None,
    text_only: Annotated[
        bool, typer.Option("--text-only", help="Check what is written alone: no network is built, no file looked for.")
    ] = False,
) -> None:
    """Check a recipe: all faults of its text, with their lines; then its networks, data and stages, as `run` does.

    Large networks are built without their weights.
    """
    from compressvqa.running.preflight import preflight
    from compressvqa.running.recipe import Recipe

    checked = Recipe.load(recipe, overrides or ())
    if not text_only:
        preflight(checked, weights=False)
    print(f"{recipe}: no fault; {len(checked.stages)} stages: {', '.join(stage.name for stage in checked.stages)}")


@recipes_app.command("schema")
def recipes_schema() -> None:
    """Print the JSON Schema of recipes, by which editors complete and check YAML."""
    from compressvqa.running.recipe import schema

    print_json(schema().model_json_schema())
