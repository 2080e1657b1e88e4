"""Every pixel belongs to one tile, and tiles keep within their size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressvqa.scoring.tiles import ALIGN, tiles


@settings(max_examples=60, deadline=None)
@given(st.integers(96, 4400), st.integers(96, 4400), st.sampled_from([512 * 512, 1 << 20, 2048 * 1088]))
def test_a_grid_covers_the_frame_once(height, width, most):
    cover = np.zeros((height, width), np.uint8)
    for top, left, h, w in tiles(height, width, most):
        cover[top : top + h, left : left + w] += 1
        assert min(h, w) >= 96
        assert top % ALIGN == left % ALIGN == 0
        assert h * w <= most or height * width <= most
    assert (cover == 1).all()


@pytest.mark.parametrize(
    ("height", "width", "count"), [(1080, 1920, 1), (1080, 2048, 1), (2160, 3840, 4), (1440, 2560, 2)]
)
def test_usual_sizes(height, width, count):
    assert len(tiles(height, width, 2048 * 1088)) == count


def test_no_limit_is_no_tile():
    assert tiles(4320, 7680, None) == [(0, 0, 4320, 7680)]
