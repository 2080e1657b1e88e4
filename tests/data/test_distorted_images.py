"""The dataset of pictures without labels: what is kept, what a batch shows, and what its keys promise."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from clips import ffmpeg, make
from PIL import Image
from pydantic import ValidationError

from compressvqa.data import DistortedImages, virtual_camera
from compressvqa.data.distortions import DISTORTIONS, LEVELS
from compressvqa.errors import DataError
from compressvqa.video import read_frames

QUICK = ["jpeg", "gaussian-blur", "noise"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two pictures, a video, and what can't be used: a small picture, a damaged one, an HDR video, a text."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "sub").mkdir()
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (60, 90)), ("sub/a.png", (70, 64)), ("small.png", (30, 90))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / name)
    make(folder / "b.mp4", frames=20)
    (folder / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    ffmpeg("-i", str(folder / "b.mp4"), "-c:v", "libx265", "-x265-params", "log-level=none:transfer=smpte2084",
           str(folder / "hdr.mp4"))  # fmt: skip
    (folder / "readme.txt").write_text("no picture")
    return folder


def dataset(**settings):
    return DistortedImages(DistortedImages.Config(**{"resize": None, "crop": 48, "distortions": QUICK, **settings}))


def prepared(folder, part="train", **settings):
    made = dataset(**settings)
    return made, made.prepare(folder, part=part)


def index_of(kept, key):
    return next(i for i in range(len(kept)) if key.startswith(kept.name(i) + "@"))


def test_what_is_kept_are_the_files_own_pictures(tmp_path, pictures):
    _, kept = prepared(tmp_path, sources=str(pictures), frames_per_video=4)
    names = [kept.name(i).partition("#")[0].removeprefix(f"{pictures.name}/") for i in range(len(kept))]
    assert names == ["a.png", *["b.mp4"] * 4, "sub/a.png"]
    for index, name in ((0, "a.png"), (5, "sub/a.png")):
        assert np.array_equal(kept.pixels(index), np.moveaxis(np.asarray(Image.open(pictures / name)), -1, 0))
    frames = [planes.to_rgb().numpy() for planes in read_frames(pictures / "b.mp4")]
    for index, number in zip(range(1, 5), (2, 7, 12, 17), strict=True):  # the middles of quarters of 20 frames
        assert np.abs(kept.pixels(index) / 255 - frames[number]).max() <= 0.5 / 255 + 1e-6
    skipped = {fact["source"].rpartition("/")[2]: fact["reason"] for fact in kept.summary()["skipped"]}
    assert set(skipped) == {"small.png", "cut.jpg", "hdr.mp4"}
    assert "90x30 is smaller than the square of 48" in skipped["small.png"] and "HDR" in skipped["hdr.mp4"]
    assert kept.summary()["pictures"] == 6 and "label" not in kept.summary()


def test_pictures_are_resized_by_their_short_side(tmp_path, pictures):
    _, kept = prepared(tmp_path, sources=[str(pictures / "a.png"), str(pictures / "small.png")], resize=50)
    assert [kept.pixels(i).shape for i in range(2)] == [(3, 50, 75), (3, 50, 150)]


def test_a_batch_is_a_function_of_seed_and_step_and_keys_name_pixels(tmp_path, pictures):
    data, kept = prepared(tmp_path, sources=str(pictures), variants=5)
    sampler, again, other = (data.batches(kept, batch=4, seed=seed) for seed in (1, 1, 2))
    seen: dict[str, torch.Tensor] = {}
    shown = []
    for step in range(30):
        batch = sampler.batch_at(step)
        assert batch.reference is None and batch.opinion is None
        assert batch.distorted.shape == (4, 1, 3, 48, 48)
        assert batch.distorted.min() >= 0 and batch.distorted.max() <= 1
        for key, clip in zip(batch.keys, batch.distorted, strict=True):
            assert torch.equal(seen.setdefault(key, clip), clip)
            shown.append(index_of(kept, key))
        if step % 7 == 0:
            assert torch.equal(batch.distorted, again.batch_at(step).distorted)
            assert batch.keys != other.batch_at(step).keys
    assert all(sorted(shown[first : first + 6]) == list(range(6)) for first in range(0, 120, 6))
    assert len(seen) <= 6 * 5 and len({tuple(clip.flatten().tolist()) for clip in seen.values()}) == len(seen)


def test_a_square_is_cut_out_of_a_larger_one_that_was_distorted(tmp_path, pictures):
    data, kept = prepared(tmp_path, sources=str(pictures), clean_share=0.3)
    sampler = data.batches(kept, batch=6)
    for step in range(10):
        batch = sampler.batch_at(step)
        for key, clip in zip(batch.keys, batch.distorted[:, 0], strict=True):
            index = index_of(kept, key)
            outer, inner, what = key.removeprefix(kept.name(index) + "@").replace("@", ":").split(":")
            size, left, top = outer.split("+")
            width, height = map(int, size.split("x"))
            left, top = int(left), int(top)
            picture = torch.from_numpy(kept.pixels(index)[:, top : top + height, left : left + width] / 255).float()
            assert picture.shape == (3, height, width) and 48 <= min(width, height) <= max(width, height) <= 63
            if what != "clean":
                name, _, drawn = what.partition("/")
                name, _, level = name.rpartition("-")
                picture = DISTORTIONS[name](picture, int(level), np.random.default_rng(int(drawn, 16)))
            right, down = map(int, inner.removesuffix("m").split("+")[1:])
            picture = picture[:, down : down + 48, right : right + 48]
            assert torch.equal(clip, picture.flip(-1) if inner.endswith("m") else picture)


def test_distortions_levels_and_clean_squares_come_as_often_as_asked(tmp_path, pictures):
    data, kept = prepared(tmp_path, sources=str(pictures / "a.png"), clean_share=0.25, levels=3)
    sampler = data.batches(kept)
    drawn = [sampler.variant(0, number, (60, 90)) for number in range(2000)]
    counts = Counter(v.distortion.name if v.distortion else "clean" for v in drawn)
    assert set(counts) == {*QUICK, "clean"} and all(450 < count < 550 for count in counts.values())
    levels = Counter(v.level for v in drawn)
    assert set(levels) == {1, 2, 3} and min(levels.values()) > 600
    places = {(v.outer.top + v.inner.top) % 8 for v in drawn}
    assert len(places) == 8 and {v.inner.top % 8 for v in drawn} == set(range(8))  # a coder's blocks lie anywhere
    picked = dataset(distortions={"webp": [5], "noise": [1, 2]}).batches(kept)
    assert {(v.distortion.name, v.level) for v in (picked.variant(0, n, (60, 90)) for n in range(300)) if v.distortion
            } == {("webp", 5), ("noise", 1), ("noise", 2)}  # fmt: skip
    assert all(v.distortion is None for v in (
        dataset(clean_share=1).batches(kept).variant(0, n, (60, 90)) for n in range(50)))  # fmt: skip


def test_variants_do_not_depend_on_where_the_files_lie(tmp_path, pictures):
    """A copy (with another time of change) gives the same pictures on another machine."""
    for place in ("one", "two"):
        (tmp_path / place / "set").mkdir(parents=True)
        (tmp_path / place / "set" / "a.png").write_bytes((pictures / "a.png").read_bytes())
    batches = []
    for place in ("one", "two"):
        data, kept = prepared(tmp_path / f"kept-{place}", sources=str(tmp_path / place / "set"))
        batches.append(data.batches(kept, batch=4).batch_at(2).distorted)
    assert torch.equal(*batches)


def test_the_photographs_of_the_demo(tmp_path):
    train, held = (
        prepared(tmp_path / part, part, crop=64, resize=64, distortions=sorted(DISTORTIONS))
        for part in ("train", "validation")
    )
    assert [len(kept) for _, kept in (train, held)] == [len(virtual_camera.TRAIN), len(virtual_camera.VALIDATION)]
    assert not set(train[1].names) & set(held[1].names)
    batch = train[0].batches(train[1], batch=10).batch_at(0)
    assert batch.distorted.shape == (10, 1, 3, 64, 64)


def test_mistakes(tmp_path, pictures):
    data, kept = prepared(tmp_path, sources=str(pictures / "a.png"))
    with pytest.raises(DataError, match=r"without scores can't judge.*unlabelled"):
        data.evaluate(kept, lambda clip: clip.mean(dim=(1, 2, 3, 4)))
    with pytest.raises(DataError, match="no such folder or file of pictures"):
        prepared(tmp_path, sources=str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no picture and no video"):
        prepared(tmp_path, sources=str(tmp_path / "empty"))
    with pytest.raises(DataError, match=r"none of 1 sources can be used \(small.png: 90x30 is smaller"):
        prepared(tmp_path, sources=str(pictures / "small.png"))
    with pytest.raises(DataError, match=r"two sources are named 'a\.png'"):
        prepared(tmp_path, sources=[str(pictures / "a.png"), str(pictures / "sub" / "a.png")])
    for wrong, said in (
        ({"distortions": ["jpg"]}, r"unknown distortion 'jpg' \(try: jpeg"),
        ({"distortions": []}, "at least 1"),
        ({"distortions": {"jpeg": [0]}}, "jpeg has the levels 1 to 5"),
        ({"distortions": {"jpeg": []}}, "jpeg has the levels 1 to 5"),
        ({"levels": LEVELS + 1}, "less than"),
        ({"resize": 40}, "does not fit"),
    ):
        with pytest.raises(ValidationError, match=said):
            dataset(**wrong)
