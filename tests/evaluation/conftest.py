"""A small data set: three contents, each at five levels of noise, and what viewers would say of it."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from compressvqa.opinions import Item, Manifest, write_manifest
from compressvqa.video.frames import Colour, Planes
from compressvqa.video.raw import write_y4m

LEVELS = (0.005, 0.01, 0.02, 0.05, 0.1)


def picture(content: int, noise: float, frames: int = 6) -> list[Planes]:
    chance = np.random.default_rng(content)
    y, x = np.mgrid[0:96, 0:112]
    made = []
    for t in range(frames):
        luma = 0.5 + 0.2 * np.sin((x + 3 * t) / (6 + 2 * content)) + 0.2 * np.sin((y - 2 * t) / 13)
        luma = np.clip(luma + noise * chance.standard_normal(luma.shape), 0.1, 0.9)
        chroma = np.full((48, 56), 128, np.uint8)
        made.append(Planes((luma * 255).astype(np.uint8), chroma, chroma.copy(), "420", Colour()))
    return made


def make_set(folder: Path, name: str = "noise") -> Manifest:
    items = []
    for content in range(3):
        write_y4m(folder_of(folder) / f"r{content}.y4m", picture(content, 0), Fraction(25))
        for rung, noise in enumerate(LEVELS):
            write_y4m(folder / f"d{content}-{rung}.y4m", picture(content, noise), Fraction(25))
            items.append(
                Item(
                    f"d{content}-{rung}.y4m", mos=5 - 0.9 * rung - 0.1 * content, reference=f"r{content}.y4m", std=0.5,
                    ratings=20, content=f"c{content}", split="test" if content else "train", ladder="noise", rung=rung,
                )
            )  # fmt: skip
    return Manifest(name, folder, tuple(items), scale=(1, 5))


def folder_of(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def noise_set(tmp_path_factory) -> Manifest:
    folder = tmp_path_factory.mktemp("noise")
    manifest = make_set(folder)
    write_manifest(manifest, folder / "manifest.csv")
    return manifest


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"
