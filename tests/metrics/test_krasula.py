"""Pairs by two loops, areas by scikit-learn, errors by the spread over many data sets."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score

from compressvqa.errors import DataError
from compressvqa.metrics import analyse_pairs, compare_pairs


def study(n=30, noise=0.5, seed=0):
    """Scores of two metrics, human scores, their standard deviations and numbers of ratings."""
    generator = np.random.default_rng(seed)
    quality = generator.uniform(1, 5, n)
    std, ratings = generator.uniform(0.4, 1.2, n), generator.integers(15, 30, n)
    mos = quality + generator.normal(size=n) * std / np.sqrt(ratings)
    a, b = (quality + generator.normal(0, noise, n) for _ in range(2))
    return a, b, mos, std, ratings


def by_two_loops(scores, mos, std, ratings, level=0.05):
    different, size, better, right = [], [], [], []
    for i, j in itertools.combinations(range(len(scores)), 2):
        z = (mos[i] - mos[j]) / math.sqrt(std[i] ** 2 / ratings[i] + std[j] ** 2 / ratings[j])
        different.append(scipy.stats.norm.sf(abs(z)) <= level)
        size.append(abs(scores[i] - scores[j]))
        if different[-1]:
            better.append((scores[i] - scores[j]) * (1 if z > 0 else -1))
            right.append(better[-1] > 0)
    mirrored = better + [-value for value in better]
    return {
        "different": sum(different),
        "similar": len(different) - sum(different),
        "different_similar": roc_auc_score(different, size),
        "better_worse": roc_auc_score([1] * len(better) + [0] * len(better), mirrored),
        "better_worse_correct": np.mean(right),
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("steps", [None, 1])
def test_figures_are_those_of_two_loops_and_scikit_learn(seed, steps):
    scores, _, mos, std, ratings = study(seed=seed)
    if steps is not None:
        scores = np.round(scores)  # ties
    found = analyse_pairs(scores, mos, std=std, ratings=ratings)
    expected = by_two_loops(scores, mos, std, ratings)
    assert (found.different, found.similar) == (expected["different"], expected["similar"])
    assert found.different_similar.value == pytest.approx(expected["different_similar"])
    assert found.better_worse.value == pytest.approx(expected["better_worse"])
    assert found.better_worse_correct == pytest.approx(expected["better_worse_correct"])
    assert found.pairs == 435 and not found.drawn and found.rule.startswith("z-test")
    strict = analyse_pairs(scores, mos, std=std, ratings=ratings, alpha=0.001)
    assert strict.different == by_two_loops(scores, mos, std, ratings, 0.001)["different"] < found.different


def test_confidence_intervals_of_the_human_scores_do_as_well():
    scores, _, mos, std, ratings = study()
    found = analyse_pairs(scores, mos, ci=1.959963984540054 * std / np.sqrt(ratings))
    expected = analyse_pairs(scores, mos, std=std, ratings=ratings)
    assert found.different_similar == expected.different_similar and "confidence intervals" in found.rule


def test_a_gap_where_there_are_no_viewers():
    found = analyse_pairs([1, 5, 6, 2], [70, 76, 90, 71], gap=6)
    assert found.rule == "ground truth 6 or more apart"
    assert (found.different, found.similar) == (4, 2)
    assert found.better_worse_correct == 1 and found.different_similar.value == 6.5 / 8
    viewers = study()
    with_viewers = analyse_pairs(viewers[0], viewers[2], std=viewers[3], ratings=viewers[4], gap=0.1)
    assert with_viewers.rule.startswith("z-test")


def test_directions():
    scores, other, mos, std, ratings = study()
    up = analyse_pairs(scores, mos, std=std, ratings=ratings)
    assert analyse_pairs(-scores, mos, std=std, ratings=ratings, higher_is_better=(False, True)) == up
    assert analyse_pairs(-scores, -mos, std=std, ratings=ratings, higher_is_better=(False, False)) == up
    against = analyse_pairs(-scores, mos, std=std, ratings=ratings)
    assert against.better_worse.value == pytest.approx(1 - up.better_worse.value)
    assert against.different_similar == up.different_similar
    a = compare_pairs(scores, other, mos, std=std, ratings=ratings)
    b = compare_pairs(-scores, other, mos, std=std, ratings=ratings, higher_is_better=(False, True, True))
    assert a == b


def test_errors_are_sums_over_all_pairs_of_pairs_that_share_an_item():
    """Dyadic cluster-robust variance, its double sum written out; contributions by leaving the definition as it is."""
    generator = np.random.default_rng(1)
    scores, mos = generator.normal(size=9), generator.normal(size=9)
    pairs = list(itertools.combinations(range(9), 2))
    size = np.array([abs(scores[i] - scores[j]) for i, j in pairs])
    different = np.array([abs(mos[i] - mos[j]) >= 1 for i, j in pairs])
    above = np.sign(size[different][:, None] - size[~different]) / 2 + 0.5
    area, (m, n) = above.mean(), above.shape
    contribution = np.zeros(len(pairs))
    contribution[different] = (above.mean(axis=1) - area) / math.sqrt(m * (m - 1))
    contribution[~different] = (above.mean(axis=0) - area) / math.sqrt(n * (n - 1))
    variance = sum(
        contribution[p] * contribution[q]
        for p, q in itertools.product(range(len(pairs)), repeat=2)
        if set(pairs[p]) & set(pairs[q])
    )
    found = analyse_pairs(scores, mos, gap=1).different_similar
    alone = float(np.sum(contribution**2))
    assert found.standard_error == pytest.approx(math.sqrt(max(variance, alone)))
    assert found.standard_error_pairs == pytest.approx(math.sqrt(alone))


def test_errors_are_the_spread_over_data_sets():
    areas = {"different_similar": [], "better_worse": []}
    errors = {name: [] for name in areas}
    for seed in range(250):
        scores, _, mos, std, ratings = study(50, 0.8, seed)
        found = analyse_pairs(scores, mos, std=std, ratings=ratings)
        for name, values in areas.items():
            area = getattr(found, name)
            values.append(area.value)
            errors[name].append([area.standard_error, area.standard_error_pairs])
    for name, values in areas.items():
        items, pairs = np.mean(errors[name], axis=0)
        assert items == pytest.approx(np.std(values), rel=0.25)
        assert pairs < 0.6 * np.std(values)  # as if pairs were independent: far too small


def test_equal_metrics_differ_by_chance_as_often_as_alpha_says():
    found = np.zeros(3)
    for seed in range(250):
        a, b, mos, std, ratings = study(50, 0.8, seed)
        tests = compare_pairs(a, b, mos, std=std, ratings=ratings)
        found += [test.p_value < 0.05 for test in tests.values()]
    assert (found / 250 < 0.1).all() and (found / 250 > 0.01).all()


def test_a_better_metric_is_found():
    a, _, mos, std, ratings = study(80, 0.3)
    b = a + np.random.default_rng(9).normal(0, 1.5, 80)
    tests = compare_pairs(a, b, mos, std=std, ratings=ratings)
    one, other = (analyse_pairs(scores, mos, std=std, ratings=ratings) for scores in (a, b))
    for name, test in tests.items():
        assert test.difference > 0 and test.z > 3 and test.p_value < 0.01
        values = [getattr(found, name) for found in (one, other)]
        values = [value if isinstance(value, float) else value.value for value in values]
        assert test.difference == pytest.approx(values[0] - values[1])
    same = compare_pairs(a, 2 * a + 1, mos, std=std, ratings=ratings)
    assert all(test.p_value == 1 for test in same.values())


def test_many_items_are_drawn_from():
    generator = np.random.default_rng(3)
    mos = generator.uniform(0, 100, 1000)
    scores = mos + generator.normal(0, 20, 1000)
    full, drawn = (analyse_pairs(scores, mos, gap=6, most_pairs=most) for most in (10**6, 60_000))
    assert drawn.drawn and not full.drawn and 50_000 < drawn.pairs <= 60_000
    assert drawn.different_similar.value == pytest.approx(full.different_similar.value, abs=0.01)
    assert drawn.better_worse_correct == pytest.approx(full.better_worse_correct, abs=0.01)
    assert analyse_pairs(scores, mos, gap=6, most_pairs=60_000) == drawn


def test_pairs_of_one_kind():
    similar = analyse_pairs([1, 2, 3], [70, 71, 72], gap=6)
    assert similar.different_similar is similar.better_worse is similar.better_worse_correct is None
    assert compare_pairs([1, 2, 3], [3, 1, 2], [70, 71, 72], gap=6) == dict.fromkeys(
        ("different_similar", "better_worse", "better_worse_correct")
    )
    different = analyse_pairs([1, 2, 3], [50, 60, 70], gap=6)
    assert different.different_similar is None
    assert different.better_worse.value == different.better_worse_correct == 1
    assert analyse_pairs([1], [1], gap=1).pairs == analyse_pairs([], [], gap=1).pairs == 0
    alone = analyse_pairs([1, 2], [50, 60], gap=6)
    assert alone.better_worse.value == 1 and math.isnan(alone.better_worse.low)


def test_unanimous_viewers():
    """No spread at all: any difference is one, and equal scores are similar."""
    found = analyse_pairs([1, 2, 3], [2, 2, 3], std=[0, 0, 0], ratings=[20, 20, 20])
    assert (found.different, found.similar) == (2, 1)


def test_bad_input_is_named():
    for settings, message in (
        ({}, "nothing says which pairs differ"),
        ({"std": [1, 1]}, "nothing says which pairs differ"),
        ({"gap": 0}, "a gap of 0 separates nothing"),
        ({"std": [1, -1], "ratings": [5, 5]}, "position 1: standard deviations can't be negative"),
        ({"std": [1, 1], "ratings": [5, 0]}, "position 1: an item without ratings"),
        ({"ci": [1]}, "1 confidence intervals for 2 scores"),
    ):
        with pytest.raises(DataError, match=message):
            analyse_pairs([1, 2], [1, 2], **settings)
    with pytest.raises(DataError, match="position 0"):
        analyse_pairs([float("nan"), 1], [1, 2], gap=1)
