from __future__ import annotations

import numpy as np
import pytest
import torch
from clips import make, naive_rgb, raw_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from compressvqa.errors import DataError
from compressvqa.video.frames import Colour, Planes, plane_shapes, sample_type, split_planes, yuv_to_rgb

COEFFICIENTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


def random_planes(
    rng: np.random.Generator, lead: tuple[int, ...], h: int, w: int, chroma: str, colour: Colour
) -> Planes:
    size = sum(rows * columns for rows, columns in plane_shapes(h, w, chroma))
    codes = rng.integers(0, 2**colour.bitdepth, (*lead, size)).astype(sample_type(colour.bitdepth))
    return split_planes(codes, h, w, chroma, colour)


@pytest.mark.parametrize("bitdepth", [8, 10, 12, 16])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("chroma", ["400", "420", "422", "444"])
def test_rgb_equals_the_definition_pixel_by_pixel(chroma, matrix, full, bitdepth):
    colour = Colour(bitdepth, matrix, full)
    planes = random_planes(np.random.default_rng(1), (2,), 5, 7, chroma, colour)
    rgb = planes.to_rgb()
    assert rgb.shape == (2, 3, 5, 7) and rgb.dtype == torch.float32
    sv, sh = {"420": (2, 2), "422": (1, 2), "444": (1, 1), "400": (1, 1)}[chroma]
    neutral = 2 ** (bitdepth - 1)
    for t, r, c in [(0, 0, 0), (0, 4, 6), (1, 2, 3), (1, 3, 6), (0, 1, 5)]:
        u = neutral if planes.u is None else planes.u[t, r // sv, c // sh]
        v = neutral if planes.v is None else planes.v[t, r // sv, c // sh]
        expected = naive_rgb(float(planes.y[t, r, c]), float(u), float(v), bitdepth, *COEFFICIENTS[matrix], full)
        np.testing.assert_allclose(rgb[t, :, r, c].numpy(), expected, atol=2e-6)


# Limited-range 8-bit codes of pure red, green, blue as the standards' colour-bar tables give them.
@pytest.mark.parametrize(
    ("matrix", "codes", "rgb"),
    [
        ("bt601", (81, 90, 240), (1, 0, 0)), ("bt601", (145, 54, 34), (0, 1, 0)), ("bt601", (41, 240, 110), (0, 0, 1)),
        ("bt709", (63, 102, 240), (1, 0, 0)), ("bt709", (173, 42, 26), (0, 1, 0)), ("bt709", (32, 240, 118), (0, 0, 1)),
    ],
)  # fmt: skip
def test_primaries_have_their_published_codes(matrix, codes, rgb):
    y, u, v = (np.full((1, 1), code, np.uint8) for code in codes)
    found = Planes(y, u, v, "444", Colour(8, matrix)).to_rgb().flatten()
    np.testing.assert_allclose(found.numpy(), rgb, atol=0.006)  # the codes are rounded to whole numbers


@pytest.mark.parametrize(("matrix", "name"), [("bt601", "bt601"), ("bt709", "bt709"), ("bt2020", "bt2020")])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bitdepth", [8, 10])
def test_rgb_equals_ffmpegs_own_conversion(tmp_path, matrix, name, full, bitdepth):
    suffix = "" if bitdepth == 8 else "10le"
    path = make(tmp_path / "clip.y4m", "-pix_fmt", f"yuv444p{suffix}", "-strict", "-1", size="64x48", frames=2)
    span = "full" if full else "limited"
    scale = f"scale=in_color_matrix={name}:in_range={span}:out_range=full:flags=accurate_rnd+full_chroma_int+bitexact"
    theirs = np.frombuffer(raw_bytes(path, "rgb48le", "-vf", scale), "<u2")
    samples = np.frombuffer(raw_bytes(path, f"yuv444p{suffix}"), sample_type(bitdepth)).reshape(2, -1)
    ours = split_planes(samples, 48, 64, "444", Colour(bitdepth, matrix, full)).to_rgb()
    theirs = torch.from_numpy(theirs.reshape(2, 48, 64, 3).astype(np.float32) / 65535).permute(0, 3, 1, 2)
    assert (ours - theirs).abs().max() < 1.5 / 255
    assert (ours - theirs).abs().mean() < 0.3 / 255


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_cropping_and_converting_commute(data):
    chroma = data.draw(st.sampled_from(["400", "420", "422", "444"]))
    h, w = data.draw(st.integers(4, 20)), data.draw(st.integers(4, 20))
    top, left = 2 * data.draw(st.integers(0, (h - 1) // 2)), 2 * data.draw(st.integers(0, (w - 1) // 2))
    height, width = data.draw(st.integers(1, h - top)), data.draw(st.integers(1, w - left))
    planes = random_planes(np.random.default_rng(2), (3,), h, w, chroma, Colour())
    whole = planes.to_rgb()[..., top : top + height, left : left + width]
    assert torch.equal(planes.crop(top, left, height, width).to_rgb(), whole)


def test_writing_into_a_given_tensor():
    planes = random_planes(np.random.default_rng(3), (), 4, 6, "420", Colour())
    out = torch.empty(2, 3, 4, 6)
    yuv_to_rgb(planes, out[1])
    assert torch.equal(out[1], planes.to_rgb())


@pytest.mark.parametrize("box", [(0, 0, 9, 4), (0, 0, 4, 9), (-2, 0, 4, 4), (0, 0, 0, 4)])
def test_a_box_outside_the_picture_is_refused(box):
    with pytest.raises(DataError, match=r"leaves a picture of 8x8"):
        random_planes(np.random.default_rng(4), (), 8, 8, "420", Colour()).crop(*box)


def test_a_box_between_chroma_samples_is_refused():
    with pytest.raises(DataError, match=r"chroma sample of 4:2:0 video"):
        random_planes(np.random.default_rng(5), (), 8, 8, "420", Colour()).crop(1, 0, 4, 4)


@pytest.mark.parametrize("chroma", ["400", "420", "422", "444"])
@pytest.mark.parametrize("bitdepth", [8, 10])
def test_bytes_and_planes_are_inverses(chroma, bitdepth):
    colour = Colour(bitdepth)
    planes = random_planes(np.random.default_rng(6), (2,), 5, 6, chroma, colour)
    codes = np.frombuffer(planes.to_bytes(), sample_type(bitdepth)).reshape(2, -1)
    again = split_planes(codes, 5, 6, chroma, colour)
    assert np.array_equal(again.y, planes.y)
    assert (again.u is None and planes.u is None) or np.array_equal(again.u, planes.u)
