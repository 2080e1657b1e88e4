"""How a score is written down: like libvmaf's logs, and back from JSON unchanged."""

import csv
import io
import json
import math
from xml.etree import ElementTree

import pytest
from rich.console import Console

from compressvqa.errors import DataError
from compressvqa.scoring import (
    pool,
    score,
    score_several,
    score_table,
    scores_table,
    to_csv,
    to_json,
    to_xml,
    write_scores,
)
from compressvqa.video import Pairing, ffmpeg


@pytest.fixture
def result(write, mean_difference):
    return score(write("r.y4m"), write("d.y4m", noise=0.1), model=mean_difference)


def test_json_has_the_keys_of_libvmafs_log(result):
    log = json.loads(to_json([result]))
    name = log["model"]["name"]
    assert log["schema"] == 1
    assert [frame["frameNum"] for frame in log["frames"]] == [0, 12, 24]
    assert log["frames"][0]["metrics"][name] == result.per_segment[0].score
    pooled = log["pooled_metrics"][name]
    assert set(pooled) == {"min", "max", "mean", "harmonic_mean"}
    assert pooled["mean"] == log["score"] == pytest.approx(sum(s.score for s in result.per_segment) / 3)
    assert log == result.to_dict()


def test_pooling_follows_libvmaf():
    """libvmaf: harmonic mean of x + 1, less 1. Not defined unless all scores are positive."""
    scores = [10.0, 40.0, 90.0]
    assert pool(scores)["harmonic_mean"] == pytest.approx(3 / (1 / 11 + 1 / 41 + 1 / 91) - 1)
    for wrong in (-1.0, -0.5, 0.0):
        assert pool([wrong, 5.0])["harmonic_mean"] is None
    assert math.isclose(pool([0.1] * 10)["mean"], 0.1)


def test_csv_is_written_as_libvmaf_writes_it(result):
    """A header, a line a segment, a comma at each line's end, nothing pooled."""
    lines = to_csv([result]).splitlines()
    assert lines[0] == "Frame,MeanDifference," and len(lines) == 4
    assert all(line.endswith(",") for line in lines)
    rows = list(csv.DictReader(io.StringIO(to_csv([result]))))
    assert [row["Frame"] for row in rows] == ["0", "12", "24"]
    assert float(rows[1]["MeanDifference"]) == pytest.approx(result.per_segment[1].score, abs=1e-6)


def test_our_logs_have_the_form_of_libvmafs_own(write, tmp_path):
    """The log that ffmpeg's libvmaf writes of the same files, and ours of the same score."""
    reference, distorted = write("r.y4m", 4), write("d.y4m", 4, noise=0.1)
    ours = score(reference, distorted, model="psnr")
    for form in ("json", "csv", "xml"):
        graph = f"[0:v][1:v]libvmaf=log_fmt={form}:log_path=log.{form}:feature=name=psnr:model=''"
        inputs = ["-i", str(distorted), "-i", str(reference)]
        ffmpeg.run([*inputs, "-lavfi", graph, "-f", "null", "-"], folder=tmp_path)
    theirs = json.loads((tmp_path / "log.json").read_text())
    log = json.loads(to_json([ours]))
    assert [frame["frameNum"] for frame in log["frames"]] == [frame["frameNum"] for frame in theirs["frames"]]
    for mine, other in zip(log["frames"], theirs["frames"], strict=True):
        assert mine["metrics"]["psnr"] == pytest.approx(other["metrics"]["psnr_y"], abs=1e-5)
    assert log["pooled_metrics"]["psnr"] == pytest.approx(theirs["pooled_metrics"]["psnr_y"], abs=1e-5)
    header, first, *_ = (tmp_path / "log.csv").read_text().splitlines()
    mine = to_csv([ours]).splitlines()
    assert (header[:6], header[-1], first[-1]) == (mine[0][:6], mine[0][-1], mine[1][-1])
    trees = [ElementTree.fromstring(text) for text in (to_xml([ours]), (tmp_path / "log.xml").read_text())]
    assert {child.tag for child in trees[0]} <= {child.tag for child in trees[1]} and trees[0].tag == trees[1].tag
    frames = [[(f.get("frameNum"), f.get(key)) for f in tree.iter("frame")] for tree, key in
              zip(trees, ("psnr", "psnr_y"), strict=True)]  # fmt: skip
    assert frames[0] == frames[1]
    assert {m.get("name") for m in trees[0].iter("metric")} == {"psnr"}


def test_several_files_have_a_column_and_a_log_each(write, mean_difference):
    reference = write("r.y4m")
    both = score_several(
        reference, [write("a,b.y4m", noise=0.1), write("c.y4m", 24, noise=0.1)], model=mean_difference,
        pairing=Pairing(length="trim"),
    )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(to_csv(both))))
    assert list(rows[0])[:3] == ["Frame", "a_b.y4m", "c.y4m"] and rows[2]["c.y4m"] == ""
    assert [log["score"] for log in json.loads(to_json(both))["scores"]] == [one.score for one in both]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(scores_table(both))
    assert "frame count: 30 (reference) and 24 (distorted)" in console.export_text()
    with pytest.raises(DataError, match="one distorted file"):
        to_xml(both)


def test_files_by_suffix(result, tmp_path):
    assert json.loads(write_scores([result], tmp_path / "s.json").read_text())["score"] == result.score
    assert write_scores([result], tmp_path / "s.csv").read_text() == to_csv([result])
    with pytest.raises(DataError, match=r"s\.txt"):
        write_scores([result], tmp_path / "s.txt")
    assert sorted(path.name for path in tmp_path.glob("s.*")) == ["s.csv", "s.json"]


def test_what_a_person_reads(result):
    console = Console(width=70, record=True, file=io.StringIO())
    console.print(score_table(result))
    assert f"{result.score:.4f}" in console.export_text().splitlines()[1]
    assert result.to_text().startswith("MeanDifference  -0.")
    assert "over 3 blocks" in result.to_text()
