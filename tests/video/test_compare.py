from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from compressvqa.errors import DataError
from compressvqa.video import Pairing, VideoInfo, inspect_pair, refuse
from compressvqa.video.frames import Colour

INFO = VideoInfo(Path("a.mp4"), "h264", 1280, 720, "420", Colour(8, "bt709"), Fraction(25), 100, "sdr", False)


def test_equal_videos_do_not_differ():
    assert inspect_pair(INFO, replace(INFO, path=Path("b.mp4"), codec="av1")) == []


@pytest.mark.parametrize(
    ("change", "what", "refused"),
    [
        ({"width": 1920, "height": 1080}, "frame size", False),
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
    assert inspect_pair(INFO, replace(INFO, frames=99), Pairing(frames=50)) == []
    assert inspect_pair(INFO, replace(INFO, frames=99), Pairing(frames=100)) != []


def test_rates_written_in_two_ways_are_one():
    film = replace(INFO, frame_rate=Fraction(24000, 1001))
    assert inspect_pair(film, replace(INFO, frame_rate=Fraction(2997, 125))) == []


def test_another_size_is_scaled_and_said_or_refused():
    small = replace(INFO, width=640, height=360)
    (found,) = inspect_pair(INFO, small)
    assert not found.refused and "scaled to the reference's size" in found.hint
    (found,) = inspect_pair(INFO, small, Pairing(size="refuse"))
    assert found.refused


@pytest.mark.parametrize(
    ("rate", "frames", "pairing", "refused", "words"),
    [
        (50, 200, Pairing(), [False], "held"),  # as long, twice the frames: on the clock
        (50, 100, Pairing(), [False], "by number"),  # as many frames: the rate is a wrong note
        (50, 150, Pairing(), [False, True], "by number"),  # neither
        (50, 150, Pairing(length="trim"), [False, False], "by number"),
        (50, 200, Pairing(rate="number"), [False, True], "by number"),
        (50, 199, Pairing(), [False], "held"),  # half a reference frame short is rounding
        (50, 200, Pairing(rate="refuse"), [True, True], "one frame rate"),
        (Fraction(25, 2), 50, Pairing(), [False], "held"),
    ],
)
def test_other_frame_rates(rate, frames, pairing, refused, words):
    found = inspect_pair(INFO, replace(INFO, frame_rate=Fraction(rate), frames=frames), pairing)
    assert [difference.refused for difference in found] == refused
    assert found[0].what == "frame rate" and words in found[0].hint


def test_a_longer_file_is_cut_where_that_is_asked_for():
    (found,) = inspect_pair(INFO, replace(INFO, frames=99), Pairing(length="trim"))
    assert (found.what, found.refused, found.hint) == ("frame count", False, "cut to the shorter one")
