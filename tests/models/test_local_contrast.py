"""Local contrast against its definition, pixel by pixel, and what it is for."""

import numpy as np
import pytest
import torch

from compressvqa.errors import DataError
from compressvqa.models import create_model
from compressvqa.models.local_contrast import LocalContrast


def by_hand(image):
    """CNNIQA's equation 1 in loops; at the border over what is there of the window, the deviation's too."""
    height, width = image.shape

    def about(values):
        found = np.empty_like(values)
        for y in range(height):
            for x in range(width):
                found[y, x] = values[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4].mean()
        return found

    mean = about(image)
    return (image - mean) / (np.sqrt(about((image - mean) ** 2)) + 1 / 255)


def test_it_is_its_equation():
    images = torch.rand(2, 3, 9, 11, dtype=torch.float64)
    expected = np.stack([[by_hand(channel) for channel in image] for image in images.numpy()])
    np.testing.assert_allclose(LocalContrast()(images), expected, atol=1e-5)


def test_brightness_goes_and_half_precision_comes_back():
    images = 0.2 + 0.5 * torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(LocalContrast()(images), LocalContrast()(images + 0.2), atol=1e-4, rtol=1e-4)
    assert LocalContrast()(torch.full((1, 3, 8, 8), 0.5)).abs().max() < 1e-3
    assert LocalContrast()(images.bfloat16()).dtype == torch.bfloat16


def test_a_backbone_may_see_it():
    clip = torch.rand(2, 3, 3, 32, 32)
    settings = {"backbone": "test_resnet", "size": None, "frames": None}
    torch.manual_seed(0)
    seen = create_model("image-backbone", contrast="local", **settings).eval()
    torch.manual_seed(0)
    plain = create_model("image-backbone", **settings).eval()
    plain.view.normalise = False
    with torch.no_grad():
        shown = LocalContrast()(clip.flatten(0, 1)).unflatten(0, clip.shape[:2])
        torch.testing.assert_close(seen(clip), plain(shown))
    with pytest.raises(DataError, match=r"no contrast 'locale'.*published, local"):
        create_model("image-backbone", contrast="locale")
