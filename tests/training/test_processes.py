"""Two processes train the network that one trains, and each goes on from the other's checkpoints."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from running import Running, module
from torch import Tensor
from training import on_processes

from compressvqa.errors import TrainingError
from compressvqa.training.world import Shares, World, together

# Sums in another order; every step of AdamW can turn a rounding into one of the size of the learning rate's.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def started(rank: int, port: int, folder: Path) -> Running:
    """One of two processes with the surroundings that torchrun gives them."""
    environment = {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    return module("training.on_processes", str(folder), environment=environment)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensor, list[dict[str, Tensor]]]:
    """The folder, the weights of one process, and what each of two found."""
    folder, one = tmp_path_factory.mktemp("trained"), Fabric(accelerator="cpu", devices=1)
    whole = on_processes.train(folder / "alone", one)
    with pytest.raises(on_processes.Stopped):
        on_processes.train(folder / "by-one", one, stop_at=3)
    shutil.copytree(folder / "by-one", folder / "by-one-too")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    two = [started(rank, port, folder) for rank in (0, 1)]
    done = [process.wait(300) for process in two]
    assert [one.returncode for one in done] == [0, 0], "\n".join(one.stderr for one in done)
    return folder, whole, [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def test_two_processes_train_what_one_does(trained: tuple[Path, Tensor, list[dict[str, Tensor]]]) -> None:
    _, whole, (first, second) = trained
    torch.testing.assert_close(first["whole"], whole, **TOLERANCE)
    assert torch.equal(first["whole"], second["whole"])
    start = torch.cat([parameter.detach().flatten() for parameter in on_processes.network().parameters()])
    assert (whole - start).abs().max() > 100 * TOLERANCE["atol"]


def test_at_one_number_of_processes_it_is_the_same_to_the_bit(
    trained: tuple[Path, Tensor, list[dict[str, Tensor]]],
) -> None:
    _, _, (first, _) = trained
    assert torch.equal(first["again"], first["whole"])


def test_a_checkpoint_goes_on_at_another_number_of_processes(
    trained: tuple[Path, Tensor, list[dict[str, Tensor]]],
) -> None:
    folder, whole, (first, _) = trained
    torch.testing.assert_close(first["resumed"], whole, **TOLERANCE)
    held = torch.load(folder / "by-two" / "checkpoint.pt")
    assert held["step"] == 3
    assert not any(name.startswith("module.") for name in held["network"])
    resumed = on_processes.train(folder / "by-two", Fabric(accelerator="cpu", devices=1))
    torch.testing.assert_close(resumed, whole, **TOLERANCE)


@pytest.mark.parametrize("name", ["shared", "shared, from a checkpoint of one", "shared, from its own checkpoint"])
def test_weights_that_are_shared_out_learn_the_same(
    name: str, trained: tuple[Path, Tensor, list[dict[str, Tensor]]]
) -> None:
    _, whole, (first, second) = trained
    torch.testing.assert_close(first[name], whole, **TOLERANCE)
    assert torch.equal(first[name], second[name])


def test_one_process_goes_on_from_a_checkpoint_of_shared_weights(
    trained: tuple[Path, Tensor, list[dict[str, Tensor]]],
) -> None:
    folder, whole, _ = trained
    assert torch.load(folder / "by-shared" / "checkpoint.pt")["step"] == 3
    resumed = on_processes.train(folder / "by-shared", Fabric(accelerator="cpu", devices=1))
    torch.testing.assert_close(resumed, whole, **TOLERANCE)


def test_a_process_holds_its_part_and_the_answer_is_the_same(
    trained: tuple[Path, Tensor, list[dict[str, Tensor]]],
) -> None:
    (held, count, error), (others, _, _) = (found["parts"].tolist() for found in trained[2])
    assert held + others == count
    assert 0.4 * count < held < 0.6 * count
    assert error < 1e-6


@pytest.mark.parametrize("name", [*on_processes.DISTILLED, *(f"shared, {name}" for name in on_processes.SHARED)])
def test_features_are_compared_over_the_whole_batch(
    name: str, trained: tuple[Path, Tensor, list[dict[str, Tensor]]], tmp_path: Path
) -> None:
    """Two stages of frames (rows of a clip beside each other) learn from tokens, by losses that compare clips too."""
    _, _, (first, second) = trained
    alone = on_processes.distil(
        tmp_path / "alone",
        Fabric(accelerator="cpu", devices=1),
        **on_processes.DISTILLED[name.removeprefix("shared, ")],
    )
    torch.testing.assert_close(first[name], alone, **TOLERANCE)
    assert torch.equal(first[name], second[name])


def test_rows_that_belong_to_no_clip_are_named() -> None:
    shares = Shares(lambda clips: clips.mean(1), World(0, 1))
    shares.clips = 2
    assert together(object(), {"head": torch.zeros(3)})["head"].shape == (3,)
    with pytest.raises(TrainingError, match=r"head.*\(3, 4\).*each of 2 clips"):
        together(shares, {"head": torch.zeros(3, 4)})
