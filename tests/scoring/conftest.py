"""Small videos and small networks to score them with."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compressvqa.video.frames import Colour, Planes
from compressvqa.video.raw import write_y4m


def make_clip(frames: int, height: int = 96, width: int = 112, *, noise: float = 0.0, bitdepth: int = 8) -> list:
    """Frames of smooth moving texture, with noise for the distorted one."""
    chance, top = np.random.default_rng(0), 2**bitdepth - 1
    y, x = np.mgrid[0:height, 0:width]
    kind = np.uint8 if bitdepth == 8 else np.uint16
    made = []
    for t in range(frames):
        luma = 0.5 + 0.2 * np.sin((x + 3 * t) / 9) + 0.2 * np.sin((y - 2 * t) / 13)
        luma = np.clip(luma + noise * chance.standard_normal((height, width)), 0.1, 0.9)
        chroma = np.full((-(-height // 2), -(-width // 2)), (top + 1) // 2, kind)
        made.append(Planes((luma * top).astype(kind), chroma, chroma.copy(), "420", Colour(bitdepth)))
    return made


@pytest.fixture
def clip():
    """The maker of clips."""
    return make_clip


@pytest.fixture
def write(tmp_path):
    """Writes a clip as Y4M and returns its path."""

    def make(name: str, frames: int = 30, *, rate: int = 25, **settings) -> Path:
        write_y4m(tmp_path / name, make_clip(frames, **settings), Fraction(rate))
        return tmp_path / name

    return make


class MeanDifference(nn.Module):
    """Minus the mean absolute difference: a network whose score can be worked out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        assert not self.training
        self.shapes.append(tuple(distorted.shape))
        return -self.weight * (reference - distorted).abs().mean(dim=(1, 2, 3, 4))


@pytest.fixture
def mean_difference() -> MeanDifference:
    return MeanDifference()
