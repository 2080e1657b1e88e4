"""The page: one well-formed file without network, everything escaped, nothing faked."""

import re
from html.parser import HTMLParser

import pytest

from compressvqa.report import ResultsError, load, report_html, write_report

VOID = {"meta", "br", "wbr", "link", "img", "hr"}
EVIL = "<script>alert('x')</script>\"&"


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def page(results):
    return Page(report_html(results, "version: 1\nname: rankdvqa_mini\n"))


def test_one_file_without_network(page):
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert name not in ("src", "srcset", "onload", "onclick"), (tag, name)
        if name in ("href", "xlink:href"):
            assert value.startswith("#")
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in (value or ""))
    assert policy.startswith("default-src 'none'")


def test_no_outside_address_but_namespaces(results):
    addresses = set(re.findall(r"https?://[^\"'\s<)]+", report_html(results)))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_all_parts_are_there(page):
    for words in (
        "9.9% of the parameters", "3.9 times as fast", "SROCC against VMAF 0.6.1 on 96 validation clips went from",
        "Complexity against accuracy", "extractor. stages. 0. 2", "8 of 16", "whole layer", "3.1e-07",
        "svt-av1: 32", "broken <clip>.mp4: truncated after 3 frames",
        "park.mp4, patch 1: vvc failed", "VMAF 0.6.1 train 11.2 71.3 98.8",
        "VMAF 0.6.1 labels, no human scores", "Some Processor 3000", "torch 2.15.0", "0123abc", "version: 1",
        "31 January 2026", "reference and distorted, a batch of 1",
    ):  # fmt: skip
        assert words in page.text, words
    assert page.tags.count("svg") == 3 + 6


def test_every_layer_below_a_dead_module_is_shown_as_removed(page):
    assert page.text.count("whole layer") == 2  # both convolutions of the sixth stage


def test_ids_are_unique(page):
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = {value[1:] for _, name, value in page.attributes if name == "xlink:href"}
    assert used <= set(ids)


def test_figures_follow_the_theme(page):
    """No text or line of a figure keeps a fixed black or white, which would vanish in one of the themes."""
    styles = " ".join(value for tag, name, value in page.attributes if name == "style" and tag != "i")
    assert "var(--ink)" in styles
    assert not re.search(r"#(000000|ffffff|1b1f24|fefefe)\b", styles)


def test_everything_is_escaped(results):
    results["name"] = results["description"] = EVIL
    results["environment"] = {EVIL: EVIL, "packages": {EVIL: EVIL}}
    results["label"] = EVIL
    results["limits"] = [EVIL]
    results["counted"] = {EVIL: EVIL}
    results["data"]["train"] = {
        EVIL: EVIL,
        "skipped": [EVIL],
        "labels": {EVIL: {"lowest": 0, "median": 0, "highest": 1, "histogram": [1]}},
    }
    results["density"] = {EVIL: 0.5}
    results["pruning"]["rule"] = EVIL
    results["curves"] = {EVIL: results["curves"]["teacher"]}
    results["table"][1]["stage"] = EVIL
    text = report_html(results, f"name: {EVIL}")
    assert "<script" not in text
    page = Page(text)
    assert "script" not in page.tags
    assert EVIL in page.text


def test_only_a_table_is_needed():
    page = Page(report_html({"table": [{"stage": "teacher", "params": 10}]}))
    assert "Results" in page.text
    for heading in ("Training", "Layers", "Data", "Environment", "Recipe", "Complexity", "Limits"):
        assert heading not in page.text


def test_parts_of_the_wrong_kind_do_not_break_the_page(results):
    results |= {
        "data": None,
        "curves": [],
        "environment": [],
        "pruning": {},
        "density": None,
        "inputs": 3,
        "label": None,
    }
    assert "teacher" in Page(report_html(results)).text


def test_density_and_pruning_are_found_in_the_stages(results):
    pruning, density = results.pop("pruning"), results.pop("density")
    results["stages"] = {"teacher": {"steps": 3}, "sparse": {"density": density}, "pruned": pruning}
    text = Page(report_html(results)).text
    assert "8 of 16" in text
    assert "98.4%" in text


def test_files(results, tmp_path):
    path = write_report(results, tmp_path / "run", "version: 1\n")
    assert path == tmp_path / "run" / "report.html"
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "report.html", "tradeoff.csv", "tradeoff.png", "tradeoff.svg",
    ]  # fmt: skip
    assert path.stat().st_size < 400_000


def test_no_plot_without_accuracy(tmp_path):
    write_report({"table": [{"stage": "teacher", "params": 10}]}, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("table", [None, [], [{"params": 3}], ["teacher"]])
def test_results_without_a_table_are_refused(table, tmp_path):
    with pytest.raises(ResultsError):
        write_report({"table": table}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_load_names_the_file(tmp_path):
    file = tmp_path / "results.json"
    for text in (None, "{", "[]", "{}"):
        if text is not None:
            file.write_text(text)
        with pytest.raises(ResultsError, match=r"results\.json"):
            load(file)
    file.write_text('{"table": [{"stage": "teacher"}]}')
    assert load(file)["table"][0]["stage"] == "teacher"
