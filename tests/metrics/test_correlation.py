"""Correlations against definitions written out, fits against curves that are known, and bad input."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressvqa.errors import DataError
from compressvqa.metrics import correlation


def ranks(values):
    """Mean rank of ties, by counting."""
    return [sum(b < a for b in values) + (sum(b == a for b in values) + 1) / 2 for a in values]


def pearson(x, y):
    mx, my = sum(x) / len(x), sum(y) / len(y)
    top = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    return top / math.sqrt(sum((a - mx) ** 2 for a in x) * sum((b - my) ** 2 for b in y))


def kendall_b(x, y):
    """Concordant minus discordant pairs over the geometric mean of the pairs not tied in x and in y."""
    pairs = [(i, j) for i in range(len(x)) for j in range(i)]
    sign = lambda d: (d > 0) - (d < 0)
    s = [(sign(x[i] - x[j]), sign(y[i] - y[j])) for i, j in pairs]
    return sum(a * b for a, b in s) / math.sqrt(sum(a != 0 for a, _ in s) * sum(b != 0 for _, b in s))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=25))
def test_rank_correlations_with_ties(pairs):
    x, y = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    found = correlation(x, y, "none")
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(found.srocc) and math.isnan(found.krocc) and math.isnan(found.plcc)
        return
    assert found.srocc == pytest.approx(pearson(ranks(x), ranks(y)), abs=1e-12)
    assert found.krocc == pytest.approx(kendall_b(x, y), abs=1e-12)
    assert found.plcc == pytest.approx(pearson(x, y), abs=1e-9)
    assert found.rmse == pytest.approx(math.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / len(x)))


def logistic(x, high, low, middle, width):
    return (high - low) / (1 + np.exp((middle - x) / abs(width))) + low


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5])
@pytest.mark.parametrize(("high", "low"), [(5.0, 1.0), (1.0, 90.0)])  # the second falls, as a distance does
def test_a_logistic_curve_is_found_again(scale, high, low):
    x = np.linspace(-3, 5, 40) * scale
    y = logistic(x, high, low, 1.2 * scale, 0.7 * scale)
    found = correlation(x, y)
    assert found.fit == "logistic4"
    assert found.rmse < 1e-6 * abs(high - low)
    assert found.plcc > 1 - 1e-9
    assert found.srocc == (1.0 if high > low else -1.0)


def test_a_fit_is_at_least_as_good_as_the_true_curve_under_noise():
    generator = np.random.default_rng(0)
    for _ in range(5):
        x = generator.uniform(20, 100, 60)
        clean = logistic(x, 4.6, 1.3, 65, 9)
        y = clean + generator.normal(0, 0.3, 60)
        found = correlation(x, y)
        assert found.rmse <= np.sqrt(np.mean((clean - y) ** 2)) + 1e-9
        order = np.argsort(x)
        assert (np.diff(found.fitted[order]) >= -1e-9).all()  # monotone, so ranks stay


def test_a_step_and_a_line_can_be_fitted():
    x = np.arange(12.0)
    assert correlation(x, (x > 5).astype(float)).rmse < 1e-6
    assert correlation(x, 3 * x + 1).plcc > 0.999


def test_what_happens_when_no_logistic_curve_can_be_fitted():
    few = correlation([1.0, 2.0, 4.0], [1.0, 2.0, 4.5])
    assert few.fit == "linear"
    assert few.plcc == pytest.approx(pearson([1, 2, 4], [1, 2, 4.5]))


def test_outliers_by_the_viewers_spread_and_by_the_errors():
    scores, mos = np.arange(10.0), np.arange(10.0)
    mos[3] += 2.5
    mos[7] -= 0.5
    assert correlation(scores, mos, "none", std=np.full(10, 1.0)).outlier_ratio == 0.1
    assert correlation(scores, mos, "none", std=np.full(10, 0.2)).outlier_ratio == 0.2
    error = scores - mos
    assert correlation(scores, mos, "none").outlier_ratio == np.mean(np.abs(error) > 2 * error.std()) == 0.1


def test_outliers_by_the_confidence_interval():
    """ITU-T P.1401: above the interval itself, not above twice of it."""
    scores, mos = np.arange(10.0), np.arange(10.0)
    mos[3] += 0.6
    mos[7] -= 0.4
    assert correlation(scores, mos, "none", ci=np.full(10, 0.5)).outlier_ratio == 0.1
    assert correlation(scores, mos, "none", ci=np.full(10, 0.3)).outlier_ratio == 0.2
    assert correlation(scores, mos, "none", ci=[0.5] * 7 + [0.3] * 3).outlier_ratio == 0.2
    with pytest.raises(DataError, match="one limit, not two"):
        correlation(scores, mos, std=np.ones(10), ci=np.ones(10))
    with pytest.raises(DataError, match=r"position 2: confidence intervals can't be negative"):
        correlation(scores, mos, ci=[1, 1, -1, 1, 1, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("fit", ["logistic4", "logistic5", "linear", "none"])
@pytest.mark.parametrize(("x", "y"), [([2.0] * 6, range(6)), (range(6), [2.0] * 6), ([0.1] * 6, [0.1] * 6)])
def test_constants_give_nan_and_no_warning(x, y, fit):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = correlation(x, y, fit)
    assert math.isnan(found.srocc) and math.isnan(found.krocc) and math.isnan(found.plcc)
    assert math.isfinite(found.rmse)


def test_tensors_arrays_and_lists_are_alike():
    x, y = [1.0, 3.0, 2.0, 5.0, 4.0, 6.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    for other in (np.array(x), torch.tensor(x, requires_grad=True), tuple(x)):
        found = correlation(other, y)
        assert found.srocc == correlation(x, y).srocc
        assert len(found.to_dict()["fitted"]) == 6


def test_bad_input_is_named():
    with pytest.raises(DataError, match=r"1 of 3 scores are NaN or infinite, the first at position 1"):
        correlation([1.0, float("nan"), 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="human scores are NaN"):
        correlation([1.0, 2.0], [1.0, float("inf")])
    with pytest.raises(DataError, match="2 scores for 3 human scores"):
        correlation([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="two items at least, not 1"):
        correlation([1.0], [1.0])
    with pytest.raises(DataError, match=r"unknown fit 'cubic' \(try: logistic4"):
        correlation([1.0, 2.0], [1.0, 2.0], "cubic")
    with pytest.raises(DataError, match="3 standard deviations for 2 scores"):
        correlation([1.0, 2.0], [1.0, 2.0], std=[1, 1, 1])
