from __future__ import annotations

import importlib.metadata

import numpy as np
import pytest
import torch
from PIL import Image

from compressvqa.data import virtual_camera
from compressvqa.data.filming import render_take, to_planes
from compressvqa.data.virtual_camera import load_photograph, open_photograph, photographs
from compressvqa.errors import CompressVQAError, DataError


def take(name: str, number: int, **options) -> np.ndarray:
    return np.stack([planes.y for planes in render_take(name, number, **options)])


def test_no_photograph_is_on_both_sides():
    train, validation = photographs("train"), photographs("validation")
    assert len(train) >= 8 and len(validation) >= 4
    assert len(set(train) | set(validation)) == len(train) + len(validation)


@pytest.mark.parametrize("name", [*photographs("train"), *photographs("validation")])
def test_every_photograph_ships_in_the_wheel(name):
    shipped = {str(file) for file in importlib.metadata.files("scikit-image")}
    assert f"skimage/data/{name}" in shipped
    photograph = load_photograph(name)
    assert photograph.shape[0] == 3 and 0 <= float(photograph.min()) < float(photograph.max()) <= 1


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_take_moves_is_textured_and_is_always_the_same(number):
    first = take("coffee.png", number, frames=4, size=128)
    assert np.array_equal(first, take("coffee.png", number, frames=4, size=128))
    assert not np.array_equal(first, take("coffee.png", number + 3, frames=4, size=128))
    steps = np.abs(np.diff(first.astype(float), axis=0)).mean(axis=(1, 2))
    assert steps.min() > 0.3 and first.std() > 5


def test_small_photographs_are_enlarged():
    (frame,) = render_take("text.png", 0, frames=1, size=256)
    assert frame.y.shape == (256, 256) and frame.u.shape == (128, 128)


def wave(period: float, height: int = 300, width: int = 400) -> torch.Tensor:
    x = (torch.arange(width) + 0.5) / period * 2 * torch.pi
    return (0.5 + 0.4 * torch.sin(x)).expand(3, height, width).contiguous()


@pytest.mark.parametrize(("left", "scale"), [(20.0, 1.0), (20.25, 1.0), (33.7, 1.4), (10.1, 0.8)])
def test_sub_pixel_positions_are_exact(left, scale):
    """A slow sine wave has a known value at every position."""
    seen = virtual_camera._look(wave(40.0), 5.0, left, scale, 64)
    x = left + (torch.arange(64) + 0.5) * scale
    expected = 0.5 + 0.4 * torch.sin(x / 40 * 2 * torch.pi)
    assert (seen[0, 32] - expected).abs().max() < 0.004


def test_detail_that_a_camera_cannot_resolve_turns_grey():
    seen = virtual_camera._look(wave(2.5), 5.0, 5.0, 3.0, 64)  # 1.2 cycles to the pixel
    assert float(seen.std()) < 0.03


@pytest.mark.parametrize("number", range(6))
def test_the_camera_stays_inside_the_photograph(number):
    rng = np.random.default_rng(number)
    path = virtual_camera._path(rng, (320, 450), 12, 256, zoom=number % 2 == 1, speed=2.0)
    assert path.top.min() >= 0 and path.left.min() >= 0
    assert (path.top + 256 * path.scale).max() <= 320 and (path.left + 256 * path.scale).max() <= 450


def test_planes_and_rgb_are_inverses_but_for_chroma_resolution():
    colours = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    picture = colours.repeat_interleave(2, 1).repeat_interleave(2, 2)
    inside = (picture - 0.5) * 0.5 + 0.5
    assert (to_planes(inside).to_rgb() - inside).abs().max() < 1.6 / 255


def test_without_scikit_image_the_error_names_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(CompressVQAError, match=r"compressvqa\[demo\]"):
        load_photograph("coffee.png")


def test_a_photograph_that_is_not_there():
    with pytest.raises(CompressVQAError, match=r"does not hold the photograph nothing.png"):
        load_photograph("nothing.png")


def test_photographs_of_files_are_read_and_made_smaller(tmp_path):
    squares = torch.rand(3, 8, 6, generator=torch.Generator().manual_seed(0)).mul(255).byte().permute(1, 2, 0)
    picture = np.kron(squares.numpy(), np.ones((50, 50, 1), np.uint8))
    Image.fromarray(picture).save(tmp_path / "photo.png")
    assert open_photograph(tmp_path / "photo.png", 256).shape == (3, 400, 300)
    kept = open_photograph(tmp_path / "photo.png", 64)
    assert kept.shape == (3, 256, 192)
    means = torch.from_numpy(picture).float().div(255).mean(dim=(0, 1))
    assert (kept.mean(dim=(1, 2)) - means).abs().max() < 0.01
    with pytest.raises(DataError, match=r"photo.png: a photograph of 300x400 is smaller than a patch of 320x320"):
        open_photograph(tmp_path / "photo.png", 320)
