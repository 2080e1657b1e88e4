"""Orders that are known, by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from compressvqa.errors import DataError
from compressvqa.metrics import ladder_accuracy, pair_accuracy, srocc_within


def test_pair_accuracy():
    assert pair_accuracy([2, 1], [1, 2], [1, 0]) == 1
    assert pair_accuracy([2, 1], [1, 2], [0, 1]) == 0
    assert pair_accuracy([1, 1, 3], [1, 1, 2], [1, 0, 1]) == pytest.approx(2 / 3)
    assert pair_accuracy([1, 2], [2, 1], [0.5, 1]) == 1
    assert math.isnan(pair_accuracy([1], [2], [0.5]))
    assert pair_accuracy(torch.tensor([0.2]), torch.tensor([0.1]), torch.tensor([True])) == 1
    with pytest.raises(DataError, match="don't make pairs"):
        pair_accuracy([1, 2], [1], [1])
    with pytest.raises(DataError, match="NaN"):
        pair_accuracy([float("nan")], [1], [1])


def test_srocc_within_is_the_mean_of_each_content_alone():
    dice = np.random.default_rng(0)
    contents = [name for name in "abcd" for _ in range(7)]
    labels = dice.integers(0, 5, 28).astype(float)  # ties
    scores = labels + dice.normal(0, 2, 28)
    alone = [spearmanr(scores[i : i + 7], labels[i : i + 7]).statistic for i in range(0, 28, 7)]
    assert srocc_within(scores, labels, contents) == pytest.approx(np.mean(alone))
    order = dice.permutation(28)
    assert srocc_within(scores[order], labels[order], [contents[i] for i in order]) == pytest.approx(np.mean(alone))
    # An offset for each content changes nothing, and something for all of them together.
    offset = np.repeat([0.0, 50.0, -50.0, 9.0], 7)
    assert srocc_within(scores + offset, labels, contents) == pytest.approx(np.mean(alone))
    assert spearmanr(scores + offset, labels).statistic < 0.5 * np.mean(alone)


def test_srocc_within_leaves_out_what_says_nothing():
    contents = list("aaabbbcc")
    assert srocc_within([1, 2, 3, 5, 5, 5, 1, 2], [1, 2, 3, 1, 2, 3, 2, 1], contents) == pytest.approx(0.5)
    assert srocc_within([1, 2, 3, 1, 2, 3], [1, 2, 3, 7, 7, 7], list("aaabbb")) == pytest.approx(1)
    assert math.isnan(srocc_within([1, 2], [1, 2], ["a", "a"]))
    with pytest.raises(DataError, match="2 scores, 2 labels and 1 contents"):
        srocc_within([1, 2], [1, 2], ["a"])


def test_ladder_accuracy_by_hand():
    places = [("a", 0), ("a", 1), ("a", 3), ("b", 1), ("b", 0), None]
    assert ladder_accuracy([9, 8, 7, 5, 6, 100], places) == 1
    assert ladder_accuracy([9, 8, 7, 5, 6, 100], places, higher_is_better=False) == 0
    assert ladder_accuracy([9, 7, 8, 5, 6, 0], places) == pytest.approx(2 / 3)  # rungs 1 and 3 are neighbours
    assert ladder_accuracy([9, 9, 8, 6, 5, 0], places) == pytest.approx((0.5 + 1 + 0) / 3)


def test_items_on_one_rung_are_each_compared():
    places = [("a", 0), ("a", 1), ("a", 1), ("a", 2)]
    assert ladder_accuracy([5, 4, 6, 3], places) == pytest.approx(3 / 4)


def test_no_ladder_no_figure():
    assert math.isnan(ladder_accuracy([1, 2], [None, None]))
    assert math.isnan(ladder_accuracy([1, 2], [("a", 0), ("b", 0)]))
    assert math.isnan(ladder_accuracy([], []))
    with pytest.raises(DataError, match="1 places on ladders for 2 scores"):
        ladder_accuracy([1, 2], [None])
