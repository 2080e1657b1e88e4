"""Certain orders against a plain walk over all pairs of patches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from compressvqa.data.certain import Certain
from compressvqa.data.orders import KINDS, CertainOrders, rung_name
from compressvqa.errors import DataError

from .sets import write_set


def made(codec="x264", quality=30, **facts):
    labels = {"vmaf_v0.6.1": 50.0, "vmaf_v0.6.1neg": 50.0, "vmaf_v1.0.16_3d0h": 50.0, "psnr_y": 30.0}
    return {"codec": codec, "quality": quality, "labels": labels} | facts


REFERENCE = [
    made("x264", 20), made("x264", 40), made("x264", 30), made("x264", 30, scale=0.5), made("x264", 20, depth=10),
    made("x265", 20), made("x265", 33, first="x264-q20"), made("x265", 35, first="x264-q20"), made("noise", 1),
    made("noise", 4), made("vp9", 50, first="x264-q21"),
]  # fmt: skip


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("set") / "patches", [[REFERENCE, REFERENCE[:3]], [REFERENCE[:2]]])


def expected(patches, a, b):
    """1 if a is certainly better than b; from the entries alone."""
    entries, references = patches.entries, patches.references
    if a < 0 and b < 0:
        return 2
    if a < 0:
        same = entries[b].reference == ~a
        return int(same or entries[b].content != references[~a].content)
    if b < 0:
        return -expected(patches, b, a)
    one, two = entries[a], entries[b]
    if one.reference != two.reference:
        return 0
    if (one.codec, one.scale, one.depth, one.first) == (two.codec, two.scale, two.depth, two.first):
        return int(np.sign(two.quality - one.quality))
    return int(two.first == rung_name(one)) - int(one.first == rung_name(two))


def test_between_is_what_a_walk_over_all_pairs_finds(patches):
    rows = np.arange(-len(patches.references), len(patches))
    found = CertainOrders(patches).between(rows)
    for (i, a), (j, b) in itertools.product(enumerate(rows), repeat=2):
        if i != j:
            assert found[i, j] == expected(patches, int(a), int(b)), (a, b)
    assert {1, -1, 0, 2} == set(found.ravel().tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_holds_what_is_its_own(patches, kind):
    rows = np.arange(-len(patches.references), len(patches))
    only, all_kinds = (CertainOrders(patches, kinds).between(rows) for kinds in ((kind,), KINDS))
    ones = {(int(rows[i]), int(rows[j])) for i, j in zip(*np.nonzero(only == 1), strict=True)}
    assert ones and all(all_kinds[a + len(patches.references), b + len(patches.references)] == 1 for a, b in ones)
    if kind != "identity":
        listed = CertainOrders(patches).listed(kind)
        assert set(zip(listed.better.tolist(), listed.worse.tolist(), strict=True)) == ones


def test_no_kind_no_order(patches):
    assert not CertainOrders(patches, ()).between(np.arange(-2, 8)).any()


def test_pairs_are_drawn_by_their_shares_and_in_order(patches):
    shares = {"ladder": 0.3, "generation": 0.1, "reference": 0.2, "identity": 0.25}
    certain, rng = Certain(patches, CertainOrders(patches), shares), np.random.default_rng(0)
    pairs = [certain.pair(rng) for _ in range(4000)]
    drawn = [pair for pair in pairs if pair is not None]
    assert abs(len(drawn) / 4000 - 0.85) < 3 * np.sqrt(0.85 * 0.15 / 4000)
    assert all(expected(patches, a, b) == 1 for a, b in drawn)
    other = [a < 0 and patches.entries[b].reference != ~a for a, b in drawn]
    assert abs(sum(other) / 4000 - 0.25) < 3 * np.sqrt(0.25 * 0.75 / 4000)
    assert Certain(patches, CertainOrders(patches), {}).pair(rng) is None


def test_a_set_without_such_pairs_says_so(tmp_path):
    plain = write_set(tmp_path / "plain", [[[made("x264", 20), made("x265", 20)]]])
    for kind, message in (("generation", "by 'generation'"), ("ladder", "by 'ladder'"), ("identity", "two contents")):
        with pytest.raises(DataError, match=message):
            Certain(plain, CertainOrders(plain), {kind: 0.5})
