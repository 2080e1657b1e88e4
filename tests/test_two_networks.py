"""A recipe with a teacher of its own, unlabelled clips, and stages that start where they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from data.scored import write_scored
from PIL import Image
from safetensors.torch import load_file

import compressvqa as cv
from compressvqa.errors import CompressVQAError
from compressvqa.opinions import write_manifest
from compressvqa.running.pipeline import run
from compressvqa.running.recipe import Recipe

pytestmark = pytest.mark.slow

RECIPE = """\
version: 1
name: two
seed: 1
model: {name: image-backbone, options: {backbone: test_vit, frames: 1, size: 64}}
teacher: {name: image-backbone, options: {backbone: test_resnet, frames: 1, size: 64}}
clip: {size: 64, frames: 1}
runtime: {precision: "32", threads: 1}
objective: {kind: mos}
data: {kind: mos-clips, source: SCORED, validation: split, frames: 1, resize: 64, crop: 64, variants: 2}
unlabelled: {kind: distorted-images, sources: PICTURES, resize: 64, crop: 64, distortions: [jpeg, motion-blur]}
stages:
  - {kind: train, name: teacher, network: teacher, steps: 6, batch: 4, optimizer: {lr: 1.0e-3}}
  - {kind: train, name: untrained, steps: 0}
  - {kind: train, name: alone, steps: 6, batch: 4, optimizer: {lr: 1.0e-3}}
  - {kind: train, name: untrained-again, start: initial, steps: 0}
  - {kind: distil, name: soft, data: unlabelled, teacher: teacher, steps: 6, batch: 4, losses: {score-mse: 1.0},
     task_weight: 0}
  - {kind: distil, name: both, teacher: teacher, steps: 6, batch: 4, losses: {feature-smooth-l1: 1.0},
     features: {feature: feature}, task_weight: 1.0}
  - {kind: prune, name: pruned, start: both, rule: null, depth: 0.5, attention: heads, target_params: 0.5}
  - {kind: train, name: teacher-longer, network: teacher, steps: 3, batch: 4}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    manifest = write_scored(folder / "scored", frames=3)
    write_manifest(manifest, folder / "scored" / "manifest.csv")
    (folder / "pictures").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((160, 120), Image.Resampling.BICUBIC).save(folder / "pictures" / f"{number}.png")
    file = folder / "two.yaml"
    text = RECIPE.replace("SCORED", str(folder / "scored" / "manifest.csv"))
    file.write_text(text.replace("PICTURES", str(folder / "pictures")))
    return file


@pytest.fixture(scope="module")
def done(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    run(Recipe.load(recipe), out=out)
    return out


def weights(out: Path, stage: str) -> dict[str, torch.Tensor]:
    (folder,) = (out / "stages").glob(f"*-{stage}")
    return load_file(folder / "model" / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_each_stage_works_on_its_network_from_where_it_says(done: Path) -> None:
    untrained = weights(done, "untrained")
    assert same(untrained, weights(done, "untrained-again"))
    assert not same(untrained, weights(done, "alone"))
    assert weights(done, "teacher").keys() == weights(done, "teacher-longer").keys() != untrained.keys()
    assert not same(weights(done, "teacher"), weights(done, "teacher-longer"))
    # The last network of the run is the model's, though a stage on the teacher came after it.
    assert same(load_file(done / "model" / "model.safetensors"), weights(done, "pruned"))


def test_the_table_compares_every_network_with_the_first(done: Path) -> None:
    table = {row["stage"]: row for row in json.loads((done / "results.json").read_text())["table"]}
    assert "agreement_srocc" not in table["teacher"]
    origins = {stage: row["origin"] for stage, row in table.items()}
    started = {"alone": "untrained", "soft": "untrained-again", "both": "soft", "pruned": "both"}
    built = dict.fromkeys(("teacher", "untrained", "untrained-again"))
    assert origins == {**built, **started, "teacher-longer": "teacher"}
    assert -1 <= table["soft"]["agreement_srocc"] <= 1
    assert table["untrained"]["agreement_plcc"] == pytest.approx(table["untrained-again"]["agreement_plcc"])
    assert table["pruned"]["params"] <= 0.5 * table["both"]["params"]
    # Recomputed by hand from the stages' own networks.
    scores = json.loads(next((done / "stages").glob("*-soft")).joinpath("stage.json").read_text())["scores"]
    first = json.loads(next((done / "stages").glob("*-teacher")).joinpath("stage.json").read_text())["scores"]
    assert table["soft"]["agreement_plcc"] == pytest.approx(np.corrcoef(scores, first)[0, 1])


def test_a_stage_that_changes_keeps_those_before_it(done: Path, recipe: Path) -> None:
    before = {folder.name: (folder / "stage.json").stat().st_mtime_ns for folder in (done / "stages").iterdir()}
    run(Recipe.load(recipe, ["stages.teacher-longer.steps=4"]), out=done)
    after = {folder.name: (folder / "stage.json").stat().st_mtime_ns for folder in (done / "stages").iterdir()}
    assert [name for name in sorted(before) if before[name] != after[name]] == ["08-teacher-longer"]


def test_activations_can_be_computed_again(recipe: Path, tmp_path: Path, done: Path) -> None:
    changes = [
        "runtime.recompute=true",
        "teacher.options.backbone=test_vit2",
        "stages=[{kind: train, name: alone, steps: 3, batch: 4}]",
    ]
    plain = run(Recipe.load(recipe, ["stages=[{kind: train, name: alone, steps: 3, batch: 4}]"]), out=tmp_path / "a")
    again = run(Recipe.load(recipe, changes), out=tmp_path / "b")
    ours, theirs = (load_file(result.model / "model.safetensors") for result in (plain, again))
    for key, value in ours.items():
        torch.testing.assert_close(theirs[key], value, rtol=1e-4, atol=1e-5)


def test_a_tap_that_matches_nothing_is_said_before_data_is_prepared(recipe: Path, tmp_path: Path) -> None:
    wrong = Recipe.load(recipe, ["stages.both.features={faeture: feature}"])
    with pytest.raises(CompressVQAError, match="feature"):
        run(wrong, out=tmp_path / "run")
    assert not (tmp_path / "run" / "data").exists()


def test_the_last_network_loads(done: Path) -> None:
    model = cv.load(done / "model")
    with torch.inference_mode():
        assert torch.isfinite(model(*cv.example_inputs(model, size=64, frames=1))).all()
