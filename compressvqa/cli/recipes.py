"""`compressvqa recipes`: list, show, copy, check, schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressvqa.cli.app import Json, Overrides, RecipeName, recipes_app
from compressvqa.cli.output import print_json, print_names
from compressvqa.errors import CompressVQAError
from compressvqa.plurals import count


@recipes_app.command("list")
def recipes_list(as_json: Json = False) -> None:
    """List the recipes that ship with the package."""
    import yaml

    from compressvqa.running.recipe import shipped

    found = {
        name: " ".join(str(yaml.safe_load(path.read_text()).get("description", "")).split())
        for name, path in shipped().items()
    }
    if as_json:
        print_json([{"name": name, "description": said} for name, said in found.items()])
        return
    print_names(list(found.items()))


@recipes_app.command("show")
def recipes_show(
    recipe: RecipeName,
    overrides: Overrides = None,
    full: Annotated[bool, typer.Option("--full", help="Every default filled in.")] = False,
    as_json: Json = False,
) -> None:
    """Print a recipe."""
    from compressvqa.running.recipe import Recipe, find

    if as_json:
        print_json(Recipe.load(recipe, overrides or ()).model_dump(mode="json", exclude_defaults=not full))
        return
    print(Recipe.load(recipe, overrides or ()).to_yaml() if full or overrides else find(recipe).read_text(), end="")


@recipes_app.command("copy")
def recipes_copy(
    recipe: RecipeName,
    to: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; must not exist.")],
) -> None:
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
    recipe: RecipeName,
    overrides: Overrides = None,
    text_only: Annotated[
        bool, typer.Option("--text-only", help="Check what is written alone: no network is built, no file looked for.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a recipe: all faults of its text, with their lines; then its networks, data and stages, as `run` does.

    Large networks are built without their weights.
    """
    from compressvqa.running.preflight import preflight
    from compressvqa.running.recipe import Recipe

    checked = Recipe.load(recipe, overrides or ())
    if not text_only:
        preflight(checked, weights=False)
    stages = [stage.name for stage in checked.stages]
    if as_json:
        print_json({"recipe": recipe, "faults": [], "stages": stages})
        return
    print(f"{recipe}: no fault; {count(len(stages), 'stage')}: {', '.join(stages)}")


@recipes_app.command("schema")
def recipes_schema() -> None:
    """Print the JSON Schema of recipes, by which editors complete and check YAML."""
    from compressvqa.running.recipe import schema

    print_json(schema().model_json_schema())
