"""A recipe runs whole; a killed run goes on to the same result; a changed recipe repeats only what it must."""

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from running import start

import compressvqa as cv
from compressvqa.data.patches import PatchSet
from compressvqa.data.rank_pairs import RankPairs
from compressvqa.errors import CompressVQAError, TrainingError
from compressvqa.models.scales import scale_of
from compressvqa.running.pipeline import run
from compressvqa.running.recipe import Recipe

pytestmark = pytest.mark.slow  # processes of their own

STAGES = ["teacher", "sparse", "pruned", "distilled"]


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, small_recipe: Path, small_data: Path) -> Path:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    result = run(Recipe.load(small_recipe), out=out, data_folder=small_data)
    assert result.report.is_file()
    return out


def test_the_table_has_a_row_for_each_stage(whole: Path) -> None:
    results = json.loads((whole / "results.json").read_text())
    table = results["table"]
    assert [row["stage"] for row in table] == STAGES
    for row in table:
        assert {"params", "macs", "macs_conv_linear", "latency_ms", "srocc", "plcc", "pair_accuracy", "n"} <= set(row)
    assert table[0]["params"] == table[1]["params"] > table[2]["params"] == table[3]["params"]
    assert table[2]["params"] <= 0.5 * table[0]["params"]


def test_the_run_folder_is_as_promised(whole: Path) -> None:
    for name in ("recipe.yaml", "environment.json", "log.txt", "metrics.jsonl", "report.html", "tradeoff.svg",
                 "tradeoff.png", "tradeoff.csv", "model/config.json", "model/README.md", "stages/01-teacher/stage.json",
                 "stages/04-distilled/model/model.safetensors"):  # fmt: skip
        assert (whole / name).stat().st_size > 0, name
    assert any((whole / "events").iterdir())
    assert not list(whole.rglob("*.tmp")) and not list(whole.rglob("checkpoint.pt"))
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    for stage in ("teacher", "sparse", "distilled"):
        assert [row["step"] for row in rows if row["stage"] == stage] == list(range(1, 9))


def test_sparsity_leads_to_the_target_and_pruning_is_exact(whole: Path) -> None:
    stages = json.loads((whole / "results.json").read_text())["stages"]
    assert stages["sparse"]["density_after_the_last_cut"] == pytest.approx(0.4, abs=0.02)
    assert stages["pruned"]["max_error"] <= 1e-5
    assert any("extractor.stages.5" in path for path in stages["pruned"]["dead"])


def test_the_model_loads_and_scores(whole: Path) -> None:
    model = cv.load(whole / "model")
    inputs = cv.example_inputs(model, size=96)
    with torch.inference_mode():
        assert torch.isfinite(model(*inputs)).all()


def scale_in(folder: Path) -> dict | None:
    found: dict | None = json.loads((folder / "config.json").read_text())["scale"]
    return found


def test_each_stage_has_the_scale_that_fits_its_labels_or_says_why(
    whole: Path, small_recipe: Path, small_data: Path
) -> None:
    dataset = RankPairs(Recipe.load(small_recipe).data)
    examples = PatchSet(small_data / "validation")
    labels = np.array(examples.label("vmaf_v0.6.1"))
    fitted = 0
    for place in sorted((whole / "stages").iterdir()):
        said = json.loads((place / "stage.json").read_text())["figures"]["scale"]
        network = cv.load(place / "model").eval()
        assert (scale_of(network) is None) == ("none" in said) == (scale_in(place / "model") is None)
        if scale_of(network) is not None:
            fitted += 1
            with torch.inference_mode():
                raw = dataset.judge(examples, network).scores
                same = [float(network(*[pair[0].to_rgb()[None]] * 2)) for pair in map(examples.load, range(len(raw)))]
            assert said["rmse"] == pytest.approx(np.sqrt(np.mean((scale_of(network).map(raw) - labels) ** 2)), rel=1e-3)
            assert said["rmse"] < labels.std() * 1.05
            assert said["identical"]["lowest"] == pytest.approx(scale_of(network).map(same).min(), rel=1e-3)
            assert "VMAF 0.6.1 of" in said["fitted_to"]
    assert fitted, "not even one follows its labels: nothing was tested"
    assert scale_in(whole / "model") == scale_in(sorted((whole / "stages").iterdir())[-1] / "model")


def test_a_run_of_an_older_version_gets_its_scale_at_the_end(
    whole: Path, small_recipe: Path, small_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "old")
    for place in (tmp_path / "old" / "stages").iterdir():
        done = json.loads((place / "stage.json").read_text())
        del done["figures"]["scale"]
        (place / "stage.json").write_text(json.dumps(done))
        config = json.loads((place / "model" / "config.json").read_text())
        del config["scale"]
        (place / "model" / "config.json").write_text(json.dumps(config))
    result = run(Recipe.load(small_recipe), out=tmp_path / "old", data_folder=small_data)
    assert scale_in(result.model) == scale_in(whole / "model")
    assert (result.model / "model.safetensors").read_bytes() == (whole / "model" / "model.safetensors").read_bytes()


def stop_in(stage: str, step: int, how: signal.Signals, recipe: Path, out: Path, data: Path) -> tuple[int, str]:
    """Starts the run, sends a signal once the stage has come to the step, returns exit code and standard error."""
    process = start("run", str(recipe), "--out", str(out), "--data-folder", str(data))
    metrics, mark = out / "metrics.jsonl", f'"stage": "{stage}", "step": {step},'
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if metrics.exists() and mark in metrics.read_text():
            break
        time.sleep(0.005)
    assert process.poll() is None, "the run ended before it could be stopped"
    process.send_signal(how)
    done = process.wait()
    return done.returncode, done.stderr


def test_a_run_that_is_killed_again_and_again_goes_on_to_the_same_result(
    whole: Path, small_recipe: Path, small_data: Path, tmp_path: Path
) -> None:
    trained, out = ("teacher", "sparse", "distilled"), tmp_path / "run"
    for stage in trained:
        code, _ = stop_in(stage, 5, signal.SIGKILL, small_recipe, out, small_data)
        assert code == -signal.SIGKILL and not (out / "report.html").exists()
    run(Recipe.load(small_recipe), out=out, data_folder=small_data)
    assert digest(out) == digest(whole)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for stage in trained:
        assert [row["step"] for row in rows if row["stage"] == stage] == list(range(1, 9))


def test_a_run_that_is_asked_to_stop_goes_on(whole: Path, small_recipe: Path, small_data: Path, tmp_path: Path) -> None:
    """By Ctrl-C, or by SIGTERM as clusters do; the checkpoint is of the last step, not of the last minute."""
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(small_recipe.read_text().replace("checkpoint_seconds: 0.001", "checkpoint_seconds: 1000"))
    for how, stage, folder, expected in (
        (signal.SIGINT, "teacher", "01-teacher", 130),
        (signal.SIGTERM, "distilled", "04-distilled", 143),
    ):
        code, said = stop_in(stage, 4, how, recipe, out, small_data)
        assert code == expected and "Traceback" not in said and "goes on" in said.splitlines()[-1]
        assert torch.load(out / "stages" / folder / "checkpoint.pt", weights_only=True)["step"] >= 4
    run(Recipe.load(recipe), out=out, data_folder=small_data)
    assert digest(out) == digest(whole)


def test_a_changed_stage_repeats_itself_and_what_follows(
    whole: Path, small_recipe: Path, small_data: Path, tmp_path: Path
) -> None:
    import shutil

    out = tmp_path / "run"
    shutil.copytree(whole, out)
    before = {folder.name: (folder / "stage.json").stat().st_mtime_ns for folder in (out / "stages").iterdir()}
    run(Recipe.load(small_recipe, ["stages.pruned.target_params=0.4"]), out=out, data_folder=small_data)
    changed = {
        name for name, when in before.items() if (out / "stages" / name / "stage.json").stat().st_mtime_ns != when
    }
    assert changed == {"03-pruned", "04-distilled"}


def test_a_loss_that_is_not_a_number_ends_the_run_and_keeps_what_is_done(
    whole: Path, small_recipe: Path, small_data: Path, tmp_path: Path
) -> None:
    overrides = ["stages.teacher.optimizer.lr=1e30", "stages.teacher.clip_norm=null"]
    with pytest.raises(TrainingError, match=r"is (nan|inf) at step"):
        run(Recipe.load(small_recipe, overrides), out=tmp_path / "run", data_folder=small_data)
    assert (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_folder_in_use_is_refused(small_recipe: Path, small_data: Path, tmp_path: Path) -> None:
    from compressvqa.running.run_folder import RunFolder

    with (
        RunFolder(tmp_path / "run").locked(),
        pytest.raises(CompressVQAError, match="another process is running in this folder"),
    ):
        run(Recipe.load(small_recipe), out=tmp_path / "run", data_folder=small_data)


def test_without_resume_a_used_folder_is_refused(whole: Path, small_recipe: Path) -> None:
    with pytest.raises(CompressVQAError, match="already holds a run"):
        run(Recipe.load(small_recipe), out=whole, resume=False)


def kept_stages(recipe: Path, out: Path, data: Path, *overrides: str) -> list[str]:
    """Stages of a run that were not done again, by the times of their files."""
    before = {path.parent.name: path.stat().st_mtime_ns for path in out.glob("stages/*/stage.json")}
    run(Recipe.load(recipe, overrides), out=out, data_folder=data)
    after = {path.parent.name: path.stat().st_mtime_ns for path in out.glob("stages/*/stage.json")}
    return sorted(name for name, when in before.items() if after.get(name) == when)


SHORT = [
    "stages=[{kind: train, name: first, steps: 1, batch: 2}, "
    "{kind: prune, name: second, rule: null, target_params: 0.8}]"
]


SHORTER = ["stages=[{kind: train, name: first, steps: 1, batch: 2}]"]


def test_a_kept_stage_knows_its_data_and_weights(small_recipe: Path, small_data: Path, tmp_path: Path) -> None:
    """The recipe stays as it is, letter by letter; what its files hold does not."""
    import shutil

    data, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(small_data, data)
    cv.save(cv.create_model("rankdvqa", widths=(4, 6, 8, 10, 12, 14), merge_width=8, mlp_width=8), tmp_path / "model")
    given = [*SHORTER, f"model.weights={tmp_path / 'model'}"]
    assert kept_stages(small_recipe, out, data, *given) == []
    assert kept_stages(small_recipe, out, data, *given) == ["01-first"]
    # Other weights under the same name.
    torch.manual_seed(99)
    cv.save(cv.create_model("rankdvqa", widths=(4, 6, 8, 10, 12, 14), merge_width=8, mlp_width=8), tmp_path / "model")
    assert kept_stages(small_recipe, out, data, *given) == []
    # Other data under the same setting: as if a file of `sources` had been replaced.
    index = next(path for path in (data / "train").glob("index-*.json"))
    facts = json.loads(index.read_text())
    index.write_text(json.dumps(facts | {"shards": facts["shards"][:-1]}))
    assert kept_stages(small_recipe, out, data, *given) == []
    results = json.loads((out / "results.json").read_text())
    assert results["data"]["train"]["contents"] == len(facts["shards"]) - 1


def test_stages_that_are_gone_leave_nothing_behind(small_recipe: Path, small_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    kept_stages(small_recipe, out, small_data, *SHORT)
    (out / "stages" / "notes").mkdir()
    shorter = ["stages=[{kind: train, name: renamed, steps: 1, batch: 2}]"]
    kept_stages(small_recipe, out, small_data, *shorter)
    assert sorted(path.name for path in (out / "stages").iterdir()) == ["01-renamed", "notes"]
    assert set(json.loads((out / "results.json").read_text())["curves"]) == {"renamed"}


def test_a_failure_leaves_the_process_as_it_was(small_recipe: Path, small_data: Path, tmp_path: Path) -> None:
    import logging

    names = ("compressvqa", "lightning_fabric")
    torch.set_num_threads(2)
    before = [(logging.getLogger(name).level, list(logging.getLogger(name).handlers)) for name in names]
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    overrides = [*SHORT, "stages.first.optimizer.lr=1e30", "stages.first.clip_norm=null", "stages.first.steps=20"]
    try:
        with pytest.raises(TrainingError):
            run(Recipe.load(small_recipe, overrides), out=tmp_path / "run", data_folder=small_data)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert [(logging.getLogger(name).level, list(logging.getLogger(name).handlers)) for name in names] == before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    events = next((tmp_path / "run" / "events").iterdir())
    assert not any(str(events) in str(path.resolve()) for path in Path("/proc/self/fd").iterdir() if path.exists())


def test_results_tell_the_environment_of_each_stage(small_recipe: Path, small_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    kept_stages(small_recipe, out, small_data, *SHORT)
    stage = out / "stages" / "01-first" / "stage.json"
    done = json.loads(stage.read_text())
    done["environment"]["processor"] = "another one"
    stage.write_text(json.dumps(done))
    assert "02-second" in kept_stages(small_recipe, out, small_data, *SHORT)
    results = json.loads((out / "results.json").read_text())
    assert results["stage_environments"]["first"]["processor"] == "another one"
    assert results["stage_environments"]["second"] == results["environment"]
    assert "Stage first was made with processor another one" in (out / "report.html").read_text()


def test_nothing_depends_on_the_hash_seed(whole: Path, ran: Path) -> None:
    """The same run by this process and by a fresh one, whose seed is another."""
    assert sys.flags.hash_randomization and os.environ.get("PYTHONHASHSEED") != "1"
    assert digest(ran) == digest(whole)
    ours, theirs = (json.loads((folder / "results.json").read_text()) for folder in (ran, whole))
    for part in ("stages", "data", "curves"):
        assert json.dumps(ours[part]) == json.dumps(theirs[part])  # also the order of what is in them
