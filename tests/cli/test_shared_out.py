"""Work that is shared out gives the same bytes as one process, whatever happens in between."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from clips import make
from running import inside

import compressvqa.evaluation.collect as collecting
from compressvqa.jobs import scores

PLAIN = ("-pix_fmt", "yuv420p")
RECIPE = """\
version: 1
name: small
seed: 0
model: {name: rankdvqa}
objective: {kind: rank-pairs}
data: {%s}
stages: [{kind: train, name: train, steps: 1}]
"""
PATCHES = """kind: rank-pairs, sources: %s, validation: 0.34, frames: 2, size: 96, patches_per_clip: 1,
  ladder: [{codec: x264, crf: [24, 40]}]"""


def run(*arguments: object, code: int = 0) -> str:
    """What was printed."""
    done = inside(*map(str, arguments), columns=200)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def held(folder: Path) -> dict[str, str]:
    """Every file of a folder by what it holds; locks are no result."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number, source in enumerate(("testsrc2", "mandelbrot", "testsrc")):
        make(folder / f"v{number}.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", source=source, size="128x96", frames=4)
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two references, of which one has more distorted files than a unit holds."""
    folder = tmp_path_factory.mktemp("pairs")
    lines = ["ref,dist,mos"]
    for name, source, count in (("a", "testsrc2", 5), ("b", "mandelbrot", 1)):
        make(folder / f"{name}.y4m", *PLAIN, source=source, frames=3)
        for blur in range(1, count + 1):
            make(folder / f"{name}{blur}.y4m", *PLAIN, "-vf", f"boxblur={blur}", source=source, frames=3)
            lines.append(f"{name}.y4m,{name}{blur}.y4m,{6 - blur}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    return folder / "pairs.csv"


def test_scores_of_shares_are_those_of_one_process(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("score", pairs, "-m", "psnr", "-m", "ssim", "--per", "0.08s", "--identical")
    alone, cache = run(*command, "--json"), tmp_path / "cache"
    assert "2 of other shares are left" in run(*command, "--cache", cache, "--shard", "3/3")
    run(*command, "--cache", cache, "--shard", "1/3")
    assert "all shares are done" in run(*command, "--cache", cache, "--shard", "2/3")
    monkeypatch.setattr(scores, "score_all", lambda *given, **settings: pytest.fail("scored again"))
    assert run(*command, "--json", "--cache", cache) == alone
    assert len(json.loads(alone)["scores"]) == 6


def test_shares_need_a_place_to_meet(pairs: Path) -> None:
    said = run("score", pairs, "-m", "psnr", "--shard", "1/2", code=2)
    assert "--shard needs a place where scores meet" in said and said.count("\n") == 1


def test_an_evaluation_by_shares_is_that_of_one_process(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("evaluate", "psnr", "ssim", pairs, "--resamples", 0, "--json", "--cache")
    alone = json.loads(run(*command, tmp_path / "alone"))
    for share in ("1/2", "2/2"):
        run(*command, tmp_path / "shared", "--shard", share)
    monkeypatch.setattr(collecting, "_take", lambda *given: pytest.fail("scored again"))
    shared = json.loads(run(*command, tmp_path / "shared"))
    assert shared | {"created": ""} == alone | {"created": ""}


def test_a_clock_that_jumps_makes_no_score_of_another_file(pairs: Path, tmp_path: Path) -> None:
    """A file is written between the shares and the end, by a machine whose clock is behind: its size and time stay."""
    folder = tmp_path / "set"
    folder.mkdir()
    for path in pairs.parent.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    command = ("evaluate", "psnr", folder / "pairs.csv", "--resamples", 0, "--json", "--cache")
    file = folder / "a1.y4m"
    before = file.stat()
    run(*command, tmp_path / "cache", "--shard", "1/1", "--workers", 1)
    data = bytearray(file.read_bytes())
    data[-3000:-1000] = bytes(2000)
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    found, alone = (json.loads(run(*command, tmp_path / name)) for name in ("cache", "fresh"))
    assert found["scores"] == alone["scores"]


@pytest.mark.parametrize("command", ["prepare", "proxy"])
def test_data_by_shares_is_that_of_one_process_also_after_a_full_disk(
    command: str, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE % (PATCHES % videos))
    arguments = (
        ("data", "prepare", tmp_path / "recipe.yaml") if command == "prepare"
        else ("data", "proxy", videos, "--frames", 2, "--name", "set", "--out")
    )  # fmt: skip
    run(*arguments, tmp_path / "alone")
    run(*arguments, tmp_path / "shared", "--shard", "2/2")
    real, full = Path.replace, [True]

    def once_full(path: Path, target: Path) -> Path:
        if full and str(target).endswith((".npy", ".mkv")):
            full.clear()
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, target)

    monkeypatch.setattr(Path, "replace", once_full)
    assert "No space left on device" in run(*arguments, tmp_path / "shared", "--shard", "1/2", code=2)
    assert "all shares are done" in run(*arguments, tmp_path / "shared", "--shard", "1/2")
    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", lambda *given: pytest.fail("made again"))
    run(*arguments, tmp_path / "shared")
    assert held(tmp_path / "shared") == held(tmp_path / "alone")
    assert not [path for path in (tmp_path / "shared").rglob(".*") if path.name != ".lock"]


def test_data_that_is_prepared_in_one_piece_says_so(tmp_path: Path, pairs: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE % f"kind: mos-pairs, source: {pairs}, validation: 0.5")
    said = run("data", "prepare", recipe, tmp_path / "data", "--shard", "1/2", code=2)
    assert "'mos-pairs' is prepared in one piece" in said
