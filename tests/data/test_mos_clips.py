"""The dataset of single scored clips: what is kept, what a batch shows, what a network is worth against the scores."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from clips import ffmpeg
from PIL import Image
from pydantic import ValidationError
from running import script

from compressvqa import opinions
from compressvqa.data import MosSingles
from compressvqa.data.kept import kept
from compressvqa.errors import DataError
from compressvqa.models.view import View
from compressvqa.opinions import Item, Manifest, write_manifest
from compressvqa.video import read_frames

from .scored import QUALITIES, SOURCES, write_scored

WHOLE = {"frames": 4, "resize": None, "crop": None, "flip": False}


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
    return MosSingles(MosSingles.Config(**{"source": "small", "validation": "split", **settings}))


def prepared(folder, part="train", **settings):
    made = dataset(**settings)
    return made, made.prepare(folder / part, part=part)


def decoded(manifest, name):
    return torch.stack([planes.to_rgb() for planes in read_frames(manifest.folder / name)])


def test_parts_share_no_content(tmp_path):
    train, held = (prepared(tmp_path, part, **WHOLE)[1] for part in ("train", "validation"))
    assert {item.scene for item in held.items} == {f"{SOURCES[-1]}.mkv"}
    assert len(train) == 3 * len(QUALITIES) and not {i.scene for i in train.items} & {i.scene for i in held.items}
    shared = prepared(tmp_path / "share", validation=0.5, **WHOLE)[1]
    assert len({item.scene for item in shared.items}) == 2


@pytest.mark.parametrize(
    ("sampling", "samples", "numbers"),
    [
        ("spread", 1, [[3, 9, 16, 22]]),  # the middles of four parts of 26 frames
        ("spread", 2, [[1, 8, 14, 21], [4, 11, 17, 24]]),  # the middles of the halves of these parts
        ("block", 1, [[11, 12, 13, 14]]),
        ("block", 2, [[5, 6, 7, 8], [17, 18, 19, 20]]),
    ],
)
def test_what_is_kept_are_the_files_own_frames(tmp_path, manifest, sampling, samples, numbers):
    _, clips = prepared(tmp_path, sampling=sampling, samples=samples, reference=True, **WHOLE)
    pixels = clips.pixels(0)
    assert pixels.shape == (2, samples, 4, 3, 112, 160) and pixels.dtype == np.uint8
    for side, name in enumerate((clips.items[0].reference, clips.items[0].distorted)):
        whole = decoded(manifest, name)
        for sample, wanted in enumerate(numbers):
            # Rounding to bytes: half a step of 1/255.
            assert np.abs(pixels[side, sample] / 255 - whole[wanted].numpy()).max() <= 0.5 / 255 + 1e-6
    if (sampling, samples) == ("spread", 1):  # a network's own view of the whole clip takes the same frames
        shown = View(4, None, normalise=False)(decoded(manifest, clips.items[0].distorted)[None])
        assert (shown[0] - torch.from_numpy(pixels[1, 0] / 255)).abs().max() <= 0.5 / 255 + 1e-6


def test_resized_frames_are_what_a_networks_view_would_make_of_them(tmp_path, manifest):
    _, clips = prepared(tmp_path, frames=2, resize=64, crop=64)
    assert clips.pixels(0).shape == (1, 1, 2, 3, 64, 91)
    shown = View(2, 64, normalise=False)(decoded(manifest, clips.items[0].distorted)[None])[0]
    ours = torch.from_numpy(clips.pixels(0)[0, 0, ..., 13:77] / 255)
    assert (ours - shown).abs().max() <= 0.5 / 255 + 1e-6


def test_clips_that_are_too_short_repeat_frames(tmp_path, known, manifest):
    ffmpeg("-i", str(manifest.folder / "testsrc.mkv"), "-frames:v", "3", str(tmp_path / "short.mp4"))
    items = [replace(item, distorted=str(tmp_path / "short.mp4")) if n == 0 else item
             for n, item in enumerate(manifest.items)]  # fmt: skip
    known["short"] = replace(manifest, items=tuple(items))
    for sampling, wanted in (("spread", [0, 0, 1, 1, 2, 2]), ("block", [0, 1, 2, 2, 2, 2])):
        _, clips = prepared(tmp_path, source="short", sampling=sampling, **(WHOLE | {"frames": 6}))
        index = [item.distorted for item in clips.items].index(str(tmp_path / "short.mp4"))
        whole = decoded(manifest, tmp_path / "short.mp4").numpy()
        assert np.abs(clips.pixels(index)[0, 0] / 255 - whole[wanted]).max() < 0.5 / 255 + 1e-6


def test_a_batch_is_a_function_of_seed_and_step_and_keys_name_pixels(tmp_path):
    data, clips = prepared(tmp_path, frames=2, samples=2, resize=96, crop=64, variants=3, reference=True)
    sampler, again, other = (data.batches(clips, batch=4, seed=seed) for seed in (1, 1, 2))
    seen, shown = {}, []
    for step in range(40):
        batch = sampler.batch_at(step)
        assert batch.distorted.shape == batch.reference.shape == (4, 2, 3, 64, 64)
        shown += sampler.draw_at(step)
        for place, key in enumerate(batch.keys):
            pair = batch.reference[place], batch.distorted[place]
            before = seen.setdefault(key, pair)
            assert torch.equal(before[0], pair[0]) and torch.equal(before[1], pair[1])
        if step % 13 == 0:
            assert torch.equal(batch.distorted, again.batch_at(step).distorted)
            assert batch.keys != other.batch_at(step).keys
            assert batch.opinion.tolist() == pytest.approx(clips.opinions[sampler.draw_at(step)].tolist())
    rounds = [shown[first : first + 9] for first in range(0, 153, 9)]
    assert all(sorted(turn) == list(range(9)) for turn in rounds)  # every clip once before any comes again
    assert len({tuple(turn) for turn in rounds}) > 10
    assert len(seen) <= 9 * 2 * 3  # clips, samples, variants: a teacher answers no more than so often
    assert any(key.endswith("m") for key in seen) and not all(key.endswith("m") for key in seen)


def test_both_sides_are_cut_and_mirrored_alike(tmp_path, known, manifest):
    same = tuple(replace(item, distorted=item.reference, mos=float(n)) for n, item in enumerate(manifest.items))
    known["same"] = replace(manifest, items=same[:9:3] + same[9:])
    data, clips = prepared(tmp_path, source="same", frames=2, resize=96, crop=64, reference=True)
    for step in range(4):
        batch = data.batches(clips, batch=3).batch_at(step)
        assert torch.equal(batch.reference, batch.distorted)
        for key, clip in zip(batch.keys, batch.distorted, strict=True):
            name, _, place = key.partition("@")
            left, top = map(int, place.removesuffix("m").split("+")[1:])
            index = next(i for i in range(len(clips)) if name.startswith(f"small/{clips.items[i].distorted}#"))
            wanted = clips.pixels(index)[1, 0, ..., top : top + 64, left : left + 64]
            wanted = wanted[..., ::-1] if place.endswith("m") else wanted
            assert np.array_equal(np.rint(clip.numpy() * 255), wanted)


def test_opinions_are_measured_by_the_training_part(tmp_path, known, manifest):
    train, held = (prepared(tmp_path, part, **WHOLE)[1] for part in ("train", "validation"))
    scores = np.array([item.mos for item in train.items])
    assert train.opinions.mean() == pytest.approx(0) and train.opinions.std() == pytest.approx(1)
    wanted = [(item.mos - scores.mean()) / scores.std() for item in held.items]
    assert held.opinions.tolist() == pytest.approx(wanted)
    known["dmos"] = replace(manifest, higher_is_better=False)
    assert np.allclose(prepared(tmp_path, source="dmos", **WHOLE)[1].opinions, -train.opinions)


def test_evaluation_averages_the_samples_and_agrees_with_scipy(tmp_path, manifest):
    data, clips = prepared(tmp_path, samples=2, reference=True, evaluation_batch=5, **WHOLE)
    shapes = []

    def network(reference, distorted):
        shapes.append(len(distorted))
        return -(reference - distorted).square().mean(dim=(1, 2, 3, 4))

    found = data.evaluate(clips, network)
    scores = [float(np.mean([network(*torch.from_numpy(np.array(clips.pixels(i)[:, s : s + 1])).float().div(255))
                             for s in range(2)])) for i in range(9)]  # fmt: skip
    truth = [item.mos for item in clips.items]
    assert found["srocc"] == pytest.approx(scipy.stats.spearmanr(scores, truth).statistic)
    assert found["krocc"] == pytest.approx(scipy.stats.kendalltau(scores, truth).statistic)
    ordered = [(a - b) * (scores[i] - scores[j]) > 0 for i, a in enumerate(truth) for j, b in enumerate(truth)
               if i < j and a != b]  # fmt: skip
    assert found["pair_accuracy"] == pytest.approx(np.mean(ordered))
    assert found["n"] == 9 and 0 <= found["rmse"] <= np.std(truth) + 1e-9
    assert shapes[:4] == [5, 5, 5, 3]
    assert data.evaluate(clips, lambda r, d: -network(r, d))["srocc"] == pytest.approx(-found["srocc"])


def test_references_only_where_they_are_asked_for(tmp_path, known, manifest):
    data, clips = prepared(tmp_path, **WHOLE)
    assert data.batches(clips, batch=2).batch_at(0).reference is None
    assert data.evaluate(clips, lambda d: d.mean(dim=(1, 2, 3, 4)))["n"] == 9
    known["alone"] = replace(manifest, items=tuple(replace(i, reference=None, content=i.scene) for i in manifest.items))
    assert len(prepared(tmp_path, source="alone", **WHOLE)[1]) == 9
    with pytest.raises(DataError, match=r"has no references.*reference=false"):
        prepared(tmp_path, source="alone", reference=True, **WHOLE)


def test_a_smaller_clip_is_brought_to_the_size_of_its_reference(tmp_path, known, manifest):
    ffmpeg("-i", str(manifest.folder / "testsrc2.mkv"), "-vf", "scale=80:56", str(tmp_path / "a.mp4"))
    items = (replace(manifest.items[0], distorted=str(tmp_path / "a.mp4")), *manifest.items[1:])
    known["odd"] = replace(manifest, items=items)

    def shapes(**settings):
        place = tmp_path / "-".join(map(str, settings.values()))
        return {prepared(place, source="odd", **settings, **WHOLE)[1].pixels(i).shape for i in range(9)}

    first = (1, 1, *shapes(reference=True).pop()[2:])
    assert shapes(reference=True) == {(2, *first[1:])} and first[-2:] == (112, 160)
    assert shapes(as_shown=True) == {first}
    assert shapes(as_shown=False) == {first, (*first[:-2], 56, 80)}
    data, clips = prepared(tmp_path, source="odd", as_shown=False, **WHOLE)
    with pytest.raises(DataError, match="several sizes don't make a batch"):
        data.batches(clips, batch=9).batch_at(0)
    assert data.evaluate(clips, lambda d: d.mean(dim=(1, 2, 3, 4)))["n"] == 9  # sizes are judged apart


def write_pictures(folder: Path) -> Manifest:
    rng, items = np.random.default_rng(0), []
    for number in range(6):
        pixels = rng.integers(0, 256, (40, 52, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        items.append(Item(f"{number}.png", 10.0 * number, split="train" if number < 4 else "test"))
    return Manifest("stills", folder, tuple(items), "proxy", "VMAF 0.6.1")


def test_pictures_are_kept_to_the_bit_and_proxies_are_named(tmp_path, known):
    known["stills"] = write_pictures(tmp_path)
    data, clips = prepared(tmp_path / "kept", source="stills", frames=1, resize=None, crop=32, flip=False)
    for index, item in enumerate(clips.items):
        wanted = np.moveaxis(np.asarray(Image.open(tmp_path / item.distorted)), -1, 0)
        assert np.array_equal(clips.pixels(index)[0, 0, 0], wanted)
    assert data.batches(clips, batch=3).batch_at(0).distorted.shape == (3, 1, 3, 32, 32)
    facts = clips.summary()
    assert (facts["kind"], facts["label"], facts["clips"]) == ("proxy", "VMAF 0.6.1", 4)
    assert sum(facts["labels"]["VMAF 0.6.1"]["histogram"]) == 4
    other = prepared(tmp_path / "else", source="stills", frames=1, resize=None, crop=32, flip=False)[1]
    assert other.summary()["identity"] == facts["identity"]
    changed = prepared(tmp_path / "else", source="stills", frames=1, resize=None, crop=16)[1]
    assert changed.summary()["identity"] != facts["identity"]


def test_frames_are_made_once_and_again_only_where_something_changed(tmp_path, known):
    known["stills"] = write_pictures(tmp_path)
    told: list[tuple[int, int]] = []

    def times(**settings):
        made = dataset(source="stills", frames=1, **{"resize": None, "crop": 32, **settings})
        clips = made.prepare(tmp_path / "kept", part="train", progress=lambda *done: told.append(done))
        return {file: (tmp_path / "kept" / file).stat().st_mtime_ns for file in clips.files}

    first = times()
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert times() == times(crop=16, flip=False, variants=1) == first
    Image.fromarray(np.zeros((40, 52, 3), np.uint8)).save(tmp_path / "2.png")
    assert len(set(times().items()) & set(first.items())) == 3
    (tmp_path / "kept" / "notes.txt").write_text("not ours")
    smaller = times(resize=36)
    assert not set(smaller) & set(first)
    names = {path.name for path in (tmp_path / "kept").iterdir()} - {".lock"}
    assert {*smaller, *first, "notes.txt"} <= names  # another run may read what was kept before


KILLED = """
import os, sys, time
import numpy
from compressvqa import opinions
from compressvqa.data import MosSingles

whole = MosSingles._frames

def half(file, pixels):
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), 9)

def frames(self, manifest, item):
    if item.distorted == "3.png":
        time.sleep(0.3)  # the others are written by then
        numpy.save = half
    return whole(self, manifest, item)

MosSingles._frames = frames
config = MosSingles.Config(source=sys.argv[1], validation="split", frames=1, resize=None, crop=32)
MosSingles(config).prepare(sys.argv[2], part="train")
"""


def test_a_preparation_that_was_killed_goes_on(tmp_path, monkeypatch):
    monkeypatch.undo()  # a manifest file, read by another process
    write_manifest(write_pictures(tmp_path), tmp_path / "manifest.csv")
    source = str(tmp_path / "manifest.csv")
    done = script(KILLED, source, str(tmp_path / "kept"), cwd=tmp_path)
    assert done.returncode == -9, done.stderr
    left = list((tmp_path / "kept").iterdir())
    whole = {path: path.stat().st_mtime_ns for path in left if path.suffix == ".npy"}
    assert len(whole) == 3 and any(path.name.endswith(".tmp") for path in left)
    data = MosSingles(MosSingles.Config(source=source, validation="split", frames=1, resize=None, crop=32))
    clips = data.prepare(tmp_path / "kept", part="train")
    assert {path: path.stat().st_mtime_ns for path in whole} == whole
    assert {path.name for path in (tmp_path / "kept").iterdir()} - {".lock"} == {*clips.files}
    assert all(kept(tmp_path / "kept" / file).shape == (1, 1, 1, 3, 40, 52) for file in clips.files)


def test_mistakes(tmp_path, known, manifest):
    known["flat"] = replace(manifest, items=tuple(replace(item, mos=3.0) for item in manifest.items))
    data, clips = prepared(tmp_path, source="flat", **WHOLE)
    with pytest.raises(DataError, match="all scores are equal"):
        data.batches(clips)
    known["gone"] = replace(manifest, items=(*manifest.items[1:], replace(manifest.items[0], distorted="x.mp4")))
    with pytest.raises(DataError, match=r"x\.mp4: no such file"):
        prepared(tmp_path / "gone", source="gone", **WHOLE)
    assert not (tmp_path / "gone").exists()  # it is found out before anything is decoded
    known["one"] = replace(manifest, items=(manifest.items[0], *manifest.items[-3:]))
    with pytest.raises(DataError, match="1 item in the part 'train'"):
        prepared(tmp_path, source="one", **WHOLE)
    data, clips = prepared(tmp_path / "small", frames=1, resize=None, crop=150)
    for call in (lambda: data.batches(clips).batch_at(0), lambda: data.evaluate(clips, len)):
        with pytest.raises(DataError, match=r"kept at 160x112, which is smaller than 150 pixels.*data.crop"):
            call()
    file = clips.folder / clips.files[0]
    os.truncate(file, 100)
    with pytest.raises(DataError, match=r"can't be read.*delete it"):
        clips.pixels(0)
    for wrong, said in (({"validation": 1.0}, "leaves one side empty"), ({"resize": 100, "crop": 112}, "does not fit"),
                        ({"sampling": "dense"}, "spread"), ({"frame": 3}, "Extra inputs")):  # fmt: skip
        with pytest.raises(ValidationError, match=said):
            dataset(**wrong)


def test_what_is_judged_can_be_larger_than_what_is_learnt_from(tmp_path, known, manifest):
    settings = {"frames": 1, "resize": None, "crop": 32}
    data, clips = prepared(tmp_path, evaluation_crop=100, **settings)
    judged, learnt = set(), data.batches(clips, batch=2).batch_at(0).distorted
    data.evaluate(clips, lambda d: judged.add(d.shape[-2:]) or d.mean(dim=(1, 2, 3, 4)))
    assert learnt.shape[-2:] == (32, 32) and judged == {(100, 100)}
    data, clips = prepared(tmp_path, evaluation_crop=4000, **settings)  # at most the clip
    judged.clear()
    data.evaluate(clips, lambda d: judged.add(d.shape[-2:]) or d.mean(dim=(1, 2, 3, 4)))
    assert judged == {(112, 112)}
