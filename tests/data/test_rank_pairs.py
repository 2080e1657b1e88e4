from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from compressvqa.data import RankPairs, virtual_camera
from compressvqa.data.vmaf import LABELS
from compressvqa.errors import DataError
from compressvqa.registry import datasets

from .clips import make

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
