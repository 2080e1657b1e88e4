"""Shares that wait for each other: every unit once, and those of a share that is lost or never came."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from executors import work
from executors.test_executors import ran, units

from compressvqa.executors import Results, Shard, Together

QUICK: dict[str, Any] = {"lease": 1.0, "beat": 0.05, "look": 0.02}


def swept(index: int, count: int, folder: Path, *, seconds: float = 0.0, number: int = 12, **more: Any) -> int:
    """How many results a share finds."""
    together, results = Together(Shard(index, count), **QUICK | more), Results(folder / "results")
    return len(dict(together.run(work.note, units(folder, number, seconds=seconds), results)))


@pytest.mark.parametrize("seconds", [0.0, 0.6])
def test_shares_wait_for_each_other_and_do_every_unit_once(tmp_path: Path, seconds: float) -> None:
    """Also where one takes longer than a lease, which its signs renew."""
    with ThreadPoolExecutor() as pool:
        each = pool.map(lambda index: swept(index, 3, tmp_path, seconds=seconds * (index == 2)), (1, 2, 3))
        counts = list(each)
    assert counts == [12, 12, 12]
    assert ran(tmp_path) == list(range(12))


def test_what_shares_that_never_came_would_have_done_falls_to_the_next(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        counts = list(pool.map(lambda index: swept(index, 4, tmp_path), (2, 3)))
    assert counts == [12, 12]
    assert ran(tmp_path) == list(range(12))


def test_a_share_that_is_killed_leaves_its_units_to_another(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    other = context.Process(target=swept, args=(2, 2, tmp_path), kwargs={"seconds": 0.3})
    other.start()
    while not (tmp_path / "log").exists():
        time.sleep(0.01)
    assert other.pid is not None
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    assert swept(1, 2, tmp_path) == 12
    assert set(ran(tmp_path)) == set(range(12))
    assert len(ran(tmp_path)) - 12 in (0, 1)  # what it was at is begun again


def test_clocks_that_jump_take_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of signs may be as old as they like: what counts is that they change."""
    written = Path.write_bytes

    def old(path: Path, data: bytes) -> int:
        count = written(path, data)
        os.utime(path, (0, 0))
        return count

    monkeypatch.setattr(Path, "write_bytes", old)
    monkeypatch.setattr(time, "time", lambda: 1e12)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda index: swept(index, 2, tmp_path, seconds=0.3, number=8), (1, 2)))
    assert ran(tmp_path) == list(range(8))
