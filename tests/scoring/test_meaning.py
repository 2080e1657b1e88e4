"""Every score says how it is to be read: in each table, in each log, and in the list of metrics."""

import csv
import io
import json
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from rich.console import Console

import compressvqa as cv
from compressvqa.errors import DataError, RegistryError
from compressvqa.models import create_model
from compressvqa.registry import scorers
from compressvqa.scoring import (
    NetworkScorer,
    find_scorers,
    score_all,
    scores_table,
    segments_table,
    to_csv,
    to_json,
    to_summary,
    to_xml,
)
from compressvqa.scoring.command import CommandScorer
from compressvqa.scoring.find import listed
from compressvqa.scoring.image_metrics import pyiqa_scale
from compressvqa.scoring.score_file import ScoreFile
from tests.clips import make

METRICS = ["vmaf", "psnr", "cambi"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    make(folder / "r.y4m", size="256x160", frames=30)
    for name, blur in (("a", 1), ("b", 4)):
        make(folder / f"{name}.y4m", "-vf", f"boxblur={blur}", size="256x160", frames=30)
    return [folder / f"{name}.y4m" for name in "rab"]


@pytest.fixture(scope="module")
def scores(files):
    """Three metrics of two files."""
    return score_all(files[0], files[1:], METRICS, pools=["p5", "mean"], per="second", identical=True)


def printed(what, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(what)
    return console.export_text()


def test_scores_come_file_by_file_in_the_order_of_the_metrics(scores):
    assert [(one.distorted.path.name, one.name) for one in scores] == [
        (name, metric) for name in ("a.y4m", "b.y4m") for metric in ("vmaf_v0.6.1", "psnr", "cambi")
    ]
    for one in scores:
        values = [part.score for part in one.per_segment]
        assert one.score == one.pooled["p5"] == np.percentile(values, 5)
        assert one.pooled["mean"] == pytest.approx(np.mean(values))
        assert [len(part.scores) for part in one.parts] == [25, 5]


def test_what_identical_files_get_is_measured_on_request(files, scores):
    vmaf, psnr, cambi = scores[:3]
    itself = score_all(files[0], [files[0]], METRICS)
    assert [one.identical for one in (vmaf, psnr, cambi)] == [one.score for one in itself]
    assert psnr.identical == 60 and 97.4 < vmaf.identical <= 100
    assert f"the reference against itself: {vmaf.identical:.4f}" in vmaf.meaning


def test_tables_say_it_within_80_columns(scores):
    table = printed(scores_table(scores))
    assert max(map(len, table.splitlines())) <= 80
    for words in ("higher is better, 0 to 100", "dB, higher is better", "lower is better, 0 or more", "p95 is the bad"):
        assert words in " ".join(table.split())
    course = printed(segments_table(scores))
    assert max(map(len, course.splitlines())) <= 80 and "…" not in course
    assert course.count("0 to 24") == 2  # a table a file
    alone = printed(scores_table([one for one in scores if one.name == "psnr"]))
    assert "dB, higher is better" in alone


def test_one_score_says_it_too(files):
    (one,) = score_all(files[0], files[1:2], ["vmaf"])
    assert dict(one.lines())["meaning"] == one.meaning
    assert "97.43 where nothing moves" in one.meaning and "higher is better, 0 to 100" in one.meaning


def test_json_holds_the_facts_and_the_metrics_of_a_frame_together(scores):
    log = json.loads(to_json(scores[:3]))
    assert set(log["frames"][7]["metrics"]) == {"vmaf_v0.6.1", "psnr", "cambi"} and len(log["frames"]) == 30
    assert log["score"]["psnr"] == log["pooled_metrics"]["psnr"]["p5"] and log["pool"]["psnr"] == "p5"
    assert log["models"]["cambi"]["direction"] == "lower is better"
    assert log["models"]["cambi"]["score_range"] == [0, None]
    assert log["models"]["psnr"]["identical_files"].startswith("60 dB")
    assert [part["metrics"]["psnr"]["p5"] for part in log["parts"]] == [
        pytest.approx(np.percentile(part.scores, 5)) for part in scores[1].parts
    ]
    assert [one["distorted"]["path"] for one in json.loads(to_json(scores))["scores"]] == [
        str(one.distorted.path) for one in scores[::3]
    ]


def test_csv_xml_and_summary(scores):
    rows = list(csv.DictReader(io.StringIO(to_csv(scores))))
    assert [row["Frame"] for row in rows] == ["0", "25"]
    assert float(rows[1]["b.y4m psnr p5"]) == pytest.approx(np.percentile(scores[4].parts[1].scores, 5), abs=1e-5)
    tree = ElementTree.fromstring(to_xml(scores[:3]))
    metrics = {metric.get("name"): metric for metric in tree.find("pooled_metrics")}
    assert metrics["cambi"].get("meaning").startswith("lower is better")
    assert float(metrics["psnr"].get("p5")) == pytest.approx(scores[1].score, abs=1e-6)
    assert len(tree.findall("frames/frame")) == 30 and len(tree.findall("parts/part")) == 2
    summary = list(csv.DictReader(io.StringIO(to_summary(scores))))
    assert [(row["file"], row["metric"], row["direction"]) for row in summary[2:4]] == [
        ("a.y4m", "cambi", "lower is better"), ("b.y4m", "vmaf_v0.6.1", "higher is better"),
    ]  # fmt: skip
    assert (summary[0]["lowest"], summary[0]["highest"], summary[0]["pool"]) == ("0.0", "100.0", "p5")


def test_a_network_says_which_it_is_and_whether_it_was_trained(write):
    network = create_model("rankdvqa")
    fresh = NetworkScorer(network, allow_random_weights=True).facts[0]
    assert "rankdvqa" in fresh.note and "never trained" in fresh.note and fresh.direction == "higher is better"
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01)
    trained = NetworkScorer(network).facts[0]
    assert "never" not in trained.note and "raw score, on the scale of its training" in trained.note


def test_negative_raw_scores_have_no_harmonic_mean_and_say_so(write, mean_difference):
    (one,) = score_all(write("r.y4m"), [write("d.y4m", noise=0.1)], [mean_difference])
    assert one.pooled["harmonic_mean"] is None and json.loads(to_json([one]))["pooled_metrics"]
    assert any("positive scores only" in remark for remark in one.remarks)
    (asked,) = score_all(write("r.y4m"), [write("d.y4m", noise=0.1)], [mean_difference], pools=["harmonic"])
    assert json.loads(to_json([asked]))["score"] is None
    assert "-" in printed(scores_table([asked, asked]))


def test_scores_taken_elsewhere_say_what_is_known(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("dist,score\na.mp4,1\n")
    unknown = ScoreFile("mine", table).facts[0]
    assert not unknown.direction_known and "not stated" in unknown.meaning
    assert unknown.to_dict()["higher_is_better"] is None
    assert ScoreFile("mine", table, higher_is_better=False).facts[0].direction == "lower is better"
    assert ScoreFile("LPIPS", table).facts[0].direction == "lower is better"  # its name says it
    assert ScoreFile("psnr", table).facts[0].unit == "dB"
    program = CommandScorer("mine", "tool {distorted}", mode="NR").facts[0]
    assert "not stated" in program.direction
    assert CommandScorer("cambi", "tool {distorted}", mode="NR").facts[0].direction == "lower is better"


def test_pyiqas_own_table_is_believed():
    """Rows as pyiqa writes them."""
    lower = pyiqa_scale({"metric_mode": "NR", "lower_better": True, "score_range": "0, 100"})
    assert lower.meaning.startswith("lower is better, 0 to 100")
    rough = pyiqa_scale({"metric_mode": "FR", "score_range": "~0, ~40"})
    assert rough.score_range is None and "~0, ~40" in rough.note


def test_the_list_of_metrics():
    found = {one["name"]: one for one in listed()}
    assert set(found) == set(scorers)
    for name in set(scorers) - {"st-greed"}:
        (facts,) = (one for scorer in find_scorers([name]) for one in scorer.facts) if name in METRICS else (None,)
        assert found[name]["mode"] in ("FR", "NR") and found[name]["direction"] and found[name]["summary"]
        if facts is not None:
            assert found[name]["meaning"] == facts.meaning
    assert [one["name"] for one in listed("VMAF")] == ["vmaf_v0.6.1"]
    with pytest.raises(RegistryError, match="no metric matches"):
        listed("nothing*")


def test_pooled_evaluation_uses_what_is_kept(files, tmp_path):
    from compressvqa.opinions import Item, Manifest

    items = [Item(path.name, mos=mos, reference="r.y4m") for path, mos in zip(files, (5, 4, 1), strict=True)]
    manifest = Manifest("three", files[0].parent, tuple(items))
    plain = cv.evaluate(["psnr", "vmaf"], [manifest], cache=tmp_path / "kept", resamples=0)
    pooled = cv.evaluate(["psnr", "vmaf"], [manifest], cache=tmp_path / "kept", resamples=0, pool="p5")
    by_hand = {
        one.distorted.path.name: one.pooled["p5"] for one in score_all(files[0], files[1:], ["psnr"], pools=["p5"])
    }
    for item in next(part for part in pooled.scores if part.model == "psnr").items:
        if item.distorted in by_hand:
            assert item.score == by_hand[item.distorted]
    table = tmp_path / "t.csv"
    table.write_text("dist,score\n" + "".join(f"{item.distorted},1\n" for item in items))
    with pytest.raises(DataError, match="one number a file"):
        cv.evaluate([ScoreFile("mine", table)], [manifest], cache=tmp_path / "kept", resamples=0, pool="p5")
    assert plain.scores != pooled.scores and pooled.settings["pool"] == "p5"
    assert any("pooled over their frames by p5" in note for note in pooled.datasets[0].notes)
    assert {model.name: model.meaning for model in pooled.models}["psnr"].startswith("dB, higher is better")
