"""What the distortions promise, tested on a photograph: each level is worse than the one before, and nothing else."""

from __future__ import annotations

import io

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from compressvqa.data.distortions import DISTORTIONS, LEVELS, distortion_named
from compressvqa.errors import DataError

# A part of a photograph with fine texture, smooth skin and strong colours.
PIXELS = np.ascontiguousarray(data.astronaut()[30:158, 150:278])
PICTURE = torch.from_numpy(PIXELS).permute(2, 0, 1).float() / 255


def distorted(name: str, level: int, seed: int = 0, picture: torch.Tensor = PICTURE) -> torch.Tensor:
    return DISTORTIONS[name](picture, level, np.random.default_rng(seed))


@pytest.mark.parametrize("name", sorted(DISTORTIONS))
def test_quality_falls_with_the_level(name: str) -> None:
    found = [distorted(name, level).numpy() for level in range(1, LEVELS + 1)]
    truth = PICTURE.numpy()
    psnr = [peak_signal_noise_ratio(truth, picture, data_range=1) for picture in found]
    ssim = [structural_similarity(truth, picture, data_range=1, channel_axis=0) for picture in found]
    assert psnr == sorted(psnr, reverse=True) and len(set(psnr)) == LEVELS
    assert ssim == sorted(ssim, reverse=True)
    assert 0.85 < ssim[0] < 0.995 and 1 - ssim[-1] > 2 * (1 - ssim[0])  # seen at the first level, far more at the last


@pytest.mark.parametrize("name", sorted(DISTORTIONS))
@pytest.mark.parametrize("shape", [(37, 70), (128, 128)])
def test_a_distortion_is_a_pure_function_of_any_picture(name: str, shape: tuple[int, int]) -> None:
    noise = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    for picture in (noise, torch.zeros(3, *shape), torch.ones(3, *shape)):
        before = picture.clone()
        for level in (1, LEVELS):
            found = distorted(name, level, picture=picture)
            assert found.shape == picture.shape and found.dtype == torch.float32 and found.is_contiguous()
            assert found.min() >= 0 and found.max() <= 1
            assert torch.equal(found, distorted(name, level, picture=picture))
        assert torch.equal(picture, before)


def test_what_is_drawn_comes_from_the_generator() -> None:
    drawn = {name for name in DISTORTIONS if any(
        not torch.equal(distorted(name, 3, seed), distorted(name, 3, 0)) for seed in range(1, 8))}  # fmt: skip
    assert drawn == {"exposure", "motion-blur", "noise"}


def test_gaussian_blur_is_scipys() -> None:
    wanted = scipy.ndimage.gaussian_filter(PICTURE.numpy(), (0, 1.4, 1.4), mode="nearest", radius=(0, 5, 5))
    np.testing.assert_allclose(distorted("gaussian-blur", 3), wanted, atol=1e-5)


def test_motion_blur_spreads_a_point_along_a_line() -> None:
    point = torch.zeros(3, 41, 41)
    point[:, 20, 20] = 1
    for seed in range(5):
        for level, length in enumerate((3, 5, 8, 12, 18), 1):
            spread = distorted("motion-blur", level, seed, point)[0].double().numpy()
            assert spread.sum() == pytest.approx(1, abs=1e-5)
            rows, columns = np.indices(spread.shape) - 20
            assert abs((spread * rows).sum()) < 1e-4 and abs((spread * columns).sum()) < 1e-4  # nothing is shifted
            second = np.array([[(spread * a * b).sum() for a in (rows, columns)] for b in (rows, columns)])
            across, along = np.linalg.eigvalsh(second)
            # A line from the middle of the first of L pixels to that of the last has the variance (L - 1)^2 / 12
            # along it and none across; sharing among pixels adds up to 1/4.
            assert along == pytest.approx((length - 1) ** 2 / 12, rel=0.1, abs=0.3)
            assert across < 0.27


def test_noise_is_white_and_as_strong_as_said() -> None:
    grey = torch.full((3, 256, 256), 0.5)
    added = distorted("noise", 2, picture=grey).numpy() - 0.5
    assert added.std() == pytest.approx(0.028, rel=0.02) and abs(added.mean()) < 5e-4
    assert abs(np.corrcoef(added[0, :, 1:].ravel(), added[0, :, :-1].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(added[0].ravel(), added[1].ravel())[0, 1]) < 0.02


def test_jpeg_is_what_pillow_writes() -> None:
    coded = io.BytesIO()
    Image.fromarray(PIXELS).save(coded, "JPEG", quality=14)
    wanted = np.asarray(Image.open(coded))
    assert np.array_equal(np.rint(distorted("jpeg", 3).numpy() * 255), np.moveaxis(wanted, -1, 0))


def test_banding_leaves_few_values_and_low_contrast_the_mean() -> None:
    assert distorted("banding", 5).unique().tolist() == [0, 0.5, 1]
    flat = distorted("low-contrast", 4)
    torch.testing.assert_close(flat.mean(dim=(1, 2)), PICTURE.mean(dim=(1, 2)), atol=1e-4, rtol=0)
    torch.testing.assert_close(flat.std(dim=(1, 2)), 0.3 * PICTURE.std(dim=(1, 2)))


def test_chroma_keeps_luma_and_grey() -> None:
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    soft = 0.4 + 0.2 * PICTURE  # nothing is clipped
    found = distorted("chroma", 5, picture=soft)
    torch.testing.assert_close((found * luma).sum(0), (soft * luma).sum(0), atol=2e-3, rtol=0)
    assert (found - soft).abs().max() > 0.02
    grey = soft.mean(0, keepdim=True).expand(3, -1, -1)
    torch.testing.assert_close(distorted("chroma", 5, picture=grey), grey, atol=1e-5, rtol=0)


def test_mistakes() -> None:
    with pytest.raises(DataError, match=r"unknown distortion 'jpg' \(try: jpeg"):
        distortion_named("jpg")
    for level in (0, 6):
        with pytest.raises(DataError, match=f"no level {level} of 'jpeg'"):
            distorted("jpeg", level)
    with pytest.raises(DataError, match=r"not \(128, 128\)"):
        distorted("jpeg", 1, picture=PICTURE[0])
