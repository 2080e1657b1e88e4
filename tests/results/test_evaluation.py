"""The result of an evaluation: what is written is what is read, what is refused, what is averaged, what never mixed."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from judged import NETWORKS, PROXY, VIEWERS

import compressvqa as cv
from compressvqa.results import Dataset, Evaluation, EvaluationError, mean_of

OLD = Path(__file__).parent / "older.json"


def changed(evaluation, **parts):
    return Evaluation.read({**evaluation.to_dict(), **parts})


def test_what_is_written_is_what_is_read(judged, tmp_path):
    file, scores, left_out = judged.write(str(tmp_path))
    assert left_out.read_text().splitlines()[1].startswith("dmos,d1-2.y4m,")
    assert Evaluation.read(file) == Evaluation.read(tmp_path) == Evaluation.read(judged.to_dict()) == judged
    again = json.loads(file.read_text())
    Evaluation.read(file).write(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "evaluation.json").read_text()) == again
    assert again["schema"] == 1 and cv.Evaluation is Evaluation
    rows = list(csv.DictReader(scores.open()))
    assert len(rows) == 15 + 14 + 15
    for row in rows:
        for name in (*NETWORKS, "psnr", "ssim"):
            (item,) = [one for one in judged.items(name, row["dataset"]) if one.distorted == row["distorted"]]
            assert float(row[name]) == item.score and float(row["mos"]) == item.mos


def test_every_field_is_written_and_none_is_forgotten(judged):
    """Each part as JSON has exactly the fields of its type, so that nothing is read that was never written."""
    found = judged.to_dict()
    (fault,) = found["datasets"][1]["faults"].items()
    assert fault[0] == "d1-2.y4m" and "without one whole frame" in fault[1]
    assert found["datasets"][1]["left_out"] == 1 and found["datasets"][0]["faults"] == {}
    assert {item["ladder"] for item in found["scores"][0]["items"]} == {"noise"}
    model = found["models"][0]
    assert model["latency_ms"] > 0 and model["macs"] > 0 and model["convention"] and model["inputs"]
    assert found["teacher"] == found["significance"]["baseline"] == "teacher"
    assert found["settings"]["pairing"]["size"] == "scale"


def test_an_older_file_is_read(tmp_path):
    """Written before what was left out was named one by one, and before items had ladders."""
    old = Evaluation.read(OLD)
    given = json.loads(OLD.read_text())
    for row in given["results"]:
        found = old.row(row["model"], row["dataset"])
        for key, value in row.items():
            assert found[key] == (tuple(value) if isinstance(value, list) else value) or key == "logistic5", key
        assert found["logistic5"]["plcc"] == row["logistic5"]["plcc"]
    assert old.dataset("noise").left_out == 1 and old.dataset("noise").faults == {}
    assert old.model("tiny").latency_ms == given["models"][2]["latency_ms"]
    assert [item.score for item in old.items("psnr", "noise")] == [i["score"] for i in given["scores"][0]["items"]]
    assert Evaluation.read(old.write(tmp_path)[0]) == old


def test_it_cannot_be_changed(judged):
    with pytest.raises(ValueError, match="frozen"):
        judged.teacher = "ssim"
    with pytest.raises(ValueError, match="frozen"):
        judged.results[0].srocc = 1.0


def test_proxies_are_in_no_mean_with_viewers_scores(judged):
    assert judged.judged == VIEWERS
    for name in (*NETWORKS, "psnr", "ssim"):
        by_hand = np.mean([judged.figure(name, data, "srocc") for data in VIEWERS])
        assert judged.overall(name).value == pytest.approx(by_hand)
        assert judged.overall(name).low < by_hand < judged.overall(name).high
    share = judged.overall("student").value / judged.overall("teacher").value
    assert judged.retention("student") == pytest.approx(share)
    keep = lambda lines, key: [line for line in lines if line[key] == PROXY]
    found = judged.to_dict()
    alone = changed(judged, datasets=keep(found["datasets"], "name"), scores=keep(found["scores"], "dataset"),
                    results=keep(found["results"], "dataset"))  # fmt: skip
    assert alone.judged == (PROXY,)
    assert alone.overall("psnr") is None, "the label's own metric has no accuracy against it"
    assert alone.overall("ssim").value == alone.figure("ssim", PROXY, "srocc")


def test_a_model_without_all_data_sets_has_no_mean(judged):
    rows = [row for row in judged.to_dict()["results"] if (row["model"], row["dataset"]) != ("ssim", "dmos")]
    found = changed(judged, results=rows)
    assert found.overall("ssim") is None and found.overall("psnr") is not None
    assert found.figure("ssim", "dmos", "srocc") is None
    with pytest.raises(EvaluationError, match="ssim was not evaluated on dmos"):
        found.row("ssim", "dmos")


def test_interval_of_a_mean_against_samples():
    """Independent normal figures: the mean's 95 % interval covers 95 % of the means."""
    chance = np.random.default_rng(0)
    sizes = np.array([0.01, 0.03, 0.02])
    mean = mean_of([(0.8, 0.8 - 1.96 * size, 0.8 + 1.96 * size) for size in sizes])
    means = (0.8 + sizes * chance.normal(size=(200_000, 3))).mean(axis=1)
    assert abs(np.mean((means > mean.low) & (means < mean.high)) - 0.95) < 0.003


def test_who_is_a_proxy():
    assert Dataset(name="a", label="VMAF 0.6.1").is_proxy
    assert not Dataset(name="a", label="DMOS").is_proxy
    said = Dataset(name="a", kind="proxy", label="MOS")
    assert said.is_proxy, "what is said counts"
    assert "no human scores" in said.described
    assert not Dataset(name="a", kind="proxy", label="VMAF 0.6.1").is_label("vmaf_v0.6.1neg")
    assert not Dataset(name="a", kind="human", label="MOS").is_label("mos")


def test_how_intervals_were_made_is_said(judged):
    assert judged.has_intervals
    assert judged.confidence.words.startswith("95 % confidence intervals, BCa bootstrap")
    assert judged.confidence.words.endswith("over items, the fit not repeated, 100 samples")
    assert "does not say" in changed(judged, confidence=None).confidence.words
    assert changed(judged, confidence="by hand").confidence.words == "by hand"
    bare = [{**row, "srocc_low": None, "srocc_high": None} for row in judged.to_dict()["results"]]
    assert not changed(judged, results=bare).has_intervals


def test_complexity_of_other_inputs_is_noticed(judged):
    models = judged.to_dict()["models"]
    models[2]["inputs"] = "8 frames of 224x224"
    found = changed(judged, models=models)
    assert found.inputs == "12 frames of 256x256" and found.odd_inputs == {"8 frames of 224x224": ["psnr"]}


def test_two_models_are_never_called_the_same(judged):
    assert judged.title("psnr") == "PSNR"
    found = changed(judged, models=[*judged.to_dict()["models"], {"name": "PSNR"}, {"name": "vmaf_v0.6.1neg"}])
    titles = [found.title(model.name) for model in found.models]
    assert len(set(titles)) == len(titles)
    assert found.title("psnr") == "psnr"


def test_gaps_and_what_is_no_number_count_as_not_there(judged):
    found = judged.to_dict()
    found["results"][0] |= {"srocc": float("nan"), "plcc": None, "krocc": float("inf")}
    found["datasets"][0] |= {"notes": None, "n": None}
    found["later"] = {"of": "another version"}
    read = Evaluation.read(found)
    assert [read.results[0].figure(key) for key in ("srocc", "plcc", "krocc")] == [None] * 3
    assert read.datasets[0].notes == () and read.datasets[0].n is None
    json.dumps(read.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("text", "words"), [("{", "is no JSON"), ("[]", "not an evaluation"), ("{}", "datasets is empty")]
)
def test_files_that_are_none(text, words, tmp_path):
    file = tmp_path / "evaluation.json"
    with pytest.raises(EvaluationError, match=r"evaluation\.json: there is no evaluation"):
        Evaluation.read(file)
    file.write_text(text)
    with pytest.raises(EvaluationError, match=rf"evaluation\.json.*{words}"):
        Evaluation.read(file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: e.update(schema=2), "is of schema 2, this version reads 1"),
        (lambda e: e.update(models=3), "models is 3"),
        (lambda e: e["models"].append({"params": 3}), r"models\[4\]\.name is empty or not there"),
        (lambda e: e["models"].append(e["models"][0]), "models holds 'teacher' twice"),
        (lambda e: e["results"].append(e["results"][0]), "results holds 'teacher' on 'noise' twice"),
        (lambda e: e["results"][5].update(model="unknown"), r"results\[5\] is of model 'unknown'"),
        (lambda e: e["results"][5].update(dataset="unknown"), "data set 'unknown'"),
        (lambda e: e["results"][5].update(srocc="high"), r"results\[5\]\.srocc is 'high'"),
        (lambda e: e.update(teacher="nobody"), "the teacher 'nobody' is none of the models"),
    ],
)
def test_what_is_refused(change, words, judged):
    damaged = json.loads(json.dumps(judged.to_dict()))
    change(damaged)
    with pytest.raises(EvaluationError, match=words) as caught:
        Evaluation.read(damaged)
    assert "\n" not in str(caught.value)


def test_names_that_are_not_there(judged):
    with pytest.raises(EvaluationError, match=r"no data set 'LIVE'.*noise, dmos, ladders"):
        judged.dataset("LIVE")
    with pytest.raises(EvaluationError, match="no model 'vmaf'"):
        judged.model("vmaf")
