"""One number out of the scores of frames: against numpy and by hand, for a file and for each second of it."""

from fractions import Fraction

import numpy as np
import pytest

from compressvqa.errors import DataError
from compressvqa.scoring import Course, Segment, parse_pools, pool, pool_by
from compressvqa.scoring.pooling import Length, parts, pooled_score


def test_names_as_users_write_them():
    assert parse_pools(["P5,mean", "harmonic_mean", "p99.90", "average"]) == ("p5", "mean", "harmonic_mean", "p99.9")
    for wrong in ("p101", "p-1", "5", "p", "", "geometric", "p5,,mean"):
        with pytest.raises(DataError, match="no pooling"):
            parse_pools([wrong])


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_percentiles_are_numpys(count):
    scores = np.random.default_rng(count).normal(40, 20, count)
    for percent in (0, 0.5, 1, 5, 25, 50, 95, 99.9, 100):
        assert pool_by(f"p{percent:g}", list(scores)) == np.percentile(scores, percent)
    assert pool_by("median", list(scores)) == np.median(scores)
    assert (pool_by("p0", list(scores)), pool_by("p100", list(scores))) == (scores.min(), scores.max())


def test_percentiles_by_hand():
    """Of 21 scores 0, 1, ..., 20 the 5th percentile is the second lowest."""
    assert pool_by("p5", [float(n) for n in range(20, -1, -1)]) == 1
    assert pool_by("p2.5", [float(n) for n in range(21)]) == 0.5


def test_harmonic_means_are_of_positive_scores_only():
    assert pool_by("harmonic_mean", [1.0, 3.0]) == pytest.approx(2 / (1 / 2 + 1 / 4) - 1)
    for scores in ([0.0, 50.0], [-0.5, 50.0], [-52.2, -40.0], [-3.0, -1.0]):
        assert pool_by("harmonic_mean", scores) is None
        assert pool(scores)["harmonic_mean"] is None


def test_no_frames_pool_to_nothing():
    assert set(pool([], ["p5"]).values()) == {None}
    with pytest.raises(DataError, match="one number a file"):
        pooled_score(Course(3.0, (), {}), "p5", metric="mine", where="a.mp4")
    assert pooled_score(Course(3.0, (), {}), None, metric="mine", where="a.mp4") == 3
    with pytest.raises(DataError, match="positive scores only"):
        pooled_score(Course(1.0, (Segment(0, 0, -1.0),), {}), "harmonic_mean", metric="mine", where="a.mp4")


def frames(count: int, length: int = 1) -> list[Segment]:
    return [Segment(n * length, (n + 1) * length - 1, float(n)) for n in range(count)]


def test_seconds_hold_the_frames_that_begin_in_them():
    """30000/1001 frames a second: frame 30 begins after 1.001 s, frame 29 after .968 s."""
    found = parts(frames(61), Length.parse("second"), Fraction(30000, 1001))
    assert [(part.first_frame, part.last_frame) for part in found] == [(0, 29), (30, 59), (60, 60)]
    half = parts(frames(25), Length.parse("0.5s"), Fraction(25))
    assert [part.last_frame for part in half] == [12, 24]  # frame 12 begins after .48 s
    slow = parts(frames(3), Length.parse("second"), Fraction(1, 2))
    assert [part.scores for part in slow] == [(0.0,), (1.0,), (2.0,)]


def test_parts_of_so_many_frames_and_of_blocks():
    found = parts(frames(10), Length.parse("4"), None)
    assert [(part.first_frame, part.last_frame, len(part.scores)) for part in found] == [
        (0, 3, 4),
        (4, 7, 4),
        (8, 9, 2),
    ]
    # A network's block of 12 frames belongs to the second in which it begins.
    blocks = parts(frames(5, 12), Length.parse("second"), Fraction(25))
    assert [(part.first_frame, part.last_frame) for part in blocks] == [(0, 35), (36, 59)]


def test_lengths_that_are_none():
    for wrong in ("0", "0s", "minute", "-1", "1.5", ""):
        with pytest.raises(DataError, match="no length"):
            Length.parse(wrong)
    with pytest.raises(DataError, match="frame rate is not known"):
        parts(frames(3), Length.parse("second"), None)
