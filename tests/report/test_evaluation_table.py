"""The tables of an evaluation in every form: the same figures, each name escaped, nothing made up."""

import copy
import csv
import io
import re

import pytest
from report.made_up_evaluation import DATASETS, made_up_evaluation, without_figures
from rich.console import Console

from compressvqa.errors import CompressVQAError
from compressvqa.report import accuracy_grid, evaluation_table, statistics_grids
from compressvqa.report.page import table_html
from compressvqa.results import Evaluation

EVIL = "<b>a&b_100%|{$x^2}\\ ~é 視 [red]#"


@pytest.fixture
def evaluation():
    return made_up_evaluation(items=False)


def row_of(grid, name):
    row = next(row for row in grid.rows if row[0].text == name)
    return dict(zip(grid.heads, row, strict=True))


def test_the_form_of_table_one(evaluation):
    grid = accuracy_grid(Evaluation.read(evaluation))
    assert grid.heads[: 1 + len(DATASETS)] == ("Model", *DATASETS)
    mini, teacher = row_of(grid, "rankdvqa-mini"), row_of(grid, "rankdvqa")
    assert (mini["NFLX"].text, mini["NFLX"].notes) == (".88 (0)", ("[.84, .92]",))
    assert teacher["NFLX"].text == ".94", "the baseline is not compared with itself"
    assert (mini["Overall"].text, mini["Retention"].text) == (".85", "95.0%")
    assert (mini["MACs, conv & linear (G)"].text, mini["Params (M)"].text) == ("1.457", "0.455")
    assert row_of(grid, "PSNR")["Params (M)"].text == "-"
    assert row_of(grid, "VMAF 0.6.1")["ladders (proxy: VMAF 0.6.1)"].text == "the label"


def test_the_best_of_a_column(evaluation):
    grid = accuracy_grid(Evaluation.read(evaluation))
    for head in (*DATASETS, "Overall"):
        best = [row[0].text for row in grid.rows if row[grid.heads.index(head)].best]
        assert ("DISTS" if head == "NFLX-P" else "rankdvqa") in best, head
        shown = {row_of(grid, name)[head].text.split()[0] for name in best}
        assert len(shown) == 1, "all that look like the best are bold"
    statistics = statistics_grids(Evaluation.read(evaluation))[0]
    assert row_of(statistics, "rankdvqa")["RMSE"].best, "the lowest error"
    assert not any(row[statistics.heads.index("OR, 5 par.")].best for row in statistics.rows), "all are alike"


def test_figures_that_look_alike_are_all_the_best(evaluation):
    evaluation["results"][1]["srocc"] = evaluation["results"][0]["srocc"] + 1e-3
    grid = accuracy_grid(Evaluation.read(evaluation))
    assert [row[0].text for row in grid.rows if row[1].best] == ["rankdvqa", "rankdvqa-mini"]


def test_captions_say_what_was_counted_and_on_what(evaluation):
    caption = accuracy_grid(Evaluation.read(evaluation)).caption
    for words in (
        "F-test at 5 %", "better than rankdvqa", "plain mean over the 8 data sets with viewers' scores",
        "share of rankdvqa's Overall", "12 frames of 256x256", "NFLX: DMOS, 70 items of 6 references",
        "ladders: VMAF 0.6.1 (a proxy, no human scores)", "multiply-accumulate counts once",
    ):  # fmt: skip
        assert words in caption, words
    statistics = statistics_grids(Evaluation.read(evaluation))[-1].caption
    assert "95 % confidence intervals, bootstrap over contents" in statistics
    assert "VMAF 0.6.1 is this proxy's label itself" in statistics
    evaluation["models"][0]["inputs"] = "1 frame of 64x64"
    assert "But 1 frame of 64x64 for rankdvqa" in accuracy_grid(Evaluation.read(evaluation)).caption


def test_all_forms_show_the_same_figures(evaluation):
    found = Evaluation.read(evaluation)
    console = Console(width=240, record=True, file=io.StringIO())
    for grid in (accuracy_grid(found), *statistics_grids(found)):
        console.print(grid)
    terminal = console.export_text()
    html = "".join(table_html(grid) for grid in (accuracy_grid(found), *statistics_grids(found)))
    forms = [evaluation_table(evaluation, form) for form in ("markdown", "text", "latex")]
    for figure in (".88 (0)", ".85", "10.731", "[.91, .96]", "6.862", ".07"):
        for form in (*forms, terminal, html):
            assert figure in form, figure


@pytest.mark.parametrize("width", [80, 120])
def test_a_narrow_terminal_gets_the_columns_in_parts_and_whole_figures(evaluation, width):
    grid = accuracy_grid(Evaluation.read(evaluation))
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(grid)
    terminal = console.export_text()
    assert all(len(line) <= width for line in terminal.splitlines())
    assert terminal.count("rankdvqa-mini") > 1, "the models are named again"
    assert "…" not in terminal
    for row in grid.rows:
        for entry in row:
            assert entry.text in terminal


def test_columns_of_the_source_line_up(evaluation):
    evaluation["models"][1]["name"] = "視覚"
    for line in evaluation["results"]:
        line["model"] = "視覚" if line["model"] == "rankdvqa-mini" else line["model"]
    from rich.cells import cell_len

    table = evaluation_table(evaluation).split("\n\n")[1].splitlines()
    assert len({cell_len(line) for line in table}) == 1
    assert len({line.count("|") for line in table}) == 1


def test_csv_is_for_programs(evaluation):
    lines = list(csv.DictReader(io.StringIO(evaluation_table(evaluation, "csv"))))
    of = lambda model, data: next(line for line in lines if (line["model"], line["dataset"]) == (model, data))
    mini = of("rankdvqa-mini", "MCL-V")
    assert float(mini["srocc"]) == 0.7592
    assert (mini["n"], mini["f_test"], mini["kind"], mini["params"]) == ("96", "-1", "human", "455000")
    assert of("psnr", "NFLX")["params"] == "", "what was not measured is empty"
    assert float(of("rankdvqa", "Overall")["srocc"]) == pytest.approx(0.8972, abs=5e-5)
    assert of("rankdvqa", "ladders")["kind"] == "proxy"
    assert len(lines) == 13 * 9 + 13


def renamed(evaluation, name):
    changed = copy.deepcopy(evaluation)
    changed["models"][1]["name"] = name
    changed["datasets"][2]["name"] = name
    for line in changed["results"]:
        line["model"] = name if line["model"] == "rankdvqa-mini" else line["model"]
        line["dataset"] = name if line["dataset"] == "BVI-HD" else line["dataset"]
    return changed


def test_latex_is_balanced_and_escaped(evaluation):
    text = evaluation_table(renamed(evaluation, EVIL), "latex")
    bare = re.sub(r"\\[\\&%$#_{}~^]", "", text.replace(r"\\", "")).splitlines()
    opened = []
    for line in bare:
        if line.startswith("%"):
            continue
        opened += re.findall(r"\\begin\{(.*?)\}", line)
        for name in re.findall(r"\\end\{(.*?)\}", line):
            assert opened.pop() == name
        assert not re.search(r"[#$^_~<>|]", line), line
    assert opened == []
    code = "\n".join(line for line in bare if not line.startswith("%"))
    depth = 0
    for letter in code.replace("{%\n", "{\n"):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0
    tables = re.findall(r"\\begin\{tabular\}\{(l+r*)\}(.*?)\\end\{tabular\}", text, flags=re.DOTALL)
    assert len(tables) == 1 + 9
    for columns, body in tables:
        for row in re.findall(r"^    (?!\\toprule|\\midrule|\\bottomrule)(.*) \\\\$", body, flags=re.MULTILINE):
            assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1, row
    assert r"\textless{}b\textgreater{}a\&b\_100\%\textbar{}\{\$x\textasciicircum{}2\}\textbackslash{}" in text
    assert r"\textbf{.94}" in text


def test_names_can_hold_markup(evaluation):
    changed = renamed(evaluation, EVIL)
    grid = accuracy_grid(Evaluation.read(changed))
    assert "&lt;b&gt;a&amp;b_100%" in table_html(grid)
    assert "<b>a" not in table_html(grid)
    markdown = evaluation_table(changed)
    assert "&lt;b>a&b_100%\\|{$x^2}" in markdown
    assert len({line.count("|") - line.count("\\|") for line in markdown.split("\n\n")[1].splitlines()}) == 1
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(grid)
    assert "[red]" in console.export_text()
    lines = csv.DictReader(io.StringIO(evaluation_table(changed, "csv")))
    assert EVIL in {line["model"] for line in lines}


def test_every_figure_may_be_missing(evaluation):
    for form in ("markdown", "latex", "csv", "text"):
        assert "rankdvqa" in evaluation_table(without_figures(evaluation), form)
    only_names = {"datasets": [{"name": "d"}], "models": [{"name": "m"}]}
    assert "| m " in evaluation_table(only_names)
    assert "m" in evaluation_table(only_names, "csv")


def test_an_unknown_format(evaluation):
    with pytest.raises(CompressVQAError, match="no table of format 'word'"):
        evaluation_table(evaluation, "word")


def test_agreement_with_the_teacher_is_shown_where_it_was_measured(evaluation):
    assert "Agreement" not in evaluation_table(evaluation), "no column of what nobody measured"
    for line in evaluation["results"]:
        if line["model"] == "rankdvqa-mini":
            line |= {"agreement_srocc": 0.95 + 0.008 * (line["dataset"] == "NFLX"), "agreement_plcc": 0.9,
                     "agreement_mae": 0.125}  # fmt: skip
    grid = accuracy_grid(Evaluation.read(evaluation))
    assert row_of(grid, "rankdvqa-mini")["Agreement"].text == ".95", "the mean over the eight data sets"
    assert row_of(grid, "rankdvqa")["Agreement"].text == row_of(grid, "PSNR")["Agreement"].text == "-"
    assert "raw scores with those of rankdvqa on the same items, the plain mean" in grid.caption
    first = statistics_grids(Evaluation.read(evaluation))[0]
    line = row_of(first, "rankdvqa-mini")
    heads = ("Agreement SROCC", "Agreement PLCC", "Mean difference")
    assert [line[head].text for head in heads] == [".96", ".90", "0.125"]
    assert "Pearson's, without a fit" in first.caption and "on the scale of rankdvqa" in first.caption
    lines = list(csv.DictReader(io.StringIO(evaluation_table(evaluation, "csv"))))
    mini = next(line for line in lines if (line["model"], line["dataset"]) == ("rankdvqa-mini", "MCL-V"))
    assert (mini["agreement_srocc"], mini["agreement_mae"]) == ("0.95", "0.125")
