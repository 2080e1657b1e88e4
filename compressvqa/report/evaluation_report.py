"""Everything that an evaluation is shown as, written into one folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compressvqa.files import write_text
from compressvqa.report.beside_runs import of_runs, with_runs
from compressvqa.report.evaluation_page import evaluation_html
from compressvqa.report.evaluation_table import Format, evaluation_table
from compressvqa.report.evaluation_tradeoff import evaluation_field, plot_evaluation_tradeoff
from compressvqa.report.measures import measures_of
from compressvqa.report.scatter import plot_scatter
from compressvqa.results import Evaluation

TABLES: tuple[tuple[str, Format], ...] = (("table.md", "markdown"), ("table.tex", "latex"), ("table.csv", "csv"))


def write_evaluation_report(
    evaluation: Evaluation | Mapping[str, Any] | str | Path | None,
    folder: str | Path,
    *,
    runs: Sequence[str | Path] = (),
    teachers: Mapping[str, str] | None = None,
) -> list[Path]:
    """Writes the figures, the tables and the page of an evaluation.

    Written are tradeoff.svg, .png and .csv (where a model has both an SROCC and a complexity), scatter-model-NAME and
    scatter-data-NAME as .svg and .png (where scores of items are known), table.md, .tex and .csv, and report.html.

    Args:
        evaluation: what `compressvqa evaluate` wrote, or its path; None: only the runs, side by side.
        folder: made where it is missing. Each file is written whole or not at all.
        runs: run folders; the networks of their stages become further models, "RUN: STAGE". What they were judged on
            is other data unless both say that it is the same, and is then marked so everywhere.
        teachers: {student: teacher}, an arrow each in the trade-off figure.

    Returns:
        The paths, in the order of writing; report.html is the last.

    Raises:
        EvaluationError: the evaluation is missing or damaged.
        ResultsError: a run folder has no results.
    """
    found = of_runs(runs) if evaluation is None else with_runs(Evaluation.read(evaluation), runs)
    folder = Path(folder)
    paths: list[Path] = []
    if measures_of(evaluation_field(found).rows):
        paths += plot_evaluation_tradeoff(found, folder / "tradeoff", teachers=teachers)
    taken: set[str] = set()
    for dataset in found.datasets:
        stem = _file_name("scatter-data", dataset.name, taken)
        paths += plot_scatter(found, folder / stem, dataset=dataset.name)
    for model in found.models:
        stem = _file_name("scatter-model", model.name, taken)
        paths += plot_scatter(found, folder / stem, model=model.name)
    for name, form in TABLES:
        write_text(folder / name, evaluation_table(found, form))
        paths.append(folder / name)
    write_text(folder / "report.html", evaluation_html(found, teachers=teachers))
    return [*paths, folder / "report.html"]


def _file_name(kind: str, name: str, taken: set[str]) -> str:
    """A file name that every system takes and no other figure has, without regard to case.

    >>> _file_name("scatter-model", "vmaf_v0.6.1", set()), _file_name("scatter-data", "a/b <c>", {"scatter-data-a-b-c"})
    ('scatter-model-vmaf_v0-6-1', 'scatter-data-a-b-c-2')
    """
    stem = f"{kind}-{re.sub(r'[^A-Za-z0-9_]+', '-', name).strip('-')[:60] or 'unnamed'}"
    choice, count = stem, 1
    while choice.casefold() in taken:
        count += 1
        choice = f"{stem}-{count}"
    taken.add(choice.casefold())
    return choice
