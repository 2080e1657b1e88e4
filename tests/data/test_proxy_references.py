from __future__ import annotations

import itertools

import numpy as np
import pytest
from clips import make, raw_bytes

from compressvqa.data.proxy.order import agreement
from compressvqa.data.proxy.references import Excerpt, Reference, shrink, store_reference
from compressvqa.errors import DataError
from compressvqa.video import Colour, Planes, probe
from compressvqa.video.clip import Clip


def picture(height, width, chroma, bitdepth, full, seed=0):
    rng = np.random.default_rng(seed)
    kind = np.uint8 if bitdepth == 8 else np.uint16
    sv, sh = {"420": (2, 2), "422": (1, 2), "444": (1, 1), "400": (1, 1)}[chroma]
    y = rng.integers(0, 2**bitdepth, (height, width)).astype(kind)
    u, v = rng.integers(0, 2**bitdepth, (2, -(-height // sv), -(-width // sh))).astype(kind)
    grey = chroma == "400"
    return Planes(y, None if grey else u, None if grey else v, chroma, Colour(bitdepth, "bt709", full))


@pytest.mark.parametrize("chroma", ["420", "422", "444"])
@pytest.mark.parametrize(("bitdepth", "full"), [(8, False), (8, True), (10, True), (12, False), (16, True)])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_shrinking_is_the_mean_over_squares_in_limited_range(chroma, bitdepth, full, factor):
    planes = picture(26, 39, chroma, bitdepth, full)
    small = shrink(planes, factor)
    H, W = (side // (2 * factor) * 2 for side in (26, 39))
    assert small.size == (H, W) and small.chroma == chroma and small.colour == Colour(bitdepth, "bt709", False)
    unit = 2.0 ** (bitdepth - 8)
    for plane, source, luma in [(small.y, planes.y, True), (small.u, planes.u, False), (small.v, planes.v, False)]:
        assert plane.dtype == source.dtype
        for row, column in itertools.product(range(plane.shape[0]), range(plane.shape[1])):
            square = source[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
            value = sum(int(code) for code in square.ravel()) / factor**2
            if full and luma:
                value = value / (256 * unit - 1) * 219 * unit + 16 * unit
            elif full:
                value = (value - 128 * unit) / (256 * unit - 1) * 224 * unit + 128 * unit
            assert abs(int(plane[row, column]) - value) <= 0.5 + 1e-6 * 2**bitdepth


def test_grey_gets_neutral_chroma():
    small = shrink(picture(16, 24, "400", 10, True), 2)
    assert small.chroma == "420" and small.u.shape == (4, 6) and (small.u == 512).all() and (small.v == 512).all()
    assert small.y.min() >= 64 and small.y.max() <= 940


def test_full_range_survives_as_the_same_picture():
    planes = picture(32, 32, "444", 10, True)
    # Half a step of each of the three codes, through the coefficients of Cb, is about 1.5 / 876.
    assert (shrink(planes, 1).to_rgb() - planes.to_rgb()).abs().max() < 3e-3


@pytest.mark.parametrize(("start", "expected"), [(None, 4), (0, 0), (7, 7), (9, 9)])
def test_frames_come_from_where_they_are_asked(tmp_path, start, expected):
    path = make(tmp_path / "a.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", frames=12)
    made = store_reference(Clip(path), Excerpt(4, start), tmp_path / "stored.mkv")
    frames = min(4, 12 - expected)
    assert (made.start, made.frames, made.downscale) == (expected, frames, 1)
    size = 128 * 96 * 3 // 2
    assert (
        raw_bytes(tmp_path / "stored.mkv", "yuv420p") == raw_bytes(path, "yuv420p")[expected * size :][: frames * size]
    )
    assert ("3 frames, all there are from its start on" in made.notes) == (frames == 3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.mkv", "stored.mkv"]
    assert Reference.of(made.facts()) == made


def test_a_short_clip_gives_all_it_has(tmp_path):
    path = make(tmp_path / "a.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", frames=2)
    assert store_reference(Clip(path), Excerpt(60), tmp_path / "stored.mkv").frames == 2


@pytest.mark.parametrize(
    ("pixels", "options", "notes"),
    [
        ("yuvj420p", ["-c:v", "libx264"], ["full range brought to limited range"]),
        ("gray", ["-c:v", "ffv1"], ["grey, stored with neutral chroma", "full range brought to limited range"]),
        ("rgb24", ["-c:v", "libx264rgb", "-qp", "0"], ["full range brought to limited range"]),
        ("yuv420p12le", ["-c:v", "ffv1"], []),
    ],
)
def test_uncommon_clips_are_stored_and_what_changed_is_said(tmp_path, pixels, options, notes):
    path = make(tmp_path / "a.mkv", *options, "-pix_fmt", pixels, frames=3)
    made = store_reference(Clip(path), Excerpt(3), tmp_path / "stored.mkv")
    info = probe(tmp_path / "stored.mkv")
    assert not info.colour.full_range and info.chroma == ("444" if pixels == "rgb24" else "420")
    assert info.colour.bitdepth == {"rgb24": 16, "yuv420p12le": 12}.get(pixels, 8)
    assert set(notes) == {note for note in made.notes if "downscaled" not in note}


def test_hdr_is_refused(tmp_path):
    tags = "setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=arib-std-b67"
    path = make(tmp_path / "a.mkv", "-vf", tags, "-c:v", "ffv1", "-pix_fmt", "yuv420p10le")
    with pytest.raises(DataError, match=r"HDR video \(HLG\)"):
        store_reference(Clip(path), Excerpt(3), tmp_path / "stored.mkv")
    assert [file.name for file in tmp_path.iterdir()] == ["a.mkv"]


def test_auto_keeps_what_vmaf_v1_needs(tmp_path):
    path = make(tmp_path / "a.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", size="540x516", frames=2)
    made = store_reference(Clip(path), Excerpt(2), tmp_path / "stored.mkv")
    assert (made.downscale, made.raw.width, made.raw.height) == (2, 270, 258)


def test_agreement_counts_what_a_slow_count_counts():
    rng = np.random.default_rng(0)
    ladders = [list(rng.integers(0, 6, size).astype(float)) for size in (1, 2, 5, 7)]
    steps = [(values[i], values[i + 1]) for values in ladders for i in range(len(values) - 1)]
    pairs = [
        (values[i], values[j]) for values in ladders for i in range(len(values)) for j in range(i + 1, len(values))
    ]
    found = agreement(ladders)
    assert (found.neighbours, found.pairs) == (len(steps), len(pairs)) == (11, 32)
    assert found.neighbours_right == len([1 for a, b in steps if a > b])
    assert found.pairs_right == len([1 for a, b in pairs if a > b])
    assert agreement([]).facts()["pairs_share"] is None
