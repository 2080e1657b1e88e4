"""The curve of agreement with people: heads on kept statistics are the networks, and points are what they say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr

import compressvqa as cv
from compressvqa.errors import DataError
from compressvqa.opinions import Item, Manifest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: names of tests come first

import people_curve


@pytest.fixture
def stills(tmp_path) -> Manifest:
    """A picture in four degrees of noise, beside itself, on two sizes."""
    dice = np.random.default_rng(0)
    items = []
    for content, (height, width) in (("a", (96, 128)), ("b", (160, 96))):
        picture = dice.integers(0, 256, (height // 16, width // 16, 3)).repeat(16, 0).repeat(16, 1)
        for degree in range(4):
            noisy = (picture + dice.normal(0, 12 * degree, picture.shape)).clip(0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(tmp_path / f"{content}{degree}.png")
            items.append(Item(f"{content}{degree}.png", 5.0 - degree, reference=f"{content}0.png", content=content))
    return Manifest("stills", tmp_path, tuple(items))


def distance(terms: tuple[str, ...], seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    network = cv.create_model("feature-distance", terms=terms, frames=1).eval()
    with torch.no_grad():
        for weight in network.weighing.parameters():
            weight.normal_(0, 0.5)
    return network


def test_heads_on_kept_statistics_say_what_the_networks_say(stills, tmp_path):
    first = distance(people_curve.KINDS["lpips"], 1)
    heads = people_curve.Heads([stills], tmp_path / "kept.pt")
    heads.take(first.backbone)
    again = people_curve.Heads([stills], tmp_path / "kept.pt")  # out of the file
    for kind, terms in people_curve.KINDS.items():
        network = distance(terms, 2)
        network.backbone.load_state_dict(first.backbone.state_dict())
        found = again.scores(network)
        for item in stills.items:
            pair = (people_curve.stacked(side) for side in people_curve.shown(stills, item))
            with torch.inference_mode():
                assert found[item.distorted] == pytest.approx(float(network(*pair)), abs=1e-4), (kind, item)
        assert found["a0.png"] == pytest.approx(0, abs=1e-4)
    other = distance(people_curve.KINDS["vif"], 3)  # another backbone: what was kept is not its own
    again.manifests = [Manifest("worst first", stills.folder, stills.items[::-1])]
    with pytest.raises(DataError, match="kept statistics give"):
        again.scores(other)


def test_a_point_is_judged_on_patches_with_a_label_and_on_each_set_of_stills(stills):
    class Patches:
        def label(self, name):
            return [10.0, None, 30.0, 20.0, 60.0]

    judge = people_curve.Judge([stills], Patches())
    of_patches = np.array([1.0, 99.0, 2.0, 3.0, 4.0])
    scores = {item.distorted: number % 3 + item.mos for number, item in enumerate(stills.items)}
    found = judge(of_patches, scores)
    assert found["vmaf"] == pytest.approx(spearmanr([1, 2, 3, 4], [10, 30, 20, 60]).statistic)
    mos, said = [item.mos for item in stills.items], [scores[item.distorted] for item in stills.items]
    assert found["test1"]["srocc"] == pytest.approx(spearmanr(said, mos).statistic)
    assert found["test1"]["within"] == pytest.approx(
        np.mean([spearmanr(said[first : first + 4], mos[first : first + 4]).statistic for first in (0, 4)])
    )
    assert found["test1"]["low"] <= found["test1"]["srocc"] <= found["test1"]["high"]


def test_the_figure_and_the_table_show_every_point(tmp_path):
    one = {"srocc": 0.5, "low": 0.4, "high": 0.6, "within": 0.7}
    points = [
        {"curve": curve, "at": at, "vmaf": 0.9, "test1": one, "test2": one}
        for curve, at in (("lpips", 0), ("lpips", 7), ("vif", 0), ("mixed", 0.0), ("ships", "net"), ("metric", "psnr"))
    ]
    people_curve.draw(points, tmp_path / "figure.svg")
    assert "networks that ship" in (tmp_path / "figure.svg").read_text()
    assert len(people_curve.table(points)) == 2 + len(points)
