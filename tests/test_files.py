"""Files are written whole or not at all, under names that are nobody else's, and JSON holds what it was given."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from disk import full

from compressvqa import files
from compressvqa.errors import CompressVQAError
from compressvqa.files import check_writable, exchange, plain, replacing, set_aside, unique, write_json


def test_numbers_of_numpy_and_tensors_are_numbers(tmp_path: Path) -> None:
    figures = {
        "a": np.float32(0.25),
        "b": np.arange(3),
        "c": torch.tensor([0.5, float("nan")], requires_grad=True),
        "d": (np.bool_(True), torch.tensor(7), Path("x")),
        1: np.float64("inf"),
    }
    write_json(tmp_path / "f.json", figures)
    read = json.loads((tmp_path / "f.json").read_text())
    assert read == {"a": 0.25, "b": [0, 1, 2], "c": [0.5, None], "d": [True, 7, "x"], "1": None}


def test_what_json_has_no_form_for_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert plain({"a": [{"b": torch.float16}]}) == {"a": [{"b": "torch.float16"}]}
    assert "a.0.b is written as text" in caplog.text


def test_temporary_names_are_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two containers in which every process is number 1, and two threads, write one file at a time."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with replacing(tmp_path / "a") as one, replacing(tmp_path / "a") as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "a").read_text() == "one" and [path.name for path in tmp_path.iterdir()] == ["a"]
    names: list[str] = []
    threads = [threading.Thread(target=lambda: names.extend(unique() for _ in range(100))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 400


@pytest.mark.parametrize("in_one_step", [True, False])
def test_folders_change_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_step: bool) -> None:
    if not in_one_step:
        monkeypatch.setattr(files, "_swapped", lambda one, other: False)
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    exchange(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "new").exists() and (tmp_path / "new" / "old").exists()
    assert not set_aside(tmp_path / "old").exists()


def test_outputs_are_tried_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_writable(tmp_path / "new" / "deeper" / "scores.csv", tmp_path, tmp_path / "file", None)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]  # and nothing is left
    with pytest.raises(CompressVQAError, match=r"scores\.csv: can't be written: (Not a directory|File exists)"):
        check_writable(tmp_path / "file" / "scores.csv")
    full = Path("/dev/full")
    if full.exists():  # a device that takes nothing, as a full disk does
        with pytest.raises(CompressVQAError, match="can't be written"):
            check_writable(Path("/proc/nothing/scores.csv"))


def test_a_full_disk_is_told_by_the_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("old")
    with full(), pytest.raises(OSError, match="File too large") as caught:
        write_json(tmp_path / "a.json", list(range(5000)))
    assert caught.value.filename == str(tmp_path / "a.json")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"] and (tmp_path / "a.json").read_text() == "old"


def test_several_try_one_folder_at_a_time(tmp_path: Path) -> None:
    """Each makes it, writes, and takes back what it wrote: none is told that it can't be written."""

    def try_out(number: int) -> None:
        for _ in range(50):
            check_writable(tmp_path / "made" / "here" / f"{number}.json")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(try_out, range(4))) == [None] * 4
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_trial_takes_no_folder_away_that_another_process_makes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each makes its folder after it has tried; the trial of the other one must leave it there."""
    wanted = tmp_path / "runs" / "one"
    written = Path.write_bytes

    def meanwhile(path: Path, data: bytes) -> int:
        wanted.mkdir(parents=True)
        return written(path, data)

    monkeypatch.setattr(Path, "write_bytes", meanwhile)
    check_writable(wanted / "log.txt")
    monkeypatch.undo()
    assert [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*"))] == [Path("runs"), Path("runs/one")]
    check_writable(tmp_path / "other" / "log.txt")
    assert not (tmp_path / "other").exists()
