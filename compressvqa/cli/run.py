"""`compressvqa run`: a recipe to its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from compressvqa.cli.app import Json, Overrides, app, print_json, resumable


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a recipe that ships.")],
    overrides: Overrides = None,
    out: Annotated[Optional[Path], typer.Option(help="Run folder; by default runs/NAME.")] = None,  # noqa: UP045
    resume: Annotated[bool, typer.Option(help="Go on in a folder that already holds a run.")] = True,
    data_folder: Annotated[Optional[Path], typer.Option(help="Keep prepared data here, shared by runs.")] = None,  # noqa: UP045
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and run nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run a recipe to its report. Call it again after a stop: it goes on where it was.

    Example: compressvqa run rankdvqa_mini --set data.sources=clips/train --set data.validation=clips/val
    """
    from compressvqa.running.recipe import Recipe

    checked = Recipe.load(recipe, overrides or ())
    if dry_run:
        from compressvqa.running.dry_run import describe
        from compressvqa.running.preflight import preflight

        preflight(checked, weights=False)
        print(describe(checked, out))
        return
    from compressvqa.report import result_table, with_intervals
    from compressvqa.running.pipeline import run as run_recipe

    with resumable():
        result = run_recipe(checked, out=out, resume=resume, data_folder=data_folder)
    if as_json:
        print_json({"folder": result.folder, "model": result.model, "report": result.report, "table": result.table})
        return
    console = Console()
    console.print(result_table(with_intervals(result.table)))
    console.print(f"model:  {result.model}\nreport: {result.report}", highlight=False, soft_wrap=True)
