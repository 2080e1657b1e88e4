"""`compressvqa run`: a recipe to its report."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from compressvqa.cli.app import Json, Overrides, RecipeName, app
from compressvqa.cli.general import Resumable
from compressvqa.cli.output import print_json
from compressvqa.cli.places import check_ours
from compressvqa.errors import CompressVQAError


@app.command(cls=Resumable, short_help="Run a recipe to its report.")
def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Annotated[Optional[Path], typer.Option(help="Run folder; by default runs/NAME.")] = None,  # noqa: UP045
    resume: Annotated[bool, typer.Option(help="Go on in a folder that already holds a run.")] = True,
    data_folder: Annotated[Optional[Path], typer.Option(help="Keep prepared data here, shared by runs.")] = None,  # noqa: UP045
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and run nothing.")] = False,
    cluster: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="auto|ADDRESS", help="Share trainings out to workers of a Ray cluster (docs/cluster.md)."),
    ] = None,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Workers of the cluster; by default one for each GPU, else for each node."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a recipe to its report. Call it again after a stop: it goes on where it was.

    \b
    compressvqa run rankdvqa_mini --set data.sources=clips/
    compressvqa run rankdvqa_mini --set data.sources=clips/train --set data.validation=clips/val
    torchrun --nproc-per-node 4 -m compressvqa run rankdvqa_mini --set data.sources=clips/
    compressvqa run rankdvqa_mini --set data.sources=clips/ --cluster auto --workers 4
    """
    from compressvqa.running.recipe import Recipe

    _check_cluster(cluster, workers)
    checked = Recipe.load(recipe, overrides or ())
    folder = out if out is not None else Path("runs") / checked.name
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    if first:
        check_ours(folder, ("recipe.yaml", ".lock", ".ray"), what="a run")  # a run killed at once left its lock
        _refuse_another(folder, checked.name)
    if dry_run:
        from compressvqa.running.dry_run import describe, plan
        from compressvqa.running.preflight import preflight

        preflight(checked, weights=False)
        if as_json:
            print_json(plan(checked, folder, data_folder))
        else:
            print(describe(checked, folder, data_folder))
        return
    from compressvqa.report import result_table, with_intervals
    from compressvqa.running.pipeline import RunResult
    from compressvqa.running.pipeline import run as run_recipe

    console = Console()

    def tell(result: RunResult) -> None:  # before the report is drawn: a full disk must not lose the figures
        if as_json:
            print_json({"folder": result.folder, "model": result.model, "report": result.report, "table": result.table})
        else:
            console.print(result_table(with_intervals(result.table)))
        sys.stdout.flush()

    if cluster is not None:
        from compressvqa.running.on_ray import train_on_ray

        train_on_ray(
            recipe,
            overrides or (),
            out=folder,
            data_folder=data_folder,
            address=cluster,
            workers=workers,
            resume=resume,
        )
        resume = True
    result = run_recipe(checked, out=folder, resume=resume, data_folder=data_folder, tell=tell)
    if first and not as_json:
        console.print(f"model:  {result.model}\nreport: {result.report}", highlight=False, soft_wrap=True)


def _check_cluster(cluster: str | None, workers: int | None) -> None:
    if cluster == "local":
        raise CompressVQAError("processes of this machine train together by torchrun", where="--cluster local",
                               hint="torchrun --nproc-per-node 2 -m compressvqa run ...")  # fmt: skip
    if cluster is None and workers is not None:
        raise CompressVQAError("there is no cluster whose workers they would be", where=f"--workers {workers}",
                               hint="--cluster auto; or torchrun --nproc-per-node " + str(workers))  # fmt: skip


def _refuse_another(folder: Path, name: str) -> None:
    """A run of another recipe is not replaced by a typo: its stages would go."""
    import yaml

    try:
        held = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))["name"]
    except (OSError, yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError):
        return
    if held != name:
        raise CompressVQAError(f"holds a run of {held!r}, and this recipe is {name!r}", where=folder,
                               hint="another --out; or --set name=" + str(held))  # fmt: skip
