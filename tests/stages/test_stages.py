"""Stages as a recipe uses them; the whole pipeline is in test_pipeline.py."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from pydantic import ValidationError

import compressvqa as cv
from compressvqa.data import RankBatch
from compressvqa.stages import DistilStage, PruneStage, SparsifyStage, StageContext, TrainStage
from compressvqa.training import RankPairsObjective

SMALL = {"widths": (4, 4, 6, 6, 8, 8), "merge_width": 8, "mlp_width": 8}


class Noise:
    """Pairs in which the clip with less noise is better."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def batch_at(self, step: int) -> RankBatch:
        dice = torch.Generator().manual_seed(step)
        clip = torch.rand(self.batch, 12, 3, 96, 96, generator=dice)
        noise = torch.rand(2, self.batch, 1, 1, 1, 1, generator=dice)
        a, b = ((clip + n * torch.randn(clip.shape, generator=dice)).clamp(0, 1) for n in noise)
        keys = [f"{step}/{i}" for i in range(self.batch)]
        better = (noise[0] < noise[1]).float().flatten()
        return RankBatch(clip, a, clip, b, better, [f"{k}a" for k in keys], [f"{k}b" for k in keys])


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return cv.create_model("rankdvqa", **SMALL)


@pytest.fixture
def context(tmp_path: Path, network: torch.nn.Module) -> StageContext:
    torch.manual_seed(1)
    teacher = cv.create_model("rankdvqa", **SMALL)
    return StageContext(
        folder=tmp_path,
        objective=RankPairsObjective(RankPairsObjective.Config()),
        batches=Noise,
        network_of=lambda name: teacher,
        inputs=cv.example_inputs(network, size=96),
        fabric=lambda: Fabric(accelerator="cpu", devices=1),
        log=lambda step, steps, figures: None,
        seed=3,
    )


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_no_steps_leave_the_network_as_it_was(network: torch.nn.Module, context: StageContext) -> None:
    before = weights(network)
    result = TrainStage(TrainStage.Config(name="teacher", steps=0)).run(network, context)
    assert torch.equal(weights(result.network), before)


@pytest.mark.slow
def test_the_student_comes_nearer_to_the_teacher(network: torch.nn.Module, context: StageContext) -> None:
    """Distilled on a fixed batch, the student's margins move towards the teacher's; its labels would say otherwise."""
    batch = Noise(4).batch_at(0)

    def distance(student: torch.nn.Module) -> float:
        objective, teacher = context.objective, context.network_of("teacher").eval()
        with torch.no_grad():
            ours, theirs = (objective.margins(net.eval()(*objective.inputs(batch))) for net in (student, teacher))
        return float((ours.sigmoid() - theirs.sigmoid()).abs().mean())

    class Fixed(Noise):
        def batch_at(self, step: int) -> RankBatch:
            return batch

    context.batches = Fixed
    before = distance(network)
    config = DistilStage.Config(
        name="distilled", teacher="teacher", steps=25, batch=4, task_weight=0.0, losses={"instance": 1.0},
        optimizer={"name": "adamax", "lr": 5e-3},
    )  # fmt: skip
    result = DistilStage(config).run(network, context)
    assert distance(result.network) < 0.5 * before
    # Each of the eight clips was scored by the teacher once, though all 25 steps asked for them.
    assert result.figures["clips_scored_by_the_teacher"] == 8
    assert result.figures["scores_asked_of_the_teacher"] == 200


@pytest.mark.parametrize("kind", ["train", "distil"])
def test_fake_int8_rounds_the_network_that_learns_and_no_other(
    kind: str, network: torch.nn.Module, context: StageContext, tmp_path: Path
) -> None:
    called = []
    context.network_of("teacher").register_forward_hook(lambda _m, _i, output: called.append(output.detach().clone()))
    start, found = copy.deepcopy(network.state_dict()), {}
    for rounded in (False, True):
        network.load_state_dict(start)
        context.folder = tmp_path / str(rounded)
        context.folder.mkdir()
        settings = {"name": kind, "steps": 2, "batch": 2, "fake_int8": rounded}
        if kind == "train":
            TrainStage(TrainStage.Config(**settings)).run(network, context)
        else:
            DistilStage(DistilStage.Config(**settings, teacher="teacher")).run(network, context)
        found[rounded] = weights(network)
    assert 0 < (found[True] - found[False]).abs().max() < 0.01
    half = len(called) // 2
    assert half > 0 or kind == "train"
    assert all(map(torch.equal, called[:half], called[half:]))


def test_sparsity_without_a_target_uses_lambda_as_it_is(network: torch.nn.Module, context: StageContext) -> None:
    config = SparsifyStage.Config(name="sparse", steps=3, batch=2, lr=1e-2, lam=1e3)
    result = SparsifyStage(config).run(network, context)
    assert result.figures["overall_density"] < 0.2


def test_taylor_gets_its_gradients(network: torch.nn.Module, context: StageContext) -> None:
    config = PruneStage.Config(
        name="pruned", rule=None, target_params=0.5, importance="taylor", batch=2, gradient_batches=2
    )
    result = PruneStage(config).run(network, context)
    kept = sum(p.numel() for p in result.network.parameters()) / sum(p.numel() for p in network.parameters())
    assert 0.45 < kept <= 0.5 and result.figures["max_error"] <= 1e-5
    assert all(p.grad is None for p in result.network.parameters())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"losses": {"instanse": 1.0}}, "unknown loss 'instanse'"),
        ({"losses": {"instance": -1.0}}, "negative"),
        ({"losses": {"feature-mse": 1.0}}, "needs `features`"),
        ({"loss_options": {"instance": {"kll": True}}}, "no setting 'kll'"),
        ({"temperatures": [0.0]}, "must be positive"),
    ],
)
def test_a_wrong_loss_is_a_fault_of_the_recipe(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DistilStage.Config(name="distilled", teacher="teacher", steps=1, **change)
