"""`compressvqa report`: pages and figures of runs and evaluations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from compressvqa.cli.app import app
from compressvqa.errors import CompressVQAError


@app.command()
def report(run_folder: Annotated[Path, typer.Argument(help="A run folder with results.json.")]) -> None:
    """Write the report of a finished run again."""
    from compressvqa.report import write_report

    file, recipe = run_folder / "results.json", run_folder / "recipe.yaml"
    if not file.is_file():
        raise CompressVQAError("no results.json: the run is not finished", where=run_folder)
    print(write_report(json.loads(file.read_text()), run_folder, recipe.read_text() if recipe.exists() else ""))
