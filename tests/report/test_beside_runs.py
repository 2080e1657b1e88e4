"""Run folders beside an evaluation: where their figures may stand, and where not."""

import json

from judged import NETWORKS, PROXY

from compressvqa.report import with_runs
from compressvqa.results import Evaluation


def write_run(folder, results):
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def test_a_runs_figures_stand_on_data_of_their_own(judged, results, tmp_path):
    found = with_runs(judged, [write_run(tmp_path / "run", results)])
    own = found.datasets[-1]
    assert own.name == "rankdvqa_mini (validation)"
    assert own.run == "rankdvqa_mini" and own.is_proxy and own.n == 96
    assert found.figure("rankdvqa_mini: distilled", own.name, "srocc") == 0.8991
    assert found.overall("rankdvqa_mini: distilled") is None
    assert found.judged == judged.judged
    for name in (*NETWORKS, "psnr", "ssim"):
        assert found.overall(name) == judged.overall(name)
    assert Evaluation.read(found.to_dict()) == found


def test_a_runs_figures_join_a_data_set_only_where_both_say_it_is_the_same(judged, results, tmp_path):
    datasets = judged.to_dict()["datasets"]
    results["data"]["validation"]["identity"] = datasets[-1]["identity"] = "abc"
    results["label"] = "psnr"
    known = Evaluation.read({**judged.to_dict(), "datasets": datasets})
    found = with_runs(known, [write_run(tmp_path / "run", results)])
    assert len(found.datasets) == len(datasets)
    assert found.figure("rankdvqa_mini: distilled", PROXY, "srocc") == 0.8991
    results["label"] = "psnr_y"
    found = with_runs(known, [write_run(tmp_path / "other", results)])
    assert len(found.datasets) == len(datasets) + 1, "the same clips under another label are other data"


def test_two_runs_of_one_name(judged, results, tmp_path):
    runs = [write_run(tmp_path / name, results) for name in "ab"]
    names = [model.name for model in with_runs(judged, [*runs, runs[0]]).models]
    assert len(names) == len(set(names)) == len(judged.models) + 3 * len(results["table"])
