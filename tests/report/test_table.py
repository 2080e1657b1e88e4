"""The one table: the same figures in terminal, Markdown, page, text and for programs."""

import io
import re

from rich.console import Console

from compressvqa.report import plain_rows, result_table
from compressvqa.report.page import table_html
from compressvqa.report.summary import counted


def cells_of(markdown, stage):
    """The figures of a row."""
    row = next(line for line in markdown.splitlines() if line.startswith(f"| {stage} "))
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def test_ratios_are_shares_of_the_teacher(results):
    rows = plain_rows(results["table"])
    assert rows[0]["params_share"] == 1
    assert rows[3]["macs_share"] == results["table"][3]["macs"] / results["table"][0]["macs"]
    assert rows[3]["srocc_share"] == 0.8991 / 0.9312
    assert "latency_p90_ms_share" not in rows[3]
    assert rows[2]["n"] == 96


def test_every_form_shows_the_same_figures(results):
    table = result_table(results["table"])
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table)  # is a renderable itself
    terminal, markdown, text, page = console.export_text(), table.to_markdown(), table.to_text(), table_html(table)
    for figure in ("4.595", "0.454", "9.9%", "10.729", "1.474", "13.7%", "38.4", "0.8991", "96.6%", "0.9120"):
        for form in (terminal, markdown, text, page):
            assert figure in form
    assert "…" not in terminal, "80 columns cut a figure"
    assert len({line.count("|") for line in markdown.splitlines() if line.startswith("|")}) == 1


def test_what_was_not_measured_is_not_shown():
    rows = [{"stage": "teacher", "params": 100, "srocc": float("nan")}, {"stage": "mini", "params": 10, "plcc": None}]
    table = result_table(rows)
    assert table.heads == ("Stage", "Params (M)")
    rows[1]["srocc"] = 0.5
    markdown = result_table(rows).to_markdown()
    assert cells_of(markdown, "teacher") == ["0.000", "-"]
    assert cells_of(markdown, "mini")[1] == "0.5000", "no share of a figure that the teacher lacks"


def test_agreement_with_the_first_stage_is_shown_where_it_was_measured(results):
    assert "Agreement" not in result_table(results["table"]).to_text()
    for row in results["table"][1:]:
        row |= {"agreement_srocc": 0.9871, "agreement_plcc": 0.9765}
    table = result_table(results["table"])
    markdown = table.to_markdown()
    assert cells_of(markdown, "teacher")[-2:] == ["-", "-"], "the first stage is what others are compared with"
    for stage in ("sparse", "pruned", "distilled"):
        assert cells_of(markdown, stage)[-2:] == ["0.9871", "0.9765"], "it is no share of anything"
    assert "agreement_srocc_share" not in plain_rows(results["table"])[1]
    assert "first stage's network" in counted(results)["agreement_srocc"]


def test_a_share_of_a_negative_correlation_is_not_shown():
    rows = [{"stage": "teacher", "srocc": -0.1}, {"stage": "mini", "srocc": 0.9}]
    assert "%" not in result_table(rows).to_text()


def test_one_row_needs_no_shares(results):
    assert "%" not in result_table(results["table"][:1]).to_text()


def test_names_can_hold_markup(results):
    rows = [{**results["table"][0], "stage": "<b>[red]a|b"}]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(result_table(rows))
    assert "<b>[red]a|b" in console.export_text()
    assert "&lt;b&gt;[red]a|b" in table_html(result_table(rows))
    assert "&lt;b>[red]a\\|b" in result_table(rows).to_markdown()


def test_html_is_balanced(results):
    page = table_html(result_table(results["table"]))
    for tag in ("table", "thead", "tbody", "tr", "th", "td", "small"):
        assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag
