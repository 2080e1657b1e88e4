from __future__ import annotations

import importlib.metadata

import numpy as np
import pytest
import torch
from PIL import Image

from compressvqa.data import camera_effects as effects
from compressvqa.data import virtual_camera
from compressvqa.data.virtual_camera import (
    PLAIN,
    Camera,
    film,
    load_photograph,
    open_photograph,
    photographs,
    render_take,
    to_planes,
)
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


def scene(seed: int = 0, side: int = 200) -> torch.Tensor:
    coarse = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0.05, 0.95)[0]


def filmed(camera: Camera, take: int = 0, frames: int = 8) -> torch.Tensor:
    return torch.stack([planes.to_rgb() for planes in film(scene(), "s", take, frames=frames, size=96, camera=camera)])


@pytest.mark.parametrize("what", ["noise", "motion_blur", "focus", "exposure", "objects", "cuts", "text"])
def test_each_thing_changes_takes_and_only_as_often_as_asked(what):
    plain = [filmed(PLAIN, take, frames=2) for take in range(6)]
    always = [filmed(Camera(**{what: 1.0}), take, frames=2) for take in range(6)]
    assert all(not torch.equal(a, b) for a, b in zip(plain, always, strict=True))
    again = [filmed(Camera(**{what: 1.0}), take, frames=2) for take in range(6)]
    assert all(torch.equal(a, b) for a, b in zip(always, again, strict=True))
    half = [filmed(Camera(**{what: 0.5}), take, frames=2) for take in range(6)]
    # A take is one or the other, and not a third one: the share moves no other random number.
    kinds = [torch.equal(h, p) for h, p in zip(half, plain, strict=True)]
    assert all(k or torch.equal(h, a) for k, h, a in zip(kinds, half, always, strict=True)) and 0 < sum(kinds) < 6


def test_noise_is_new_in_every_frame_and_stronger_in_the_light_of_photons():
    sensor = effects.Sensor(shot=0.002, read=1e-5, grain=0.0, coloured=1.0)
    rng = np.random.default_rng(0)
    dark, light = torch.full((3, 200, 200), 0.3), torch.full((3, 200, 200), 0.8)
    for picture in (dark, light):
        one, two = sensor.noisy(picture, rng), sensor.noisy(picture, rng)
        # In linear light the variance is shot * light + read.
        found, expected = effects.to_light(one).var(), 0.002 * float(picture[0, 0, 0]) ** effects.GAMMA + 1e-5
        assert float(found) == pytest.approx(expected, rel=0.05)
        assert abs(float(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1])) < 0.02


def test_smeared_noise_keeps_its_variance():
    noise = torch.randn(3, 256, 256, generator=torch.Generator().manual_seed(0))
    for share in (0.0, 0.4, 0.8):
        assert float(effects._smeared(noise, share).var()) == pytest.approx(1, rel=0.03)


def test_an_open_shutter_averages_light_and_not_values():
    """Half of the time black, half white: grey of half the light, which is stored above 0.7."""
    seen = effects.open_shutter(lambda time: torch.full((3, 2, 2), float(time > 5.01)), 5, 1.0)
    assert seen.unique().tolist() == pytest.approx([(2 / effects.MOMENTS) ** (1 / effects.GAMMA)])
    still = scene(side=32)
    assert (effects.open_shutter(lambda time: still, 3, 0.7) - still).abs().max() < 1e-5
    assert torch.equal(effects.open_shutter(lambda time: still * (time == 3), 3, 0.0), still)


def test_a_stop_doubles_the_light():
    picture = torch.full((3, 4, 4), 0.4)
    assert float(effects.to_light(effects.exposed(picture, 1.0))[0, 0, 0] / effects.to_light(picture)[0, 0, 0]) == (
        pytest.approx(2, rel=1e-4)
    )
    assert float(effects.exposed(picture, 9.0).max()) == 1.0


def test_a_cut_goes_to_another_place_for_the_rest_of_the_take():
    for take in range(4):
        same = [torch.equal(a, b) for a, b in zip(filmed(PLAIN, take), filmed(Camera(cuts=1.0), take), strict=True)]
        assert same == sorted(same, reverse=True) and 2 <= sum(same) <= 6


def test_text_stands_still_over_a_moving_scene():
    found = 0
    for take in range(8):
        moving, written = filmed(PLAIN, take), filmed(Camera(text=1.0), take)
        letters = (moving - written).abs().amax(dim=(0, 1)) > 0.1
        still = written[:, :, letters].diff(dim=0).abs().mean() < 0.5 * moving[:, :, letters].diff(dim=0).abs().mean()
        found += bool(letters.float().mean() > 0.005 and still)
    assert found >= 3  # the others scroll


def test_ten_bit_takes_hold_more_than_eight():
    deep = next(film(scene(), "s", 0, frames=1, size=96, camera=Camera(ten_bit=1.0)))
    plain = next(film(scene(), "s", 0, frames=1, size=96))
    assert (deep.colour.bitdepth, plain.colour.bitdepth) == (10, 8) and deep.y.dtype == np.uint16
    assert np.abs(deep.y / 4 - plain.y).max() <= 0.625 and len(np.unique(deep.y % 4)) == 4
    assert (deep.to_rgb() - plain.to_rgb()).abs().max() < 0.01
    depths = {Camera(ten_bit=0.5).bitdepth(f"photo{number}") for number in range(20)}
    assert depths == {8, 10}


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_the_shortest_takes_hold_everything(frames):
    everything = Camera(**dict.fromkeys(vars(PLAIN), 1.0))
    for take in range(3):
        clip = filmed(everything, take, frames=frames)
        assert clip.shape == (frames, 3, 96, 96) and bool(torch.isfinite(clip).all())


def test_a_share_is_from_0_to_1():
    with pytest.raises(DataError, match=r"camera.noise: a share of 2"):
        Camera(noise=2)


def test_photographs_of_files_are_read_and_made_smaller(tmp_path):
    picture = (scene(side=400)[:, :, :300] * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(picture).save(tmp_path / "photo.png")
    assert open_photograph(tmp_path / "photo.png", 256).shape == (3, 400, 300)
    kept = open_photograph(tmp_path / "photo.png", 64)
    assert kept.shape == (3, 256, 192)
    means = torch.from_numpy(picture).float().div(255).mean(dim=(0, 1))
    assert (kept.mean(dim=(1, 2)) - means).abs().max() < 0.01
    with pytest.raises(DataError, match=r"photo.png: a photograph of 300x400 is smaller than a patch of 320x320"):
        open_photograph(tmp_path / "photo.png", 320)
