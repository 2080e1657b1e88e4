"""`compressvqa report`: pages and figures of runs and evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from compressvqa.cli.app import Json, app
from compressvqa.cli.output import print_json
from compressvqa.cli.places import check_ours
from compressvqa.errors import CompressVQAError
from compressvqa.files import check_writable

EVALUATION, RESULTS = "evaluation.json", "results.json"


@app.command(short_help="Draw figures and pages of runs and evaluations.")
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders, and folders or files of an evaluation.")
    ],
    out: Annotated[Optional[Path], typer.Option(help="Folder for the figures; by default the first RUN.")] = None,  # noqa: UP045
    as_json: Json = False,
) -> None:
    """Draw what came out: of one run its report; of an evaluation, also beside runs, figures, tables and a page.

    \b
    compressvqa report runs/judged
    compressvqa report runs/a runs/b --out runs/both
    """
    from compressvqa.report import write_evaluation_report, write_report
    from compressvqa.report.results import load
    from compressvqa.untrusted import read_text

    evaluations = [path for path in map(_evaluation, runs) if path is not None]
    folders = [run for run in runs if _evaluation(run) is None]
    for folder in folders:
        if not (folder / RESULTS).is_file():
            raise CompressVQAError(f"no {RESULTS} and no {EVALUATION}: not finished, or no run", where=folder)
    if len(evaluations) > 1:
        raise CompressVQAError("reports are of one evaluation", where=evaluations[1],
                               hint="evaluate both data sets in one command: scores are kept")  # fmt: skip
    if not evaluations and len(folders) == 1 and out is None:
        (folder,) = folders
        check_writable(folder / "report.html")
        recipe = folder / "recipe.yaml"
        page = write_report(load(folder / RESULTS), folder, read_text(recipe) if recipe.exists() else "")
        if as_json:
            print_json({"written": [page]})
        else:
            print(page)
        return
    if not evaluations and out is None:
        raise CompressVQAError("figures of several runs need a folder", hint="--out FOLDER")
    place = out or evaluations[0].parent
    check_writable(place / "report.html")
    begun = ("tradeoff.svg", "scatter-data-*", "scatter-model-*")  # what a report that was killed left
    check_ours(place, ("report.html", EVALUATION, RESULTS, *begun), what="a report")
    written = write_evaluation_report(evaluations[0] if evaluations else None, place, runs=folders)
    if as_json:
        print_json({"written": written})
        return
    for path in written:
        print(path)


def _evaluation(path: Path) -> Path | None:
    """The file of an evaluation, None for anything else."""
    file = path / EVALUATION if path.is_dir() else path
    return file if file.name.endswith(".json") and file.is_file() and file.name != RESULTS else None
