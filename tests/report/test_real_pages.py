"""Pages of a real evaluation and of a real run: what a reader sees is what was measured, and the lines shown run."""

import base64
import html
import io
import json
import re
import shutil
from fractions import Fraction

import numpy as np
import pytest
from evaluation.conftest import LEVELS, picture
from judged import NETWORKS, PROXY, VIEWERS
from PIL import Image
from report.pages import Page
from running import command, script

from compressvqa.cost import is_noisy
from compressvqa.report import evaluation_html, report_html
from compressvqa.report.intervals import srocc_interval
from compressvqa.video.raw import write_y4m

EVIL = "</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}"


@pytest.fixture(scope="module")
def page(judged):
    return Page(evaluation_html(judged))


@pytest.fixture(scope="module")
def run_results(ran):
    return json.loads((ran / "results.json").read_text())


@pytest.fixture(scope="module")
def run_page(ran):
    return Page((ran / "report.html").read_text())


def short(value):
    return f"{value:.2f}".replace("0.", ".", 1)


def test_headline_figures_have_their_intervals(judged, page):
    for name in NETWORKS:
        mean = judged.overall(name)
        ends = f"[{short(mean.low)}, {short(mean.high)}]"
        assert f"{short(mean.value)} {name}, SROCC (mean over 2 data sets) {ends}" in page.text


def test_no_more_digits_than_the_interval_bears(judged, page):
    """15 items: every interval of the networks is wider than a tenth, so no correlation has four digits."""
    assert all(np.ptp(judged.result(name, data).interval("srocc")) > 0.1 for name in NETWORKS for data in VIEWERS)
    shown = page.sections["SROCC on each data set"] + page.sections["All statistics"]
    assert re.search(r"(?<!\d)\.\d\d\b", shown) and not re.search(r"(?<!\d)\.\d{4}\b", shown)
    exact = json.loads(json.dumps(judged.to_dict()))
    assert exact["results"][0]["srocc"] == judged.results[0].srocc, "programs get every digit"


def test_error_bars_are_the_intervals(judged, page):
    held = json.loads(page.scripts[0])
    drawn = held["tradeoffs"]["noise"]["params"]["figure"]["data"]
    bars = {
        round(x * 1e6): (y - below, y + above)
        for trace in drawn if trace.get("error_y")
        for x, y, above, below in zip(trace["x"], trace["y"], trace["error_y"]["array"], trace["error_y"]["arrayminus"],
                                      strict=True)
    }  # fmt: skip
    for name in NETWORKS:
        assert bars[judged.model(name).params] == pytest.approx(judged.result(name, "noise").interval("srocc"))


def test_a_noisy_latency_is_marked_and_a_steady_one_is_not(judged):
    models = judged.to_dict()["models"]
    models[0] |= {"latency_ms": 10.0, "latency_p90_ms": 20.0}
    models[1] |= {"latency_ms": 10.0, "latency_p90_ms": 10.5}
    text = Page(evaluation_html({**judged.to_dict(), "models": models})).sections["SROCC on each data set"]
    assert text.count("noisy") == 1 and "10.0 noisy 20.0" in text and "measure again" in text
    assert is_noisy(10, 12.6) and not is_noisy(10, 12.4)


def test_what_was_left_out_is_named(page):
    assert re.search(r"d1-2\. ?y4m: .* without one whole frame", page.sections["Data sets"])


def logistic(x, b0, b1, b2, b3):
    """ITU-T P.1401's mapping, as docs/statistics.md writes it."""
    return (b0 - b1) / (1 + np.exp((b2 - x) / abs(b3))) + b1


def test_clips_that_stand_out(judged, page):
    """The lowest and highest score, and who is furthest from the fit, worked out by hand."""
    for name in NETWORKS:
        for data in (*VIEWERS, PROXY):
            items = judged.items(name, data)
            of = {one.why: one for one in judged.pictures if (one.model, one.dataset) == (name, data)}
            assert set(of) == {"lowest", "highest", "over", "under"}
            assert of["lowest"].score == min(item.score for item in items)
            assert of["highest"].score == max(item.score for item in items)
            assert len({one.distorted for one in of.values()}) == 4
            fit = judged.result(name, data).fit_parameters
            turn = 1 if judged.dataset(data).higher_is_better else -1
            with np.errstate(over="ignore"):
                errors = {i.distorted: turn * (logistic(i.score, *fit) - i.mos) for i in items}
            left = {k: v for k, v in errors.items() if k not in (of["lowest"].distorted, of["highest"].distorted)}
            assert of["over"].distorted == max(left, key=left.get)
            assert errors[of["under"].distorted] == pytest.approx(
                min(v for k, v in left.items() if k != of["over"].distorted)
            )
    assert page.tags.count("img") == 3 * len(judged.pictures)
    assert "Furthest above the label" in page.sections["Best and worst clips"]


def test_pictures_are_the_frames(judged, tmp_path_factory):
    one = next(p for p in judged.pictures if p.model == "teacher" and p.dataset == "noise" and p.why == "lowest")
    content, rung = (int(part) for part in re.match(r"d(\d)-(\d)", one.distorted).groups())
    for data, noise in ((one.reference, 0), (one.shown, LEVELS[rung])):
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.format == "JPEG" and image.size == (112, 96)
            shown = np.asarray(image.convert("RGB")).astype(float) / 255
        wanted = picture(content, noise)[one.frame].to_rgb().permute(1, 2, 0).numpy()
        assert np.abs(shown - wanted).mean() < 0.03, "JPEG alone"
    with Image.open(io.BytesIO(base64.b64decode(one.damage))) as image:
        assert image.size == (112, 96)


def test_a_page_of_hostile_names(judged):
    text = json.dumps(judged.to_dict())
    for name in ("student", "dmos", "d0-4.y4m", "Encodes of three clips", "c1"):
        text = text.replace(f'"{name}', f'"{json.dumps(EVIL)[1:-1]}')
    page = Page(evaluation_html(json.loads(text), teachers={EVIL: "teacher"}))
    assert len(page.scripts) == 3 and not any(name.startswith("on") for _, name, _ in page.attributes)
    sources = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    assert sources and all(value.startswith("data:image/jpeg;base64,") for value in sources)
    assert EVIL in page.text, "as text it stays as it is, and nothing of it is worked out"


def test_everything_is_drawn_again_from_the_file_alone(judged, tmp_path):
    judged.write(tmp_path)
    assert evaluation_html(tmp_path) == evaluation_html(judged)


@pytest.mark.slow
def test_the_page_of_a_run_says_what_was_measured(run_results, run_page):
    last = run_results["table"][-1]
    low, high = srocc_interval(last["srocc"], last["n"])
    words = [f"[{low:.2f}, {high:.2f}]", f"{last['params'] / 1e6:.3f}"]
    for shown in words:
        assert shown in run_page.sections["Results"], shown
    for row in run_results["table"]:
        assert row["stage"] in run_page.sections["Results"]
    assert not re.search(r"\b0\.\d{4}\b", run_page.sections["Results"]), "18 clips bear no four digits"
    assert "Bars: 95 % confidence intervals" in run_page.sections["Complexity against accuracy"]
    assert set(run_page.sections) >= {"Training", "Layers", "Data", "Limits of this run", "Environment", "Recipe"}


@pytest.mark.slow
def test_layers_are_folded_away_below_a_sentence(ran, run_results):
    source = (ran / "report.html").read_text()
    layers = source.split("<h2>Layers</h2>")[1].split("</section>")[0]
    assert layers.index("<details>") < layers.index('<table class="layers">') < layers.index("</details>")
    removed = next(stage["removed"] for stage in run_results["stages"].values() if stage.get("removed"))
    gone = sum(n if isinstance(n, int) else len(n) for n in removed.values())
    assert f"Pruning removed {gone:,} of " in layers


@pytest.mark.slow
def test_the_lines_that_show_how_to_use_the_network_run(ran, tmp_path):
    """Copied from the page and run beside it, on two files."""
    ran = shutil.copytree(ran, tmp_path / "run")
    source = (ran / "report.html").read_text().split("<h2>How to use the network</h2>")[1].split("</section>")[0]
    python, shell = (html.unescape(block) for block in re.findall(r"<pre>(.*?)</pre>", source, re.DOTALL))
    for name, noise in (("reference", 0), ("distorted", 0.1)):
        write_y4m(ran / f"{name}.y4m", picture(0, noise), Fraction(25))
    program, *arguments = shell.replace(".mp4", ".y4m").split()
    assert program == "compressvqa"
    said = []
    for done in (script(python.replace(".mp4", ".y4m"), cwd=ran), command(*arguments, cwd=ran)):
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0].startswith("tensor([") and len(said[0].splitlines()) == 2


@pytest.mark.slow
def test_a_run_of_hostile_names(run_results):
    text = json.dumps(run_results)
    for name in ("small", "pruned", "scales.4.conv_out", "AMD"):
        text = text.replace(f'"{name}', f'"{json.dumps(EVIL)[1:-1]}')
    page = Page(report_html(json.loads(text), f"name: {EVIL}"))
    assert "script" not in page.tags and "img" not in page.tags and EVIL in page.text
