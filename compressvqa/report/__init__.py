"""What a run shows at its end: the table, the trade-off plot, the report page and the model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressvqa.files import write_text
from compressvqa.report.card import model_card
from compressvqa.report.html import report_html
from compressvqa.report.results import Results, ResultsError, Row, check, inputs_title, load
from compressvqa.report.table import ResultTable, plain_rows, result_table
from compressvqa.report.measures import measures_of
from compressvqa.report.tradeoff import plot_tradeoff

__all__ = [
    "ResultTable",
    "Results",
    "ResultsError",
    "Row",
    "load",
    "model_card",
    "plain_rows",
    "plot_tradeoff",
    "report_html",
    "result_table",
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
            rows,
            folder / "tradeoff",
            label=results.get("label"),
            n=n if isinstance(n, int) else None,
            inputs=inputs_title(results),
        )
    path = folder / "report.html"
    write_text(path, report_html(results, recipe_yaml))
    return path
