"""A recipe whose prune stage trains between its steps: killed in earnest, it goes on to the same bits."""

import hashlib
import json
import signal
import time
from pathlib import Path

import pytest
from running import start

from compressvqa.running.pipeline import run
from compressvqa.running.recipe import Recipe

pytestmark = pytest.mark.slow  # processes of their own

STAGES = """\
stages:
  - {kind: train, name: teacher, steps: 2, batch: 2, optimizer: {lr: 1.0e-3}}
  - {kind: prune, name: pruned, rule: null, target_params: 0.4, steps: 3, importance: taylor, batch: 2,
     gradient_batches: 2, finetune: {steps: 5, batch: 2, checkpoint_seconds: 0.001, optimizer: {lr: 1.0e-3}}}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, small_recipe: Path) -> Path:
    """The small recipe with other stages."""
    file = tmp_path_factory.mktemp("steps") / "steps.yaml"
    file.write_text(small_recipe.read_text().partition("stages:")[0] + STAGES)
    return file


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, recipe: Path, small_data: Path) -> Path:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    run(Recipe.load(recipe), out=out, data_folder=small_data)
    return out


def kill(recipe: Path, out: Path, data: Path, mark: str) -> None:
    """Starts the run and kills it as soon as the mark stands in the metrics."""
    process = start("run", str(recipe), "--out", str(out), "--data-folder", str(data))
    metrics, deadline = out / "metrics.jsonl", time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if metrics.exists() and mark in metrics.read_text():
            break
        time.sleep(0.005)
    assert process.poll() is None, "the run ended before it could be stopped"
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_run_that_is_killed_again_and_again_goes_on_to_the_same_result(
    whole: Path, recipe: Path, small_data: Path, tmp_path: Path
) -> None:
    """Within the first training between steps, at its end, and within the second."""
    for step in (2, 5, 7):
        kill(recipe, tmp_path / "run", small_data, f'"stage": "pruned", "step": {step},')
        assert not (tmp_path / "run" / "report.html").exists()
    run(Recipe.load(recipe), out=tmp_path / "run", data_folder=small_data)
    assert digest(tmp_path / "run") == digest(whole)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["stage"] == "pruned"] == list(range(1, 11))


def test_the_run_keeps_the_networks_between_and_no_checkpoint(whole: Path) -> None:
    folder = whole / "stages" / "02-pruned"
    assert all((folder / f"step-{k}" / "model" / "config.json").is_file() for k in (1, 2))
    assert not list(whole.rglob("checkpoint.pt"))
    figures = json.loads((whole / "results.json").read_text())["stages"]["pruned"]
    assert len(figures["steps"]) == 3 and figures["max_error"] <= 1e-5
