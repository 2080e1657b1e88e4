"""The benchmark against people: one frame is scored as twelve equal ones, and what it counts is what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import compressvqa as cv
from compressvqa.errors import DataError

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: names of tests come first

import beside_teacher
import people

SMALL = {"widths": (4, 6, 8, 8, 8, 8), "merge_width": 8, "mlp_width": 8}


@pytest.mark.parametrize("pruned", [False, True])
@torch.inference_mode()
def test_a_still_is_scored_as_twelve_equal_frames_also_after_saving(pruned, tmp_path):
    network = cv.create_model("rankdvqa", **SMALL).eval()
    if pruned:
        network = cv.prune(network, cv.example_inputs(network, size=96), ratios=0.4, verify=False).model.eval()
    clips = torch.rand(2, 3, 1, 3, 100, 120, generator=torch.Generator().manual_seed(1))
    expected = network(*clips.expand(-1, -1, 12, -1, -1, -1))
    assert expected.std() > 1e-3
    folder = cv.save(people.of_stills(network), tmp_path / "still")
    assert torch.allclose(cv.load(folder)(*clips), expected, atol=1e-4)


def test_a_network_that_cannot_be_folded_is_refused():
    with pytest.raises(DataError, match="RankDVQA only"):
        people.of_stills(cv.create_model("c3dvqa"))


def test_within_is_the_mean_over_contents_and_not_over_items():
    dice = np.random.default_rng(0)
    contents = np.array(["a"] * 12 + ["b"] * 30)
    mos = dice.random(42)
    scores = np.where(contents == "a", mos, -mos + 0.6 * dice.random(42)) + 5 * (contents == "b")
    found = beside_teacher.within(contents, scores, mos)
    each = {name: spearmanr(scores[contents == name], mos[contents == name])[0] for name in "ab"}
    assert found["contents"] == pytest.approx(each)
    assert found["srocc"] == pytest.approx((each["a"] + each["b"]) / 2)
    assert found["low"] < found["srocc"] < found["high"]


def test_two_equal_models_do_not_differ_and_a_better_one_is_above():
    dice = np.random.default_rng(0)
    contents = np.repeat(np.array(["a", "b", "c", "d"]), 30)
    mos = dice.random(120)
    good, bad = mos + 0.1 * dice.random(120), mos + 1.5 * dice.random(120)
    same = beside_teacher.difference(contents, good, good, mos)
    assert same == {"srocc": 0, "items": [0, 0], "contents": [0, 0]}
    apart = beside_teacher.difference(contents, good, bad, mos)
    assert apart["srocc"] == pytest.approx(spearmanr(good, mos)[0] - spearmanr(bad, mos)[0])
    for ends in (apart["items"], apart["contents"]):
        assert 0 < ends[0] < apart["srocc"] < ends[1]
