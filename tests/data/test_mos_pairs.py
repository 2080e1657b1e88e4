"""The dataset of scored videos: parts, pairs, blocks, and what a network is worth against the scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from clips import ffmpeg
from pydantic import ValidationError

from compressvqa import opinions
from compressvqa.data import MosPairs
from compressvqa.data.mos_pairs import MosPairSampler
from compressvqa.errors import DataError
from compressvqa.video import read_frames

from .scored import QUALITIES, SOURCES, write_scored


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_scored(tmp_path_factory.mktemp("scored"))


@pytest.fixture(autouse=True)
def known(monkeypatch, manifest):
    """Data sets by name, without a manifest file."""
    sets = {"small": manifest}
    monkeypatch.setattr(opinions, "read_dataset", sets.__getitem__)
    return sets


def dataset(**settings):
    return MosPairs(MosPairs.Config(**{"source": "small", **settings}))


def prepared(tmp_path, part="train", **settings):
    return dataset(**settings).prepare(tmp_path, part=part)


def scenes(clips):
    return {item.scene for item in clips.items}


def test_a_share_of_the_contents_is_held_out(tmp_path):
    train, held = (prepared(tmp_path, part, validation=0.5) for part in ("train", "validation"))
    assert len(scenes(train)) == len(scenes(held)) == 2
    assert not scenes(train) & scenes(held)
    assert len(train) == len(held) == 2 * len(QUALITIES)
    assert scenes(prepared(tmp_path, validation=0.5, seed=3)) != scenes(train)


def test_the_manifest_may_say_what_is_held_out(tmp_path, known, manifest):
    held = prepared(tmp_path, "validation", validation="split")
    assert scenes(held) == {f"{SOURCES[-1]}.mkv"}
    assert len(prepared(tmp_path, validation="split")) == 9
    known["none"] = replace(manifest, items=tuple(replace(item, split=None) for item in manifest.items))
    with pytest.raises(DataError, match="does not say what is for training"):
        prepared(tmp_path, source="none", validation="split")
    mixed = tuple(replace(item, split=("train", "test")[i % 2]) for i, item in enumerate(manifest.items))
    known["mixed"] = replace(manifest, items=mixed)
    with pytest.raises(DataError, match="4 contents are in training and in validation"):
        prepared(tmp_path, source="mixed", validation="split")


def test_another_data_set_may_be_held_out(tmp_path, known, manifest):
    known["one"] = replace(manifest, name="one", items=manifest.items[:6])
    known["two"] = replace(manifest, name="two", items=manifest.items[6:])
    assert len(prepared(tmp_path, source="one", validation="two")) == 6
    assert prepared(tmp_path, "validation", source="one", validation="two").manifest.name == "two"
    with pytest.raises(DataError, match="2 contents are in training and in validation"):
        prepared(tmp_path, source="small", validation="one")


def test_scores_are_turned_so_that_higher_is_better(tmp_path, known, manifest):
    clips = prepared(tmp_path)
    values = np.array([item.mos for item in clips.items])
    assert clips.opinions.mean() == pytest.approx(0)
    assert clips.opinions.std() == pytest.approx(1)
    assert np.corrcoef(clips.opinions, values)[0, 1] == pytest.approx(1)
    known["dmos"] = replace(manifest, higher_is_better=False)
    assert np.allclose(prepared(tmp_path, source="dmos").opinions, -clips.opinions)


@pytest.mark.parametrize(("blocks", "firsts"), [(1, [0]), (2, [0, 24]), (3, [0, 12, 24]), (9, [0, 12, 24])])
def test_blocks_are_spread_over_a_clip_and_read_as_they_are_stored(tmp_path, manifest, blocks, firsts):
    clips = prepared(tmp_path, blocks=blocks)
    assert clips.frames == (26,) * len(clips)
    assert clips.firsts(0) == firsts
    found = list(clips.read(0))
    assert len(found) == len(firsts)
    whole = torch.stack([planes.to_rgb() for planes in read_frames(manifest.folder / clips.items[0].distorted)])
    original = torch.stack([planes.to_rgb() for planes in read_frames(manifest.folder / clips.items[0].reference)])
    for first, (reference, distorted) in zip(firsts, found, strict=True):
        assert torch.equal(distorted[0], whole[first : first + 12])
        assert torch.equal(reference[0], original[first : first + 12])


def test_pairs_are_a_function_of_seed_and_step(tmp_path):
    clips = prepared(tmp_path)
    sampler, again, other = (MosPairSampler(clips, batch=4, size=96, seed=seed) for seed in (1, 1, 2))
    draws = [sampler.draw_at(step) for step in range(200)]
    for step, draw in enumerate(draws):
        assert all(a != b for a, b in zip(draw.a, draw.b, strict=True))
        wanted = clips.opinions[draw.a] - clips.opinions[draw.b]
        assert np.allclose(draw.difference.numpy(), wanted, atol=1e-6)
        assert again.draw_at(step).a == draw.a
    assert {index for draw in draws for index in (*draw.a, *draw.b)} == set(range(len(clips)))
    assert any(other.draw_at(step).a != draw.a for step, draw in enumerate(draws))


def test_a_batch_of_pixels_shows_both_videos_at_one_place(tmp_path):
    clips = prepared(tmp_path)
    sampler = dataset(size=96).batches(clips, batch=2, seed=5)
    batch, draw = sampler.batch_at(3), sampler.draw_at(3)
    assert batch.distorted_a.shape == batch.reference_b.shape == (2, 12, 3, 96, 96)
    assert torch.equal(batch.distorted_a, sampler.batch_at(3).distorted_a)
    for side, index, reference, distorted in (
        (batch.keys_a[0], draw.a[0], batch.reference_a, batch.distorted_a),
        (batch.keys_b[1], draw.b[1], batch.reference_b[1:], batch.distorted_b[1:]),
    ):
        name, _, place = side.partition("@")
        assert name == clips.key(index)
        block, top, left = map(int, place.split("+"))
        r, d = list(clips.read(index))[block]
        box = (slice(None), slice(None), slice(top, top + 96), slice(left, left + 96))
        r, d = (clip[0][box] for clip in (r, d))
        assert torch.equal(reference[0][: len(r)], r)
        assert torch.equal(distorted[0][: len(d)], d)
        assert torch.equal(distorted[0][-1], d[-1])  # a short last block is filled up


def test_whole_frames_and_squares_that_do_not_fit(tmp_path):
    clips = prepared(tmp_path)
    assert dataset(size=None).batches(clips, batch=1).batch_at(0).distorted_a.shape == (1, 12, 3, 112, 160)
    with pytest.raises(DataError, match="smaller than 256 pixels"):
        dataset().batches(clips, batch=1).batch_at(0)


def test_evaluation_agrees_with_a_network_that_sees_the_compression(tmp_path):
    """Mean squared error orders the rungs of a content; the content's own offset is in the score's favour."""
    clips = prepared(tmp_path, "validation", validation="split", blocks=2)
    shapes = []

    def network(reference, distorted):
        shapes.append(tuple(distorted.shape))
        return -(reference - distorted).square().mean(dim=(1, 2, 3, 4))

    data = dataset()
    found = data.evaluate(clips, network)
    assert found["srocc"] == pytest.approx(1)
    assert found["pair_accuracy"] == 1
    assert found["n"] == 3
    assert set(shapes) == {(1, 14, 3, 112, 160)}  # 12 frames, and the 2 of the last block
    assert data.evaluate(clips, lambda r, d: -network(r, d))["srocc"] == pytest.approx(-1)


def test_without_references(tmp_path, known, manifest):
    known["alone"] = replace(manifest, items=tuple(replace(item, reference=None) for item in manifest.items))
    clips = prepared(tmp_path, source="alone")
    batch = dataset(size=96).batches(clips, batch=1).batch_at(0)
    assert batch.reference_a is None and batch.distorted_a.shape == (1, 12, 3, 96, 96)
    assert dataset().evaluate(clips, lambda d: d.mean(dim=(1, 2, 3, 4)))["n"] == len(clips)
    with_one = (replace(manifest.items[0], reference=None), *manifest.items[1:])
    known["mixed"] = replace(manifest, items=with_one)
    with pytest.raises(DataError, match="some items have a reference and some have none"):
        prepared(tmp_path, source="mixed")


def test_clips_of_another_size_or_length_than_their_reference(tmp_path, known, manifest):
    ffmpeg(
        "-i", str(manifest.folder / "testsrc2.mkv"), "-vf", "scale=96:96", "-frames:v", "20", str(tmp_path / "a.mp4")
    )
    ffmpeg(
        "-i", str(manifest.folder / "testsrc2.mkv"), "-vf", "scale=96:96", "-frames:v", "20", str(tmp_path / "b.mp4")
    )
    items = tuple(replace(manifest.items[0], distorted=str(tmp_path / f"{n}.mp4"), split="train") for n in "ab")
    known["odd"] = replace(manifest, items=(*items, *manifest.items[-3:]))
    with pytest.raises(DataError, match="frame count"):
        prepared(tmp_path, source="odd", validation="split")
    clips = prepared(tmp_path, source="odd", validation="split", length="trim")
    assert clips.frames == (20, 20)
    assert [tuple(clip.shape) for clip in next(iter(clips.read(0)))] == [(1, 12, 3, 112, 160)] * 2
    assert [tuple(clip.shape) for clip in list(clips.read(0))[1]] == [(1, 8, 3, 112, 160)] * 2


def test_mistakes(tmp_path, known, manifest):
    known["flat"] = replace(manifest, items=tuple(replace(item, mos=3.0) for item in manifest.items))
    with pytest.raises(DataError, match="all scores are equal"):
        dataset().batches(prepared(tmp_path, source="flat"))
    known["gone"] = replace(manifest, items=tuple(replace(item, distorted="x.mp4") for item in manifest.items))
    with pytest.raises(DataError, match="no such file"):
        prepared(tmp_path, source="gone")
    known["short"] = replace(manifest, items=(manifest.items[0], manifest.items[3]))
    with pytest.raises(DataError, match="a pair needs two"):
        prepared(tmp_path, source="short")
    for share in (0.0, 1.0):
        with pytest.raises(ValidationError, match="leaves one side empty"):
            dataset(validation=share)


def test_summary_says_what_the_scores_are(tmp_path, known, manifest):
    known["proxy"] = replace(manifest, kind="proxy", label="VMAF 0.6.1")
    facts = prepared(tmp_path, source="proxy").summary()
    assert (facts["label"], facts["kind"], facts["clips"]) == ("VMAF 0.6.1", "proxy", 9)
    assert sum(facts["labels"]["VMAF 0.6.1"]["histogram"]) == 9
