"""Luma against colours whose codes the standards give."""

import pytest
import torch

from compressvqa.models.clips import LUMA, luma


@pytest.mark.parametrize(
    ("colour", "matrix", "code"),
    # Y codes of 8-bit limited-range colour bars, ITU-R BT.601 and BT.709 (100 % bars), to the nearest whole code.
    [
        ((1, 1, 1), "bt601", 235),
        ((0, 0, 0), "bt601", 16),
        ((1, 0, 0), "bt601", 81),
        ((0, 1, 0), "bt601", 145),
        ((0, 0, 1), "bt601", 41),
        ((1, 0, 0), "bt709", 63),
        ((0, 1, 0), "bt709", 173),
        ((0, 0, 1), "bt709", 32),
        ((1, 1, 0), "bt709", 219),
    ],
)
def test_codes_of_colour_bars(colour, matrix, code):
    clip = torch.tensor(colour).float().reshape(1, 1, 3, 1, 1)
    found = luma(clip, matrix, limited=True)
    assert found.shape == (1, 1, 1, 1, 1)
    assert round(255 * float(found)) == code


def test_full_range_is_the_weighted_sum():
    clip = torch.rand(2, 3, 5, 7)
    expected = torch.einsum("nchw,c->nhw", clip, torch.tensor(LUMA["bt601"]))[:, None]
    torch.testing.assert_close(luma(clip, "bt601", limited=False), expected)


def test_half_precision_is_worked_out_in_single():
    clip = torch.rand(2, 3, 5, 7).half()
    found = luma(clip, "bt709", limited=False)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, luma(clip.float(), "bt709", limited=False))
    assert luma(clip.double(), "bt709", limited=False).dtype == torch.float64
