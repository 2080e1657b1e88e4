"""How a score is written down: like libvmaf's logs, and back from JSON unchanged."""

import csv
import io
import json
import math

import pytest
from rich.console import Console

from compressvqa.errors import DataError
from compressvqa.scoring import pool, score, score_table, to_csv


@pytest.fixture
def result(write, mean_difference):
    return score(write("r.y4m"), write("d.y4m", noise=0.1), model=mean_difference)


def test_json_has_the_keys_of_libvmafs_log(result):
    log = json.loads(result.to_json())
    name = log["model"]["name"]
    assert log["schema"] == 1
    assert [frame["frameNum"] for frame in log["frames"]] == [0, 12, 24]
    assert log["frames"][0]["metrics"][name] == result.per_segment[0].score
    pooled = log["pooled_metrics"][name]
    assert set(pooled) == {"min", "max", "mean", "harmonic_mean"}
    assert pooled["mean"] == log["score"] == pytest.approx(sum(s.score for s in result.per_segment) / 3)
    assert log == result.to_dict()


def test_pooling_follows_libvmaf():
    """libvmaf: harmonic mean of x + 1, less 1. Not defined for a score of -1 or less, which libvmaf never has."""
    scores = [10.0, 40.0, 90.0]
    assert pool(scores)["harmonic_mean"] == pytest.approx(3 / (1 / 11 + 1 / 41 + 1 / 91) - 1)
    assert pool([-1.0, 5.0])["harmonic_mean"] is None
    assert math.isclose(pool([0.1] * 10)["mean"], 0.1)


def test_csv_has_a_line_a_segment(result):
    rows = list(csv.DictReader(io.StringIO(to_csv(result))))
    assert [(row["Frame"], row["LastFrame"]) for row in rows] == [("0", "11"), ("12", "23"), ("24", "29")]
    assert float(rows[1]["MeanDifference"]) == pytest.approx(result.per_segment[1].score, abs=1e-6)


def test_files_by_suffix(result, tmp_path):
    assert json.loads(result.write(tmp_path / "s.json").read_text())["score"] == result.score
    assert result.write(tmp_path / "s.csv").read_text() == to_csv(result)
    with pytest.raises(DataError, match=r"s\.xml"):
        result.write(tmp_path / "s.xml")
    assert sorted(path.name for path in tmp_path.glob("s.*")) == ["s.csv", "s.json"]


def test_what_a_person_reads(result):
    console = Console(width=70, record=True, file=io.StringIO())
    console.print(score_table(result))
    assert f"{result.score:.4f}" in console.export_text().splitlines()[1]
    assert result.to_text().startswith("MeanDifference  -0.")
    assert "over 3 blocks" in result.to_text()
