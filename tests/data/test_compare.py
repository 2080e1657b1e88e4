from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from compressvqa.data import RawFormat, VideoInfo, inspect_pair, paired_blocks, probe, read_clip, refuse
from compressvqa.data.frames import Colour
from compressvqa.errors import DataError

from .clips import make

INFO = VideoInfo(Path("a.mp4"), "h264", 1280, 720, "420", Colour(8, "bt709"), Fraction(25), 100, "sdr", False)
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "40")


def test_equal_videos_do_not_differ():
    assert inspect_pair(INFO, replace(INFO, path=Path("b.mp4"), codec="av1")) == []


@pytest.mark.parametrize(
    ("change", "what", "refused"),
    [
        ({"width": 1920, "height": 1080}, "frame size", True),
        ({"frames": 99}, "frame count", True),
        ({"rotation": 90}, "rotation", True),
        ({"transfer": "pq"}, "transfer", True),
        ({"frame_rate": Fraction(50)}, "frame rate", False),
        ({"variable_rate": True}, "variable frame rate", False),
        ({"colour": Colour(10, "bt709")}, "bit depth", False),
        ({"colour": Colour(8, "bt709", True)}, "range", False),
        ({"colour": Colour(8, "bt601")}, "matrix", False),
        ({"chroma": "444"}, "chroma", False),
    ],
)
def test_each_difference_is_named(change, what, refused):
    found = inspect_pair(INFO, replace(INFO, **change))
    assert [(difference.what, difference.refused) for difference in found] == [(what, refused)]
    if refused:
        with pytest.raises(DataError, match=rf"a\.mp4, b\.mp4: can't be compared: {what}"):
            refuse(found, "a.mp4", "b.mp4")
    else:
        refuse(found, "a.mp4", "b.mp4")


def test_hdr_on_both_sides_is_refused_too():
    hdr = replace(INFO, transfer="hlg")
    assert [difference.refused for difference in inspect_pair(hdr, hdr)] == [True]


def test_too_small_a_frame_is_refused():
    small = replace(INFO, width=64, height=64)
    with pytest.raises(DataError, match=r"64x64.*need 96 pixels"):
        refuse(inspect_pair(small, small), "a", "b")


def test_a_number_of_frames_that_both_have_makes_lengths_equal():
    assert inspect_pair(INFO, replace(INFO, frames=99), frames=50) == []
    assert inspect_pair(INFO, replace(INFO, frames=99), frames=100) != []


def test_rates_written_in_two_ways_are_one():
    film = replace(INFO, frame_rate=Fraction(24000, 1001))
    assert inspect_pair(film, replace(INFO, frame_rate=Fraction(2997, 125))) == []


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    reference = make(folder / "reference.y4m", size="128x96", frames=30)
    distorted = make(folder / "distorted.mp4", *X264, "-pix_fmt", "yuv420p", size="128x96", frames=30)
    return reference, distorted


def test_blocks_are_the_frames_of_both_files(pair):
    blocks = list(paired_blocks(*pair))
    assert [tuple(reference.shape) for reference, _ in blocks] == [(1, 12, 3, 96, 128)] * 2 + [(1, 6, 3, 96, 128)]
    for side, path in enumerate(pair):
        joined = torch.cat([block[side] for block in blocks], dim=1)[0]
        assert torch.equal(joined, read_clip(path, frames=30))


def test_subsampling_leaves_out_whole_blocks(pair):
    every, second = list(paired_blocks(*pair)), list(paired_blocks(*pair, subsample=2))
    assert len(second) == 2
    assert torch.equal(second[1][0], every[2][0]) and torch.equal(second[1][1], every[2][1])


def test_frames_and_skips(pair):
    (reference, distorted), *rest = paired_blocks(*pair, frames=12, skip_reference=3, skip_distorted=5)
    assert not rest
    assert torch.equal(reference[0], read_clip(pair[0], start=3)) and torch.equal(
        distorted[0], read_clip(pair[1], start=5)
    )


def test_a_video_that_ends_early_is_refused(pair, tmp_path):
    short = make(tmp_path / "short.y4m", size="128x96", frames=20)
    with pytest.raises(DataError, match=r"short\.y4m: ends after 20 frames"):
        list(paired_blocks(pair[0], short))
    assert sum(block[0].shape[1] for block in paired_blocks(pair[0], short, frames=20)) == 20
    with pytest.raises(DataError, match=r"has 30 frames, 40 were asked for"):
        list(paired_blocks(*pair, frames=40))


def test_other_sizes_are_refused(pair, tmp_path):
    other = make(tmp_path / "other.y4m", size="96x96", frames=30)
    with pytest.raises(DataError, match=r"frames of 128x96 can't be compared with frames of 96x96"):
        list(paired_blocks(pair[0], other))


@pytest.mark.parametrize("bad", [{"block": 0}, {"subsample": 0}, {"frames": 0}, {"skip_reference": -1}])
def test_impossible_numbers_are_refused(pair, bad):
    with pytest.raises(DataError, match=r"positive whole numbers"):
        next(paired_blocks(*pair, **bad))


def test_skipping_everything_is_refused(pair):
    with pytest.raises(DataError, match=r"no frame is left"):
        list(paired_blocks(*pair, skip_reference=30, skip_distorted=30))


def test_raw_files_of_two_formats(pair, tmp_path):
    eight = make(tmp_path / "a.yuv", "-f", "rawvideo", "-pix_fmt", "yuv420p", size="128x96", frames=4)
    ten = make(tmp_path / "b.yuv", "-f", "rawvideo", "-pix_fmt", "yuv420p10le", size="128x96", frames=4)
    raw = (RawFormat(128, 96), RawFormat(128, 96, bitdepth=10))
    ((reference, distorted),) = paired_blocks(eight, ten, raw=raw[0], raw_distorted=raw[1])
    assert (reference - distorted).abs().mean() < 1 / 255
    assert inspect_pair(probe(eight, raw=raw[0]), probe(ten, raw=raw[1]))[0].what == "bit depth"
