"""A row of results: its keys, its signs, what is missing, and that each figure is the one of its own function."""

import json
import math

import numpy as np
import pytest

from compressvqa.errors import DataError
from compressvqa.metrics import analyse_pairs, correlation, intervals, judge

KEYS = {
    "n",
    "srocc",
    "srocc_low",
    "srocc_high",
    "plcc",
    "plcc_low",
    "plcc_high",
    "krocc",
    "krocc_low",
    "krocc_high",
    "rmse",
    "outlier_ratio",
    "fit",
    "fit_parameters",
    "logistic5",
    "different_similar_auc",
    "better_worse_auc",
    "better_worse_correct",
    "ladder_accuracy",
}
NUMBERS = [key for key in KEYS if key not in ("n", "fit", "fit_parameters", "logistic5")]


def study(n=40, seed=0):
    generator = np.random.default_rng(seed)
    mos = generator.uniform(1, 5, n)
    scores = 50 + 40 * np.tanh((mos - 3) / 2) + generator.normal(0, 6, n)
    return scores, mos, np.full(n, 0.6), np.full(n, 24)


def test_every_figure_is_that_of_its_own_function():
    scores, mos, std, ratings = study()
    contents = [k // 4 for k in range(40)]
    ladders = [(f"ladder {k // 4}", k % 4) for k in range(40)]
    row = judge(
        scores,
        mos,
        higher_is_better=(True, True),
        std=std,
        ratings=ratings,
        contents=contents,
        ladders=ladders,
        resamples=300,
        seed=4,
    )
    assert set(row) == KEYS
    found, wide = correlation(scores, mos, std=std), correlation(scores, mos, "logistic5", std=std)
    ranges = intervals(scores, mos, resamples=300, seed=4, contents=contents)
    pairs = analyse_pairs(scores, mos, std=std, ratings=ratings)
    for name in ("srocc", "plcc", "krocc"):
        assert row[name] == getattr(found, name)
        assert (row[f"{name}_low"], row[f"{name}_high"]) == (ranges[name].low, ranges[name].high)
    assert (row["rmse"], row["outlier_ratio"], row["fit"]) == (found.rmse, found.outlier_ratio, "logistic4")
    assert row["fit_parameters"] == list(found.parameters)
    assert row["logistic5"] == {
        "plcc": wide.plcc,
        "rmse": wide.rmse,
        "outlier_ratio": wide.outlier_ratio,
        "parameters": list(wide.parameters),
    }
    assert row["different_similar_auc"] == pairs.different_similar.value
    assert row["better_worse_auc"] == pairs.better_worse.value
    assert row["better_worse_correct"] == pairs.better_worse_correct
    assert row["ladder_accuracy"] == np.mean([scores[k] > scores[k + 1] for k in range(40) if k % 4 < 3])
    assert json.loads(json.dumps(row, allow_nan=False)) == row


@pytest.mark.parametrize("directions", [(False, True), (True, False), (False, False)])
def test_directions_change_no_figure(directions):
    scores, mos, std, ratings = study()
    ladders = [(f"ladder {k // 4}", k % 4) for k in range(40)]
    more = {"std": std, "ratings": ratings, "ladders": ladders, "resamples": 200}
    up = judge(scores, mos, higher_is_better=(True, True), **more)
    x, y = (values if rising else -values for values, rising in zip((scores, mos), directions, strict=True))
    turned = judge(x, y, higher_is_better=directions, **more)
    for key in NUMBERS:
        # An interval that is turned round has its percentiles counted from the other end.
        assert turned[key] == pytest.approx(up[key], abs=0.02 if key.endswith(("low", "high")) else 1e-6), key


def test_a_metric_that_disagrees_is_negative_also_after_the_mapping():
    scores, mos, std, ratings = study()
    row = judge(scores, mos, higher_is_better=(False, True), std=std, ratings=ratings, resamples=200)
    for name in ("srocc", "plcc", "krocc"):
        assert -1 <= row[f"{name}_low"] < row[name] < row[f"{name}_high"] < 0
    assert row["logistic5"]["plcc"] < 0 and row["better_worse_auc"] < 0.5


def test_a_proxy_has_a_gap_and_no_viewers():
    scores, mos, *_ = study()
    row = judge(scores, 20 * mos, higher_is_better=(True, True), gap=6, resamples=200)
    assert 0.5 < row["different_similar_auc"] < 1 and row["better_worse_auc"] > 0.9
    bare = judge(scores, 20 * mos, higher_is_better=(True, True), resamples=200)
    assert bare["different_similar_auc"] is bare["better_worse_auc"] is bare["better_worse_correct"] is None
    assert bare["ladder_accuracy"] is None


def test_a_column_with_a_gap_is_a_missing_column():
    scores, mos, std, ratings = study()
    gap = [None, *std[1:].tolist()]
    row = judge(scores, mos, higher_is_better=(True, True), std=gap, ratings=[None] * 40, resamples=0)
    assert row == judge(scores, mos, higher_is_better=(True, True), resamples=0)
    assert row["srocc_low"] is None and row["better_worse_auc"] is None
    ci = 1.96 * std / np.sqrt(ratings)
    by_interval = judge(scores, mos, higher_is_better=(True, True), std=gap, ci=ci, resamples=0)
    assert by_interval["outlier_ratio"] == correlation(scores, mos, ci=ci).outlier_ratio > row["outlier_ratio"]
    assert by_interval["better_worse_auc"] is not None


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5])
def test_few_items(n):
    scores, mos = [3.0, 1.0, 2.0, 5.0, 4.0][:n], [30.0, 12.0, 18.0, 51.0, 40.0][:n]
    row = judge(scores, mos, higher_is_better=(True, True), ladders=[("a", 4 - k) for k in range(n)], gap=6)
    assert set(row) == KEYS and row["n"] == n
    json.dumps(row, allow_nan=False)
    assert (row["srocc"] is None) == (n < 2)
    assert row["fit"] == {0: None, 1: None, 5: "logistic4"}.get(n, "linear")


@pytest.mark.parametrize(("x", "y"), [([2.0] * 6, range(6)), (range(6), [2.0] * 6), ([1.0] * 6, [1.0] * 6)])
def test_constants_have_no_correlation(x, y):
    row = judge(x, y, higher_is_better=(True, True), gap=1, resamples=200)
    assert [row[key] for key in ("srocc", "plcc", "krocc", "srocc_low", "plcc_high")] == [None] * 5
    assert math.isfinite(row["rmse"])
    json.dumps(row, allow_nan=False)


def test_bad_input_is_named():
    with pytest.raises(DataError, match=r"1 of 3 scores are NaN or infinite, the first at position 2"):
        judge([1, 2, float("nan")], [1, 2, 3], higher_is_better=(True, True))
    with pytest.raises(DataError, match="human scores are NaN"):
        judge([1.0], [float("inf")], higher_is_better=(True, True))
    with pytest.raises(DataError, match="2 scores for 3 human scores"):
        judge([1, 2], [1, 2, 3], higher_is_better=(True, True))
    with pytest.raises(DataError, match="1 standard deviations for 2 scores"):
        judge([1, 2], [1, 2], higher_is_better=(True, True), std=[1.0])
