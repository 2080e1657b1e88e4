"""What a run and an evaluation show at their end: tables, figures, report pages and the model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressvqa.files import write_text
from compressvqa.report.beside_runs import of_runs, with_runs
from compressvqa.report.card import model_card
from compressvqa.report.course import plot_course
from compressvqa.report.evaluation_page import evaluation_html
from compressvqa.report.evaluation_report import write_evaluation_report
from compressvqa.report.evaluation_table import accuracy_grid, evaluation_table, statistics_grids
from compressvqa.report.evaluation_tradeoff import plot_evaluation_tradeoff
from compressvqa.report.intervals import with_intervals
from compressvqa.report.measures import measures_of
from compressvqa.report.pareto import pareto_front
from compressvqa.report.results import Results, ResultsError, Row, check, inputs_title, load
from compressvqa.report.run_page import report_html
from compressvqa.report.run_table import plain_rows, result_table
from compressvqa.report.scatter import plot_scatter
from compressvqa.report.table import Table
from compressvqa.report.tradeoff import plot_tradeoff

__all__ = [
    "Results",
    "ResultsError",
    "Row",
    "Table",
    "accuracy_grid",
    "evaluation_html",
    "evaluation_table",
    "load",
    "model_card",
    "of_runs",
    "pareto_front",
    "plain_rows",
    "plot_course",
    "plot_evaluation_tradeoff",
    "plot_scatter",
    "plot_tradeoff",
    "report_html",
    "result_table",
    "statistics_grids",
    "with_intervals",
    "with_runs",
    "write_evaluation_report",
    "write_report",
]


def write_report(results: Mapping[str, Any], folder: str | Path, recipe_yaml: str | None = None) -> Path:
    """Writes report.html and, where accuracy was measured, tradeoff.svg, .png and .csv into a folder.

    Args:
        results: see `Results`; parts that are absent are left out of the page.
        folder: made where it is missing. Each file is written whole or not at all.
        recipe_yaml: the resolved recipe, shown at the end of the page.

    Returns:
        The path of report.html.

    Raises:
        ResultsError: the results hold no table.
    """
    check(results)
    folder, rows = Path(folder), results["table"]
    if measures_of(rows):
        n = rows[-1].get("n")
        plot_tradeoff(
            with_intervals(rows),
            folder / "tradeoff",
            label=results.get("label"),
            n=n if isinstance(n, int) else None,
            inputs=inputs_title(results),
        )
    path = folder / "report.html"
    write_text(path, report_html(results, recipe_yaml))
    return path
