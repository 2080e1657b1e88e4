"""What labels say together, against the rule written out for one pair at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from compressvqa.data import PairSampler
from compressvqa.data.judge import LEAST, Judge
from compressvqa.errors import DataError

from .sets import write_set

LABELS = ("vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_v1.0.16_3d0h")


def made(quality, main, neg, v1, **facts):
    labels = {"vmaf_v0.6.1": main, "vmaf_v0.6.1neg": neg, "vmaf_v1.0.16_3d0h": v1, "psnr_y": 30.0}
    return {"quality": quality, "labels": labels} | facts


ONE = [
    made(20, 95.0, 94.0, 97.0), made(30, 80.0, 78.0, 90.0), made(40, 60.0, 58.0, 60.0),
    made(3, 97.0, 55.0, 50.0, codec="sharpening"), made(40, 50.0, 52.0, 45.0, codec="x265"),
]  # fmt: skip
TWO = [made(20, 90.0, 88.0, None), made(30, 70.0, 71.0, 72.0), made(40, 69.0, 40.0, 30.0)]


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("set") / "patches", [[ONE, TWO[1:]], [TWO]])


def weight_of(patches, a, b, gap, labels=LABELS):
    """Dropped where a label objects; else the smallest difference over the largest."""
    differences = [
        patches.entries[a].labels[name] - patches.entries[b].labels[name]
        for name in labels
        if patches.entries[a].labels[name] is not None and patches.entries[b].labels[name] is not None
    ]
    if abs(differences[0]) < gap or any(d * differences[0] <= 0 for d in differences):
        return 0.0
    sizes = [abs(d) for d in differences]
    return min(sizes) / max(sizes)


@pytest.mark.parametrize("gap", [0.5, 6.0])
def test_weights_are_those_of_the_rule(patches, gap):
    _, weight = Judge(patches, LABELS, gap=gap)(np.arange(len(patches)))
    for a in range(len(patches)):
        for b in range(len(patches)):
            expected = 0.0 if a == b else weight_of(patches, a, b, gap)
            assert weight[a, b] == pytest.approx(expected, abs=1e-6), (a, b)
    assert weight[3, 0] == 0  # VMAF 0.6.1 likes the sharpened clip best, the others do not


def test_one_label_is_the_paper(patches):
    preferred, weight = Judge(patches, LABELS[:1], gap=6.0)(np.arange(len(patches)))
    values = np.array(patches.label("vmaf_v0.6.1"))
    far = np.abs(values[:, None] - values[None]) >= 6
    assert np.array_equal(weight, far.astype(np.float32))
    assert np.array_equal(preferred[far], (values[:, None] > values[None])[far].astype(np.float32))


def test_a_just_noticeable_difference_is_seen_by_three_of_four(patches):
    preferred, _ = Judge(patches, LABELS, jnd=10.0)(np.arange(len(patches)))
    assert preferred[2, 4] == pytest.approx(0.75)  # 60 against 50
    assert preferred[0, 1] == pytest.approx(1 / (1 + math.exp(-math.log(3) * 1.5)))
    assert np.allclose(preferred + preferred.T, 1)


@pytest.mark.parametrize("jnd", [None, 6.0])
def test_certain_orders_overrule_labels(patches, jnd):
    rows = np.array([-1, -2, 0, 1, 3])
    judge = Judge(patches, LABELS, jnd=jnd, certain=("ladder", "reference", "identity"))
    preferred, weight = judge(rows)
    assert preferred[0, 1] == 0.5 and weight[0, 1] == 1  # two undistorted clips are equal
    for worse in (2, 3, 4):
        assert preferred[0, worse] >= (1.0 if jnd is None else LEAST) and weight[0, worse] == 1
        assert preferred[1, worse] >= (1.0 if jnd is None else LEAST)
    assert preferred[2, 3] > 0.9 and weight[2, 3] == 1
    assert weight[2, 4] == 0 and not weight.diagonal().any()
    assert np.allclose(preferred + preferred.T, 1)


def test_labels_that_break_a_ladder_are_overruled_on_both_sides(tmp_path):
    odd = write_set(tmp_path / "odd", [[[made(20, 50.0, 50.0, 50.0), made(30, 60.0, 60.0, 60.0)]]])
    for jnd, least in ((6.0, LEAST), (None, 1.0)):
        preferred, weight = Judge(odd, LABELS, jnd=jnd, certain=("ladder",))(np.arange(2))
        assert preferred.tolist() == [[0.5, np.float32(least)], [np.float32(1 - least), 0.5]]
        assert weight.tolist() == [[0, 1], [1, 0]]


def test_batches_carry_what_the_judge_says(patches):
    certain = {"reference": 0.2, "identity": 0.2, "ladder": 0.1}
    sampler = PairSampler(patches, batch=6, gap=1.0, jnd=6.0, agree=LABELS[1:], certain=certain, seed=3)
    seen = set()
    for step in range(12):
        batch, draw = sampler.batch_at(step), sampler.draw_at(step)
        rows = np.array([*draw.a, *draw.b])
        preferred, weight = sampler.judge(rows)
        assert np.array_equal(batch.preferred.numpy(), preferred) and np.array_equal(batch.weight.numpy(), weight)
        assert np.array_equal(batch.better_a.numpy(), preferred.diagonal(6))
        assert (weight.diagonal(6) > 0).all()  # no pair is drawn that nobody can judge
        for number, row in enumerate(draw.a):
            seen.add(row < 0)
            same = bool((batch.reference_a[number] == batch.distorted_a[number]).all())
            assert same == (row < 0)
    assert seen == {True, False}


def test_keys_of_undistorted_clips_are_their_own(patches):
    sampler = PairSampler(patches, batch=8, gap=1.0, certain={"reference": 1.0}, swap=False, variants=1)
    batches = [sampler.batch_at(step) for step in range(8)]
    keys = {key for batch in batches for key in batch.keys_a + batch.keys_b}
    assert len(keys) == len(patches) + len(patches.references)
    for batch in batches:  # one reference, one place: an undistorted clip is cut where its distorted versions are
        assert torch.equal(batch.reference_a, batch.reference_b)


def test_labels_that_never_agree_are_refused(tmp_path):
    odd = write_set(tmp_path / "odd", [[[made(20, 90.0, 10.0, 10.0), made(40, 10.0, 90.0, 90.0)]]])
    sampler = PairSampler(odd, two_content_share=0.0, agree=LABELS[1:])
    with pytest.raises(DataError, match=r"agree on hardly any pair.*fewer labels"):
        sampler.batch_at(0)
