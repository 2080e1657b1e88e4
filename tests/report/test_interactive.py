"""The evaluation's page: one file, no network, everything escaped; and that its script draws in a real browser."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from report.made_up_evaluation import made_up_evaluation, part_of, synthetic_items, without_figures

from compressvqa.report import evaluation_html, write_evaluation_report

EVIL = "</script><script>alert('x')</script>\"&<b>%_é"
MODELS, SETS = ("rankdvqa", "rankdvqa-mini", "vmaf_v0.6.1", "dists"), ("NFLX", "MCL-V", "ladders")


class Page(HTMLParser):
    """Tags, attributes, the text of scripts, and the text that a reader sees; checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.scripts, self.words = [], [], [], []
        self.feed(text)
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in ("meta", "link", "img", "br", "wbr"):
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def evaluation():
    return part_of(made_up_evaluation(), MODELS, SETS)


@pytest.fixture(scope="module")
def source(evaluation):
    return evaluation_html(evaluation, teachers={"rankdvqa-mini": "rankdvqa"})


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


@pytest.fixture(scope="module")
def held(page):
    return json.loads(page.scripts[0])


def test_nothing_is_loaded_from_elsewhere(page):
    for tag, name, value in page.attributes:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form", "video", "audio")
        assert name not in ("src", "srcset", "href", "data", "action", "poster") and not name.startswith("on")
        assert "url(" not in (value or "")
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in (value or ""))
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert allowed == {
        "default-src": "'none'", "script-src": "'unsafe-inline'", "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
    }  # fmt: skip
    assert "@import" not in page.scripts[2] and "fetch(" not in page.scripts[2]


def test_the_page_says_what_was_measured(page):
    for words in (
        "4 models on 2 data sets with viewers' scores and 1 data set labelled by a proxy (VMAF 0.6.1)",
        "agreeing with it is not agreeing with viewers", "1 March 2026", "12 frames of 256x256",
        "95 % confidence intervals, bootstrap over contents", "F-test: on the residuals after the fit, against rankdv",
        "NFLX: DMOS, 70 items of 6 references. Lower is better.", "Encodes of four clips.", "Some Processor 3000",
        ".88 (0)", "[.84, .92]", "torch 2.15.0",
    ):  # fmt: skip
        assert words in page.text, words


def test_a_figure_for_every_data_set_and_complexity(held):
    assert list(held["tradeoffs"]) == ["", *SETS]
    for name, figures in held["tradeoffs"].items():
        assert list(figures) == ["macs", "params", "latency_ms"]
        shown = {point["text"] for point in figures["macs"]["wide"]}
        assert shown == {"rankdvqa", "rankdvqa-mini", "DISTS"}, name
    drawn = held["tradeoffs"]["NFLX"]["params"]["figure"]["data"]
    points = {
        (x, y) for trace in drawn if trace["mode"] == "markers" for x, y in zip(trace["x"], trace["y"], strict=True)
    }
    assert points == {(4.608, 0.9393), (0.455, 0.8846), (14.715, 0.7787)}
    lines = held["tradeoffs"]["NFLX"]["params"]["figure"]["layout"]["shapes"]
    assert [line["y0"] for line in lines] == [0.9254]
    assert held["tradeoffs"]["ladders"]["params"]["figure"]["layout"].get("shapes") is None, "VMAF is the label there"


def test_clouds_hold_the_scores(held, evaluation):
    for line in evaluation["scores"]:
        data = next(data for data in held["datasets"] if data["name"] == line["dataset"])
        if (line["model"], line["dataset"]) == ("vmaf_v0.6.1", "ladders"):
            assert line["model"] not in data["clouds"]
            continue
        cloud = data["clouds"][line["model"]]
        assert [data["file"][at] for at in cloud["at"]] == [item["distorted"] for item in line["items"]]
        assert [data["mos"][at] for at in cloud["at"]] == [item["mos"] for item in line["items"]]
        assert cloud["score"] == pytest.approx([item["score"] for item in line["items"]], rel=1e-5)
        groups = [data["names"][data["group"][at]] for at in cloud["at"]]
        assert groups == [item["content"] for item in line["items"]]
    assert {data["name"]: data["label"] for data in held["datasets"]}["ladders"] == "VMAF 0.6.1 (proxy)"


def test_very_many_points_are_drawn_at_random_and_said_so(evaluation):
    dataset = {"name": "big", "kind": "human", "label": "MOS", "higher_is_better": True, "n": 9000, "references": 50}
    _, items = synthetic_items(dataset, {"higher_is_better": True}, 0.9, 1)
    found = {
        "datasets": [dataset],
        "models": [{"name": "m"}],
        "scores": [{"model": "m", "dataset": "big", "items": items}],
    }
    cloud = json.loads(Page(evaluation_html(found)).scripts[0])["datasets"][0]["clouds"]["m"]
    assert len(cloud["at"]) == len(cloud["score"]) == 4000
    assert "4,000 of 9,000 points are shown" in cloud["note"]


def renamed(evaluation):
    text = json.dumps(evaluation)
    for name in ("rankdvqa-mini", "MCL-V", "scene00", "VMAF 0.6.1", "Some Processor 3000", "12 frames", "Encodes of"):
        text = text.replace(json.dumps(name)[1:-1], json.dumps(EVIL)[1:-1])
    return json.loads(text)


def test_everything_is_escaped(evaluation):
    changed = renamed(evaluation)
    page = Page(evaluation_html(changed, teachers={EVIL: "rankdvqa"}))
    assert len(page.scripts) == 3
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert EVIL in page.text, "as text it stays as it is"
    held = json.loads(page.scripts[0])
    # What Plotly writes into the figure is read by it as a small HTML of its own.
    names = {point["text"] for point in held["tradeoffs"][""]["macs"]["wide"]}
    assert html.escape(EVIL, quote=False) in names
    assert all(
        "<script" not in text and "<b>%" not in text
        for text in re.findall(r'"(?:text|label)":"(.*?)"', page.scripts[0])
    )
    hovers = [text for trace in held["tradeoffs"][""]["macs"]["figure"]["data"] for text in trace.get("customdata", ())]
    assert any(html.escape(EVIL, quote=False) in text for text in hovers)
    assert not any("<script" in text for text in hovers)


def test_figures_that_are_missing(evaluation):
    page = Page(evaluation_html(without_figures(evaluation)))
    assert page.scripts == [], "nothing to draw"
    assert "rankdvqa" in page.text and "compressvqa evaluation" in page.text
    assert "m" in Page(evaluation_html({"datasets": [{"name": "d"}], "models": [{"name": "m"}]})).text


def test_all_files(evaluation, tmp_path):
    folder = tmp_path / "new" / "folder"
    small = part_of(evaluation, MODELS[:2], SETS[:1])
    small = json.loads(json.dumps(small).replace("rankdvqa-mini", "a/b: <c>"))
    small["significance"] = {}
    paths = write_evaluation_report(small, folder)
    assert [path.name for path in paths] == [
        "tradeoff.svg", "tradeoff.png", "tradeoff.csv", "scatter-data-NFLX.svg", "scatter-data-NFLX.png",
        "scatter-model-rankdvqa.svg", "scatter-model-rankdvqa.png", "scatter-model-a-b-c.svg",
        "scatter-model-a-b-c.png", "table.md", "table.tex", "table.csv", "report.html",
    ]  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in paths)
    assert folder.joinpath("report.html").stat().st_size < 6_000_000


def test_a_report_of_nothing_but_names(tmp_path):
    paths = write_evaluation_report({"datasets": [{"name": "d"}], "models": [{"name": "m"}]}, tmp_path)
    assert [path.name for path in paths] == ["table.md", "table.tex", "table.csv", "report.html"]


def test_runs_are_marked_everywhere(evaluation, results, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text(json.dumps(results))
    bare = {**part_of(evaluation, MODELS, SETS[:1]), "scores": []}
    write_evaluation_report(bare, tmp_path / "out", runs=[tmp_path / "run"])
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert "rankdvqa_mini (validation) (other data, VMAF 0.6.1)" in page.text
    assert "can't be compared with theirs" in page.text
    assert "of other data, not comparable" in page.scripts[0]
    assert "other data" in (tmp_path / "out" / "table.md").read_text()
    assert "VMAF 0.6.1" in (tmp_path / "out" / "tradeoff.csv").read_text()


BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_browser_draws_it_without_a_complaint(evaluation, tmp_path):
    """With names that try to break out of the page's script."""
    file = tmp_path / "report.html"
    file.write_text(evaluation_html(renamed(evaluation), teachers={EVIL: "rankdvqa"}))
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == [], "errors of the script, or loads that the policy refused"
    assert done.stdout.count('class="main-svg"') >= 2
    drawn = done.stdout.split('id="scatter"')
    assert [part.count('<path class="point') for part in drawn] == [3, 70], "the networks, the first cloud"
    assert drawn[0].count('<g class="annotation"') == 3 + 1 + 1, "names of points, the dashed line's, the arrow"
    assert html.escape(EVIL, quote=False) in drawn[0]
