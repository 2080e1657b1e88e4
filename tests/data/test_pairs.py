from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compressvqa.data import PairSampler
from compressvqa.errors import DataError

from .sets import write_set

LABELS = [[[95.0, 80.0, 60.0, 30.0], [90.0, 70.0, 50.0]], [[97.0, 85.0, 40.0, 20.0]], [[75.0, 55.0, 35.0, 34.0]]]


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("set") / "patches", LABELS)


def value(patches, row):
    return patches.entries[row].labels["vmaf_v0.6.1"]


def draws(sampler, steps):
    return [
        pair for step in range(steps) for draw in [sampler.draw_at(step)] for pair in zip(draw.a, draw.b, strict=True)
    ]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31), step=st.integers(0, 10**6), gap=st.sampled_from([0.5, 6.0, 25.0]))
def test_every_pair_keeps_its_promises(patches, seed, step, gap):
    sampler = PairSampler(patches, gap=gap, batch=4, seed=seed)
    batch, draw = sampler.batch_at(step), sampler.draw_at(step)
    for number, (a, b) in enumerate(zip(draw.a, draw.b, strict=True)):
        assert abs(value(patches, a) - value(patches, b)) >= gap
        assert batch.better_a[number] == float(value(patches, a) > value(patches, b))
        one, two = patches.entries[a], patches.entries[b]
        assert one.content != two.content or one.reference == two.reference
    for clips in batch[:4]:
        assert clips.shape == (4, 3, 3, 96, 96) and clips.dtype == torch.float32
        assert float(clips.min()) >= 0 and float(clips.max()) <= 1


def test_a_batch_is_a_pure_function_of_seed_and_step(patches):
    one, two, other = PairSampler(patches, seed=1), PairSampler(patches, seed=1), PairSampler(patches, seed=2)
    for step in (7, 0, 7):  # in any order, on any instance
        a, b, c = one.batch_at(step), two.batch_at(step), other.batch_at(step)
        assert all(torch.equal(x, y) for x, y in zip(a[:5], b[:5], strict=True))
        assert a.keys_a == b.keys_a and a.keys_b == b.keys_b
        assert a.keys_a != c.keys_a
    assert one.batch_at(0).keys_a != one.batch_at(1).keys_a


def test_shares_and_balance_are_right_in_expectation(patches):
    pairs = draws(PairSampler(patches, batch=50, seed=3), 80)
    two = np.mean([patches.entries[a].content != patches.entries[b].content for a, b in pairs])
    better = np.mean([value(patches, a) > value(patches, b) for a, b in pairs])
    # 4000 draws: three standard deviations of a proportion.
    assert abs(two - 0.7) < 3 * np.sqrt(0.7 * 0.3 / 4000)
    assert abs(better - 0.5) < 3 * np.sqrt(0.25 / 4000)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_extreme_shares_are_exact(patches, share):
    pairs = draws(PairSampler(patches, two_content_share=share, seed=4), 20)
    assert {patches.entries[a].content != patches.entries[b].content for a, b in pairs} == {bool(share)}


def test_every_patch_with_a_partner_is_drawn(patches):
    pairs = draws(PairSampler(patches, batch=50, seed=5), 40)
    assert {row for pair in pairs for row in pair} == set(range(len(patches)))


def test_swapping_takes_references_and_label_along(patches):
    plain, swapped = (PairSampler(patches, swap=swap, batch=8, variants=1, seed=6) for swap in (False, True))
    pixels = {}
    for sampler in (plain, swapped):
        for step in range(4):
            batch = sampler.batch_at(step)
            for number in range(8):
                for keys, reference, distorted in (
                    (batch.keys_a, batch.reference_a, batch.distorted_a),
                    (batch.keys_b, batch.reference_b, batch.distorted_b),
                ):
                    # One key always stands for one reference and one distorted clip, on whichever side it lands.
                    known = pixels.setdefault(keys[number], (reference[number], distorted[number]))
                    assert torch.equal(known[0], reference[number]) and torch.equal(known[1], distorted[number])


def test_keys_name_exactly_what_is_seen(patches):
    sampler = PairSampler(patches, batch=6, sizes=(96, 112), variants=3, seed=7)
    seen: dict[bytes, str] = {}
    for step in range(24):
        batch = sampler.batch_at(step)
        for key, clip in zip(batch.keys_a + batch.keys_b, [*batch.distorted_a, *batch.distorted_b], strict=True):
            assert seen.setdefault(clip.numpy().tobytes(), key) == key
    assert len({key.split("@")[1] for key in seen.values()}) == 2 * 3  # sizes x variants


def test_a_crop_is_a_part_of_the_patch(patches):
    sampler = PairSampler(patches, batch=4, seed=8)
    batch, draw = sampler.batch_at(0), sampler.draw_at(0)
    whole = patches.load(draw.a[0])[1].to_rgb()
    windows = whole.unfold(2, 96, 2).unfold(3, 96, 2)  # even places only: crops begin on a chroma sample
    same = (windows == batch.distorted_a[0][:, :, None, None]).flatten(4).all(-1).all(0).all(0)
    assert int(same.sum()) == 1


@pytest.mark.parametrize("fit", ["crop", "resize"])
def test_odd_variants_are_mirrored(patches, fit):
    plain, flipped = (PairSampler(patches, batch=4, variants=2, fit=fit, flip=flip, seed=8) for flip in (False, True))
    variants = set()
    for step in range(6):
        ours, draw = flipped.batch_at(step), flipped.draw_at(step)
        variants.add(draw.variant)
        row, mirrored = draw.a[0], draw.variant % 2 == 1
        reference, distorted = plain._clip(row, draw)
        assert torch.equal(ours.reference_a[0], reference.flip(-1) if mirrored else reference)
        assert torch.equal(ours.distorted_a[0], distorted.flip(-1) if mirrored else distorted)
        assert ours.keys_a[0].endswith("m") == mirrored
    assert variants == {0, 1}


def test_resizing_shows_the_whole_patch(patches):
    sampler = PairSampler(patches, batch=2, sizes=(96, 120), fit="resize", seed=9)
    for step in range(3):
        batch, draw = sampler.batch_at(step), sampler.draw_at(step)
        whole = patches.load(draw.b[1])[0].to_rgb()
        assert batch.reference_b.shape[-1] == draw.size
        torch.testing.assert_close(batch.reference_b[1].mean((0, 2, 3)), whole.mean((0, 2, 3)), atol=0.01, rtol=0)


def test_patches_without_the_label_are_not_drawn(tmp_path):
    patches = write_set(tmp_path / "set", [[[90.0, None, 50.0]], [[70.0, None, 30.0]]])
    rows = {row for pair in draws(PairSampler(patches, seed=1), 40) for row in pair}
    assert rows == {0, 2, 3, 5}


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([[[90.0, 88.0]], [[89.0, 87.0]]], {}, "no pair of two contents has vmaf_v0.6.1 values 6 or more apart"),
        ([[[90.0, 30.0]]], {}, "no pair of two contents"),
        ([[[90.0]], [[30.0]]], {}, "no pair of one content"),
        ([[[90.0, 30.0]], [[50.0]]], {"label": "vmaf_v1.0.16_3d0h"}, "no patch has the label.*256x256"),
        ([[[90.0, 30.0]], [[50.0]]], {"label": "ssim"}, "unknown label 'ssim'"),
        ([[[90.0, 30.0]], [[50.0]]], {"sizes": (64,)}, "clips of 64x64.*96 to 128"),
        ([[[90.0, 30.0]], [[50.0]]], {"sizes": (200,)}, "clips of 200x200.*96 to 128"),
        ([[[90.0, 30.0]], [[50.0]]], {"sizes": ()}, "no size"),
    ],
)
def test_sets_and_settings_that_give_no_pairs(tmp_path, labels, options, message):
    with pytest.raises(DataError, match=message):
        PairSampler(write_set(tmp_path / "set", labels), **options)


def test_one_sided_sets_work_where_the_share_allows_it(tmp_path):
    one = write_set(tmp_path / "one", [[[90.0, 30.0]]])
    assert len(PairSampler(one, two_content_share=0.0).draw_at(0).a) == 8
    two = write_set(tmp_path / "two", [[[90.0]], [[30.0]]])
    assert len(PairSampler(two, two_content_share=1.0).draw_at(0).a) == 8


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_who_has_a_partner_equals_looking_at_all_pairs(tmp_path_factory, data):
    shape = st.lists(st.lists(st.lists(st.integers(0, 40).map(float), min_size=1, max_size=3), min_size=1, max_size=2),
                     min_size=1, max_size=4)  # fmt: skip
    patches = write_set(tmp_path_factory.mktemp("any") / "set", data.draw(shape), size=96, frames=1)
    entries = patches.entries
    for two in (True, False):
        naive = [
            i for i, one in enumerate(entries)
            if any(abs(value(patches, i) - value(patches, j)) >= 6
                   and (one.content != other.content if two else one.reference == other.reference)
                   for j, other in enumerate(entries))
        ]  # fmt: skip
        if naive:
            sampler = PairSampler(patches, two_content_share=float(two), sizes=(96,))
            assert sampler._firsts[two].tolist() == naive
        else:
            with pytest.raises(DataError):
                PairSampler(patches, two_content_share=float(two), sizes=(96,))
