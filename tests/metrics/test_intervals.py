"""Bootstrap intervals against scipy's bootstrap on the same resamples, against Fisher's closed form, by coverage."""

import math

import numpy as np
import pytest
import scipy.stats

from compressvqa.errors import DataError
from compressvqa.metrics import correlation, fit_scores, intervals

STATISTICS = {
    "srocc": lambda x, y: scipy.stats.spearmanr(x, y).statistic,
    "plcc": lambda x, y: scipy.stats.pearsonr(x, y).statistic,
    "krocc": lambda x, y: scipy.stats.kendalltau(x, y).statistic,
    "rmse": lambda x, y: np.sqrt(np.mean((x - y) ** 2)),
}


def related(n, rho, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=n)
    return x, rho * x + math.sqrt(1 - rho**2) * generator.normal(size=n)


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize("name", list(STATISTICS))
def test_ends_are_those_of_scipy_on_the_same_resamples(name, method):
    x, y = related(30, 0.7)
    x, y = np.round(x, 1), np.round(y, 1)  # with ties
    found = intervals(x, y, "none", resamples=300, seed=7, method=method, only=[name])[name]
    expected = scipy.stats.bootstrap(
        (x, y),
        STATISTICS[name],
        paired=True,
        vectorized=False,
        n_resamples=300,
        method="BCa" if method == "bca" else "percentile",
        random_state=np.random.default_rng(7),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.method == method


def test_plcc_is_of_the_fitted_scores_with_the_mapping_kept():
    x, y = related(40, 0.8)
    y = np.tanh(2 * y)
    found = intervals(x, y, resamples=500, only=["plcc", "rmse"])
    kept = intervals(fit_scores(x, y).fitted, y, "none", resamples=500, only=["plcc", "rmse"])
    for name, interval in found.items():
        assert (interval.low, interval.high) == pytest.approx((kept[name].low, kept[name].high))
        assert interval.low < getattr(correlation(x, y), name) < interval.high


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_normal_data_have_about_fishers_interval(rho):
    """tanh(atanh(r) -+ 1.96 / sqrt(n - 3)): closed, and nothing of ours in it."""
    x, y = related(400, rho, seed=1)
    r = scipy.stats.pearsonr(x, y).statistic
    ends = np.tanh(np.arctanh(r) + np.array([-1, 1]) * 1.96 / math.sqrt(397))
    found = intervals(x, y, "none", only=["plcc"])["plcc"]
    assert (found.low, found.high) == pytest.approx(ends, abs=0.2 * (ends[1] - ends[0]))


@pytest.mark.parametrize("name", ["srocc", "krocc", "plcc"])
def test_95_percent_of_intervals_hold_the_true_value(name):
    rho = 0.7
    truth = {"plcc": rho, "srocc": 6 / math.pi * math.asin(rho / 2), "krocc": 2 / math.pi * math.asin(rho)}[name]
    held = 0
    for seed in range(250):
        found = intervals(*related(50, rho, seed), "none", resamples=300, seed=seed, only=[name])[name]
        held += found.low <= truth <= found.high
    assert 0.90 <= held / 250 <= 0.985


def test_whole_contents_are_drawn():
    """Copies of one item within a content add nothing: the interval stays that of the contents."""
    x, y = related(25, 0.7)
    alone = intervals(x, y, "none", only=["srocc", "plcc"], seed=3)
    contents = [f"content {k}" for k in range(25) for _ in range(4)]
    copied = intervals(np.repeat(x, 4), np.repeat(y, 4), "none", only=["srocc", "plcc"], seed=3, contents=contents)
    naive = intervals(np.repeat(x, 4), np.repeat(y, 4), "none", only=["srocc", "plcc"], seed=3)
    for name in alone:
        assert (copied[name].low, copied[name].high) == pytest.approx((alone[name].low, alone[name].high), abs=1e-9)
        assert naive[name].high - naive[name].low < 0.7 * (alone[name].high - alone[name].low)


def test_contents_hold_the_truth_where_items_do_not():
    """Contents differ in quality and shift scores, as scenes do. The truth is the correlation over many contents."""
    held = {"items": 0, "contents": 0}
    sizes, shift = (20, 8), 1.0
    truth = 2 / math.sqrt(2 * (2 + 0.5 + shift**2))
    for seed in range(100):
        generator = np.random.default_rng(seed)
        quality = generator.normal(size=sizes) + generator.normal(size=(sizes[0], 1))
        score = quality + math.sqrt(0.5) * generator.normal(size=sizes) + shift * generator.normal(size=(sizes[0], 1))
        contents = np.repeat(np.arange(sizes[0]), sizes[1]).tolist()
        for name, grouping in (("items", None), ("contents", contents)):
            found = intervals(
                score.ravel(), quality.ravel(), "none", resamples=300, seed=seed, contents=grouping, only=["plcc"]
            )["plcc"]
            held[name] += found.low <= truth <= found.high
    assert held["contents"] >= 85
    assert held["items"] <= 75


def test_many_items():
    """Above the limits the jackknife leaves out blocks, and Kendall's tau has the jackknife alone."""
    x, y = related(4200, 0.6)
    found = intervals(x, y, "none", resamples=200, only=["krocc", "plcc"])
    tau = scipy.stats.kendalltau(x, y).statistic
    assert found["krocc"].method == "jackknife" and found["plcc"].method == "bca"
    assert found["krocc"].low < tau < found["krocc"].high
    some = intervals(x[:3900], y[:3900], "none", resamples=200, only=["krocc"])["krocc"]
    width = found["krocc"].high - found["krocc"].low
    assert width == pytest.approx(some.high - some.low, rel=0.2)


def test_seeds():
    x, y = related(30, 0.5)
    first, again, other = (intervals(x, y, "linear", resamples=200, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_direction_turns_the_interval():
    x, y = related(40, 0.6)
    up, down = (intervals(sign * x, y, "none", only=["srocc"])["srocc"] for sign in (1, -1))
    assert (down.low, down.high) == pytest.approx((-up.high, -up.low), abs=0.01)


def test_a_perfect_correlation_has_percentiles():
    found = intervals(range(12), range(12), "none", only=["srocc", "krocc"])
    for interval in found.values():
        assert (interval.low, interval.high) == pytest.approx((1, 1)) and interval.method == "percentile"


@pytest.mark.parametrize(
    ("x", "y"), [([1, 2], [1, 2]), ([1, 1, 1, 1, 1], [1, 2, 3, 4, 5]), ([1, 2, 3, 4], [2, 2, 2, 2]), ([5, 5], [5, 5])]
)
def test_nothing_is_said_of_too_few_items_and_of_constants(x, y):
    for interval in intervals(x, y).values():
        assert interval.method == "none" and math.isnan(interval.low) and math.isnan(interval.high)


def test_one_content_says_nothing_of_others():
    x, y = related(10, 0.5)
    assert intervals(x, y, contents=["a"] * 10)["srocc"].method == "none"


def test_bad_input_is_named():
    x, y = related(10, 0.5)
    for settings, message in (
        ({"level": 95}, "lies between 0 and 1, not at 95"),
        ({"resamples": 10}, "10 resamples are too few"),
        ({"method": "basic"}, "unknown method 'basic'"),
        ({"only": ["r"]}, "no interval for 'r'"),
        ({"contents": ["a"]}, "1 contents for 10 scores"),
    ):
        with pytest.raises(DataError, match=message):
            intervals(x, y, **settings)
