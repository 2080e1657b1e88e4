"""The scale of readable scores: it rises everywhere, is smooth, follows its labels, and comes back from JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressvqa.errors import DataError
from compressvqa.metrics.score_scale import ScoreScale, fit_scale


def made_up(count: int = 600, *, seed: int = 0, noise: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Raw scores that follow labels by a curve that is none of ours, with noise."""
    chance = np.random.default_rng(seed)
    labels = chance.uniform(2, 100, count)
    return 3 * np.arctan((labels - 60) / 25) - 7 + noise * chance.normal(size=count), labels


knots = st.lists(st.tuples(st.floats(0.01, 5), st.floats(0.01, 3)), min_size=1, max_size=7)


@settings(max_examples=60)
@given(knots, st.floats(-50, 50), st.booleans())
def test_it_rises_or_falls_everywhere_and_has_no_corner(steps, start, falls):
    raw = start + np.concatenate([[0], np.cumsum([step for step, _ in steps])])
    odds = -4 + np.concatenate([[0], np.cumsum([height for _, height in steps])])
    readable = 100 / (1 + np.exp(odds if falls else -odds))
    scale = ScoreScale(tuple(raw), tuple(readable))
    assert scale.map(raw) == pytest.approx(readable, abs=1e-9)
    width = raw[-1] - raw[0]
    found = scale.map(np.linspace(raw[0] - 0.3 * width, raw[-1] + 0.3 * width, 4001))
    found = found[(found > 1e-6) & (found < 100 - 1e-6)]  # beyond, digits end
    assert (np.diff(found) < 0).all() if falls else (np.diff(found) > 0).all()
    for knot in raw:  # the slope is the same on both sides
        step = 1e-5 * np.diff(raw).min()
        left, right = scale(knot) - scale(knot - step), scale(knot + step) - scale(knot)
        assert left == pytest.approx(right, rel=0.02, abs=1e-9)


def test_a_fit_is_near_the_best_that_rises():
    from sklearn.isotonic import IsotonicRegression

    raw, labels = made_up()
    scale = fit_scale(raw, labels)
    best = IsotonicRegression().fit_transform(raw, labels)  # knows these labels by heart, and is no curve
    errors = [np.sqrt(np.mean((found - labels) ** 2)) for found in (scale.map(raw), best)]
    assert errors[0] < 1.12 * errors[1]
    other, truth = made_up(seed=1)
    by_heart = IsotonicRegression(out_of_bounds="clip").fit(raw, labels).predict(other)
    assert np.mean((scale.map(other) - truth) ** 2) < np.mean((by_heart - truth) ** 2)
    assert len(scale.raw) <= 6


def test_units_of_raw_scores_do_not_matter():
    raw, labels = made_up(100)
    one, other = fit_scale(raw, labels), fit_scale(1000 * raw + 5, labels)
    assert other.map(1000 * raw + 5) == pytest.approx(one.map(raw), abs=0.05)


def test_identical_pairs_draw_the_top_up():
    raw, labels = made_up()
    same = np.full(20, raw.max() + 0.2)
    without, drawn = fit_scale(raw, labels), fit_scale(raw, labels, identical=list(same))
    assert drawn(same[0]) > without(same[0]) and 90 < drawn(same[0]) < 100
    assert abs(drawn(-7.0) - without(-7.0)) < 3, "the rest of the scale hardly moves"


@pytest.mark.parametrize("count", [10, 25, 60])
def test_few_labels_make_a_scale_of_few_knots(count):
    raw, labels = made_up(count)
    scale = fit_scale(raw, labels)
    assert 2 <= len(scale.raw) <= max(2, count // 20)
    assert np.sqrt(np.mean((scale.map(raw) - labels) ** 2)) < 0.7 * labels.std()


def test_other_spans():
    raw, labels = made_up(200)
    scale = fit_scale(raw, labels, fitted_to="VMAF")
    assert fit_scale(raw, 1 + labels / 25, span=(1, 5)).map(raw) == pytest.approx(scale.map(raw), abs=1e-3)


@pytest.mark.parametrize(
    ("raw", "labels"),
    [([1, 2, 3], [1, 2, 3]), (list(range(20)), list(range(20, 0, -1))), ([1] * 20, list(range(20)))],
)
def test_what_makes_no_scale(raw, labels):
    with pytest.raises(DataError, match="no scale"):
        fit_scale(raw, labels)


def test_through_json_and_damaged():
    scale = fit_scale(*made_up(100), fitted_to="VMAF 0.6.1 of 100 patches")
    assert ScoreScale.from_dict(json.loads(json.dumps(scale.to_dict()))) == scale
    for damaged in ({}, {"raw": [1, 2]}, {"raw": [2, 1], "readable": [1, 2]}, {"raw": [1], "readable": [1]},
                    {"raw": [1, 2], "readable": [0, 50]}, {"raw": ["x", 2], "readable": [1, 2]}, None, 5):  # fmt: skip
        with pytest.raises(DataError):
            ScoreScale.from_dict(damaged)
