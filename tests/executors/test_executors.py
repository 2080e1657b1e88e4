"""Units run once each, on processes or in shares, and what is killed goes on."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from executors import work

from compressvqa.errors import CompressVQAError, DataError
from compressvqa.executors import Executor, Processes, Results, Shard, Unit, executor_of


def units(folder: Path, count: int = 6, **more: object) -> list[Unit]:
    return [
        Unit.named({"number": number}, {"log": str(folder / "log"), "number": number, **more}, f"number {number}")
        for number in range(count)
    ]


def ran(folder: Path) -> list[int]:
    """Numbers of the units that ran, each time they did."""
    return sorted(int(line.split()[0]) for line in (folder / "log").read_text().splitlines())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("executor", [Processes(1), Processes(2)], ids=["one", "two"])
def test_every_unit_is_run_once_and_not_again(tmp_path: Path, executor: Executor) -> None:
    results = Results(tmp_path / "results")
    found = {unit.title: result["square"] for unit, result in executor.run(work.note, units(tmp_path), results)}
    assert found == {f"number {number}": number**2 for number in range(6)}
    again = list(executor.run(work.note, units(tmp_path), results))
    assert len(again) == 6
    assert ran(tmp_path) == list(range(6))


def test_shares_are_disjoint_make_the_whole_and_give_the_same_bytes_as_one_run(tmp_path: Path) -> None:
    one, shared = Results(tmp_path / "one"), Results(tmp_path / "shared")
    list(Processes(1).run(work.note, units(tmp_path, 20), one))
    todo = units(tmp_path, 20)
    parts = [[unit.name for unit, _ in Shard(index, 3).run(work.note, todo, shared)] for index in (3, 1, 2)]
    assert sorted(name for part in parts for name in part) == sorted(unit.name for unit in todo)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert files(one.folder) == files(shared.folder)
    assert not Shard(1, 3).whole
    assert Shard(1, 1).whole


def test_a_share_does_not_hang_on_the_order_of_the_units(tmp_path: Path) -> None:
    forwards = {unit.name for unit, _ in Shard(1, 2).run(work.note, units(tmp_path), Results(tmp_path / "a"))}
    backwards = {unit.name for unit, _ in Shard(1, 2).run(work.note, units(tmp_path)[::-1], Results(tmp_path / "b"))}
    assert forwards == backwards


def test_a_worker_that_is_killed_costs_nothing_but_its_unit(tmp_path: Path) -> None:
    found = dict(Processes(2).run(work.dies_once, units(tmp_path), Results(tmp_path / "results")))
    assert sorted(found.values()) == list(range(6))


def test_a_unit_that_kills_its_process_each_time_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"number \d: its process died 2 times"):
        list(Processes(2, retries=1).run(work.dies, units(tmp_path), Results(tmp_path / "results")))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fault_of_a_unit_is_its_own_error_and_what_was_done_stays(tmp_path: Path, workers: int) -> None:
    results = Results(tmp_path / "results")
    with pytest.raises(DataError, match=r"three\.mp4: is no video"):
        list(Processes(workers).run(work.refuses, units(tmp_path), results))
    assert results.get(units(tmp_path)[0].name) == (0,)


def _slowly(folder: str) -> None:
    list(Shard(1, 2).run(work.note, units(Path(folder), 12, seconds=0.1), Results(Path(folder) / "results")))


def test_a_share_that_is_killed_and_started_again_beside_another_loses_and_repeats_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    first = context.Process(target=_slowly, args=(str(tmp_path),))
    first.start()
    log = tmp_path / "log"
    while not log.exists() or len(log.read_text().splitlines()) < 2:
        time.sleep(0.02)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    results = Results(tmp_path / "results")
    list(Shard(2, 2).run(work.note, units(tmp_path, 12, seconds=0.0), results))
    list(Shard(1, 2).run(work.note, units(tmp_path, 12, seconds=0.0), results))
    assert results.missing(unit.name for unit in units(tmp_path, 12)) == []
    # Only the unit that was being done when the process died was begun twice.
    assert len(ran(tmp_path)) - 12 in (0, 1)
    one = Results(tmp_path / "one")
    list(Processes(1).run(work.note, units(tmp_path, 12), one))
    kept = {name: held for name, held in files(results.folder).items() if not name.endswith(".tmp")}
    assert kept == files(one.folder)


def _side_by_side(folder: str) -> None:
    list(Processes(2).run(work.note, units(Path(folder), 4, seconds=60.0), Results(Path(folder) / "results")))


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    parent = multiprocessing.get_context("spawn").Process(target=_side_by_side, args=(str(tmp_path),))
    parent.start()
    log = tmp_path / "log"
    while not log.exists() or len(log.read_text().splitlines()) < 2:
        time.sleep(0.02)
    workers = [int(line.split()[1]) for line in log.read_text().splitlines()]
    assert parent.pid is not None
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    ends = time.monotonic() + 30
    while any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers):
        assert time.monotonic() < ends, "a worker outlived its parent"
        time.sleep(0.02)


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, real = Results(tmp_path / "results"), os.fsync

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"No space left on device.*free some space"):
        list(Processes(1).run(work.note, units(tmp_path), results))
    assert files(results.folder) == {}
    monkeypatch.setattr(os, "fsync", real)
    assert len(list(Processes(1).run(work.note, units(tmp_path), results))) == 6


def test_a_damaged_result_is_made_again(tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    list(Processes(1).run(work.note, units(tmp_path, 1), results))
    [path] = results.folder.rglob("*.json")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    list(Processes(1).run(work.note, units(tmp_path, 1), results))
    assert path.read_bytes() == whole


def test_names_change_with_every_fact_and_only_plain_facts_are_taken(tmp_path: Path) -> None:
    assert Unit.named({"a": 1, "b": [2]}, {}).name == Unit.named({"b": [2], "a": 1}, {}).name
    assert Unit.named({"a": 1, "b": [2]}, {}).name != Unit.named({"a": 1, "b": [3]}, {}).name
    with pytest.raises(TypeError):
        Unit.named({"a": tmp_path}, {})


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/4/2", "-1/4", "", "1/0"])
def test_a_shard_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(CompressVQAError, match="shard"):
        Shard.parse(text)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(CompressVQAError, match="a cluster shares out the work itself"):
        executor_of("auto", shard="1/2")
    with pytest.raises(CompressVQAError, match="its own workers"):
        executor_of("auto", workers=3)
