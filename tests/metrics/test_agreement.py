"""Agreement with a teacher's scores: against counting loops and numpy, and what it must and must not be blind to."""

import math

import numpy as np
import pytest

from compressvqa.errors import DataError
from compressvqa.metrics import agreement


def mean_ranks(values):
    """Ranks by counting: how many are smaller, and half of those that tie."""
    return [sum(b < a for b in values) + (sum(b == a for b in values) + 1) / 2 for a in values]


@pytest.mark.parametrize("seed", range(3))
def test_the_figures_are_those_of_a_naive_count(seed):
    chance = np.random.default_rng(seed)
    teacher = chance.normal(50, 30, 40).round(-1)  # rounded: many ties
    scores = (teacher + chance.normal(0, 15, 40)).round()
    found = agreement(scores, teacher)
    assert found.srocc == pytest.approx(np.corrcoef(mean_ranks(scores), mean_ranks(teacher))[0, 1], abs=1e-12)
    assert found.plcc == pytest.approx(np.corrcoef(scores, teacher)[0, 1], abs=1e-12)
    assert found.mae == pytest.approx(sum(abs(a - b) for a, b in zip(scores, teacher, strict=True)) / 40, abs=1e-12)
    assert found.n == 40


def test_nothing_is_fitted():
    teacher = np.linspace(1, 3, 20)
    scaled, bent = agreement(10 * teacher + 5, teacher), agreement(teacher**7, teacher)
    assert (scaled.srocc, scaled.plcc, scaled.mae) == pytest.approx((1, 1, 9 * 2 + 5))
    assert bent.srocc == pytest.approx(1) and bent.plcc < 0.95, "a curve would have been straightened by a fit"
    assert agreement(-teacher, teacher).srocc == pytest.approx(-1), "no sign is turned"


def test_a_constant_agrees_with_nothing():
    found = agreement([2.0, 2.0, 2.0], [1.0, 2.0, 3.0])
    assert math.isnan(found.srocc) and math.isnan(found.plcc) and found.mae == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("scores", "teacher", "said"),
    [
        ([1.0, 2.0], [1.0, 2.0, 3.0], "2 scores for 3 of the teacher"),
        ([1.0], [1.0], "two items at least, not 1"),
        ([1.0, 2.0], [1.0, float("nan")], "1 of 2 scores of the teacher are NaN or infinite, the first at position 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(scores, teacher, said):
    with pytest.raises(DataError, match=said):
        agreement(scores, teacher)
