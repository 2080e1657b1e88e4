"""Small files to score, and a model folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from clips import make

import compressvqa as cv


@pytest.fixture(scope="package")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of 12 frames: dog.y4m, its encodes dog_1.y4m and dog_2.y4m in encodes/, and dog.yuv."""
    folder = tmp_path_factory.mktemp("clips")
    make(folder / "dog.y4m", size="128x96", frames=12)
    (folder / "encodes").mkdir()
    for blur in (1, 2):
        make(folder / "encodes" / f"dog_{blur}.y4m", "-vf", f"boxblur={blur}", size="128x96", frames=12)
    make(folder / "dog.yuv", "-pix_fmt", "yuv420p", size="128x96", frames=12)
    return folder


@pytest.fixture(scope="package")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a model of random weights in it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    cv.save(cv.create_model("rankdvqa", widths=(4, 4, 6, 6, 8, 8), merge_width=8, mlp_width=8), folder / "model")
    (folder / "recipe.yaml").write_text("name: small\n")
    return folder
