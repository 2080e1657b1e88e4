"""What was computed is printed before it is drawn or saved: a disk that fills up at the end loses no figures."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from clips import ffmpeg
from running import script

# The command, on a disk that is full from the first write of a file whose path holds the given word.
FULL = """
import errno, os, sys
word = sys.argv.pop(1)
os.environ["COLUMNS"] = "120"
def watch(event, arguments):
    if event == "open" and word in os.fsdecode(arguments[0] if isinstance(arguments[0], (str, bytes)) else b"") and (
        set(arguments[1] or "") & set("wax+") or (arguments[2] & (os.O_WRONLY | os.O_RDWR))):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
from compressvqa.cli import main
sys.addaudithook(watch)
main()
"""


def on_full_disk(word: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = script(FULL, word, *map(str, arguments), cwd=Path.cwd())
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and last.startswith("error: ") and "No space left on device" in last, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("word", ["tradeoff", ".model."])
def test_a_run_prints_its_table_before_it_writes(word: str, ran: Path, small_recipe: Path, small_data: Path) -> None:
    done = on_full_disk(word, "run", small_recipe, "--out", ran, "--data-folder", small_data)
    assert "distilled" in done.stdout and "pruned" in done.stdout
    assert "report:" not in done.stdout  # nothing is said to be there that is not


def test_prune_prints_its_plan_before_it_saves(tmp_path: Path) -> None:
    done = on_full_disk(".small.", "prune", "stanet", "--ratio", 0.5, "--out", tmp_path / "small", "--json")
    assert json.loads(done.stdout)["params"][1] < json.loads(done.stdout)["params"][0]
    assert not list((tmp_path / "small").glob("*")) and not list(tmp_path.glob(".small*"))
    done = on_full_disk("groups.svg", "prune", "stanet", "--explain", "--svg", tmp_path / "groups.svg")
    assert "weigh" in done.stdout


def test_score_prints_before_it_draws_and_writes(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=0.2", str(clip))
    for option, name in (("--plot", "scores.svg"), ("--out", "scores.csv"), ("--out", "scores.json")):
        done = on_full_disk(name, "score", clip, clip, "--metric", "psnr", option, tmp_path / name)
        assert "psnr" in done.stdout and "a.mp4" in done.stdout
        assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
