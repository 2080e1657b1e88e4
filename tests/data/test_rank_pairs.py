from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from clips import make
from PIL import Image
from pydantic import ValidationError

from compressvqa import fingerprint
from compressvqa.data import RankPairs, virtual_camera
from compressvqa.data.filming import Camera
from compressvqa.data.orders import rung_name
from compressvqa.data.sources import PhotographSource
from compressvqa.errors import DataError
from compressvqa.registry import datasets
from compressvqa.video.vmaf import LABELS

LADDER = [{"codec": "x264", "crf": [24, 36, 46]}]
SMALL = {"frames": 2, "size": 96, "ladder": LADDER, "patches_per_clip": 1}


def config(**changes) -> RankPairs.Config:
    return RankPairs.Config.model_validate(SMALL | changes)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number, source in enumerate(["testsrc2", "mandelbrot", "testsrc", "rgbtestsrc"]):
        make(folder / f"v{number}.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", source=source, size="128x96", frames=6)
    return folder


def names(dataset, part):
    return [source.content for source in dataset.sources(part)]


def test_it_is_registered_under_its_name():
    assert datasets["rank-pairs"].value is RankPairs


def test_the_default_ladder_has_every_codec_and_resolution_changes():
    rungs = [rung for choice in RankPairs.Config().ladder for rung in choice.rungs()]
    assert {rung.codec for rung in rungs} == {"x264", "x265", "svt-av1", "vp9", "vvc"}
    assert len({rung.name for rung in rungs}) == len(rungs) == 10
    assert sum(rung.scale < 1 for rung in rungs) == 3


def test_built_in_content_is_split_by_photograph():
    dataset = RankPairs(config())
    assert names(dataset, "train") == virtual_camera.photographs("train")
    assert names(dataset, "validation") == virtual_camera.photographs("validation")


def test_a_share_splits_the_contents(videos):
    dataset = RankPairs(config(sources=str(videos), validation=0.25))
    train, validation = names(dataset, "train"), names(dataset, "validation")
    assert sorted(train + validation) == ["v0.mkv", "v1.mkv", "v2.mkv", "v3.mkv"] and len(validation) == 1
    both = RankPairs(config(validation=0.25))
    assert len(names(both, "validation")) == 4 and not set(names(both, "train")) & set(names(both, "validation"))


def test_lists_of_folders_and_files(videos, tmp_path):
    make(tmp_path / "v0.mkv", "-c:v", "ffv1", size="128x96", frames=6)
    dataset = RankPairs(config(sources=[str(videos), str(tmp_path / "v0.mkv")]))
    assert names(dataset, "train") == [f"{videos.name}/v0.mkv", "v1.mkv", "v2.mkv", "v3.mkv", f"{tmp_path.name}/v0.mkv"]


def test_a_video_on_both_sides_is_refused(videos):
    dataset = RankPairs(config(sources=str(videos), validation=[str(videos / "v2.mkv")]))
    with pytest.raises(DataError, match=r"v2\.mkv: 1 of the files are in training and in validation"):
        dataset.sources("train")


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds no video"):
        RankPairs(config(sources=str(tmp_path))).prepare(tmp_path / "out", part="train")
    with pytest.raises(DataError, match=r"no such folder"):
        RankPairs(config(validation=str(tmp_path / "none"))).prepare(tmp_path / "out", part="train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ladder": [{"codec": "x264", "crf": [99]}]}, "x264 has no quality 99"),
        ({"ladder": [{"codec": "h264", "crf": [30]}]}, "ladder.0.codec"),
        ({"ladder": []}, "ladder"),
        ({"ladder": [{"codec": "x264", "crf": [30], "scales": [2.0]}]}, "scale of 2"),
        ({"validation": 1.5}, "share of 1.5"),
        ({"downscale": 0}, "downscale: 0 is not a factor"),
        ({"sizes": [64]}, "sizes: 64 is outside 96"),
        ({"sizes": [128]}, "sizes: 128 is outside 96.*to 96"),
        ({"size": 64}, "greater than or equal to 96"),
        ({"size": 97}, "multiple of 2"),
        ({"label": "ssim"}, "vmaf_v0.6.1"),
        ({"soures": "x"}, "soures"),
        ({"two_content_share": 1.1}, "two_content_share"),
        ({"distortions": {"nois": [1]}}, "distortions: unknown distortion 'nois'"),
        ({"distortions": {"noise": [9]}}, "distortions: there is no level 9"),
        ({"ladder": [{"codec": "vvc", "crf": [30], "depth": 8}]}, "vvc does not code 8 bit"),
        ({"ladder": [{"codec": "x264", "crf": [30], "first": {"codec": "x264", "crf": 99}}]}, "no quality 99"),
        ({"certain": {"ladder": 0.7, "reference": 0.7}}, "shares of 1.4 together"),
        ({"certain": {"leader": 0.1}}, "ladder"),
        ({"agree": ["vmaf_v0.6.1"]}, "is the label itself"),
        ({"camera": {"noise": 2}}, "camera.noise"),
    ],
)
def test_settings_that_cannot_be(change, message):
    with pytest.raises(ValidationError, match=message):
        config(**change)


def test_settings_have_a_json_schema_that_editors_can_read():
    properties = RankPairs.Config.model_json_schema()["properties"]
    assert all(text.get("description") for text in properties.values())
    assert set(RankPairs.Config.model_json_schema()["$defs"]) == {
        "CameraChoice", "FirstChoice", "LadderChoice", "RawChoice",
    }  # fmt: skip


def test_settings_of_drawing_do_not_build_again(videos, tmp_path, monkeypatch):
    built = RankPairs(config(sources=str(videos))).prepare(tmp_path / "train", part="train")
    monkeypatch.setattr("compressvqa.data.ladder.distort", None)
    other = config(sources=str(videos), label="psnr_y", gap=1.0, variants=9, swap=False)
    assert RankPairs(other).prepare(tmp_path / "train", part="train").entries == built.entries


def test_the_whole_way_from_videos_to_batches_and_figures(videos, tmp_path):
    dataset = RankPairs(config(sources=str(videos), validation=0.5))
    train = dataset.prepare(tmp_path / "train", part="train")
    validation = dataset.prepare(tmp_path / "validation", part="validation")
    assert not {entry.content for entry in train.entries} & {entry.content for entry in validation.entries}
    batch = dataset.batches(train, batch=4, seed=1).batch_at(0)
    assert batch.reference_a.shape == (4, 2, 3, 96, 96)

    def psnr(reference, distorted):
        return -10 * torch.log10(((reference - distorted) ** 2).mean(dim=(1, 2, 3, 4)))

    seen = []
    figures = dataset.evaluate(validation, psnr, lambda done, total: seen.append((done, total)))
    assert figures["n"] == len(validation) == 6 and seen[-1] == (6, 6)
    assert figures["srocc"] > 0.5 and figures["pair_accuracy"] > 0.7
    moved = []
    for far in (1e3, -1e3):  # an offset for one of the contents: its own order stays, that of all of them goes
        offset = iter([far * (entry.content == validation.entries[0].content) for entry in validation.entries])
        moved.append(dataset.evaluate(validation, lambda r, d: psnr(r, d) + torch.tensor([next(offset) for _ in r])))  # noqa: B023
    for one in moved:
        assert one["srocc_within"] == pytest.approx(figures["srocc_within"]) and figures["srocc_within"] > 0.5
    assert min(one["srocc"] for one in moved) < figures["srocc"] - 0.1
    worse = dataset.evaluate(validation, lambda reference, distorted: -psnr(reference, distorted))
    assert worse["srocc"] == pytest.approx(-figures["srocc"])
    assert worse["pair_accuracy"] == pytest.approx(1 - figures["pair_accuracy"])


def test_judging_by_the_label_itself_is_perfect(videos, tmp_path):
    dataset = RankPairs(config(sources=str(videos)))
    examples = dataset.prepare(tmp_path / "train", part="train")
    truth = iter(examples.label("vmaf_v0.6.1"))
    figures = dataset.evaluate(examples, lambda r, d: torch.tensor([next(truth) for _ in r], dtype=torch.float64))
    assert figures["srocc"] == pytest.approx(1.0) and figures["pair_accuracy"] == 1.0


def test_built_in_content_goes_through(tmp_path, monkeypatch):
    monkeypatch.setattr(virtual_camera, "VALIDATION", ("coffee.png",))
    examples = RankPairs(config()).prepare(tmp_path, part="validation")
    assert len(examples) == 3 and set(examples.entries[0].labels) == set(LABELS)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for number, name in enumerate(["a.png", "b.jpg", "small.png"]):
        noise = np.random.default_rng(number).integers(0, 256, (10, 12, 3), np.uint8)
        side = 40 if name == "small.png" else 160
        Image.fromarray(noise).resize((side + 20, side), Image.Resampling.BICUBIC).save(folder / name)
    (folder / "licence.txt").write_text("mine")
    return folder


def test_videos_photographs_and_built_in_content_go_through_together(videos, photographs, tmp_path):
    once = {"codec": "x264", "crf": [40]}
    choices = {
        "sources": [str(videos), str(photographs), "builtin"], "validation": 0.2, "takes_per_photograph": 2,
        "camera": {"noise": 1.0, "ten_bit": 0.5}, "distortions": {"noise": [2, 4]},
        "ladder": [once, once | {"first": {"codec": "x265", "crf": 30}}],
    }  # fmt: skip
    dataset = RankPairs(config(**choices))
    train, held = names(dataset, "train"), names(dataset, "validation")
    assert {"v0.mkv", "a.png", "b.jpg", "coffee.png", "page.png"} < {*train, *held} and not set(train) & set(held)
    few = [str(videos / "v0.mkv"), str(photographs)]
    dataset = RankPairs(config(**choices | {"sources": few, "validation": "builtin"}))
    examples = dataset.prepare(tmp_path / "set", part="train")
    assert [(s["source"], s["reason"]) for s in examples.skipped] == [
        ("small.png", "a photograph of 60x40 is smaller than a patch of 96x96")
    ]
    counts = Counter(reference.content for reference in examples.references)
    assert counts == {"v0.mkv": 1, "a.png": 2, "b.jpg": 2}
    assert Counter(rung_name(entry) for entry in examples.entries) == dict.fromkeys(
        ["x264-q40", "x264-q40-after-x265-q30", "noise-2", "noise-4"], 5
    )
    assert examples.summary()["codecs"] == {"noise": 10, "x264": 10}


def test_a_photograph_is_told_by_what_it_holds(photographs, tmp_path):
    shutil.copy(photographs / "a.png", tmp_path / "other.png")
    with pytest.raises(DataError, match=r"other.png: 1 of the files are in training and in validation"):
        RankPairs(config(sources=str(photographs), validation=str(tmp_path))).sources("train")
    with pytest.raises(DataError, match=r"other.png: is the same file as .*a.png"):
        RankPairs(config(sources=[str(photographs), str(tmp_path)])).sources("train")


def test_identity_is_content_and_name_and_camera(photographs, tmp_path):
    path = tmp_path / "a.png"
    shutil.copy(photographs / "a.png", path)
    one = PhotographSource("a.png", path)
    assert one.identity == PhotographSource("a.png", photographs / "a.png").identity
    assert one.identity != PhotographSource("b.png", path).identity
    assert one.identity != PhotographSource("a.png", path, Camera(noise=0.5)).identity
    shutil.copy(photographs / "b.jpg", path)
    assert one.identity != PhotographSource("a.png", photographs / "a.png").identity


def test_large_files_are_told_by_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "PIECE", 8)
    monkeypatch.setattr(fingerprint, "PIECES", 4)
    path, data = tmp_path / "file", bytearray(range(200))
    found = set()
    for change in (None, 0, 199, 64):  # 64: in a piece; first and last bytes always are
        path.write_bytes(bytes(data) if change is None else bytes(data[:change] + b"\xff" + data[change + 1 :]))
        found.add(fingerprint.file_digest(path))
    path.write_bytes(bytes(data) + b"x")
    assert len(found | {fingerprint.file_digest(path)}) == 5
    with pytest.raises(DataError, match="can't be read"):
        fingerprint.file_digest(tmp_path / "none")
