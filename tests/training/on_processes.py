"""A small training that compares any two clips of a batch, in one process or as one of several."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from stages.test_distil import FEATURES, Frames, Tokens, config, flat, make_context
from torch import Tensor, nn

from compressvqa.running.precision import processes_of
from compressvqa.running.recipe import RuntimeChoice
from compressvqa.stages import DistilStage
from compressvqa.training import FitSettings, RankPairsObjective, fit
from compressvqa.training.optimizers import OptimizerChoice, ScheduleChoice
from compressvqa.training.sharding import mesh_of, shard

STEPS, CLIPS = 6, 5  # of an odd number of clips processes have different shares


class Clips:
    """Rows with a hidden quality; any two compare, by weights of their own. A pure function of the step."""

    def batch_at(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        dice = torch.Generator().manual_seed(step)
        clips = torch.randn(CLIPS, 3, 8, 8, generator=dice)
        quality = clips.mean((1, 2, 3))
        preferred = (quality[:, None] > quality[None]).float()
        return clips, preferred, torch.rand(CLIPS, CLIPS, generator=dice)


class Stopped(Exception):  # noqa: N818
    pass


def network() -> nn.Module:
    """No bias at the end: a ranking has no gradient there but rounding, which AdamW makes steps of."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout2d(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(4, 1, bias=False),
    )  # fmt: skip


def step_loss(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, dict[str, float]]:
    clips, preferred, weight = batch
    objective = RankPairsObjective(RankPairsObjective.Config(pairs="all"))
    known = type("Known", (), {"preferred": preferred, "weight": weight})
    return objective.loss(model(clips).flatten(), known), {}


def train(folder: Path, fabric: Fabric, *, stop_at: int | None = None) -> Tensor:
    """The weights after all steps; it is stopped after one where this is asked for."""

    def on_step(step: int, figures: dict[str, float]) -> None:
        if step - 1 == stop_at:  # the checkpoint of `stop_at` steps is written by now
            raise Stopped

    made = network()
    optimizer = OptimizerChoice(name="adamw", lr=0.02).build(made.parameters())
    fit(
        fabric, made, optimizer, Clips(), step_loss, FitSettings(STEPS, seed=3, clip_norm=0.5, checkpoint_seconds=0.0),
        checkpoint=folder / "checkpoint.pt", schedule=ScheduleChoice().build(optimizer, STEPS), on_step=on_step,
    )  # fmt: skip
    return torch.cat([parameter.detach().flatten() for parameter in made.parameters()])


class FrameByFrame(Frames):
    """Calls its layers for each frame: the rows of a clip lie apart, those of a frame beside each other."""

    def forward(self, clip: Tensor) -> Tensor:
        return torch.stack([super(FrameByFrame, self).forward(frame[:, None]) for frame in clip.unbind(1)]).mean(0)


def distil(folder: Path, fabric: Fabric, *, frame_by_frame: bool = False, **settings: Any) -> Tensor:
    """A student's weights that learnt from a teacher's features; of a batch of five two processes have three and two.

    Args:
        folder: of the stage.
        fabric: of the training.
        frame_by_frame: both networks call their layers for each frame; else a student of frames learns from tokens.
        settings: of the stage, further ones.
    """
    torch.manual_seed(0)
    student, teacher = (FrameByFrame(), FrameByFrame(width=4)) if frame_by_frame else (Frames(), Tokens(depth=2))
    tapped = {"features": {"stages.*": "stages.*"}} if frame_by_frame else {}
    stage = DistilStage(config(**FEATURES | tapped | settings | {"batch": CLIPS, "clip_norm": 0.5}))
    stage.run(student, replace(make_context(folder, teacher), fabric=lambda: fabric))
    return flat(student)


DISTILLED: dict[str, dict[str, Any]] = {
    "distilled": {},
    "distilled, the teacher learns along": {"teacher_task_weight": 1.0},
    "distilled, nothing remembered": {"remember_features": 0},
    "distilled, frame by frame": {"frame_by_frame": True},
}
SHARED = ("distilled", "distilled, the teacher learns along")  # also with weights that are shared out


def parts(fabric: Fabric) -> Tensor:
    """(values of a network with tied weights that a process holds, values in all, largest error of its answer)."""
    torch.manual_seed(0)
    blocks = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)) for _ in range(4)))
    blocks[3][0].weight = blocks[0][0].weight
    made, clips = nn.Sequential(blocks, nn.Linear(8, 2)).eval(), torch.randn(5, 8)
    count, before = sum(p.numel() for p in made.parameters()), made(clips)
    mesh = mesh_of(fabric)
    assert mesh is not None
    shard(made, mesh, least=1)
    held = sum(p.to_local().numel() for p in made.parameters())
    with torch.no_grad():
        return torch.tensor([held, count, float((made(clips) - before).abs().max())])


if __name__ == "__main__":
    place, runtime = Path(sys.argv[1]), RuntimeChoice(device="cpu", precision="32")
    here = processes_of(runtime)
    from compressvqa.running.precision import fabric_of

    found = {"whole": train(place / "whole", fabric_of(runtime))}
    found["resumed"] = train(place / "by-one", fabric_of(runtime))
    try:
        train(place / "by-two", fabric_of(runtime), stop_at=3)
    except Stopped:
        here.wait()
    found["again"] = train(place / "again", fabric_of(runtime))
    for number, (name, settings) in enumerate(DISTILLED.items()):
        found[name] = distil(place / f"distilled-{number}", fabric_of(runtime), **settings)
    shared = RuntimeChoice(device="cpu", precision="32", sharding="full")
    found["shared"] = train(place / "shared", fabric_of(shared, network()))
    found["shared, from a checkpoint of one"] = train(place / "by-one-too", fabric_of(shared, network()))
    try:
        train(place / "by-shared", fabric_of(shared, network()), stop_at=3)
    except Stopped:
        here.wait()
    if here.first:
        shutil.copytree(place / "by-shared", place / "by-shared-too")
    here.wait()
    found["shared, from its own checkpoint"] = train(place / "by-shared-too", fabric_of(shared, network()))
    for number, name in enumerate(SHARED):
        found[f"shared, {name}"] = distil(place / f"shared-{number}", fabric_of(shared, network()), **DISTILLED[name])
    found["parts"] = parts(fabric_of(shared, network()))
    torch.save(found, place / f"{os.environ['RANK']}.pt")
