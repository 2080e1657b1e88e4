"""The recipe `c3dvqa_mini` on a narrow C3DVQA: the teacher stays as it was read, a quarter is left, teaching helps."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from running import command

import compressvqa as cv
from compressvqa.running.pipeline import run
from compressvqa.running.recipe import Recipe

NARROW = {"width": 4, "trunk_width": 16}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as a file, of a network whose scores spread over tens of points, as those of the published one do."""
    torch.manual_seed(3)
    network = cv.create_model("c3dvqa", **NARROW)
    with torch.no_grad():
        network.get_submodule("sensitivity.6").weight.mul_(3e3)
        network.get_submodule("regress.0").weight.copy_(torch.tensor([[-0.5], [0.5], [-0.5], [0.5]]))
        network.get_submodule("regress.2").weight.copy_(torch.tensor([[0.5, -0.5, 0.5, -0.5]]))
    file = tmp_path_factory.mktemp("weights") / "teacher.pt"
    torch.save({"epoch": 1, "model_state_dict": network.state_dict()}, file)
    return file


@pytest.fixture(scope="module")
def small(checkpoint: Path, small_recipe: Path) -> Recipe:
    """The recipe with the narrow network, on the data that tests share."""
    data = yaml.safe_load(small_recipe.read_text())["data"]
    changes = {
        "model.weights": str(checkpoint), "model.options": NARROW, "clip.size": 96, "data": {**data, "sizes": [96]},
        "runtime": {"precision": "32", "threads": 1}, "stages.distilled.steps": 30, "stages.distilled.batch": 2,
        "stages.pruned.round_to": 1,
    }  # fmt: skip
    return Recipe.load("c3dvqa_mini", [f"{key}={json.dumps(value)}" for key, value in changes.items()])


def test_without_the_weights_it_ends_in_one_line_that_names_them(tmp_path: Path) -> None:
    missing = tmp_path / "model.pt"
    done = command("run", "c3dvqa_mini", "--out", str(tmp_path / "run"), "--set", f"model.weights={missing}")
    assert done.returncode == 2
    [line] = done.stderr.strip().splitlines()
    assert line.endswith(f"model (with --set model.weights): {missing}: no such checkpoint")
    assert Recipe.load("c3dvqa_mini").model.weights, "random weights would be no teacher"


@pytest.mark.slow
def test_it_runs_whole(small: Recipe, checkpoint: Path, small_data: Path, tmp_path: Path) -> None:
    run(small, out=tmp_path, data_folder=small_data)
    stages = {name: cv.load(tmp_path / "stages" / f"0{i}-{name}" / "model")
              for i, name in enumerate(("teacher", "pruned", "distilled"), 1)}  # fmt: skip
    published = torch.load(checkpoint, weights_only=True)["model_state_dict"]
    for name, value in stages["teacher"].state_dict().items():
        assert torch.equal(value, published[name]), f"{name}: the teacher was trained"
    table = {row["stage"]: row for row in json.loads((tmp_path / "results.json").read_text())["table"]}
    assert table["distilled"]["macs"] == table["pruned"]["macs"] <= 0.25 * table["teacher"]["macs"]
    assert stages["distilled"].get_submodule("regress.0").weight.shape == (4, 1), "the regression keeps its units"
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["feature-smooth-l1"] for line in lines if line["stage"] == "distilled"]
    assert len(losses) == 30 and sum(losses[-5:]) < 0.6 * sum(losses[:5])
