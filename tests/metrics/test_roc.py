"""Areas against scikit-learn, DeLong's covariance against all pairs one by one and a published example."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from compressvqa.errors import DataError
from compressvqa.metrics.roc import delong, hanley_mcneil_error, roc

whole = st.lists(st.integers(0, 5), min_size=1, max_size=15)


@given(whole, whole)
def test_areas_are_those_of_scikit_learn(above, below):
    expected = roc_auc_score([1] * len(above) + [0] * len(below), above + below)
    assert roc(above, below).area == pytest.approx(expected)


def naive_delong(positive, negative):
    """Biometrics 44 (1988), equations 3 to 6, without sorting."""
    k, m, n = len(positive), len(positive[0]), len(negative[0])
    above = np.zeros((k, m, n))
    for r in range(k):
        for i in range(m):
            for j in range(n):
                x, y = positive[r][i], negative[r][j]
                above[r, i, j] = 1 if x > y else 0.5 if x == y else 0
    areas = above.mean(axis=(1, 2))
    s10, s01 = np.cov(above.mean(axis=2)), np.cov(above.mean(axis=1))
    return areas, s10 / m + s01 / n


@pytest.mark.parametrize("seed", range(3))
def test_covariance_is_that_of_all_pairs(seed):
    generator = np.random.default_rng(seed)
    positive, negative = generator.integers(2, 9, (3, 12)), generator.integers(0, 7, (3, 17))
    areas, covariance = delong(positive, negative)
    naive_areas, naive_covariance = naive_delong(positive, negative)
    assert areas == pytest.approx(naive_areas)
    assert covariance == pytest.approx(naive_covariance)
    assert roc(positive[0], negative[0]).standard_error == pytest.approx(np.sqrt(covariance[0, 0]))


OVARIAN = """3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1
3.8 5.7 5 1 3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0
2.3 4.4 6 1 4.2 7.6 4 0 4.0 6.6 6 0 3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1
3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1 4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0
3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1 2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1
3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1"""


def test_the_example_of_delong():
    """Ovarian cancer patients of the 1988 paper, as the manual of SAS (LOGISTIC, comparing ROC curves) works them out:
    albumin, total protein and K-G score, then the first two against the third.
    """
    rows = np.array(OVARIAN.split(), float).reshape(-1, 4)
    rows[:, 2] = 10 - rows[:, 2]
    areas, covariance = delong(rows[rows[:, 3] == 1, :3].T, rows[rows[:, 3] == 0, :3].T)
    assert areas.round(4).tolist() == [0.7366, 0.6478, 0.7258]
    assert np.sqrt(np.diag(covariance)).round(4).tolist() == [0.0927, 0.1000, 0.1028]
    errors = [np.sqrt(covariance[k, k] + covariance[2, 2] - 2 * covariance[k, 2]) for k in (0, 1)]
    assert np.round(errors, 4).tolist() == [0.0953, 0.1046]


def test_hanley_and_mcneil_are_right_for_scores_that_fall_off_exponentially():
    generator = np.random.default_rng(0)
    areas = [roc(generator.exponential(4, 30), generator.exponential(1, 40)).area for _ in range(3000)]
    assert np.mean(areas) == pytest.approx(0.8, abs=0.005)
    assert hanley_mcneil_error(0.8, 30, 40) == pytest.approx(np.std(areas), rel=0.05)


def test_delongs_error_is_the_spread_of_areas():
    generator = np.random.default_rng(1)
    curves = [roc(generator.normal(1, 1, 40), generator.normal(0, 2, 60)) for _ in range(1500)]
    spread = np.std([curve.area for curve in curves])
    assert np.mean([curve.standard_error for curve in curves]) == pytest.approx(spread, rel=0.08)


def test_one_example_has_an_area_and_no_error():
    curve = roc([2.0], [1.0, 3.0])
    assert curve.area == 0.5 and np.isnan(curve.standard_error)
    with pytest.raises(DataError, match="0 positive and 2 negative"):
        roc([], [1, 2])
