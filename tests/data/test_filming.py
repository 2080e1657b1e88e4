from __future__ import annotations

import numpy as np
import pytest
import torch

from compressvqa.data import camera_effects as effects
from compressvqa.data.filming import PLAIN, Camera, film
from compressvqa.errors import DataError


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
