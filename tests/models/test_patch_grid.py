"""Patches cover the picture, with the paper's overlap."""

from itertools import pairwise

import pytest

from compressvqa.models.patch_grid import patch_grid

SIZES = [(96, 96), (100, 130), (255, 700), (256, 256), (257, 256), (270, 480), (720, 1280), (1080, 1920), (1920, 1080)]


def test_1080p_is_cut_as_in_the_paper():
    grid = patch_grid(1080, 1920)
    assert len({top for top, *_ in grid}) == 9
    assert len({left for _, left, *_ in grid}) == 16
    assert grid[0] == (0, 0, 256, 256)
    assert grid[-1] == (1080 - 256, 1920 - 256, 256, 256)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("stride", [(103, 111), (256, 256), (64, 200)])
def test_every_pixel_is_in_a_patch_and_every_patch_in_the_picture(height, width, stride):
    grid = patch_grid(height, width, stride=stride)
    assert len(set(grid)) == len(grid)
    covered = [[False] * width for _ in range(height)]
    for top, left, h, w in grid:
        assert top >= 0 and left >= 0 and top + h <= height and left + w <= width
        assert (h, w) == (min(256, height), min(256, width))
        for row in covered[top : top + h]:
            row[left : left + w] = [True] * w
    assert all(all(row) for row in covered)
    for axis, step in ((0, stride[0]), (1, stride[1])):
        starts = sorted({patch[axis] for patch in grid})
        gaps = [b - a for a, b in pairwise(starts)]
        assert all(gap <= step for gap in gaps)
        assert not gaps or max(gaps) - min(gaps) <= 1  # evenly spaced
