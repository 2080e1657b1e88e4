"""Regression on opinion scores: the objective by hand, and whole runs on small pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from pydantic import ValidationError
from torch import Tensor, nn

import compressvqa as cv
from compressvqa import registry
from compressvqa.data import DistortedImages
from compressvqa.data.scored import ScoredBatch
from compressvqa.errors import TrainingError
from compressvqa.running.pipeline import run
from compressvqa.running.recipe import Recipe
from compressvqa.stages import DistilStage, StageContext, TrainStage
from compressvqa.training import MosObjective


def batch(opinion: list[float] | None, *, reference: bool = False) -> ScoredBatch:
    clips = [torch.full((3, 2, 3, 8, 8), value) for value in (0.25, 0.5)]
    asked = None if opinion is None else torch.tensor(opinion)
    return ScoredBatch(clips[0] if reference else None, clips[1], asked, ["a", "b", "c"])


def objective(**settings: object) -> MosObjective:
    return MosObjective(MosObjective.Config(**settings))


def test_loss_is_the_mean_square_of_what_the_scores_lack() -> None:
    scores = torch.tensor([1.0, 0.0, -2.0], requires_grad=True)
    loss = objective().loss(scores, batch([0.0, 0.0, -1.0]))
    assert loss.item() == pytest.approx(2 / 3)
    loss.backward()
    assert scores.grad is not None and scores.grad.tolist() == pytest.approx([2 / 3, 0, -2 / 3])


def test_losses_are_weighted_and_take_options() -> None:
    scores, given = torch.tensor([1.0, 0.0, -2.0]), batch([0.0, 0.0, -1.0])
    both = objective(losses={"score-mse": 2.0, "score-l1": 0.5}).loss(scores, given)
    assert both.item() == pytest.approx(2 * 2 / 3 + 0.5 * 2 / 3)
    soft = objective(losses={"score-smooth-l1": 1.0}, loss_options={"score-smooth-l1": {"beta": 4.0}})
    assert soft.loss(scores, given).item() == pytest.approx((1 / 8 + 0 + 1 / 8) / 3)
    r = np.corrcoef([1, 0, -2], [0, 0, -1])[0, 1]
    free = objective(losses={"score-mse": 1.0}, loss_options={"score-mse": {"standardise": True}})
    assert free.loss(scores, given).item() == pytest.approx(2 * (1 - r), abs=1e-5)


def test_inputs_keys_and_margins() -> None:
    (alone,) = objective().inputs(batch(None))
    assert alone.unique().tolist() == [0.5]
    assert [clip.unique().tolist() for clip in objective().inputs(batch(None, reference=True))] == [[0.25], [0.5]]
    assert objective().keys(batch(None)) == ["a", "b", "c"]
    assert objective().margins(torch.tensor([5.0, 1.0, 2.0])).tolist() == [3.0, -4.0, 1.0]


def test_half_precision_scores_are_compared_in_single() -> None:
    loss = objective().loss(torch.tensor([1.0, 0.0, -2.0]).bfloat16(), batch([0.0, 0.0, -1.0]))
    assert loss.dtype == torch.float32


def test_mistakes() -> None:
    with pytest.raises(TrainingError, match=r"no opinion scores.*task_weight"):
        objective().loss(torch.zeros(3), batch(None))
    for wrong, said in (
        ({"losses": {"score-mes": 1.0}}, "unknown loss 'score-mes'.*score-mse"),
        ({"losses": {"instance": 1.0}}, "losses on probability compare two networks"),
        ({"losses": {"score-mse": 1.0, "feature-mse": 1.0}}, "losses on feature"),
        ({"losses": {}}, "no distillation loss is named"),
        ({"losses": {"score-mse": -1.0}}, "negative"),
        ({"loss_options": {"score-mse": {"betta": 1}}}, "no setting 'betta'"),
    ):
        with pytest.raises(ValidationError, match=said):
            objective(**wrong)


class Tiny(nn.Module):
    """Energy of fine detail in some learnt mixtures: enough to see noise."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, width, 3)
        self.head = nn.Linear(width, 1)

    def forward(self, clip: Tensor) -> Tensor:
        pictures = clip.flatten(0, 1)
        fine = pictures - nn.functional.avg_pool2d(pictures, 5, 1, 2, count_include_pad=False)
        maps: Tensor = self.convolution(fine).square().mean(dim=(2, 3)).add(1e-6).log()
        found: Tensor = self.head(maps.unflatten(0, clip.shape[:2]).mean(1))[:, 0]
        return found


@pytest.fixture
def tiny() -> Iterator[str]:
    name = "tiny-test-network"

    @registry.models.register(name, mode="NR")
    def build(width: int = 4) -> nn.Module:
        """A network of two layers."""
        return Tiny(width)

    yield name
    del registry.models._entries[name]


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of pictures of 8 scenes at 4 strengths of noise; scores fall with the noise."""
    folder = tmp_path_factory.mktemp("noisy")
    rng, rows = np.random.default_rng(0), ["dist,mos,content"]
    for scene in range(8):
        slope = np.add.outer(*(np.linspace(0, rng.uniform(40, 120), 48) for _ in range(2)))[..., None]
        for level in range(4):
            pixels = np.clip(slope + rng.normal(0, 1 + 8 * level, (48, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{scene}_{level}.png")
            rows.append(f"{scene}_{level}.png,{90 - 20 * level + scene},scene{scene}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    (folder / "manifest.json").write_text(json.dumps({"name": "noisy", "kind": "proxy", "label": "VMAF 0.6.1"}))
    return folder


def test_a_run_learns_to_see_noise(tiny: str, noisy: Path, tmp_path: Path) -> None:
    text = f"""\
version: 1
name: regression
seed: 1
model: {{name: {tiny}}}
clip: {{size: 32, frames: 1}}
runtime: {{precision: "32", threads: 1}}
objective: {{kind: mos, losses: {{score-mse: 1.0, score-l1: 0.1}}}}
data: {{kind: mos-clips, source: {noisy}/manifest.csv, validation: 0.25, frames: 1, resize: null, crop: 32}}
stages:
  - {{kind: train, name: before, steps: 0}}
  - {{kind: train, name: teacher, steps: 150, batch: 8, clip_norm: null, optimizer: {{name: adam, lr: 0.03}}}}
  - {{kind: distil, name: taught, teacher: teacher, steps: 3, batch: 4, task_weight: 1.0, losses: {{score-mse: 1.0}}}}
"""
    (tmp_path / "recipe.yaml").write_text(text)
    result = run(Recipe.load(tmp_path / "recipe.yaml"), out=tmp_path / "run")
    rows = {row["stage"]: row for row in result.table}
    assert rows["teacher"]["srocc"] > 0.9 and rows["teacher"]["pair_accuracy"] > 0.9
    assert rows["teacher"]["n"] == 8 and rows["teacher"]["rmse"] < 15 < 22  # the scores' deviation is 22
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["label"] == "VMAF 0.6.1" and results["data"]["validation"]["kind"] == "proxy"
    assert "MOS" not in result.report.read_text().replace("mos-clips", "")
    assert results["stages"]["taught"]["clips_scored_by_the_teacher"] > 0
    again = run(Recipe.load(tmp_path / "recipe.yaml"), out=tmp_path / "run").table
    assert [row["srocc"] for row in again] == [row["srocc"] for row in result.table]


def test_a_student_learns_from_a_teacher_on_pictures_that_nobody_scored(tiny: str, noisy: Path, tmp_path: Path) -> None:
    """The self-supervised stage: only a distance to the teacher's scores; afterwards both say the same."""
    data = DistortedImages(DistortedImages.Config(
        sources=str(noisy), resize=None, crop=32, variants=4, distortions=["noise", "gaussian-blur"]))  # fmt: skip
    pictures = data.prepare(tmp_path / "kept", part="train")
    torch.manual_seed(0)
    teacher, student = cv.create_model(tiny), cv.create_model(tiny, width=3)
    context = StageContext(
        folder=tmp_path, objective=objective(), batches=lambda n: data.batches(pictures, batch=n, seed=3),
        network_of=lambda name: teacher, inputs=(torch.rand(1, 1, 3, 32, 32),),
        fabric=lambda: Fabric(accelerator="cpu", devices=1), log=lambda step, steps, figures: None, seed=3,
    )  # fmt: skip
    with pytest.raises(TrainingError, match="no opinion scores"):  # said at once, where labels are asked for
        TrainStage(TrainStage.Config(name="labels", steps=1)).run(student, context)

    class Soft(MosObjective):
        """The objective of a stage without labels."""

        def loss(self, scores: Tensor, batch: ScoredBatch) -> Tensor:
            return scores.sum() * 0

    context.objective = Soft(MosObjective.Config())
    clips = data.batches(pictures, batch=24, seed=9).batch_at(0).distorted
    with torch.no_grad():
        before = (teacher(clips) - student(clips)).square().mean()
    stage = DistilStage.Config(name="soft", teacher="t", steps=150, batch=8, losses={"score-mse": 1.0}, task_weight=0,
                               clip_norm=None, optimizer={"name": "adam", "lr": 0.02})  # fmt: skip
    result = DistilStage(stage).run(student, context)
    with torch.no_grad():
        assert (teacher(clips) - student(clips)).square().mean() < 0.05 * before
    assert result.figures["clips_scored_by_the_teacher"] <= 32 * 4
    assert result.figures["scores_asked_of_the_teacher"] == 150 * 8
