"""Plans: what is tried stands for the rest, and costs grow as they should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clips import make
from running import inside

from compressvqa.errors import DataError
from compressvqa.jobs import plan as planning
from compressvqa.jobs.plan import File, Work, sample, survey


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    for name, size, frames in (("a", "128x96", 30), ("b", "128x96", 20), ("c", "192x144", 25)):
        make(folder / f"{name}.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", size=size, frames=frames)
    (folder / "broken.mkv").write_bytes(b"no video")
    return folder


def test_a_library_is_what_its_files_hold(library: Path) -> None:
    files = {file.path.name: file for file in survey([library])}
    assert {name: (file.pixels, file.frames, file.seconds) for name, file in files.items()} == {
        "a.mkv": (128 * 96, 30, 1.2), "b.mkv": (128 * 96, 20, 0.8), "c.mkv": (192 * 144, 25, 1.0),
    }  # fmt: skip
    with pytest.raises(DataError, match="no video can be read"):
        survey([library / "broken.mkv"])


def test_what_is_tried_is_spread_over_the_frames() -> None:
    files = [File(Path(f"{n}"), pixels, frames, 1, 1) for n, (pixels, frames) in
             enumerate([(100, 10), (100, 1000), (200, 10), (300, 980)])]  # fmt: skip
    assert [file.path.name for file in sample(files, 2)] == ["1", "3"]
    assert [file.path.name for file in sample(files, 1)] == ["1"]


def test_costs_of_files_and_of_pixels_are_told_apart(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an exact clock: three units for each file, and two for each million pixels."""
    spent = [0.0]

    def cost(file: File, count: int) -> float:
        return 3 + 2e-6 * file.pixels * count

    def decode(file: File, count: int) -> None:
        spent[0] += cost(file, count)

    def clock(work: object) -> float:
        before = spent[0]
        work()  # type: ignore[operator]
        return spent[0] - before

    monkeypatch.setattr(planning, "_decode", decode)
    monkeypatch.setattr(planning, "_cpu", clock)
    files = survey([library])
    [found] = planning.plan(files, [], frames=16)
    assert found.cpu_seconds == pytest.approx(sum(cost(file, file.frames) for file in files))
    assert found.largest == pytest.approx(max(cost(file, file.frames) for file in files))


def test_bytes_follow_what_is_seen_in_files_that_are_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an encoder of known size: so many bytes a frame by content, 24 times as much for the whole ladder."""
    rich = {"a": 5, "b": 1, "c": 40, "d": 7}

    def build(clips: list[Path], place: str, *, frames: int, ladder: object = None) -> None:
        steps = 24 if ladder is None else 1
        (Path(place) / "set").write_bytes(bytes(1000 * rich[clips[0].name] * frames * steps))

    monkeypatch.setattr(planning, "build_proxy_set", build)
    files = [File(Path(name), 100, 10 + place, 1.0, 0) for place, name in enumerate(rich)]
    found = planning._proxy_work(files, planning.sample(files, 1), 8, lambda: None)
    assert found.bytes == 1000 * sum(rich.values()) * 8 * 24
    assert found.measured_on == 1


def test_workers_share_the_time_but_no_file_is_split() -> None:
    work = Work("decode", cpu_seconds=7200, largest=1800, bytes=0, measured_on=1)
    assert [work.hours(workers) for workers in (1, 2, 4, 100)] == [2, 1, 0.5, 0.5]


def test_the_command_says_the_library_and_each_work(library: Path) -> None:
    done = inside("plan", str(library), "-m", "psnr", "--workers", "4", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["library"]["frames"] == 75
    assert [work["name"] for work in found["work"]] == ["decode", "score: psnr"]
    assert all(work["cpu_seconds"] > 0 for work in found["work"])
