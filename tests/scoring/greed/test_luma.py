import numpy as np
import pytest

from compressvqa.scoring.greed.luma import grids, scales, small_luma, without_local_mean
from compressvqa.video.frames import Colour, Planes

from . import naive


def planes(height: int, width: int, colour: Colour, seed: int = 0) -> Planes:
    kind = np.uint8 if colour.bitdepth == 8 else np.uint16
    luma = np.random.default_rng(seed).integers(0, 2**colour.bitdepth, (height, width)).astype(kind)
    return Planes(luma, None, None, "400", colour)


@pytest.mark.parametrize("size", [(48, 64), (50, 67)])
def test_small_pictures_are_means_over_areas(size: tuple[int, int]) -> None:
    picture = planes(*size, Colour())
    wanted = ((6, 8), (3, 5))
    for found, grid in zip(small_luma(picture, wanted), wanted, strict=True):
        assert np.allclose(found, naive.small(picture.y, *grid), atol=1e-3)


def test_small_pictures_are_those_of_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    picture = planes(1080, 1920, Colour())
    for found, (rows, columns) in zip(small_luma(picture, grids(1080, 1920)), grids(1080, 1920), strict=True):
        wanted = cv2.resize(picture.y.astype(float), (columns, rows), interpolation=cv2.INTER_AREA)
        assert np.allclose(found, wanted, atol=1e-3)


def test_depth_and_range_do_not_matter() -> None:
    codes = np.random.default_rng(1).integers(16, 236, (32, 32))
    wanted = ((4, 4), (2, 2))
    eight = small_luma(Planes(codes.astype(np.uint8), None, None, "400", Colour()), wanted)
    ten = small_luma(Planes((codes * 4).astype(np.uint16), None, None, "400", Colour(10)), wanted)
    full = np.round((codes - 16) * (65535 / 219)).astype(np.uint16)
    sixteen = small_luma(Planes(full, None, None, "400", Colour(16, full_range=True)), wanted)
    for a, b, c in zip(eight, ten, sixteen, strict=True):
        assert np.allclose(a, b, atol=1e-3) and np.allclose(a, c, atol=1e-2)


def test_scales_go_by_the_shorter_side() -> None:
    assert scales(1080, 1920) == scales(1920, 1080) == scales(360, 640) == (4, 5)
    assert scales(2160, 3840) == (5, 6)
    assert grids(2160, 3840) == grids(1080, 1920) == ((67, 120), (33, 60))


def test_a_constant_has_no_local_detail() -> None:
    assert np.allclose(without_local_mean(np.full((9, 11), 77.0)), 0)
    edge = np.zeros((20, 20))
    edge[:, 10:] = 100
    assert np.abs(without_local_mean(edge))[:, 9:11].min() > 20
