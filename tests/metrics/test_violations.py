"""Broken orders, counted one pair at a time."""

import math

import numpy as np
import pytest

from compressvqa.errors import DataError
from compressvqa.metrics import Violations, top_violations, violations


def test_each_pair_is_right_wrong_or_tied():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, (2, 200)).astype(float)
    found = violations(a, b)
    assert found == Violations(200, sum(x < y for x, y in zip(a, b, strict=True)), sum(a == b))
    assert found.share == pytest.approx(1 - np.mean(a > b)) == found.to_dict()["share"]
    assert math.isnan(violations([], []).share)


def test_perfect_items_are_compared_with_every_item_of_another_content():
    rng = np.random.default_rng(1)
    tops, scores = rng.integers(3, 9, 12).astype(float), rng.integers(0, 8, 90).astype(float)
    top_contents, contents = (rng.choice(["a", "b", "c"], n).tolist() for n in (12, 90))
    pairs = [(t, s) for t, x in zip(tops, top_contents, strict=True) for s, y in zip(scores, contents, strict=True)
             if x != y]  # fmt: skip
    found = top_violations(tops, top_contents, scores, contents)
    assert found == violations([t for t, _ in pairs], [s for _, s in pairs]) and found.wrong > 0 < found.tied


def test_lengths_and_numbers_are_checked():
    with pytest.raises(DataError, match="don't make pairs"):
        violations([1, 2], [1])
    with pytest.raises(DataError, match="NaN"):
        violations([float("nan")], [1])
    with pytest.raises(DataError, match="1 and 2 contents for 2 and 2 scores"):
        top_violations([1, 2], ["a"], [1, 2], ["a", "b"])
