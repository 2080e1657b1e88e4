from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from clips import make

from compressvqa.data import PatchSet
from compressvqa.data.build import build
from compressvqa.data.ladder import Rung
from compressvqa.data.shared import working_in
from compressvqa.data.sources import Cutting, FileSource, PhotographSource
from compressvqa.errors import DataError

CUTTING = Cutting(patches=2, frames=3, size=96)
RUNGS = [Rung("x264", 30), Rung("x264", 45), Rung("vp9", 60, 0.75)]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number, source in enumerate(["testsrc2", "mandelbrot", "testsrc"]):
        make(folder / f"v{number}.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", source=source, size="160x120", frames=24)
    return folder


@pytest.fixture(scope="module")
def sources(videos):
    return [FileSource(path.name, path) for path in sorted(videos.iterdir())]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, sources):
    folder = tmp_path_factory.mktemp("finished") / "set"
    build(sources, folder, CUTTING, RUNGS, workers=2)
    return folder


def contents_of(folder):
    """All that a set holds."""
    found = {}
    for path in sorted(path for path in folder.iterdir() if path.name != ".lock"):
        found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def test_a_finished_set_holds_every_source_patch_and_rung(finished, sources):
    patches = PatchSet(finished)
    assert len(patches.references) == 3 * 2 and len(patches) == 3 * 2 * 3
    assert {entry.content for entry in patches.entries} == {source.content for source in sources}
    assert len({entry.id for entry in patches.entries} | {entry.id for entry in patches.references}) == 24
    for number, entry in enumerate(patches.entries):
        reference, distorted = patches.load(number)
        assert patches.references[entry.reference].content == entry.content
        assert reference.y.shape == distorted.y.shape == (3, 96, 96) and reference.u.shape == (3, 48, 48)
        error = ((reference.y.astype(float) - distorted.y) ** 2).mean(axis=(1, 2))
        assert entry.labels["psnr_y"] == pytest.approx(float(np.mean(10 * np.log10(255**2 / error))), abs=0.01)
        assert entry.labels["vmaf_v1.0.16_3d0h"] is None
    summary = patches.summary()
    assert summary["codecs"] == {"vp9": 6, "x264": 12} and summary["patches"] == 18 and summary["skipped"] == []
    json.dumps(summary)


def test_only_the_set_is_left_in_the_folder(finished):
    names = {path.name for path in finished.iterdir()} - {".lock"}
    assert len(names) == 3 * 2 + 2 and not [name for name in names if name.startswith(".")]


def test_building_is_deterministic_whatever_the_number_of_workers(finished, sources, tmp_path):
    build(sources, tmp_path / "again", CUTTING, RUNGS, workers=5)
    assert contents_of(tmp_path / "again") == contents_of(finished)


def test_a_finished_set_is_not_built_again(finished, sources, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in finished.iterdir()}
    monkeypatch.setattr("compressvqa.data.ladder.distort", None)
    calls = []
    build(sources, finished, CUTTING, RUNGS, progress=lambda done, total: calls.append((done, total)))
    assert {path: path.stat().st_mtime_ns for path in finished.iterdir()} == before
    assert calls == [(18, 18)]


def test_only_what_is_missing_is_built(finished, sources, tmp_path):
    folder = tmp_path / "set"
    calls = []
    build(sources[:2], folder, CUTTING, RUNGS)
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("v*.npy")}
    build(sources, folder, CUTTING, RUNGS, progress=lambda done, total: calls.append((done, total)))
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert contents_of(folder).items() >= contents_of(finished).items()  # and the index of the first two
    assert calls[0] == (12, 18) and calls[-1] == (18, 18)
    assert all(a[0] <= b[0] for a, b in itertools.pairwise(calls))


def test_sets_of_other_settings_share_a_folder(sources, tmp_path, monkeypatch):
    """A run with other settings takes nothing away from the first one, which goes on reading and is not built again."""
    first = build(sources[:1], tmp_path, CUTTING, RUNGS)
    (tmp_path / "mine.txt").touch()
    before = {path.name for path in tmp_path.iterdir()} - {"index.json"}
    assert len(build(sources[:1], tmp_path, CUTTING, RUNGS[:1])) == 2
    assert before < {path.name for path in tmp_path.iterdir()}
    assert len(list(first.evaluation_batches())) > 0
    monkeypatch.setattr(FileSource, "cut", lambda *_: pytest.fail("it is cut once more"))
    again = build(sources[:1], tmp_path, CUTTING, RUNGS)
    assert again.entries == first.entries and len(PatchSet(tmp_path)) == 2


OTHER = """
import sys
from pathlib import Path
from compressvqa.data.shared import working_in
with working_in(Path(sys.argv[1])) as work:
    (work / "half").touch()
    (Path(sys.argv[1]) / ".shard.npy.1.tmp").touch()
    print("in", flush=True)
    sys.stdin.readline()
"""


def test_one_works_in_a_folder_at_a_time_and_leaves_the_work_of_the_living(tmp_path):
    """Told by a lock, not by a process number: here it is the number of a process that never was, or of our own."""
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdin is not None and other.stdout is not None and other.stdout.readline() == "in\n"
    came_in = threading.Event()

    def wait() -> None:
        with working_in(tmp_path):
            came_in.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not came_in.wait(0.5)
    assert [*tmp_path.glob(".work-*/half")] and (tmp_path / ".shard.npy.1.tmp").exists()
    other.kill()  # what it leaves is dead work
    other.communicate()
    thread.join(20)
    assert came_in.is_set()
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


SCRIPT = """
import sys
from pathlib import Path
from compressvqa.data.build import build
from compressvqa.data.ladder import Rung
from compressvqa.data.sources import Cutting, FileSource
sources = [FileSource(path.name, path) for path in sorted(Path(sys.argv[1]).iterdir())]
rungs = [Rung("x264", 30), Rung("x264", 45), Rung("vp9", 60, 0.75)]
build(sources, Path(sys.argv[2]), Cutting(2, 3, 96), rungs, workers=1,
      progress=lambda done, total: print(done, flush=True))
"""


@pytest.mark.slow
def test_a_killed_build_goes_on_and_ends_the_same(finished, videos, sources, tmp_path):
    folder = tmp_path / "set"
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(videos), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= 8:  # the first source is done, the second is not
            break
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    time.sleep(0.2)  # an encoder that it had started may write on for a moment
    assert not (folder / "index.json").exists()
    with pytest.raises(DataError, match=r"no finished set of patches"):
        PatchSet(folder)
    assert [*folder.glob(".work-*")]
    whole = {path: path.stat().st_mtime_ns for path in folder.glob("v*.json")}
    assert 1 <= len(whole) < 3
    build(sources, folder, CUTTING, RUNGS)
    assert all(path.stat().st_mtime_ns == when for path, when in whole.items())
    assert contents_of(folder) == contents_of(finished)


def test_bad_files_are_skipped_and_named(sources, tmp_path):
    bad = tmp_path / "broken.mp4"
    bad.write_bytes(b"not a video" * 1000)
    cut = tmp_path / "cut.mkv"
    data = sources[0].path.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    calls = []
    patches = build([sources[0], FileSource("broken.mp4", bad), FileSource("cut.mkv", cut)], tmp_path / "set", CUTTING,
                    RUNGS[:1], progress=lambda done, total: calls.append((done, total)))  # fmt: skip
    assert {entry.content for entry in patches.entries} == {sources[0].content}
    reasons = {entry["source"]: entry["reason"] for entry in patches.summary()["skipped"]}
    assert "not a video" in reasons["broken.mp4"] and "cut off" in reasons["cut.mkv"]
    assert calls[-2] == (6, 6)


def test_a_rung_that_fails_is_left_out_and_named(sources, tmp_path, monkeypatch):
    from compressvqa.data import ladder

    real = ladder.encode

    def fails(reference, raw, rung, bitstream):
        if rung.quality == 45 and reference.name == "1.yuv":
            raise DataError("the encoder fell over")
        real(reference, raw, rung, bitstream)

    monkeypatch.setattr(ladder, "encode", fails)
    patches = build(sources[:1], tmp_path, CUTTING, RUNGS)
    assert len(patches) == 5
    assert patches.summary()["notes"] == ["v0.mkv, patch 1: x264-q45: the encoder fell over"]


def test_if_nothing_can_be_used_that_is_an_error_and_looked_at_again(tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(b"nothing")
    source = FileSource("a.mp4", video)
    with pytest.raises(DataError, match=r"none of 1 sources can be used \(a.mp4: is not a video"):
        build([source], tmp_path / "set", CUTTING, RUNGS)
    assert {path.name for path in (tmp_path / "set").iterdir()} <= {".lock"}


def test_no_sources_and_double_names(tmp_path, sources):
    with pytest.raises(DataError, match=r"no video to build patches from"):
        build([], tmp_path, CUTTING, RUNGS)
    with pytest.raises(DataError, match=r"same content name"):
        build([sources[0], FileSource(sources[0].content, sources[1].path)], tmp_path, CUTTING, RUNGS)
    with pytest.raises(DataError, match=r"names a rung twice"):
        build(sources, tmp_path, CUTTING, [RUNGS[0], RUNGS[0]])
    with pytest.raises(DataError, match=r"would code 24x24"):
        build(sources, tmp_path, CUTTING, [Rung("x264", 30, 0.25)])


def test_ten_bit_sources_give_ten_bit_shards(tmp_path):
    path = make(tmp_path / "ten.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv422p10le", size="128x96", frames=6)
    patches = build([FileSource("ten.mkv", path)], tmp_path / "set", Cutting(1, 3, 96), RUNGS)
    reference, distorted = patches.load(0)
    assert reference.y.dtype == distorted.y.dtype == np.uint16 and reference.colour.bitdepth == 10
    assert 300 < distorted.y.max() < 1024
    assert (reference.to_rgb() - distorted.to_rgb()).abs().mean() < 0.05


def test_evaluation_batches_are_whole_patches_in_order(finished):
    patches = PatchSet(finished)
    batches = list(patches.evaluation_batches(batch=4))
    assert [len(batch.entries) for batch in batches] == [4, 4, 4, 4, 2]
    assert [entry for batch in batches for entry in batch.entries] == patches.entries
    assert batches[0].reference.shape == (4, 3, 3, 96, 96)
    assert (batches[1].distorted[2] == patches.load(6)[1].to_rgb()).all()


def test_damaged_sets_are_refused(finished, tmp_path):
    import shutil

    shutil.copytree(finished, tmp_path / "set")
    next((tmp_path / "set").glob("*.npy")).write_bytes(b"no array")
    with pytest.raises(DataError, match=r"shard is missing or damaged"):
        list(PatchSet(tmp_path / "set").evaluation_batches())
    (tmp_path / "set" / "index.json").write_text('{"format": 99}')
    with pytest.raises(DataError, match=r"format 99"):
        PatchSet(tmp_path / "set")


def test_a_full_disk_is_one_clear_error(sources, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(DataError, match=r"can't be written .No space left on device.*finished sources are kept"):
        build(sources[:1], tmp_path, CUTTING, RUNGS[:1])


def test_a_missing_package_is_no_reason_to_skip(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ImportError, match=r"scikit-image"):
        build([PhotographSource("coffee.png")], tmp_path, CUTTING, RUNGS)
