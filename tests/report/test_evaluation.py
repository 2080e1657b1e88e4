"""Reading an evaluation: what is refused, what is averaged, and what may never be mixed."""

import copy
import json

import numpy as np
import pytest
from report.made_up_evaluation import DATASETS, made_up_evaluation, part_of

from compressvqa.report import Evaluation, EvaluationError
from compressvqa.report.evaluation import described, is_label, is_proxy, mean_of


@pytest.fixture
def evaluation():
    return made_up_evaluation(items=False)


def test_overall_is_the_papers(evaluation):
    found = Evaluation.read(evaluation)
    assert round(found.overall("rankdvqa").value, 4) == 0.8972
    assert round(found.overall("rankdvqa-mini").value, 4) == 0.8521
    assert round(found.overall("vmaf_v0.6.1").value, 4) == 0.8644
    assert round(found.retention("rankdvqa-mini"), 3) == 0.950


def test_proxies_are_in_no_mean_with_viewers_scores(evaluation):
    found = Evaluation.read(evaluation)
    assert found.judged == DATASETS
    alone = Evaluation.read(part_of(evaluation, ["rankdvqa", "vmaf_v0.6.1"], ["ladders"]))
    assert alone.judged == ("ladders",)
    assert alone.overall("vmaf_v0.6.1") is None, "the label's own metric has no accuracy against it"


def test_a_model_without_all_data_sets_has_no_mean(evaluation):
    evaluation["results"] = [r for r in evaluation["results"] if (r["model"], r["dataset"]) != ("dists", "SHVC")]
    found = Evaluation.read(evaluation)
    assert found.overall("dists") is None
    assert found.overall("c3dvqa") is not None


def test_interval_of_a_mean_against_samples():
    """Independent normal figures: the mean's 95 % interval covers 95 % of the means."""
    chance = np.random.default_rng(0)
    sizes = np.array([0.01, 0.03, 0.02])
    mean = mean_of([(0.8, 0.8 - 1.96 * size, 0.8 + 1.96 * size) for size in sizes])
    means = (0.8 + sizes * chance.normal(size=(200_000, 3))).mean(axis=1)
    assert abs(np.mean((means > mean.low) & (means < mean.high)) - 0.95) < 0.003


def test_who_is_a_proxy():
    assert is_proxy({"label": "VMAF 0.6.1"})
    assert not is_proxy({"label": "DMOS"})
    assert is_proxy({"kind": "proxy", "label": "MOS"}), "what is said counts"
    assert "no human scores" in described({"kind": "proxy", "label": "VMAF 0.6.1"})
    assert not is_label("vmaf_v0.6.1neg", {"kind": "proxy", "label": "VMAF 0.6.1"})
    assert not is_label("mos", {"kind": "human", "label": "MOS"})


def test_the_teacher_is_found_by_its_retention(evaluation):
    del evaluation["teacher"]
    assert Evaluation.read(evaluation).teacher == "rankdvqa"
    for result in evaluation["results"]:
        result["retention"] = None
    assert Evaluation.read(evaluation).teacher is None


def test_how_intervals_were_made_is_said(evaluation):
    words = Evaluation.read(evaluation).confidence
    assert words == "95 % confidence intervals, bootstrap over contents, percentile, 1,000 samples"
    del evaluation["confidence"]
    assert "does not say" in Evaluation.read(evaluation).confidence
    for result in evaluation["results"]:
        result["srocc_low"] = None
        result["srocc_high"] = None
    assert Evaluation.read(evaluation).confidence is None


def write_run(folder, results):
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def test_a_runs_figures_stand_on_data_of_their_own(evaluation, results, tmp_path):
    before = Evaluation.read(evaluation)
    found = before.with_runs([write_run(tmp_path / "run", results)])
    own = found.datasets[-1]
    assert own["name"] == "validation patches of rankdvqa_mini"
    assert own["run"] and is_proxy(own) and own["n"] == 96
    assert found.figure("rankdvqa_mini: distilled", own["name"], "srocc") == 0.8991
    assert found.overall("rankdvqa_mini: distilled") is None
    assert found.judged == before.judged
    assert {model["name"]: found.overall(model["name"]) for model in before.models} == {
        model["name"]: before.overall(model["name"]) for model in before.models
    }


def test_a_runs_figures_join_a_data_set_only_where_both_say_it_is_the_same(evaluation, results, tmp_path):
    results["data"]["validation"]["identity"] = evaluation["datasets"][-1]["identity"] = "abc"
    found = Evaluation.read(evaluation).with_runs([write_run(tmp_path / "run", results)])
    assert len(found.datasets) == len(evaluation["datasets"])
    assert found.figure("rankdvqa_mini: distilled", "ladders", "srocc") == 0.8991
    results["label"] = "psnr_y"
    found = Evaluation.read(evaluation).with_runs([write_run(tmp_path / "other", results)])
    assert len(found.datasets) == len(evaluation["datasets"]) + 1, "the same clips under another label are other data"


def test_two_runs_of_one_name(evaluation, results, tmp_path):
    runs = [write_run(tmp_path / name, results) for name in "ab"]
    names = [model["name"] for model in Evaluation.read(evaluation).with_runs([*runs, runs[0]]).models]
    assert len(names) == len(set(names)) == len(evaluation["models"]) + 3 * len(results["table"])


def test_complexity_of_other_inputs_is_noticed(evaluation):
    evaluation["models"][3]["inputs"] = "8 frames of 224x224"
    found = Evaluation.read(evaluation)
    assert found.inputs == "12 frames of 256x256"
    assert found.odd_inputs == {"8 frames of 224x224": ["st-greed"]}


def test_two_models_are_never_called_the_same(evaluation):
    assert Evaluation.read(evaluation).title("psnr") == "PSNR"
    for model in ({"name": "PSNR"}, {"name": "vmaf_v0.6.1neg"}):
        evaluation["models"].append(model)
    found = Evaluation.read(evaluation)
    titles = [found.title(model["name"]) for model in found.models]
    assert len(set(titles)) == len(titles)
    assert found.title("psnr") == "psnr"


def test_what_is_refused(evaluation, tmp_path):
    file = tmp_path / "evaluation.json"
    with pytest.raises(EvaluationError, match=r"evaluation\.json: there is no evaluation"):
        Evaluation.read(file)
    for text, words in (("{", "damaged"), ("[]", "not an evaluation"), ("{}", "datasets is empty")):
        file.write_text(text)
        with pytest.raises(EvaluationError, match=rf"evaluation\.json.*{words}"):
            Evaluation.read(file)
    file.write_text(json.dumps(evaluation))
    assert Evaluation.read(tmp_path).overall("rankdvqa") == Evaluation.read(evaluation).overall("rankdvqa")
    for change, words in (
        (lambda e: e.update(schema=2), "schema 2"),
        (lambda e: e.update(models=3), "models is no list"),
        (lambda e: e["models"].append({"params": 3}), "without a name"),
        (lambda e: e["models"].append(e["models"][0]), "'rankdvqa' twice"),
        (lambda e: e["results"][5].update(model="unknown"), r"results\[5\] is of model 'unknown'"),
        (lambda e: e["results"][5].update(dataset="unknown"), "data set 'unknown'"),
    ):
        damaged = copy.deepcopy(evaluation)
        change(damaged)
        with pytest.raises(EvaluationError, match=words):
            Evaluation.read(damaged)
    with pytest.raises(EvaluationError, match="no data set 'LIVE'"):
        Evaluation.read(evaluation).dataset("LIVE")
