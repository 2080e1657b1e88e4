"""The F-test against tables and scipy's distributions, Holm against definitions written out."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from compressvqa.errors import DataError
from compressvqa.metrics import f_test, f_test_matrix, f_test_table, holm
from compressvqa.metrics.significance import residuals


def metrics_of(noise_a, noise_b, n=60):
    generator = np.random.default_rng(3)
    mos = generator.uniform(1, 5, n)
    return mos + generator.normal(0, noise_a, n), mos + generator.normal(0, noise_b, n), mos


def test_f_test_sees_a_large_difference_and_not_a_small_one():
    a, b, mos = metrics_of(0.2, 0.9)
    assert f_test(a, b, mos) == 1
    assert f_test(b, a, mos) == -1
    a, b, mos = metrics_of(0.5, 0.52)
    assert f_test(a, b, mos) == f_test(b, a, mos) == 0
    assert f_test(a, a, mos) == 0


def test_f_test_limit_is_the_one_in_tables():
    """F(0.95; 10, 10) = 2.98 in every table: with 10 items and no fit the variances compare against it."""
    mos = np.arange(10.0)
    error = np.where(np.arange(10) % 2, 1.0, -1.0)
    assert f_test(mos + error, mos + error * math.sqrt(2.97), mos, fit="none") == 0
    assert f_test(mos + error, mos + error * math.sqrt(2.99), mos, fit="none") == 1


def test_f_test_has_errors_by_chance_as_often_as_alpha_says():
    generator = np.random.default_rng(1)
    found = 0
    for _ in range(400):
        mos = generator.uniform(1, 5, 30)
        a, b = (mos + generator.normal(0, 0.5, 30) for _ in range(2))
        found += f_test(a, b, mos, fit="none") == 1
    assert 0.03 < found / 400 < 0.08


def test_f_test_needs_items():
    with pytest.raises(DataError, match="too few items"):
        f_test([1, 2], [1, 2], [1, 2])


def test_a_perfect_metric_beats_any_other():
    mos = np.arange(8.0)
    assert f_test(mos, mos + np.array([0, 1, 0, -1, 0, 1, 0, -1]), mos, fit="none") == 1


def many(n=80):
    generator = np.random.default_rng(5)
    mos = generator.uniform(1, 5, n)
    noise = {"good": 0.2, "middle": 0.5, "bad": 1.2}
    scores = {name: mos + generator.normal(0, value, n) for name, value in noise.items()}
    return scores | {"falling": 10 - scores["good"]}, mos


def test_a_matrix_against_a_baseline_reads_as_table_1():
    scores, mos = many()
    found = f_test_matrix(scores, mos, "middle")
    assert found == {"good": 1, "middle": 0, "bad": -1, "falling": 1}
    with pytest.raises(DataError, match=r"no scores of the baseline 'best' \(try: good, middle"):
        f_test_matrix(scores, mos, "best")


def test_every_pair_is_tested_as_alone():
    scores, mos = many()
    table = f_test_table(scores, mos, fit="linear")
    for a, row in table.outcome.items():
        for b, outcome in row.items():
            assert outcome == f_test(scores[a], scores[b], mos, fit="linear") == -table.outcome[b][a]
    one, other = table.residuals["good"], table.residuals["middle"]
    expected = scipy.stats.f(other.freedom, one.freedom).sf(other.variance / one.variance)
    assert table.p_values["good"]["middle"] == table.p_values["middle"]["good"] == pytest.approx(expected)
    assert table.not_normal == ()


def test_p_values_are_bartletts_rule_of_scipy_turned_round():
    """Two-sided by scipy's F distribution: twice the smaller tail."""
    mos = np.linspace(1, 5, 12)
    generator = np.random.default_rng(2)
    a, b = generator.normal(0, 0.5, 12), generator.normal(0, 0.8, 12)
    table = f_test_table({"a": mos + a, "b": mos + b}, mos, fit="none")
    ratio = np.sum(a**2) / np.sum(b**2)
    tails = scipy.stats.f.cdf(ratio, 12, 12), scipy.stats.f.sf(ratio, 12, 12)
    assert table.p_values["a"]["b"] == pytest.approx(min(tails))


def test_a_correction_finds_less():
    generator = np.random.default_rng(8)
    mos = generator.uniform(1, 5, 40)
    scores = {f"m{k}": mos + generator.normal(0, 0.5, 40) for k in range(12)}
    plain, corrected = (f_test_table(scores, mos, fit="none", correction=name) for name in ("none", "holm"))
    count = lambda table: sum(abs(value) for row in table.outcome.values() for value in row.values())
    assert count(plain) > 0 == count(corrected)
    assert all(corrected.p_values[a][b] >= plain.p_values[a][b] for a in scores for b in scores)
    with pytest.raises(DataError, match="unknown correction 'bonferroni'"):
        f_test_table(scores, mos, correction="bonferroni")


def test_residuals_that_are_not_normal_are_named():
    generator = np.random.default_rng(4)
    mos = np.linspace(1, 5, 300)
    scores = {
        "normal": mos + generator.normal(0, 1, 300),
        "heavy": mos + generator.standard_t(2, 300),
        "two-sided": mos + np.where(np.arange(300) % 2, 0.5, -0.5),
    }
    table = f_test_table(scores, mos, fit="none")
    assert table.not_normal == ("heavy", "two-sided")
    error = scores["heavy"] - mos
    assert table.residuals["heavy"].kurtosis == pytest.approx(scipy.stats.kurtosis(error, fisher=False))


def test_degrees_of_freedom_are_those_of_the_mapping():
    x = np.arange(20.0)
    mos = np.tanh((x - 9) / 3) + np.random.default_rng(0).normal(0, 0.1, 20)
    assert [residuals(x, mos, fit).freedom for fit in ("none", "linear", "logistic4", "logistic5")] == [20, 18, 16, 15]


def test_two_perfect_metrics_do_not_differ():
    mos = np.linspace(1, 5, 30)
    assert f_test(mos * 1e3 + 7, -mos / 3, mos) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_as_its_author_describes_it(values):
    """Sorted, reject while p < alpha / (number left); one that is kept keeps all above it."""
    corrected = holm(values)
    for alpha in (0.01, 0.05, 0.2):
        order = sorted(range(len(values)), key=lambda k: values[k])
        rejected = set()
        for step, index in enumerate(order):
            if values[index] * (len(values) - step) >= alpha:
                break
            rejected.add(index)
        assert {index for index, value in enumerate(corrected) if value < alpha} == rejected


def test_holm_refuses_what_is_no_p_value():
    with pytest.raises(DataError, match="between 0 and 1"):
        holm([0.1, 1.2])
    assert math.isclose(holm([0.04])[0], 0.04)
