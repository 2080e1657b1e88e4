"""What an evaluation says: directions that look wrong, what was left out and why, cost; and how data sets are named."""

import shutil
from dataclasses import replace

import pytest
import torch
from evaluation.conftest import make_set
from evaluation.test_evaluate import Counting
from torch import nn

from compressvqa.errors import DataError
from compressvqa.evaluation import evaluate
from compressvqa.metrics import fits
from compressvqa.opinions import Manifest, read_dataset, read_manifest, write_manifest
from compressvqa.opinions.read import looks_like_dataset
from compressvqa.scoring.image_metrics import FrameScorer
from compressvqa.scoring.network import NetworkScorer
from compressvqa.scoring.scorer import Facts


def notes_of(found):
    return " | ".join(found.datasets[0].notes)


# --- directions -------------------------------------------------------------------------------------------------------


def test_a_metric_that_runs_against_its_direction_is_asked_about(noise_set, cache):
    wrong = Counting("wrong")
    wrong.score = lambda *given, **more: [
        {"wrong": replace(one["wrong"], score=-one["wrong"].score)} for one in Counting.score(wrong, *given, **more)
    ]
    found = evaluate([Counting("right"), wrong], [noise_set], cache=cache, resamples=0)
    assert found.result("wrong", "noise").srocc < -0.9
    assert "the scores of wrong correlate at -" in notes_of(found) and "--lower-is-better wrong" in notes_of(found)
    assert "scores of right" not in notes_of(found)
    mixed = evaluate(["ssim", Counting("x"), "psnr"], [noise_set], cache=cache, resamples=0)
    assert [model.name for model in mixed.models] == [
        "ssim", "x", "psnr"
    ]  # fmt: skip


def test_a_data_set_that_all_metrics_run_against_is_asked_about(noise_set, cache):
    turned = replace(noise_set, higher_is_better=False)
    found = evaluate([Counting("a"), Counting("b")], [turned], cache=cache, resamples=0)
    assert "all metrics run against MOS: is it right that lower MOS is better?" in notes_of(found)
    fine = evaluate([Counting("a"), Counting("b")], [noise_set], cache=cache, resamples=0)
    assert "is it right" not in notes_of(fine) and "direction right" not in notes_of(fine)


# --- what was left out ------------------------------------------------------------------------------------------------


class Failing(Counting):
    def score(self, reference, distorted, pairing, progress=None):
        for clip in distorted:
            content, rung = clip.path.stem[1:].split("-")
            if rung == "1":
                raise DataError(f"ends after {content} of 6 frames", where=clip.path)
            if clip.path.name == "d2-3.y4m":
                raise DataError("is of no format", where=clip.path)
        return super().score(reference, distorted, pairing, progress)


def test_items_left_out_are_a_line_a_reason_and_a_file_names_all(noise_set, cache, tmp_path, caplog):
    found = evaluate([Failing()], [noise_set], cache=cache, resamples=0)
    lines = [note for note in found.datasets[0].notes if note.startswith("left out")]
    assert len(lines) == 2 and found.datasets[0].left_out == 4
    assert lines[0].startswith("left out 3 items, the first d0-1.y4m: ") and "also d1-1.y4m, d2-1.y4m" in lines[0]
    assert lines[1].startswith("left out d2-3.y4m: ")
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 2 and "and 2 more like it" in said[0]
    written = found.write(tmp_path)
    rows = (tmp_path / "left_out.csv").read_text().splitlines()
    assert rows[0] == "dataset,item,reason" and len(rows) == 5 and tmp_path / "left_out.csv" in written
    fine = evaluate([Counting()], [noise_set], cache=cache, resamples=0)
    assert tmp_path / "left_out.csv" not in fine.write(tmp_path) and not (tmp_path / "left_out.csv").exists()


# --- cost and modes ---------------------------------------------------------------------------------------------------


class Odd(nn.Module):
    """Refuses what complexity is counted on, and scores clips of 6 frames."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.inner = nn.Dropout(0.5)

    def forward(self, reference, distorted):
        assert not self.training and not self.inner.training
        if distorted.shape[1] > 6:
            raise ValueError("takes six frames\nand no more")
        return -self.weight * (reference - distorted).abs().mean(dim=(1, 2, 3, 4))


def test_the_network_stays_in_its_mode_and_uncounted_cost_is_said_before_scoring(noise_set, cache, caplog):
    network = Odd().train()
    network.inner.eval()
    scorer = NetworkScorer(network)
    taken = []
    scorer_score = scorer.score

    def score(*given, **more):
        taken.append(len([r for r in caplog.records if "can't be counted" in r.getMessage()]))
        return scorer_score(*given, **more)

    scorer.score = score
    found = evaluate([scorer], [noise_set], cache=cache, resamples=0, latency=True)
    assert network.training and not network.inner.training
    assert set(taken) == {1}, "said once, before the first score"
    assert "takes six frames and no more" in found.models[0].uncounted

    class Broken(Odd):
        def forward(self, reference, distorted):
            raise RuntimeError("out of memory")

    broken = Broken().train()
    with pytest.raises(DataError, match="the network Broken: fails with RuntimeError: out of memory"):
        evaluate([NetworkScorer(broken)], [noise_set], cache=cache, resamples=0)
    assert broken.training and broken.inner.training


def test_a_frame_metric_leaves_its_network_in_its_mode(noise_set, cache):
    class Error(FrameScorer):
        def prepare(self, reference):
            return self.network(reference[0])

        def measure(self, prepared, distorted):
            assert not self.network.training
            return (prepared - self.network(distorted[0])).abs().mean().reshape(1)

    network = nn.Conv2d(3, 4, 3).train()
    evaluate([Error(network, Facts("error", "test", higher_is_better=False))], [noise_set], cache=cache, resamples=0)
    assert network.training


def test_a_mapping_is_fitted_once(noise_set, cache, monkeypatch):
    fitted = []
    bent = fits._bent
    monkeypatch.setattr(fits, "_bent", lambda x, y, name: fitted.append((x.tobytes(), name)) or bent(x, y, name))
    fits._fit.cache_clear()
    evaluate(["psnr", "ssim"], [noise_set], cache=cache, resamples=100)
    assert len(fitted) == len(set(fitted)) == 4  # logistic4 and logistic5 of two metrics
    first = fits.fit_scores([1.0, 2, 3, 4, 5, 6], [1.0, 2, 2, 4, 5, 9])
    first.fitted[:] = 0
    assert fits.fit_scores([1.0, 2, 3, 4, 5, 6], [1.0, 2, 2, 4, 5, 9]).fitted.max() > 1


# --- names of data sets -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("two")
    for name in ("lab", "home"):
        manifest = make_set(place / name)
        write_manifest(replace(manifest, name="manifest"), place / name / "manifest.csv")
        (place / name / "manifest.json").unlink()
    return place


def test_two_folders_with_a_manifest_each(two_folders, cache):
    folders = [two_folders / "lab", two_folders / "home"]
    found = evaluate(["psnr"], folders, cache=cache, resamples=0)
    assert [dataset.name for dataset in found.datasets] == ["lab", "home"]
    named = evaluate(["psnr"], [f"mine={folders[0]}", f"yours={folders[0]}"], cache=cache, resamples=0)
    assert [dataset.name for dataset in named.datasets] == ["mine", "yours"]


def test_two_folders_of_one_name(two_folders, cache, tmp_path):
    for place in ("a", "b"):
        shutil.copytree(two_folders / "lab", tmp_path / place / "set")
    found = evaluate([Counting()], [tmp_path / "a" / "set", tmp_path / "b" / "set"], cache=cache, resamples=0)
    assert [dataset.name for dataset in found.datasets] == ["a/set", "b/set"]
    same = Manifest("x", tmp_path, read_dataset(two_folders / "lab").items)
    with pytest.raises(DataError, match=r"two data sets are called 'x'.*NAME=FOLDER"):
        evaluate([Counting()], [same, same], cache=cache, resamples=0)


def test_what_can_be_named(two_folders, tmp_path):
    file = two_folders / "lab" / "manifest.csv"
    for text in (f"mine={two_folders / 'lab'}", f"mine={file}"):
        assert looks_like_dataset(text) and read_dataset(text).name == "mine"
    assert read_dataset(file).name == "manifest" and read_dataset(two_folders / "lab").name == "lab"
    (tmp_path / "weights.pt").write_bytes(b"")
    (tmp_path / "model").mkdir()
    for text in (f"c3dvqa={tmp_path / 'weights.pt'}", f"rankdvqa={tmp_path / 'model'}", "psnr", "a=b"):
        assert not looks_like_dataset(text)


def test_a_name_may_be_that_of_a_folder(two_folders, monkeypatch):
    monkeypatch.chdir(two_folders)
    for text in ("lab=lab", "lab=lab/manifest.csv"):
        assert looks_like_dataset(text) and read_dataset(text).name == "lab"


def test_too_few_resamples_are_refused_before_anything_is_scored(two_folders, cache):
    with pytest.raises(DataError, match="50 resamples are too few"):
        evaluate([Counting()], [two_folders / "nowhere"], cache=cache, resamples=50)


def test_lists_that_are_none_are_told(two_folders, cache):
    with pytest.raises(DataError, match="there is no data set"):
        evaluate(["psnr"], [], cache=cache)
    for models, datasets in (("psnr", ["x"]), (["psnr"], "x")):
        with pytest.raises(DataError, match="are lists"):
            evaluate(models, datasets, cache=cache)


# --- a JSON of the same stem ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '["a", "b"]', '{"streams": [], "format": {}}', '{"name": "package", "version": "1"}', "3",
        '{"frames": 10}\n{"frames": 11}\n', '{"cut',
    ],
)  # fmt: skip
def test_a_json_of_the_same_stem_that_is_no_sidecar(tmp_path, text):
    (tmp_path / "s.csv").write_text("dist,mos\na.mp4,1\n")
    (tmp_path / "s.json").write_text(text)
    manifest = read_manifest(tmp_path / "s.csv")
    assert manifest.label == "MOS" and "s.json beside s.csv is no sidecar" in manifest.notes[0]


@pytest.mark.parametrize(
    "text", ['{"higher_is_better": false, "extra": 1}', '{"lable": "DMOS"}', '{"label": "DMOS", "higher_is']
)
def test_a_sidecar_that_is_wrong_is_not_passed_over(tmp_path, text):
    (tmp_path / "s.csv").write_text("dist,mos\na.mp4,1\n")
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(DataError):
        read_manifest(tmp_path / "s.csv")
