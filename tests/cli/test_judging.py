"""The commands that judge: score, evaluate, data check, data proxy, report, as a user meets them."""

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from evaluation.conftest import make_set
from running import inside

from compressvqa.opinions import write_manifest


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> Path:
    """Folder of a small data set with its manifest."""
    folder = tmp_path_factory.mktemp("noise-set")
    write_manifest(make_set(folder), folder / "manifest.csv")
    return folder


def fails(*arguments: str) -> str:
    """The one line that a mistake ends in."""
    done = inside(*arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    return done.stderr.splitlines()[-1]


def test_evaluate_prints_writes_and_is_drawn_again(noise: Path, tmp_path: Path) -> None:
    models = ("psnr", "ssim", str(noise), "--cache", str(tmp_path / "kept"), "--resamples", "100")
    done = inside("evaluate", *models, "--out", str(tmp_path / "judged"), "--baseline", "ssim")
    assert done.returncode == 0, done.stderr
    assert "PSNR" in done.stdout and "noise" in done.stdout
    found = json.loads((tmp_path / "judged" / "evaluation.json").read_text())
    assert [row["model"] for row in found["results"]] == ["psnr", "ssim"]
    assert found["significance"]["baseline"] == "ssim"
    rows = list(csv.DictReader((tmp_path / "judged" / "scores.csv").open()))
    assert len(rows) == 15 and float(rows[0]["psnr"]) > 30
    page = (tmp_path / "judged" / "report.html").read_text()
    assert "MOS" in page and "scatter" in page
    again = inside("report", str(tmp_path / "judged"), "--out", str(tmp_path / "again"))
    assert again.returncode == 0 and (tmp_path / "again" / "table.tex").exists()
    as_json = inside("evaluate", *models, "--json")
    assert json.loads(as_json.stdout)["results"][0]["srocc"] == found["results"][0]["srocc"]
    assert "\\toprule" in inside("evaluate", *models, "--format", "latex").stdout


def test_outside_scores_and_programs(noise: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in noise.glob("d*.y4m"))
    (tmp_path / "scores.csv").write_text("dist,score\n" + "".join(f"{name},{name[3]}\n" for name in names))
    tool = f"{sys.executable} -c \"import sys; print(sys.argv[1].split('-')[-1][0])\" {{distorted}}"
    done = inside(
        "evaluate", str(noise), "--scores", f"table={tmp_path / 'scores.csv'}", "--command", f"tool={tool}",
        "--lower-is-better", "table", "--lower-is-better", "tool", "--cache", str(tmp_path / "kept"), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table, program = json.loads(done.stdout)["results"]
    assert table["srocc"] == program["srocc"] > 0.9


def test_an_item_that_is_damaged_is_named_and_the_command_says_so(noise: Path, tmp_path: Path) -> None:
    write_manifest(make_set(tmp_path / "set"), tmp_path / "set" / "manifest.csv")
    (tmp_path / "set" / "d1-2.y4m").write_bytes(b"YUV4MPEG2 W112 H96\nFRAME\n")
    done = inside("evaluate", "psnr", str(tmp_path / "set"), "--cache", str(tmp_path / "kept"), "--resamples", "0")
    assert done.returncode == 1 and "left out d1-2.y4m" in done.stderr


def test_mistakes_of_an_evaluation(noise: Path, tmp_path: Path) -> None:
    assert "no data set among psnr" in fails("evaluate", "psnr")
    assert "no model among" in fails("evaluate", str(noise))
    assert "psnr" in fails("evaluate", "psnrr", str(noise))
    assert "is no NAME=VALUE" in fails("evaluate", "psnr", str(noise), "--scores", "x")
    assert "is none of the models" in fails("evaluate", "psnr", str(noise), "--teacher", "vmaf")
    assert "no score of" in fails("evaluate", "psnr", str(noise), "--lower-is-better", "psnr")
    (tmp_path / "file").write_text("")
    assert "scores can't be written" in fails("evaluate", "psnr", str(noise), "--cache", str(tmp_path / "file"))


def test_check_says_what_is_missing(noise: Path, tmp_path: Path) -> None:
    assert inside("data", "check", str(noise)).returncode == 0
    write_manifest(make_set(tmp_path / "set"), tmp_path / "set" / "manifest.csv")
    (tmp_path / "set" / "d1-2.y4m").unlink()
    done = inside("data", "check", str(tmp_path / "set"))
    assert done.returncode == 1 and "d1-2.y4m" in done.stdout
    assert not json.loads(inside("data", "check", str(tmp_path / "set"), "--json").stdout)["ok"]
    listed = json.loads(inside("data", "list", "--json").stdout)
    assert {"nflx-p", "tid2013", "konvid-1k"} <= {entry["name"] for entry in listed}
    assert "tid2013" in fails("data", "check", "tid2031", str(tmp_path))


def test_a_proxy_set_is_built_and_judged(noise: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "one.y4m").write_bytes((noise / "r0.y4m").read_bytes())
    done = inside("data", "proxy", str(clips), "--out", str(tmp_path / "proxy"), "--frames", "3", "--downscale", "1")
    assert done.returncode == 0, done.stderr
    assert "a proxy, no MOS" in done.stdout
    judged = inside("evaluate", "psnr", str(tmp_path / "proxy"), "--cache", str(tmp_path / "kept"), "--json")
    found = json.loads(judged.stdout)
    assert found["datasets"][0]["kind"] == "proxy" and found["results"][0]["ladder_accuracy"] > 0.8
    assert "is no whole number" in fails("data", "proxy", str(clips), "--out", "x", "--downscale", "a")


def test_several_files_are_scored_drawn_and_logged(noise: Path, tmp_path: Path) -> None:
    files = [str(noise / name) for name in ("r0.y4m", "d0-0.y4m", "d0-4.y4m")]
    plot = tmp_path / "course.svg"
    done = inside("score", *files, "--model", "psnr", "--csv", "--plot", str(plot))
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 6 and float(rows[0]["d0-0.y4m"]) > float(rows[0]["d0-4.y4m"])
    assert "d0-4.y4m" in plot.read_text() and "PSNR" in plot.read_text()
    table = inside("score", "-r", files[0], "-d", files[1], "-d", files[2], "--model", "ssim").stdout
    assert "d0-0.y4m" in table and "0.04" in table
    assert "<VMAF" in inside("score", *files[:2], "--model", "psnr", "--xml").stdout
    assert "needs two files" in fails("score", files[0], "--model", "psnr")
    assert ".svg or .png" in fails("score", *files, "--model", "psnr", "--plot", "course.txt")
