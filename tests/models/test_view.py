"""The view of a clip against loops over frames and torchvision's resize and crop."""

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, normalize, resize

from compressvqa.errors import DataError
from compressvqa.models.view import DEVIATION, MEAN, View

torch.set_num_threads(1)


def clip(frames=5, height=40, width=64, batch=2, seed=0):
    return torch.rand(batch, frames, 3, height, width, generator=torch.Generator().manual_seed(seed))


def as_torchvision(picture, size, fit):
    """One (3, H, W) picture, fitted by torchvision's own functions."""
    scaled = {"short-side": [size], "squeeze": [size, size], "crop": None}[fit]
    if fit == "crop" and min(picture.shape[1:]) < size:
        scaled = [size]
    if scaled is not None:
        picture = resize(picture, scaled, InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    return center_crop(picture, [size, size])


@pytest.mark.parametrize("fit", ["short-side", "squeeze", "crop"])
@pytest.mark.parametrize(("height", "width", "size"), [(40, 60, 32), (61, 40, 32), (24, 36, 32), (48, 48, 16)])
def test_a_frame_is_fitted_as_torchvision_does(fit, height, width, size):
    x = clip(2, height, width, batch=1)
    found = View(None, size, fit=fit, normalise=False)(x)
    expected = torch.stack([as_torchvision(frame, size, fit) for frame in x[0]])
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-5)


def test_the_crop_is_the_middle():
    x = torch.arange(9.0).expand(1, 1, 3, 4, 9)
    found = View(None, 4, fit="crop", normalise=False)(x)
    assert found[0, 0, 0, 0].tolist() in ([2, 3, 4, 5], [3, 4, 5, 6])  # there are two middles


@pytest.mark.parametrize(("frames", "length"), [(1, 1), (1, 7), (4, 9), (8, 12), (3, 3), (8, 240)])
def test_frames_are_the_middles_of_equal_parts(frames, length):
    x = torch.arange(length, dtype=torch.float).view(1, length, 1, 1, 1).expand(1, length, 3, 2, 2)
    found = View(frames, None, normalise=False)(x)[0, :, 0, 0, 0].tolist()
    # The middle of part n, as a real number, lies within the frame that is taken.
    middles = [(n + 0.5) * length / frames for n in range(frames)]
    assert found == [float(np.floor(middle)) for middle in middles]


def test_a_shorter_clip_repeats_frames_in_order_or_is_taken_as_it_is():
    x = torch.arange(3.0).view(1, 3, 1, 1, 1).expand(1, 3, 3, 2, 2)
    repeated = View(7, None, normalise=False)(x)[0, :, 0, 0, 0].tolist()
    assert len(repeated) == 7
    assert repeated == sorted(repeated)
    assert set(repeated) == {0, 1, 2}
    assert torch.equal(View(7, None, normalise=False, repeat=False)(x), x)
    assert View(2, None, normalise=False, repeat=False)(x).shape[1] == 2


def test_it_normalises_as_torchvision_does():
    x = clip()
    for mean, deviation in ((MEAN, DEVIATION), ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))):
        found = View(None, None, mean=mean, deviation=deviation)(x)
        torch.testing.assert_close(found, normalize(x, list(mean), list(deviation)))
    assert torch.equal(View(None, None, normalise=False)(x), x)


def test_what_fits_passes_and_nothing_is_kept():
    x = clip(8, 32, 32)
    view = View(8, 32, normalise=False)
    assert view(x) is x
    assert not list(view.parameters())
    assert not view.state_dict()


def test_half_precision_is_scaled_in_single():
    x = clip(2).half()
    found = View(None, 16, normalise=False)(x)
    assert found.dtype == torch.float16
    assert torch.equal(found, View(None, 16, normalise=False)(x.float()).half())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"frames": 0}, "a view of 0 frames"),
        ({"size": 0}, "of 0 pixels"),
        ({"fit": "short-sied"}, r"no fit 'short-sied' \(try: short-side\)"),
        ({"fit": "?"}, "short-side, squeeze, crop"),
    ],
)
def test_wrong_settings_are_one_line(settings, words):
    with pytest.raises(DataError, match=words) as caught:
        View(**settings)
    assert "\n" not in str(caught.value)


def test_no_clip_is_refused():
    for wrong in (clip()[0], clip()[:, :, :1], clip()[:, :0]):
        with pytest.raises(DataError, match=r"is not \(batch, frames, 3, height, width\)"):
            View()(wrong)
    with pytest.raises(DataError, match="divide by 255"):
        View()(clip().byte())
