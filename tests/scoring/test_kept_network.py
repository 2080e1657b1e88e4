"""`score` by a name keeps its last network ready, and never gives an earlier network's scores."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from clips import make
from torch import Tensor, nn

import compressvqa as cv
from compressvqa.scoring import kept_network

SMALL = {"widths": (4, 4, 6, 6, 8, 8), "merge_width": 8, "mlp_width": 8}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names whose scorers were made, each time they were."""
    names: list[str] = []
    real = kept_network.find_scorers

    def counted(wanted: list[str], **settings: object) -> object:
        names.extend(map(str, wanted))
        return real(wanted, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(kept_network, "find_scorers", counted)
    kept_network._kept().clear()
    return names


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("clips")
    make(folder / "r.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", size="96x96", frames=12)
    make(folder / "d.mkv", "-c:v", "libx264", "-crf", "45", "-pix_fmt", "yuv420p", size="96x96", frames=12)
    return folder / "r.mkv", folder / "d.mkv"


def saved(folder: Path, seed: int) -> Path:
    """A small network whose weights are no longer those that were drawn."""
    torch.manual_seed(seed)
    network = cv.create_model("rankdvqa", **SMALL)
    for parameter in network.parameters():
        parameter.data *= 1.1
    cv.save(network, folder)
    return folder


def test_a_network_that_ships_is_made_once(clips: tuple[Path, Path], made: list[str]) -> None:
    first, again = (cv.score(*clips, model="rankdvqa-pico") for _ in range(2))
    assert made == ["rankdvqa-pico"]
    assert first == again
    cv.score(*clips, model="rankdvqa-pico", runtime="eager")  # other settings
    cv.score(*clips, model="psnr")  # takes nobody's place
    cv.score(*clips, model="rankdvqa-pico", runtime="eager")
    assert made == ["rankdvqa-pico", "rankdvqa-pico", "psnr"]


def test_weights_that_were_replaced_under_the_same_name_size_and_time_count(
    clips: tuple[Path, Path], made: list[str], tmp_path: Path
) -> None:
    folder, other = saved(tmp_path / "one", 1), saved(tmp_path / "other", 2)
    before = cv.score(*clips, model=folder).score
    assert cv.score(*clips, model=folder).score == before
    assert len(made) == 1
    for file in ("model.safetensors", "config.json"):
        stood = (folder / file).stat()
        (folder / file).write_bytes((other / file).read_bytes())
        os.utime(folder / file, ns=(stood.st_atime_ns, stood.st_mtime_ns))
        assert (folder / file).stat().st_size == stood.st_size
    now = cv.score(*clips, model=folder).score
    assert now == cv.score(*clips, model=cv.load(folder)).score
    assert now != before


def test_two_threads_do_not_share_it(clips: tuple[Path, Path], made: list[str], tmp_path: Path) -> None:
    reference, distorted = clips
    folder = saved(tmp_path / "one", 1)
    alone = [cv.score(reference, file, model=folder).score for file in (distorted, reference)] * 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda file: cv.score(reference, file, model=folder).score, [distorted, reference] * 4))
    assert found == alone


def test_a_network_of_the_users_own_code_is_made_anew(
    clips: tuple[Path, Path], made: list[str], tmp_path: Path
) -> None:
    """In a notebook its class may be another one at the next call."""

    @cv.register_model("own-kept", mode="FR", frames=12)
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(1))

        def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
            return self.gain * (reference - distorted).abs().mean((1, 2, 3, 4))

    network = cv.create_model("own-kept")
    network.gain.data *= 2
    cv.save(network, tmp_path / "own")
    for _ in range(2):
        cv.score(*clips, model=tmp_path / "own")
    assert len(made) == 2
