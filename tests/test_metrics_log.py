"""The figures of a run's steps: what is gone from the recipe is gone here, and TensorBoard reads the same."""

from __future__ import annotations

import json
from pathlib import Path

from running import script
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from compressvqa.running.metrics_log import MetricsLog


def written(folder: Path, *rows: tuple[str, int], stages: set[str] | None = None) -> MetricsLog:
    log = MetricsLog(folder, stages or {"a", "b"})
    for stage, step in rows:
        log.write(stage, step, {"loss": step / 4, "lr": 1e-3})
    log.close()
    return log


def steps(log: MetricsLog) -> list[tuple[str, int]]:
    return [(row["stage"], row["step"]) for row in log.rows()]


def shown(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads."""
    found = EventAccumulator(str(folder / "events"))
    found.Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    written(tmp_path, ("a", 1), ("a", 2), ("b", 1))
    assert shown(tmp_path)["a/loss"] == [(1, 0.25), (2, 0.5)]
    assert set(shown(tmp_path)) == {"a/loss", "a/lr", "b/loss", "b/lr"}


def test_a_stage_that_goes_on_replaces_the_steps_that_it_repeats(tmp_path: Path) -> None:
    written(tmp_path, ("a", 1), ("a", 2), ("a", 3))
    log = written(tmp_path, ("a", 2))
    assert steps(log) == [("a", 1), ("a", 2)]
    assert shown(tmp_path)["a/loss"] == [(1, 0.25), (2, 0.5)]


def test_stages_that_are_gone_or_start_over_leave_no_curve(tmp_path: Path) -> None:
    written(tmp_path, ("a", 1), ("b", 1))
    log = written(tmp_path, stages={"b", "c"})
    assert steps(log) == [("b", 1)] and set(shown(tmp_path)) == {"b/loss", "b/lr"}
    log.forget("b")  # it starts over, and may have no steps this time
    log.close()
    assert steps(log) == [] and not (tmp_path / "events").exists()


def test_a_line_cut_short_is_dropped_and_the_next_one_stands_alone(tmp_path: Path) -> None:
    written(tmp_path, ("a", 1), ("a", 2))
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(file.read_bytes()[:-9])
    assert steps(written(tmp_path, ("a", 2), ("a", 3))) == [("a", 1), ("a", 2), ("a", 3)]
    assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == [1, 2, 3]


FULL = """
import resource, sys
from pathlib import Path
from compressvqa.errors import CompressVQAError
from compressvqa.running.metrics_log import MetricsLog
log = MetricsLog(Path(sys.argv[1]), {"a"})
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    for step in range(1000):
        log.write("a", step, {"loss": 1.0})
except CompressVQAError as error:
    print(error)
log.close()
"""


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    done = script(FULL, str(tmp_path), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "metrics.jsonl: can't be written (File too large)" in done.stdout
