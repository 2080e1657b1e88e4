"""Scores on a network's scale: what identical files get, raw scores beside it, pooling, and what loses the scale."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

import compressvqa as cv
from compressvqa.errors import WeightsError
from compressvqa.metrics.score_scale import ScoreScale
from compressvqa.models.scales import fit_to_labels, scale_of, set_scale
from compressvqa.scoring import NetworkScorer, score, score_all, score_several, to_json

SCALE = ScoreScale((-0.2, 0.0), (30.0, 90.0), "VMAF 0.6.1 of 9 patches")


class ByContent(nn.Module):
    """A network whose score of identical clips hangs on what they show, as RankDVQA's does."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, reference, distorted):
        brightness = reference[:, :, :, ::2].mean((1, 2, 3, 4))
        return self.weight * (-(reference - distorted).abs().mean((1, 2, 3, 4)) - brightness)


@pytest.fixture
def network():
    found = ByContent()
    set_scale(found, SCALE)
    return found


def test_identical_files_get_the_top_and_others_what_the_curve_says(write, network):
    reference, distorted = write("r.y4m", 30), write("d.y4m", 30, noise=0.1)
    same, other = score(reference, reference, model=network), score(reference, distorted, model=network)
    assert same.score == 100 and {part.score for part in same.per_segment} == {100}
    assert same.raw_score < 0 and SCALE(same.raw_score) < 90, "the network itself does not know it"
    raw = [part.raw for part in other.per_segment]
    assert [part.score for part in other.per_segment] == pytest.approx(SCALE.map(raw).tolist(), abs=1e-9)
    assert other.score == pytest.approx(np.mean(SCALE.map(raw)), abs=1e-9) == pytest.approx(other.pooled["mean"])
    assert other.raw_score == pytest.approx(np.mean(raw), abs=1e-6)
    assert "100" in other.meaning and "0 to 100" in other.meaning


def test_one_value_less_is_not_identical(write, tmp_path, network):
    reference = write("r.y4m", 12)
    data = bytearray(reference.read_bytes())
    data[-4000] ^= 4
    (tmp_path / "one.y4m").write_bytes(bytes(data))
    assert score(reference, tmp_path / "one.y4m", model=network).score < 100


def test_a_file_that_is_identical_in_one_block_only(write, tmp_path, network):
    reference, distorted = write("r.y4m", 24), write("d.y4m", 24, noise=0.1)
    a, b = reference.read_bytes(), distorted.read_bytes()
    header = a.index(b"\n") + 1
    half = header + (len(a) - header) // 2
    (tmp_path / "half.y4m").write_bytes(a[:half] + b[half:])
    found = score(reference, tmp_path / "half.y4m", model=network)
    first, second = found.per_segment
    assert first.score == 100 and second.score == pytest.approx(SCALE(second.raw))
    assert found.score == pytest.approx((100 + second.score) / 2)


def test_the_same_beside_each_other(write):
    torch.manual_seed(0)
    network = cv.create_model("rankdvqa", widths=(4, 4, 6, 6, 8, 8), merge_width=8, mlp_width=8)
    set_scale(network, ScoreScale((-50.0, 50.0), (20.0, 80.0), "x"))
    files = [write(f"{n}.y4m", 14, noise=noise, height=128, width=128) for n, noise in enumerate((0, 0.05, 0.2))]
    settings = {"model": network, "allow_random_weights": True}
    together = score_several(files[0], files, **settings)
    alone = [score(files[0], file, **settings) for file in files]
    assert [one.to_dict() for one in together] == [one.to_dict() for one in alone]
    assert together[0].score == 100
    order = [[one.raw_score for one in together[1:]], [one.score for one in together[1:]]]
    assert np.argsort(order[0]).tolist() == np.argsort(order[1]).tolist()


def test_in_tiles(write, network):
    files = [write(f"{n}.y4m", 2, noise=noise, height=520, width=544) for n, noise in enumerate((0, 0.05))]
    same, other = (score(files[0], file, model=network, max_pixels=512 * 512) for file in files)
    assert same.settings["tiles"] > 1 and same.score == 100
    assert other.score == pytest.approx(SCALE(other.raw_score))


def test_a_network_that_pools_features_is_read_at_the_end(write):
    class Pools(ByContent):
        def prepare(self, reference):
            return reference

        def partial(self, reference, distorted):
            return torch.stack([self(reference, distorted), reference.mean().reshape(1)], dim=1).reshape(1, 1, 2)

        def pool(self, partials):
            joined = torch.cat(list(partials), dim=1)
            return (joined[..., 0] * joined[..., 1]).sum(1) / joined[..., 1].sum(1)

    network = Pools()
    set_scale(network, SCALE)
    reference, distorted = write("r.y4m", 30), write("d.y4m", 30, noise=0.1)
    found = score(reference, distorted, model=network)
    assert found.score == pytest.approx(SCALE(found.raw_score))
    assert score(reference, reference, model=network).score == 100


def test_no_reference_networks_know_nothing_of_identity(write):
    from compressvqa.models import ModelSpec

    class Brightness(ByContent):
        def forward(self, distorted):
            return self.weight * distorted.mean((1, 2, 3, 4))

    network = Brightness()
    network.compressvqa_spec = ModelSpec("brightness", mode="NR")
    set_scale(network, SCALE)
    file = write("d.y4m", 12)
    found = score(file, file, model=network)
    assert found.score == pytest.approx(SCALE(found.raw_score)) and found.score < 100
    assert "identical" not in found.meaning


def test_the_log_holds_both_and_pools_read_what_is_read(write, network):
    files = [write("r.y4m", 30), write("d.y4m", 30, noise=0.1)]
    ours, psnr = score_all(files[0], files[1:], [network, "psnr"], pools=["min"])
    log = json.loads(to_json([ours]))
    assert log["raw_score"] == ours.raw_score and log["score"] == min(one.score for one in ours.per_segment)
    assert [frame["raw"]["ByContent"] for frame in log["frames"]] == [one.raw for one in ours.per_segment]
    both = json.loads(to_json([ours, psnr]))
    assert both["raw_score"] == {"ByContent": ours.raw_score, "psnr": None}
    raw = {frame["lastFrameNum"]: frame["raw"] for frame in both["frames"] if "raw" in frame}
    assert raw == {one.last_frame: {"ByContent": one.raw} for one in ours.per_segment}
    assert dict(ours.lines())["raw score"]


def test_another_scale_is_another_score(write, network):
    other = copy.deepcopy(network)
    set_scale(other, ScoreScale((-0.2, 0.0), (30.0, 91.0), "VMAF 0.6.1 of 9 patches"))
    none = copy.deepcopy(network)
    set_scale(none, None)
    assert len({NetworkScorer(one).facts[0].identity for one in (network, other, none)}) == 3
    raw = score(write("r.y4m", 12), write("d.y4m", 12, noise=0.1), model=none)
    assert raw.raw_score is None and "raw" not in raw.to_dict()["frames"][0] and "no fixed range" in raw.meaning


def test_an_evaluation_keeps_raw_scores(write, network, tmp_path):
    from compressvqa.evaluation.cache import ScoreCache
    from compressvqa.video.clip import Clip, Pairing

    files = [Clip(write("r.y4m", 24)), Clip(write("d.y4m", 24, noise=0.1))]
    scorer = NetworkScorer(network)
    (course,) = (one["ByContent"] for one in scorer.score(files[0], files[1:], Pairing()))
    kept = ScoreCache(tmp_path)
    kept.put(scorer.facts[0], files[0], files[1], Pairing(), course)
    again = kept.get(scorer.facts[0], files[0], files[1], Pairing())
    kept.close()
    assert (again.score, again.segments, again.raw) == (course.score, course.segments, course.raw)


# --- what a scale belongs to ---------------------------------------------------------------------------------------


def small():
    torch.manual_seed(0)
    return cv.create_model("rankdvqa", widths=(4, 6, 8, 10, 12, 14), merge_width=8, mlp_width=8)


def test_it_is_kept_with_the_network(tmp_path):
    network = small()
    set_scale(network, SCALE)
    assert scale_of(copy.deepcopy(network)) == scale_of(copy.deepcopy(network).half()) == SCALE
    folder = cv.save(network, tmp_path / "net")
    assert scale_of(cv.load(folder)) == scale_of(cv.create_model("rankdvqa", weights=folder)) == SCALE
    config = json.loads((folder / "config.json").read_text())
    config["scale"]["raw"] = [1, 1]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"config\.json.*no scale"):
        cv.load(folder)


def test_it_is_gone_when_its_weights_are_others(tmp_path):
    network = small()
    set_scale(network, SCALE)
    inputs = cv.example_inputs(network, size=96)
    assert scale_of(cv.prune(network, inputs, ratios=0.3, verify=False).model) is None
    trained = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-3)
    trained(*inputs).sum().backward()
    optimizer.step()
    assert scale_of(trained) is None and scale_of(network) == SCALE
    assert json.loads((cv.save(trained, tmp_path / "t") / "config.json").read_text())["scale"] is None


def test_fitting_says_why_there_is_none():
    network = small()
    labels = np.linspace(0, 100, 40)
    assert "not known" in fit_to_labels(network, labels, labels, span=None, fitted_to="x")["none"]
    assert "don't follow" in fit_to_labels(network, -labels, labels, span=(0, 100), fitted_to="x")["none"]
    assert scale_of(network) is None
    found = fit_to_labels(network, labels, labels, span=(0, 100), fitted_to="x", identical=[101.0])
    assert scale_of(network) is not None and found["rmse"] < 5 and 90 < found["identical"]["lowest"] < 100
