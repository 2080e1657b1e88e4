"""The robustness benchmark: what conditions do to frames, what is counted, and a whole run on tiny clips."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import compressvqa as cv
from compressvqa.data import virtual_camera
from compressvqa.errors import CompressVQAError
from compressvqa.video.frames import Colour, Planes

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: names of tests come first

import itertools

import robustness
from robustness_parts import conditions, counts, table
from robustness_parts.scores import Item, training_of

BY_NAME = {condition.name: condition for condition in conditions.CONDITIONS}


def frames(seed: int, bitdepth: int = 8) -> Planes:
    dice = np.random.default_rng(seed)
    kind = np.uint8 if bitdepth == 8 else np.uint16
    low, high = 16 << (bitdepth - 8), 235 << (bitdepth - 8)
    y, u, v = (dice.integers(low, high, (8, side, side)).astype(kind) for side in (256, 128, 128))
    return Planes(y, u, v, "420", Colour(bitdepth, "bt709", False))


@pytest.mark.parametrize(
    "name, size", [("odd", (191, 253)), ("tiny", (96, 96)), ("4:3", (192, 256)), ("vertical", (256, 144))]
)
def test_other_sizes_are_cut_out_with_their_chroma(name, size):
    made = BY_NAME[name].change(frames(0), None)
    assert made.size == size
    assert made.u.shape[1:] == tuple(-(-side // 2) for side in size)


def test_ten_bit_holds_the_same_picture():
    before, after = frames(0), BY_NAME["10-bit"].change(frames(0), None)
    assert after.colour.bitdepth == 10
    assert (after.y >> 2 == before.y).all()
    assert np.unique(after.y & 3).tolist() == [0, 1, 2, 3]


def test_dark_is_an_eighth_of_the_light_and_stays_in_range():
    before, after = frames(0), BY_NAME["dark"].change(frames(0), None)
    light = [(((planes.y.astype(float) - 16) / 219) ** 2.2).mean() for planes in (before, after)]
    assert light[1] / light[0] == pytest.approx(1 / 8, rel=0.1)
    assert after.y.min() >= 16


def test_grain_has_the_size_that_is_said_and_moves():
    still = BY_NAME["static"].change(frames(0), None)
    flat = Planes(np.full_like(still.y, 120), still.u, still.v, "420", still.colour)
    grain = BY_NAME["grainy"].change(flat, None).y.astype(float) - 120
    assert grain.std() == pytest.approx(6, rel=0.02)
    assert abs(np.corrcoef(grain[0].ravel(), grain[1].ravel())[0, 1]) < 0.02


def test_a_cut_lies_inside_a_block_and_static_does_not_move():
    one, other = frames(0), frames(1)
    made = BY_NAME["cut"].change(one, other)
    assert (made.y[:3] == one.y[:3]).all()
    assert (made.y[3:] == other.y[3:]).all()
    assert 24 * 3 // 8 % 12 != 0  # with the frames of the benchmark, not where a block ends
    assert (BY_NAME["static"].change(one, None).y == one.y[0]).all()
    assert np.unique(BY_NAME["black"].change(one, None).y).tolist() == [16]


def test_upscaled_has_no_detail_of_its_own_size():
    made = BY_NAME["upscaled"].change(frames(0), None)
    spectrum = np.abs(np.fft.fft2(made.y[0].astype(float) - made.y[0].mean()))
    assert spectrum[:, 96:160].sum() < 0.05 * spectrum.sum()


def test_every_order_that_is_broken_is_listed_and_no_other():
    def item(content: str, codec: str, quality: int) -> Item:
        return Item(content, codec, quality, 100.0 - quality, Path(f"{content}{codec}{quality}"), Path(content))

    items = [
        item("a", "x264", 40),
        item("a", "x264", 20),
        item("a", "x264", 30),
        item("a", "vp9", 20),
        item("b", "vp9", 60),
    ]
    pairs, tied, broken = counts.ladders(items, [3.0, 2.0, 2.0, 9.0, 9.5])
    # 20 and 30 are tied, 40 is ahead of 30; ladders of other contents and encoders are not compared.
    assert (pairs, tied) == (2, 1)
    assert [(one.content, one.codec, one.better, one.worse, one.rise) for one in broken] == [("a", "x264", 30, 40, 1.0)]
    found = counts.tops(items, [3.0, 2.0, 2.0, 9.0, 9.5], {"a": 5.0, "b": 10.0})
    assert found["ahead"] == 1
    assert found["ahead_of_any"] == 2
    assert counts.srocc(items, [-40.0, -20.0, -30.0, -20.0, -60.0]) == pytest.approx(1)
    assert counts.srocc(items, [1.0] * 5) is None


def test_what_training_saw_is_read_from_the_run(small_recipe, tmp_path):
    (tmp_path / "run").mkdir()
    for recipe, codecs in ((small_recipe, ["x264"]), ("reference/teacher", sorted(conditions.LADDERS))):
        (tmp_path / "run" / "recipe.yaml").write_text(cv.Recipe.load(recipe).to_yaml())
        assert training_of(tmp_path / "run" / "model") == {"codecs": codecs}
    assert training_of(tmp_path / "model") is None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The benchmark on three contents of 96 pixels, and black ones, with a network that learnt nothing."""
    place = tmp_path_factory.mktemp("robustness")
    torch.manual_seed(0)
    network = cv.create_model("rankdvqa", widths=(4, 4, 6, 6, 8, 8), merge_width=8, mlp_width=8)
    for parameter in network.parameters():
        parameter.data *= 1.1  # weights as drawn are refused
    cv.save(network, place / "model")
    arguments = ["--network", f"tiny={place / 'model'}", "--seen", "tiny=x264", "--contents", "3", "--frames", "12"]
    arguments += ["--data", str(place / "data"), "--results", str(place / "results"), "--conditions", "tiny", "black"]
    return robustness.main(arguments), place, arguments


def test_a_whole_run_lists_conditions_and_repeats(run):
    result, place, _ = run
    found = result["networks"]["tiny"]
    assert found["conditions"]["tiny"]["pairs"] == 3 * 2 * 2  # contents, encoders, neighbours of three rungs
    assert found["conditions"]["tiny"]["finite"]
    assert found["repeats"]["runs"] == 0.0
    assert found["repeats"]["threads"] < 1e-3 * (found["range"][1] - found["range"][0])
    page = (place / "results" / "robustness.md").read_text()
    wrong, pairs = found["conditions"]["tiny"]["wrong"], found["conditions"]["tiny"]["pairs"]
    assert f"| tiny | 96x96 | {pairs} | {wrong}" in page
    listed = sum(len(c["broken"]) for c in found["conditions"].values())
    assert f"**tiny**: {listed} in all" in page
    assert str(place) not in page
    # The same counts from the scores that were kept, worked out here.
    kept = json.loads(next((place / "data").glob("scores-*.json")).read_text())
    ladder = {name: score for name, score in kept.items() if name.startswith("tiny-") and "/distorted/" in name}
    wrong = 0
    for folder in {str(Path(name).parent) for name in ladder}:
        for codec, rungs in (("x264", (22, 34, 46)), ("svt-av1", (30, 52, 63))):
            scores = [ladder[f"{folder}/{codec}-q{rung}.mkv"] for rung in rungs]
            wrong += sum(low > high for high, low in itertools.pairwise(scores))
    assert wrong == found["conditions"]["tiny"]["wrong"]


def test_it_goes_on_where_it_was_and_asks_no_file_twice(run, monkeypatch):
    result, _place, arguments = run
    monkeypatch.setattr(robustness, "repeated", lambda network, items: result["networks"]["tiny"]["repeats"])
    monkeypatch.setattr("robustness_parts.scores.score_several", None)
    again = robustness.main(arguments)
    assert again["networks"]["tiny"]["conditions"] == result["networks"]["tiny"]["conditions"]


def test_sources_may_be_any_folder_of_photographs(tmp_path):
    from PIL import Image

    dice = np.random.default_rng(0)
    for number in range(3):
        coarse = dice.integers(0, 255, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((390, 280), Image.Resampling.BICUBIC).save(tmp_path / f"photo{number}.png")
    found = conditions.references([str(tmp_path)], 5, 4)
    assert sorted(found) == [f"photo{number}.png" for number in range(3)]
    assert all(planes.y.shape == (4, 256, 256) for planes in found.values())
    built_in = conditions.references(["builtin"], 3, 4)
    assert set(built_in) <= set(virtual_camera.VALIDATION)  # kept apart from built-in training
    (tmp_path / "photo2.png").unlink()
    with pytest.raises(CompressVQAError, match="2 contents are too few"):
        conditions.references([str(tmp_path)], 5, 4)


def test_a_table_without_plain_clips_leaves_encoders_out(run):
    result, *_ = run
    assert "Each encoder alone" not in robustness.page(result)
    assert table.repeats(result)[2].startswith("| tiny | 6 |")


def test_encoders_that_no_recipe_trains_on_are_the_benchmarks_alone(tmp_path):
    from compressvqa.data.ladder import CODECS

    assert not set(conditions.UNSEEN) & set(CODECS)
    small = {name: frames(n).crop(0, 0, 96, 96) for n, name in enumerate("abc")}
    small = {name: conditions._each(planes, np.ascontiguousarray) for name, planes in small.items()}
    few = conditions.Condition(
        "few", "", conditions._plain, tuple(r for r in conditions.OTHERS if r.quality in (2, 31))
    )
    from robustness_parts.scores import encoded

    items = encoded(few, small, tmp_path)
    assert {(item.codec, item.quality) for item in items} == {(c, q) for c in ("mpeg2", "mpeg4") for q in (2, 31)}
    assert all(worse.label < better.label for better, worse in zip(items[::2], items[1::2], strict=True))
    assert not set(conditions.UNSEEN) & set(CODECS)
