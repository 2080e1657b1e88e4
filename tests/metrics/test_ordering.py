"""Orders that are known, by hand."""

import math

import pytest
import torch

from compressvqa.errors import DataError
from compressvqa.metrics import ladder_accuracy, pair_accuracy


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
