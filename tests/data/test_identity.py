"""What a part of a data set is told by: what its files hold, wherever they lie and whenever they were written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from compressvqa.data import DistortedImages, MosPairs, MosSingles
from compressvqa.errors import DataError


def draw(path: Path, seed: int) -> None:
    """A picture without compression: all seeds give files of one size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (80, 80, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = ["dist,mos,split"]
    for number in range(6):
        draw(tmp_path / "set" / f"{number}.bmp", number)
        lines.append(f"{number}.bmp,{number}.5,{'train' if number < 3 else 'val'}")
    (tmp_path / "set" / "manifest.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "set"


def pairs(folder: Path) -> Any:
    source = str(folder / "manifest.csv")
    return MosPairs(MosPairs.Config(source=source, validation="split", frames=1, size=None))


def singles(folder: Path) -> Any:
    source = str(folder / "manifest.csv")
    return MosSingles(MosSingles.Config(source=source, validation="split", frames=1, resize=None, crop=48))


def images(folder: Path) -> Any:
    return DistortedImages(DistortedImages.Config(sources=str(folder), resize=None, crop=48, distortions=["noise"]))


@pytest.mark.parametrize("dataset", [pairs, singles, images])
def test_the_identity_follows_the_content(dataset: Callable[[Path], Any], folder: Path, tmp_path: Path) -> None:
    def identity(place: Path, kept: str) -> str:
        found = dataset(place).prepare(tmp_path / kept, part="train").summary()["identity"]
        assert isinstance(found, str)
        return found

    first = identity(folder, "kept")
    shutil.copytree(folder, tmp_path / "elsewhere" / "set")
    for file in (tmp_path / "elsewhere" / "set").iterdir():
        os.utime(file, (1e9, 1e9))
    assert identity(tmp_path / "elsewhere" / "set", "kept-elsewhere") == first
    draw(folder / "1.bmp", 99)
    assert identity(folder, "kept") != first


@pytest.mark.parametrize("dataset", [pairs, singles])
def test_the_identity_follows_the_scores(dataset: Callable[[Path], Any], folder: Path, tmp_path: Path) -> None:
    first = dataset(folder).prepare(tmp_path / "kept", part="train").summary()["identity"]
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("1.bmp,1.5", "1.bmp,4.5"))
    assert dataset(folder).prepare(tmp_path / "kept", part="train").summary()["identity"] != first


@pytest.mark.parametrize("dataset", [pairs, singles])
def test_check_misses_files_before_any_work(dataset: Callable[[Path], Any], folder: Path) -> None:
    dataset(folder).check()
    (folder / "4.bmp").unlink()
    with pytest.raises(DataError, match=r"4\.bmp: no such file"):
        dataset(folder).check()
    lines = (folder / "manifest.csv").read_text().splitlines()
    (folder / "manifest.csv").write_text("\n".join([*lines[:4], lines[-1]]) + "\n")
    with pytest.raises(DataError, match="1 items in the part 'validation'"):
        dataset(folder).check()
