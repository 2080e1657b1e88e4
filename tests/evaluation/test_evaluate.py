"""An evaluation: its figures against scipy on scores taken by hand, what it keeps, and what it leaves out."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from compressvqa.errors import DataError
from compressvqa.evaluation import ScoreCache, evaluate, write_evaluation
from compressvqa.opinions import Manifest
from compressvqa.scoring import score
from compressvqa.scoring.scorer import Course, Facts, Scorer, Segment
from compressvqa.video import Clip, Pairing


class Counting(Scorer):
    """Scores a file by its size's digits and counts how often it is asked."""

    def __init__(self, name="counting", *, better=True, fails=()):
        self.facts = (Facts(name, f"test:{name}:{better}", higher_is_better=better),)
        self.asked, self.fails = [], fails

    def score(self, reference, distorted, pairing, progress=None):
        found = []
        for clip in distorted:
            if clip.path.name in self.fails:
                raise DataError("is damaged", where=clip.path)
            self.asked.append(clip.path.name)
            content, rung = clip.path.stem[1:].split("-")
            value = float(rung) + 0.3 * int(content)
            value = -value if self.facts[0].higher_is_better else value
            found.append({self.facts[0].name: Course(value, (Segment(0, 5, value),), {})})
        return found


def test_figures_against_scipy_on_scores_taken_one_by_one(noise_set, cache):
    found = evaluate(["psnr", "ssim"], [noise_set], cache=cache, resamples=200)
    mos = [item.mos for item in noise_set.items]
    for name in ("psnr", "ssim"):
        alone = [
            score(noise_set.reference(item).path, noise_set.distorted(item).path, model=name).score
            for item in noise_set.items
        ]
        row = found.row(name, "noise")
        assert row["srocc"] == pytest.approx(scipy.stats.spearmanr(alone, mos).statistic)
        assert row["krocc"] == pytest.approx(scipy.stats.kendalltau(alone, mos).statistic)
        assert row["srocc_low"] <= row["srocc"] <= row["srocc_high"] and row["n"] == 15
        assert row["ladder_accuracy"] == 1 and row["better_worse_auc"] > 0.9
        assert [item.score for item in found.items(name, "noise")] == pytest.approx(alone)


def test_direction_of_scores_and_of_the_data_set_turn_the_sign(noise_set, cache):
    models = [Counting("up"), Counting("down", better=False)]
    falling = replace(noise_set, name="dmos", higher_is_better=False,
                      items=tuple(replace(item, mos=-item.mos) for item in noise_set.items))  # fmt: skip
    found = evaluate(models, [noise_set, falling], cache=cache, resamples=0)
    assert [result.srocc > 0.9 for result in found.results] == [True] * 4


def test_nothing_is_scored_twice_also_where_files_were_renamed(noise_set, cache, tmp_path):
    first, second = Counting(), Counting()
    evaluate([first], [noise_set], cache=cache, resamples=0)
    assert len(first.asked) == 15
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for file in noise_set.folder.glob("*.y4m"):
        (moved / file.name).write_bytes(file.read_bytes())
    evaluate([second], [replace(noise_set, folder=moved)], cache=cache, resamples=0)
    assert second.asked == []
    (moved / "d0-0.y4m").write_bytes((moved / "d0-1.y4m").read_bytes())
    evaluate([second], [replace(noise_set, folder=moved)], cache=cache, resamples=0)
    assert second.asked == []  # the content of d0-1 has a score already, whatever it is called
    (moved / "d0-0.y4m").write_bytes((moved / "d0-0.y4m").read_bytes()[:-1] + b"z")
    evaluate([second], [replace(noise_set, folder=moved)], cache=cache, resamples=0)
    assert second.asked == ["d0-0.y4m"]
    third = Counting()
    evaluate([third], [noise_set], cache=cache, resamples=0, pairing=Pairing(subsample=2))
    assert len(third.asked) == 15  # another pairing is another score


def test_a_score_that_is_called_otherwise_is_the_same_score(noise_set, cache, tmp_path):
    from compressvqa.models import create_model, save

    folder = save(create_model("rankdvqa", widths=(4, 4, 6, 6, 8, 8), merge_width=8, mlp_width=8), tmp_path / "tiny")
    first = evaluate([folder], [noise_set], split="train", cache=cache, resamples=0, allow_random_weights=True)
    titled = evaluate(
        [folder],
        [noise_set],
        titles={str(folder): "ours"},
        split="train",
        cache=cache,
        resamples=0,
        allow_random_weights=True,
    )
    assert titled.row("ours", "noise")["srocc"] == first.row("tiny", "noise")["srocc"]
    rows = sqlite3.connect(cache / "scores.sqlite").execute("SELECT count(*) FROM scores").fetchone()
    assert rows == (5,)  # nothing was scored again


def test_what_one_model_cannot_score_counts_for_none(noise_set, cache):
    sound, failing = Counting("sound"), Counting("failing", fails=("d1-3.y4m", "d2-0.y4m"))
    found = evaluate([failing, sound], [noise_set], cache=cache, resamples=0)
    assert [result.n for result in found.results] == [13, 13]
    (facts,) = found.datasets
    assert facts.left_out == 2 and any("d1-3.y4m: " in note and "is damaged" in note for note in facts.notes)
    assert facts.faults.keys() == {"d1-3.y4m", "d2-0.y4m"} and "is damaged" in facts.faults["d2-0.y4m"]
    with pytest.raises(DataError, match=r"d1-3\.y4m: is damaged"):
        evaluate([Counting("failing", fails=("d1-3.y4m",))], [noise_set], cache=cache / "b", strict=True)
    everything = Counting("failing", fails=[f"d{c}-{r}.y4m" for c in range(3) for r in range(5)])
    with pytest.raises(DataError, match=r"noise: none of 15 items can be scored"):
        evaluate([everything], [noise_set], cache=cache / "c")


def test_retention_baseline_and_significance(noise_set, cache):
    found = evaluate([Counting("a"), "psnr"], [noise_set], cache=cache, teacher="psnr", resamples=0)
    a, psnr = (found.result(name, "noise") for name in ("a", "psnr"))
    assert a.retention == pytest.approx(a.srocc / psnr.srocc)
    assert found.significance.baseline == "psnr"
    assert found.wins("psnr", "noise") == 0 and found.wins("a", "noise") in (-1, 0, 1)
    with pytest.raises(DataError, match="teacher 'x' is none of the models"):
        evaluate(["psnr"], [noise_set], cache=cache, teacher="x")


def test_agreement_of_a_pruned_network_with_its_teacher(noise_set, cache, tmp_path):
    import numpy as np
    import torch

    from compressvqa import prune
    from compressvqa.models import create_model, example_inputs, save

    torch.manual_seed(0)
    teacher = create_model("c3dvqa", patch=64, stride=64, width=2, trunk_width=8)
    small = prune(teacher, example_inputs(teacher, size=64, frames=2), ratios={"sensitivity.2": 0.5}).model
    folders = [save(network, tmp_path / name) for name, network in (("whole", teacher), ("small", small))]
    found = evaluate(
        [*folders, "psnr", Counting("counted")],
        [noise_set],
        cache=cache,
        teacher="whole",
        resamples=0,
        allow_random_weights=True,
    )
    scores = {part.model: np.array([item.score for item in part.items]) for part in found.scores}
    row = found.row("small", "noise")
    assert row["agreement_plcc"] == pytest.approx(np.corrcoef(scores["small"], scores["whole"])[0, 1])
    assert row["agreement_mae"] == pytest.approx(np.abs(scores["small"] - scores["whole"]).mean())
    ranks = [
        [(scores[name] < value).sum() + (scores[name] == value).sum() / 2 for value in scores[name]]
        for name in ("small", "whole")
    ]
    assert row["agreement_srocc"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    for name in ("whole", "psnr", "counted"):  # the teacher itself, and what is no network
        assert found.row(name, "noise")["agreement_srocc"] is None
    written = write_evaluation(found, tmp_path / "judged")
    assert f"{row['agreement_srocc']:.4f}".lstrip("0") in (tmp_path / "judged" / "table.md").read_text()
    assert "raw scores with those of whole" in (tmp_path / "judged" / "table.md").read_text() and written
    alone = evaluate(folders, [noise_set], cache=cache, resamples=0, allow_random_weights=True)
    assert alone.row("small", "noise")["agreement_srocc"] is None, "nobody was named the teacher"


def test_a_part_of_a_data_set(noise_set, cache):
    found = evaluate(["psnr"], [noise_set], split="train", cache=cache, resamples=0)
    assert found.datasets[0].n == 5
    with pytest.raises(DataError, match=r"no part 'val'.*test, train"):
        evaluate(["psnr"], [noise_set], split="val", cache=cache)


def test_a_network_has_its_cost_beside_its_scores(noise_set, cache, tmp_path):
    from compressvqa.models import create_model, save

    folder = save(create_model("rankdvqa", widths=(4, 4, 6, 6, 8, 8), merge_width=8, mlp_width=8), tmp_path / "tiny")
    found = evaluate([folder, "psnr"], [noise_set], split="train", cache=cache, resamples=0, allow_random_weights=True)
    model, metric = found.models
    assert model.name == "tiny" and model.params > 0 and model.macs >= model.macs_conv_linear > 0
    assert metric.params is None and metric.macs is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_cost_of_an_image_metric_is_that_of_its_network_on_every_frame():
    import torch

    from compressvqa.evaluation.cost import costs
    from compressvqa.scoring.image_metrics import FrameScorer

    class Error(FrameScorer):
        def prepare(self, reference):
            return self.network(reference[0])

        def measure(self, prepared, distorted):
            return (prepared - self.network(distorted[0])).abs().mean().reshape(1)

    scorer = Error(torch.nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), Facts("error", "test"))
    (row,) = costs([scorer], scorer.facts, latency=True)
    assert row.params == 3 * 4 * 9
    assert row.macs == row.macs_conv_linear == 2 * 12 * 128 * 128 * 3 * 4 * 9  # both clips, twelve frames
    assert row.latency_ms > 0 and row.inputs == "12 frames of 256x256"


def test_a_data_set_that_is_not_there(noise_set, cache, tmp_path):
    gone = replace(noise_set, folder=tmp_path)
    with pytest.raises(DataError, match="not one of its 15 distorted files is there"):
        evaluate(["psnr"], [gone], cache=cache)
    with pytest.raises(DataError, match="two data sets are called 'noise'"):
        evaluate([Counting()], [noise_set, noise_set], cache=cache, resamples=0)


def test_scores_taken_elsewhere_need_no_files(noise_set, cache, tmp_path):
    from compressvqa.scoring.score_file import ScoreFile

    lines = ["dist,score", *(f"{item.distorted},{100 - item.mos}" for item in noise_set.items)]
    (tmp_path / "scores.csv").write_text("\n".join(lines))
    scorer = ScoreFile("published", tmp_path / "scores.csv", higher_is_better=False)
    found = evaluate([scorer], [replace(noise_set, folder=tmp_path / "none")], cache=cache, resamples=0)
    assert found.row("published", "noise")["srocc"] == pytest.approx(1)


def test_kept_scores_come_back_whole(noise_set, cache):
    kept = ScoreCache(cache)
    clip, facts = Clip(noise_set.folder / "d0-0.y4m"), Facts("a", "one")
    course = Course(0.1 + 0.2, (Segment(0, 11, 1 / 3), Segment(12, 13, -5e-9)), {"block": 12})
    assert kept.get(facts, None, clip, Pairing()) is None
    kept.put(facts, None, clip, Pairing(), course)
    kept.close()
    again = ScoreCache(cache)
    assert again.get(facts, None, clip, Pairing()) == course
    assert again.get(Facts("a", "two"), None, clip, Pairing()) is None
    assert again.get(facts, clip, clip, Pairing()) is None
    (cache / "scores.sqlite").write_bytes(b"no data base" * 100)
    with pytest.raises(DataError, match="can't be kept here"):
        ScoreCache(cache)


SLOW = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from compressvqa.opinions import read_manifest
from compressvqa.evaluation import evaluate
from evaluation.test_evaluate import Counting
class Slow(Counting):
    def score(self, *arguments, **more):
        print("asked", flush=True)
        time.sleep(float(sys.argv[1]))
        return super().score(*arguments, **more)
found = evaluate([Slow()], [read_manifest(Path({manifest!r}))], cache=Path({cache!r}), resamples=0)
print(found.row("counting", "noise")["n"])
"""


@pytest.mark.slow
def test_an_evaluation_that_was_killed_goes_on(noise_set, cache):
    script = SLOW.format(tests=str(Path(__file__).parents[1]), manifest=str(noise_set.folder / "manifest.csv"),
                         cache=str(cache))  # fmt: skip
    first = subprocess.Popen([sys.executable, "-c", script, "2"], stdout=subprocess.PIPE, text=True)
    for _ in range(3):  # the third pass has begun: two are kept
        first.stdout.readline()
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    time.sleep(0.1)
    done = subprocess.run([sys.executable, "-c", script, "0"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["asked"] * (done.stdout.count("asked")) + ["15"]
    assert done.stdout.count("asked") == 6 - 2  # three contents in two passes each


def test_flat_sets_without_references_take_only_models_that_need_none(noise_set, cache):
    alone = Manifest("alone", noise_set.folder, tuple(replace(item, reference=None) for item in noise_set.items))

    class Bare(Counting):
        def __init__(self):
            super().__init__("bare")
            self.facts = (replace(self.facts[0], mode="NR"),)

    found = evaluate([Counting(), Bare()], [alone], cache=cache, resamples=0)
    assert [result.model for result in found.results] == ["bare"]
    assert np.isfinite(found.row("bare", "alone")["srocc"])


def test_every_model_can_be_given_a_title(noise_set, cache):
    found = evaluate(
        ["psnr", "ssim"],
        [noise_set],
        titles={"psnr": "Peak"},
        baseline="Peak",
        teacher="ssim",
        cache=cache,
        resamples=0,
    )
    plain = evaluate(["psnr"], [noise_set], cache=cache, resamples=0)
    assert [result.model for result in found.results] == ["Peak", "ssim"]
    assert found.row("Peak", "noise")["srocc"] == plain.row("psnr", "noise")["srocc"]


def test_a_headerless_reference_in_two_formats_is_two_references(tmp_path, cache):
    """The same bytes read at 128x96 and at 96x128: each item is compared with the reference as that item says."""
    from compressvqa.opinions import Item

    codes = np.random.default_rng(0).integers(16, 235, 128 * 96 * 3 // 2, np.uint8).tobytes()
    (tmp_path / "r.yuv").write_bytes(codes)
    items = []
    for place, (width, height) in enumerate(((128, 96), (96, 128))):
        (tmp_path / f"d{place}.yuv").write_bytes(codes)
        items.append(Item(f"d{place}.yuv", mos=float(place), reference="r.yuv", width=width, height=height))
    found = evaluate(["psnr"], [Manifest("two", tmp_path, tuple(items))], cache=cache, resamples=0)
    assert all(item.score >= 60 for item in found.items("psnr", "two"))


def test_a_file_for_a_metric_that_takes_none(noise_set, cache):
    with pytest.raises(LookupError, match="psnr takes no file"):
        evaluate(["psnr=weights.pt"], [noise_set], cache=cache)
