"""The distil stage on networks small enough to follow each step by hand."""

import copy
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from einops import rearrange
from lightning_fabric import Fabric
from pydantic import ValidationError
from torch import Tensor, nn

from compressvqa import arithmetic
from compressvqa.data.scored import ScoredBatch
from compressvqa.errors import RecipeError, TrainingError
from compressvqa.stages import DistilStage, StageContext

N = 4


class Tokens(nn.Module):
    """A teacher whose blocks give tokens, (N, L, C), one for each 4 x 4 patch of a frame."""

    def __init__(self, depth: int = 6, width: int = 8) -> None:
        super().__init__()
        self.embed = nn.Linear(48, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, 1)

    def forward(self, clip: Tensor) -> Tensor:
        tokens = self.embed(rearrange(clip, "n t c (h p) (w q) -> n (t h w) (c p q)", p=4, q=4))
        for block in self.blocks:
            tokens = tokens + block(tokens).tanh()
        score: Tensor = self.head(tokens.mean(1))
        return score.flatten()


class Frames(nn.Module):
    """A student that folds frames into the batch, (N T, C, H, W), with dropout."""

    def __init__(self, depth: int = 2, width: int = 3) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Conv2d(width if i else 3, width, 3, padding=1) for i in range(depth))
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(width, 1)

    def forward(self, clip: Tensor) -> Tensor:
        x = clip.flatten(0, 1)
        for stage in self.stages:
            x = stage(x).relu()
        score: Tensor = self.head(self.dropout(x.mean((2, 3)).unflatten(0, clip.shape[:2]).mean(1)))
        return score.flatten()


class Regression:
    """Squared error against the opinion."""

    def inputs(self, batch: ScoredBatch) -> tuple[Tensor, ...]:
        return (batch.distorted,)

    def keys(self, batch: ScoredBatch) -> list[str]:
        return batch.keys

    def margins(self, scores: Tensor) -> Tensor:
        return scores - scores.roll(1)

    def loss(self, scores: Tensor, batch: ScoredBatch) -> Tensor:
        assert batch.opinion is not None
        return (scores - batch.opinion).square().mean()


class Clips:
    """Twelve clips, four in a batch; brighter is better."""

    def __init__(self, batch: int = N, *, labelled: bool = True) -> None:
        dice = torch.Generator().manual_seed(0)
        self.clips = torch.rand(12, 2, 3, 8, 8, generator=dice) * torch.linspace(0.2, 1, 12).view(12, 1, 1, 1, 1)
        self.batch, self.labelled = batch, labelled

    def batch_at(self, step: int) -> ScoredBatch:
        chosen = torch.randperm(12, generator=torch.Generator().manual_seed(step))[: self.batch]
        opinion = chosen / 6.0 - 1 if self.labelled else None
        return ScoredBatch(None, self.clips[chosen], opinion, [f"clip {i}" for i in chosen.tolist()])


@pytest.fixture
def student() -> nn.Module:
    torch.manual_seed(0)
    return Frames()


@pytest.fixture
def teacher() -> nn.Module:
    torch.manual_seed(1)
    return Tokens()


def make_context(
    folder: Path, teacher: nn.Module, *, labelled: bool = True, stop_at: int | None = None
) -> StageContext:
    folder.mkdir(exist_ok=True)

    def log(step: int, steps: int, figures: dict[str, float]) -> None:
        if step == stop_at:
            raise KeyboardInterrupt

    return StageContext(
        folder=folder,
        objective=Regression(),
        batches=lambda batch: Clips(batch, labelled=labelled),
        network_of=lambda name: copy.deepcopy(teacher),
        inputs=(torch.rand(1, 2, 3, 8, 8),),
        fabric=lambda: Fabric(accelerator="cpu", devices=1),
        log=log,
        seed=3,
    )


def config(**settings: Any) -> DistilStage.Config:
    given: dict[str, Any] = {
        "name": "distilled", "teacher": "teacher", "steps": 6, "batch": N, "losses": {"score-mse": 1.0},
        "clip_norm": None, "optimizer": {"name": "sgd", "lr": 0.05}, "schedule": {"kind": "constant"},
    }  # fmt: skip
    return DistilStage.Config(**(given | settings))


FEATURES: dict[str, Any] = {
    "losses": {"feature-smooth-l1": 1.0, "similarity-preserving": 1.0, "rank-net": 1.0},
    "features": {"stages.*": "blocks.*"},
    "positions": "mean",
}


def flat(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


# --- before anything runs -----------------------------------------------------------------------------------------


def test_check_names_the_nearest_paths(student: nn.Module, teacher: nn.Module) -> None:
    DistilStage(config(**FEATURES)).check(student, teacher)
    DistilStage(config()).check(student, teacher)
    for features, said in (({"stage.*": "blocks.*"}, "student.*stages"), ({"stages.0": "block.0"}, "teacher.*blocks")):
        with pytest.raises(RecipeError, match=said):
            DistilStage(config(**FEATURES | {"features": features})).check(student, teacher)


@pytest.mark.parametrize("instructions", [True, False])
def test_an_auto_teacher_answers_in_what_the_processor_is_made_for(
    student: nn.Module, teacher: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instructions: bool
) -> None:
    monkeypatch.setattr(arithmetic, "fast_bf16", lambda: instructions)
    ends = {}
    for precision in ("auto", 32, "bf16"):  # YAML reads a plain 32 as a number
        network = copy.deepcopy(student)
        context = make_context(tmp_path / str(precision), teacher)
        DistilStage(config(teacher_precision=precision)).run(network, context)
        ends[precision] = flat(network)
    same, other = ("bf16", 32) if instructions else (32, "bf16")
    assert torch.equal(ends["auto"], ends[same])
    assert not torch.equal(ends["auto"], ends[other])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"data": "unlabelled"}, "has no labels.*set `task_weight: 0`"),
        ({"data": "unlabelled", "task_weight": 0, "teacher_task_weight": 1.0}, "set `teacher_task_weight: 0`"),
        ({"teacher_lr": 1e-3}, "the teacher does not learn"),
        ({"fake_int8": True, "teacher_task_weight": 1.0}, "rounds a teacher that learns along"),
        ({"positions": "pool"}, "'equal', 'resize' or 'mean'"),
        ({"teacher_precision": "16"}, "'auto', '32' or 'bf16'"),
        ({"teachers": {"a": 1.0}}, "one of the two"),
        ({"teacher": None}, "one of the two"),
        ({"teacher": None, "teachers": {}}, "at least one name"),
        ({"teacher": None, "teachers": {"a": 1.0, "b": -1.0}}, "a weight above 0"),
        ({"teacher": None, "teachers": ["a", "a"]}, "names one twice"),
        ({"teacher": None, "teachers": ["a", "b"], "teacher_task_weight": 1.0}, "none learns along"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(**settings)


# --- another architecture, features by pattern ----------------------------------------------------------------------


def test_features_of_another_architecture(
    student: nn.Module, teacher: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Six blocks of tokens teach two stages of frames: averages over positions, projected to the teacher's width."""
    ran = []
    teacher.register_forward_hook(lambda module, inputs, output: ran.append(len(output)))
    with caplog.at_level(logging.INFO):
        result = DistilStage(config(**FEATURES)).run(student, make_context(tmp_path, teacher))
    assert result.figures["features"] == {"stages.0": "blocks.2", "stages.1": "blocks.5"}
    assert "stages.0 from blocks.2, stages.1 from blocks.5" in caplog.text
    assert result.figures["features_of_the_teacher"] == "remembered"
    seen = {key for step in range(6) for key in Clips().batch_at(step).keys}
    assert result.figures["clips_scored_by_the_teacher"] == len(seen)
    assert ran == [1] * len(seen)  # each clip once, also for its features


def test_features_are_learnt(student: nn.Module, teacher: nn.Module, tmp_path: Path) -> None:
    losses: list[float] = []
    context = make_context(tmp_path, teacher)
    context.log = lambda step, steps, figures: losses.append(figures["feature-smooth-l1"])
    settings = FEATURES | {"losses": {"feature-smooth-l1": 1.0}, "task_weight": 0.0, "steps": 40}
    DistilStage(config(**settings, optimizer={"name": "adamax", "lr": 2e-2})).run(student, context)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_maps_that_differ_are_named(student: nn.Module, teacher: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"features, stages.0 with blocks.2: .*\(4, 8, 8\).*\(8, 3, 8, 8\)"):
        DistilStage(config(**FEATURES | {"positions": "equal"})).run(student, make_context(tmp_path, teacher))


def test_a_batch_too_small_for_a_loss_is_refused(student: nn.Module, teacher: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="'rank-net' compares at least 2 items"):
        DistilStage(config(losses={"rank-net": 1.0}, batch=1)).run(student, make_context(tmp_path, teacher))


# --- a teacher that learns along ------------------------------------------------------------------------------------


def test_teacher_and_student_take_the_steps_of_the_equation(teacher: nn.Module, tmp_path: Path) -> None:
    """L = L2(student, MOS) + L2(teacher, MOS) + score and feature terms that move the student only, written out."""
    torch.manual_seed(0)
    student = Tokens(depth=2)  # no dropout, equal widths: nothing is drawn and nothing projected
    ours, theirs = copy.deepcopy(student), copy.deepcopy(teacher)
    kept: list[nn.Module] = []

    def network_of(name: str) -> nn.Module:
        kept.append(copy.deepcopy(teacher))
        return kept[-1]

    context = make_context(tmp_path, teacher)
    context.network_of = network_of
    DistilStage(
        config(
            losses={"score-mse": 0.5, "feature-smooth-l1": 2.0}, features={"blocks.1": "blocks.5"},
            task_weight=1.0, teacher_task_weight=0.7, teacher_lr=0.02,
        )
    ).run(student, context)  # fmt: skip
    outputs: dict[str, Tensor] = {}
    ours.blocks[1].register_forward_hook(lambda m, i, o: outputs.update(ours=o))
    theirs.blocks[5].register_forward_hook(lambda m, i, o: outputs.update(theirs=o))
    for step in range(6):
        batch = Clips().batch_at(step)
        assert batch.opinion is not None
        s, t = ours(batch.distorted), theirs(batch.distorted)
        loss = 0.5 * (s - t.detach()).square().mean() + (s - batch.opinion).square().mean()
        loss += 2 * nn.functional.smooth_l1_loss(outputs["ours"], outputs["theirs"].detach())
        for network, value, lr in ((ours, loss, 0.05), (theirs, 0.7 * (t - batch.opinion).square().mean(), 0.02)):
            slopes = torch.autograd.grad(value, list(network.parameters()), retain_graph=True)
            with torch.no_grad():
                for parameter, slope in zip(network.parameters(), slopes, strict=True):
                    parameter.sub_(lr * slope)
    assert torch.allclose(flat(student), flat(ours), atol=1e-6)
    assert torch.allclose(flat(kept[-1]), flat(theirs), atol=1e-6)
    assert not torch.allclose(flat(theirs), flat(teacher), atol=1e-3)


@pytest.mark.parametrize("learns_along", [False, True])
def test_a_stopped_run_goes_on_to_the_same_bits(
    learns_along: bool, student: nn.Module, teacher: nn.Module, tmp_path: Path
) -> None:
    settings = FEATURES | {"optimizer": {"name": "adamax", "lr": 1e-2}, "checkpoint_seconds": 1e-9}
    if learns_along:
        settings |= {"teacher_task_weight": 1.0}
    stage = DistilStage(config(**settings))
    whole = stage.run(copy.deepcopy(student), make_context(tmp_path / "whole", teacher))
    stopped = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        stage.run(copy.deepcopy(student), make_context(stopped, teacher, stop_at=4))
    again = stage.run(copy.deepcopy(student), make_context(stopped, teacher))
    assert torch.equal(flat(again.network), flat(whole.network))
    assert again.figures.get("features_of_the_teacher") == whole.figures.get("features_of_the_teacher")


# --- several teachers -----------------------------------------------------------------------------------------------


def context_of_two(folder: Path, networks: dict[str, nn.Module], stop_at: int | None = None) -> StageContext:
    context = make_context(folder, nn.Identity(), stop_at=stop_at)
    context.network_of = lambda name: copy.deepcopy(networks[name])
    return context


def two_teachers() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    first = Tokens()
    torch.manual_seed(2)
    return {"a": first, "b": Tokens(depth=3, width=5)}


def test_two_teachers_take_the_step_of_their_joint_answers(tmp_path: Path) -> None:
    """Scores joined on the first one's scale, probabilities averaged, features of the first, written out."""
    networks = two_teachers()
    torch.manual_seed(0)
    student = Tokens(depth=2)
    ours = copy.deepcopy(student)
    stage = DistilStage(
        config(
            teacher=None, teachers={"a": 1.0, "b": 3.0}, task_weight=0.0, features={"blocks.1": "blocks.5"},
            losses={"score-mse": 0.5, "instance": 1.0, "feature-smooth-l1": 2.0}, steps=5,
        )
    )  # fmt: skip
    result = stage.run(student, context_of_two(tmp_path, networks))
    clips = Clips()
    seen = sorted({int(key.split()[1]) for step in range(5) for key in clips.batch_at(step).keys})
    with torch.no_grad():
        scored = {name: network(clips.clips[seen]).double() for name, network in networks.items()}
    low, spread = ({name: f(x) for name, x in scored.items()} for f in (torch.mean, lambda x: x.std(correction=0)))
    outputs: dict[str, Tensor] = {}
    ours.blocks[1].register_forward_hook(lambda m, i, o: outputs.update(ours=o))
    networks["a"].blocks[5].register_forward_hook(lambda m, i, o: outputs.update(theirs=o.detach()))
    for step in range(5):
        clip = clips.batch_at(step).distorted
        s, a, b = ours(clip), networks["a"](clip).detach(), networks["b"](clip).detach()
        b = ((b - low["b"]) / spread["b"] * spread["a"] + low["a"]).float()
        margin = [x - x.roll(1) for x in (s, a, b)]
        p = 0.25 * margin[1].sigmoid() + 0.75 * margin[2].sigmoid()
        loss = 0.5 * (s - 0.25 * a - 0.75 * b).square().mean()
        loss += nn.functional.binary_cross_entropy_with_logits(margin[0], p)
        loss += 2 * nn.functional.smooth_l1_loss(outputs["ours"], outputs["theirs"])
        slopes = torch.autograd.grad(loss, list(ours.parameters()))
        with torch.no_grad():
            for parameter, slope in zip(ours.parameters(), slopes, strict=True):
                parameter.sub_(0.05 * slope)
    assert torch.allclose(flat(student), flat(ours), atol=1e-6)
    assert {name: found["share"] for name, found in result.figures["teachers"].items()} == {"a": 0.25, "b": 0.75}
    assert result.figures["clips_scored_by_the_teacher"] == len(seen)


def test_two_teachers_go_on_after_a_stop_to_the_same_bits(student: nn.Module, tmp_path: Path) -> None:
    stage = DistilStage(config(teacher=None, teachers=["a", "b"], losses={"instance": 1.0}, checkpoint_seconds=1e-9))
    whole = stage.run(copy.deepcopy(student), context_of_two(tmp_path / "whole", two_teachers()))
    with pytest.raises(KeyboardInterrupt):
        stage.run(copy.deepcopy(student), context_of_two(tmp_path / "stopped", two_teachers(), stop_at=4))
    again = stage.run(copy.deepcopy(student), context_of_two(tmp_path / "stopped", two_teachers()))
    assert torch.equal(flat(again.network), flat(whole.network))
    assert again.figures["teachers"] == whole.figures["teachers"]


def test_no_steps_ask_no_teacher(student: nn.Module, tmp_path: Path) -> None:
    stage = DistilStage(config(teacher=None, teachers=["a", "b"], steps=0))
    assert stage.run(student, context_of_two(tmp_path, two_teachers())).figures["clips_scored_by_the_teacher"] == 0


# --- clips without labels -------------------------------------------------------------------------------------------


def test_clips_without_labels_teach_what_the_teacher_says(
    student: nn.Module, teacher: nn.Module, tmp_path: Path
) -> None:
    labelled, unlabelled = (copy.deepcopy(student) for _ in range(2))
    for network, labels in ((labelled, True), (unlabelled, False)):
        context = make_context(tmp_path / str(labels), teacher, labelled=labels)
        DistilStage(config(data="unlabelled", task_weight=0.0)).run(network, context)
    assert torch.equal(flat(labelled), flat(unlabelled)) and not torch.equal(flat(student), flat(labelled))
    with pytest.raises(TrainingError, match=r"distilled: the clips have no labels \(try: task_weight: 0\)"):
        DistilStage(config()).run(student, make_context(tmp_path / "task", teacher, labelled=False))
