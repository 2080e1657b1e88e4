"""The loop trains, resumes exactly, and stops when the loss is not a number."""

import math
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from disk import full
from lightning_fabric import Fabric
from torch import Tensor, nn

from compressvqa.errors import TrainingError
from compressvqa.training import FitSettings, fit
from compressvqa.training.optimizers import OptimizerChoice, ScheduleChoice


class Lines:
    """Batches of a line with noise; a pure function of the step."""

    def __init__(self, spoilt_from: int | None = None) -> None:
        self.spoilt_from = spoilt_from

    def batch_at(self, step: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(16, 3, generator=generator)
        y = x @ torch.tensor([[1.0], [-2.0], [3.0]])
        return x, y * math.nan if self.spoilt_from is not None and step >= self.spoilt_from else y


def step_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, float]]:
    return (model(batch[0]) - batch[1]).square().mean(), {"extra": 1.0}


def train(
    folder: Path, steps: int = 40, *, batches: Lines | None = None, on_step=None, name: str = "adamw"
) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.Linear(8, 1))
    optimizer = OptimizerChoice(name=name, lr=0.05).build(network.parameters())
    fit(
        Fabric(accelerator="cpu", devices=1),
        network,
        optimizer,
        batches or Lines(),
        step_loss,
        FitSettings(steps, seed=5, clip_norm=1.0, checkpoint_seconds=0.0),
        checkpoint=folder / "checkpoint.pt",
        schedule=ScheduleChoice(warmup=0.1).build(optimizer, steps),
        on_step=on_step,
    )
    return network


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_the_loss_falls(tmp_path: Path) -> None:
    losses: list[float] = []
    train(tmp_path, 150, on_step=lambda step, figures: losses.append(figures["loss"]))
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])


@pytest.mark.parametrize("name", ["adamw", "adamax", "sgd"])
def test_a_stopped_training_goes_on_as_if_nothing_had_happened(tmp_path: Path, name: str) -> None:
    class StoppedError(Exception):
        pass

    def stop_at_17(step: int, figures: dict[str, float]) -> None:
        if step == 17:
            raise StoppedError

    whole = train(tmp_path / "whole", name=name)
    with pytest.raises(StoppedError):
        train(tmp_path / "halved", on_step=stop_at_17, name=name)
    seen: list[int] = []
    halved = train(tmp_path / "halved", on_step=lambda step, figures: seen.append(step), name=name)
    assert seen[0] == 17 and seen[-1] == 40
    assert torch.equal(weights(whole), weights(halved))


def test_ctrl_c_finishes_the_step_and_saves(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)

    def interrupt(step: int, figures: dict[str, float]) -> None:
        if step == 9:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_step=interrupt)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 9
    assert signal.getsignal(signal.SIGINT) is before


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"the loss is nan at step 13; the last good checkpoint is .*checkpoint\.pt"
    ):
        train(tmp_path, batches=Lines(spoilt_from=12))
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 12
    assert all(torch.isfinite(value).all() for value in state["network"].values())


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: the checkpoint can't be resumed"):
        train(tmp_path)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    torch.save({"network": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError):
        train(tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ScheduleChoice(kind="constant", warmup=0.3), [1 / 4, 2 / 4, 3 / 4, 1, 1]),
        (ScheduleChoice(kind="halve", halve_at=(0.2, 0.4)), [1, 1, 0.5, 0.5, 0.25]),
        (ScheduleChoice(kind="cosine", floor=0.2), [0.2 + 0.4 * (1 + math.cos(math.pi * s / 10)) for s in range(5)]),
    ],
)
def test_schedules(choice: ScheduleChoice, expected: list[float]) -> None:
    assert [choice.factor(step, 10) for step in range(5)] == pytest.approx(expected)


def test_a_full_disk_is_one_line_and_the_last_checkpoint_is_kept(tmp_path: Path) -> None:
    """PyTorch tells it as a RuntimeError of its own."""

    def fill(step: int, figures: dict[str, float]) -> None:
        if step == 3:
            limit.enter_context(full(500))

    whole = weights(train(tmp_path / "whole"))
    with ExitStack() as limit, pytest.raises(TrainingError) as caught:
        train(tmp_path, on_step=fill)
    assert "checkpoint.pt: the checkpoint can't be written (File too large)" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["checkpoint.pt"]
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2
    assert torch.equal(weights(train(tmp_path)), whole)
