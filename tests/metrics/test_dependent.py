"""Tests of two correlations: published examples, formulas written out another way, and errors by chance."""

import math

import numpy as np
import pytest
import scipy.stats

from compressvqa.errors import DataError
from compressvqa.metrics import compare_correlations, correlation
from compressvqa.metrics.dependent import dependent_correlations


def test_the_example_of_meng_rosenthal_and_rubin():
    """Psychological Bulletin 111 (1992): N = 15, r = .63 and -.03, -.19 between: Z = 1.68, p = .0465 one-sided."""
    test = dependent_correlations(0.63, -0.03, -0.19, 15, "meng")
    assert round(test.statistic, 2) == 1.68 and round(test.p_value / 2, 4) == 0.0465


def test_what_r_prints_for_williams():
    """R's psych::r.test(n = 30, r12 = .5, r13 = .1, r23 = .7): t value 3.38."""
    assert round(dependent_correlations(0.5, 0.1, 0.7, 30, "williams").statistic, 2) == 3.38


def test_williams_on_the_cars_of_r():
    """psych on R's mtcars, horse power with mileage against horse power with transmission: what R prints."""
    test = dependent_correlations(-0.7761684, -0.2432043, 0.5998324, 32, "williams")
    assert test.statistic == pytest.approx(-5.563815, abs=1e-6)
    assert test.p_value == pytest.approx(5.301858e-06, rel=1e-5)


def test_steiger_by_the_covariance_of_correlations():
    """Steiger's equation 3 in full, at the mean correlation: nothing of the shortened form is used."""
    a, b, ab, n = 0.55, 0.35, 0.6, 80
    mean = (a + b) / 2
    covariance = ab * (1 - mean**2 - mean**2) - 0.5 * mean * mean * (1 - mean**2 - mean**2 - ab**2)
    share = covariance / ((1 - mean**2) * (1 - mean**2))
    z = (math.atanh(a) - math.atanh(b)) * math.sqrt(n - 3) / math.sqrt(2 - 2 * share)
    assert dependent_correlations(a, b, ab, n, "steiger").statistic == pytest.approx(z)


def test_the_three_agree_for_many_items():
    found = [dependent_correlations(0.82, 0.79, 0.8, 900, name).p_value for name in ("meng", "williams", "steiger")]
    assert max(found) - min(found) < 0.01


@pytest.mark.parametrize("method", ["meng", "williams", "steiger"])
@pytest.mark.parametrize("kind", ["plcc", "srocc"])
def test_errors_by_chance_as_often_as_alpha_says(method, kind):
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(400):
        quality, shared, *own = generator.normal(size=(4, 40))
        a, b = (quality + 0.7 * shared + 0.7 * value for value in own)
        found += compare_correlations(a, b, quality, kind=kind, method=method, fit="none").p_value < 0.05
    assert 0.02 < found / 400 < 0.09


def test_alike_metrics_are_told_apart_better_than_by_fishers_test():
    generator = np.random.default_rng(1)
    mos = generator.normal(size=120)
    a = mos + 0.6 * generator.normal(size=120)
    b = a + 0.35 * generator.normal(size=120)
    ra, rb = (scipy.stats.pearsonr(values, mos).statistic for values in (a, b))
    independent = 2 * scipy.stats.norm.sf(abs(math.atanh(ra) - math.atanh(rb)) / math.sqrt(2 / 117))
    test = compare_correlations(a, b, mos, kind="plcc", fit="none")
    assert test.difference == pytest.approx(ra - rb)
    assert test.p_value < 0.05 < independent


def test_correlations_are_those_of_the_table():
    generator = np.random.default_rng(2)
    mos = generator.normal(size=50)
    a, b = np.exp(mos + generator.normal(size=50)), mos + generator.normal(size=50)
    expected = correlation(a, mos).srocc - correlation(b, mos).srocc
    assert compare_correlations(a, b, mos).difference == pytest.approx(expected)
    fitted = correlation(a, mos).plcc - correlation(b, mos).plcc
    assert compare_correlations(a, b, mos, kind="plcc").difference == pytest.approx(fitted)
    back = compare_correlations(b, a, mos)
    assert back.statistic == pytest.approx(-compare_correlations(a, b, mos).statistic)


def test_a_metric_does_not_differ_from_itself():
    mos = np.arange(20.0)
    a = np.sin(mos)
    for method in ("meng", "williams", "steiger"):
        assert compare_correlations(a, 3 * a + 1, mos, method=method).p_value == 1
        better = compare_correlations(mos, a, mos, method=method)
        assert better.statistic > 3 and better.p_value < 0.01


def test_bad_input_is_named():
    for arguments, message in (
        ((0.5, 0.4, 0.3, 3), "four items at least, not 3"),
        ((0.9, -0.9, 0.9, 30), "can't occur together"),
        ((1.5, 0.4, 0.3, 30), "can't occur together"),
    ):
        with pytest.raises(DataError, match=message):
            dependent_correlations(*arguments)
    with pytest.raises(DataError, match="unknown method 'fisher'"):
        dependent_correlations(0.5, 0.4, 0.3, 30, "fisher")
    with pytest.raises(DataError, match="unknown correlation 'krocc'"):
        compare_correlations([1, 2, 3, 5], [1, 2, 3, 4], [1, 2, 3, 4], kind="krocc")
    with pytest.raises(DataError, match="constant"):
        compare_correlations([1, 1, 1, 1], [1, 2, 3, 4], [1, 2, 3, 4])
