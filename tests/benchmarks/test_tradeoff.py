"""The trade-off benchmark on tiny data: rows are run, shared, reported, and those not run are said to be missing."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import compressvqa as cv
from compressvqa.data import PatchSet

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: names of tests come first

import tradeoff
from tradeoff_grid import figures, kept, recipes, rows, sharing

WIDTHS = {"widths": [8, 8, 12, 12, 16, 16], "merge_width": 16, "mlp_width": 16}
# Two rows that differ in the last stage only, and one that needs what is not given.
RUN = ["grid-20-obprox-1cut-paper-s0", "grid-20-obprox-1cut-best-s0"]
IMPOSSIBLE = "ablation-14-progressive-1cut-best-two-teachers-s0"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("teacher") / "model"
    cv.save(cv.create_model("rankdvqa", **WIDTHS), folder)
    return folder


@pytest.fixture(scope="module")
def call(teacher, small_recipe, small_data, tmp_path_factory):
    """Calls the benchmark for some rows; results and rows lie in the same folders every time."""
    place = tmp_path_factory.mktemp("tradeoff")

    def run(*names: str, hours: float, more: tuple[str, ...] = ()):
        arguments = ["--teacher", str(teacher), "--recipe", str(small_recipe), "--data", str(small_data)]
        arguments += ["--set", f"model.options={json.dumps(WIDTHS)}", "--out", str(place / "out")]
        arguments += ["--results", str(place / "results"), "--sparse-steps", "2", "--distil-steps", "2"]
        return tradeoff.main([*arguments, *more, "--hours", str(hours), "--rows", *names])

    return run, place


@pytest.fixture(scope="module")
def done(call):
    """The two rows, run; the result and the folder."""
    run, place = call
    return run(*RUN, IMPOSSIBLE, hours=1), place


def test_every_row_is_a_recipe_and_each_name_is_there_once(teacher, small_recipe):
    base = recipes.base_of(str(small_recipe), [f"model.options={json.dumps(WIDTHS)}"])
    setup = recipes.Setup(base, teacher, None, 30, 60, 2)
    impossible = []
    for row in rows.all_rows():
        try:
            recipe = recipes.recipe_of(row, setup)
        except recipes.NotPossibleError:
            impossible.append(row.change)
            continue
        steps = sum(getattr(stage, "steps", 0) for stage in recipe.stages if stage.kind != "prune")
        assert steps == (180 if row.part == "long" else 90), row.name  # whatever it does, the training is as long
    assert impossible == ["two teachers"]
    (two,) = (row for row in rows.all_rows() if row.second_teacher)
    recipe = recipes.recipe_of(two, replace(setup, second=teacher))
    assert recipe.stages[-1].teachers == [stage.name for stage in recipe.stages[:2]]


def test_several_cuts_end_at_the_budget_of_one(teacher, small_recipe):
    setup = recipes.Setup(recipes.base_of(str(small_recipe), []), teacher, None, 30, 60, 2)
    row = next(r for r in rows.grid() if r.cuts == rows.SEVERAL and r.sparsity == "none" and r.budget == 6)
    shares = [stage.target_macs for stage in recipes.recipe_of(row, setup).stages if stage.kind == "prune"]
    assert len(shares) == rows.SEVERAL
    assert np.prod(shares) == pytest.approx(0.06)


def test_no_row_is_begun_when_the_hours_are_over(call):
    run, place = call
    result = run(*RUN, hours=0)
    assert result["lines"] == []
    assert set(result["missing"]) == {row.name for row in rows.all_rows()}
    assert "No row has been run yet" in (place / "results" / "tradeoff.md").read_text()
    assert not (place / "out").exists()


def test_rows_are_run_and_reported_and_the_others_are_said_to_be_missing(done):
    result, place = done
    every = {row.name for row in rows.all_rows()}
    assert set(result["missing"]) == every - set(RUN)
    assert result["missing"][IMPOSSIBLE] == "no --second-teacher was given"
    page = (place / "results" / "tradeoff.md").read_text()
    assert f"Missing: {len(every) - len(RUN)} of {len(every)} rows" in page
    assert "two-teachers-s0 (no --second-teacher was given)" in page
    with (place / "results" / "tradeoff.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(RUN)
    assert (place / "results" / "tradeoff.svg").stat().st_size > 10_000
    for line in result["lines"]:
        assert 0 < line["macs"] <= 0.2
        assert line["retention"] == pytest.approx(line["srocc"] / line["teacher"])
    # A row's SROCC is that of its run, whose table is made elsewhere.
    table = json.loads((place / "out" / RUN[0] / "results.json").read_text())["table"]
    line = next(li for li in result["lines"] if li["losses"] == "paper")
    assert line["srocc"] == pytest.approx(table[-1]["srocc"])
    assert line["macs"] == pytest.approx(table[-1]["macs_conv_linear"] / table[0]["macs_conv_linear"])


def name_of(line):
    return line["part"], line["losses"]


def test_a_table_of_its_own_has_the_rows_asked_for_and_the_figure_the_long_rows_of_all(done, call, monkeypatch):
    run, place = call[0], done[1]
    drawn = []
    monkeypatch.setattr(tradeoff.plot, "draw", lambda lines, path: drawn.append(([*map(name_of, lines)], path.name)))
    long = {**done[0]["lines"][0], "part": "long"}
    (place / "results" / "tradeoff_other.json").write_text(json.dumps({"lines": [long]}))
    result = run(RUN[0], IMPOSSIBLE, hours=0, more=("--name", "tradeoff_one"))
    assert [line["losses"] for line in result["lines"]] == ["paper"] and set(result["missing"]) == {IMPOSSIBLE}
    assert "Missing: 1 of 2 rows" in (place / "results" / "tradeoff_one.md").read_text()
    expected = [*map(name_of, [*done[0]["lines"], long])]
    assert drawn == [(expected, "tradeoff.svg")], "a short row of another table"
    assert len(json.loads((place / "results" / "tradeoff.json").read_text())["lines"]) == len(RUN)
    for name in ("one", "other"):
        (place / "results" / f"tradeoff_{name}.json").unlink()
    with pytest.raises(SystemExit):
        run(RUN[0], hours=0, more=("--name", "long"))


def test_a_table_keeps_lines_of_the_same_teacher_data_and_steps_and_refuses_others(done, call, capsys):
    run, place = call[0], done[1]
    file = place / "results" / "tradeoff_kept.json"
    more = ("--name", "tradeoff_kept", "--keep")
    (mine,) = run(RUN[0], hours=0, more=more)["lines"]  # no table lies there yet
    there = {"system": "Plan 9", "processor": "a slide rule", "packages": {"torch": "9.9"}}
    long = {**mine, "part": "long", "seeds": [0, 2], "srocc": 0.5}
    earlier = json.loads(file.read_text()) | {"environment": there, "lines": [{**mine, "srocc": -1.0}, long]}
    file.write_text(json.dumps(earlier))
    result = run(RUN[0], "long-20-obprox-1cut-paper-*", "long-14-obprox-1cut-paper-s1", hours=0, more=more)
    assert [(line["part"], line["srocc"]) for line in result["lines"]] == [("grid", mine["srocc"]), ("long", 0.5)]
    assert result["run"] == 3 and list(result["missing"]) == ["long-14-obprox-1cut-paper-s1"]
    assert "1 of these lines were run earlier and kept: Plan 9, a slide rule, torch 9.9" in (
        file.with_suffix(".md").read_text()
    )
    assert run(RUN[1], hours=0, more=more)["kept"] == {  # once more: each line says where it was run
        "Plan 9, a slide rule, torch 9.9": 1,
        kept.machine_of(result): 1,
    }
    for changed in ({"setting": {**earlier["setting"], "patches": 7}}, {"lines": [{**long, "teacher": 0.123}]}):
        file.write_text(json.dumps(earlier | changed))
        with pytest.raises(SystemExit):
            run(RUN[0], hours=0, more=more)
        assert json.loads(file.read_text()) == earlier | changed, "what was refused is left as it was"
        assert "7" in (said := capsys.readouterr().err) or "0.123000" in said
    file.unlink()


def test_equal_stages_are_run_once(done):
    _, place = done
    one, other = (place / "out" / name / "stages" for name in RUN)
    for stage in ("01-teacher", "02-sparse", "03-pruned"):
        same = (one / stage / "stage.json").samefile(other / stage / "stage.json")
        assert same, stage
    assert not (one / "04-distilled" / "stage.json").samefile(other / "04-distilled" / "stage.json")
    assert (one / "04-distilled" / sharing.ANSWERS).samefile(other / "04-distilled" / sharing.ANSWERS)


def test_a_shared_stage_is_only_taken_for_an_equal_recipe(done, small_recipe, small_data, teacher, tmp_path):
    _, place = done
    row = next(row for row in rows.all_rows() if row.name == RUN[0])
    for change, found in (([], 4), (["data.gap=7"], 0)):
        base = recipes.base_of(str(small_recipe), [f"model.options={json.dumps(WIDTHS)}", *change])
        recipe = recipes.recipe_of(row, recipes.Setup(base, teacher, None, 2, 2, 5))
        assert len(sharing.share(recipe, tmp_path / f"run{found}", place / "out", small_data)) == found


def test_intervals_draw_whole_contents(small_data):
    patches = PatchSet(small_data / "validation")
    truth = figures.Truth(patches, "vmaf_v0.6.1", resamples=300)
    rng = np.random.default_rng(1)
    scores = truth.labels + rng.normal(0, 25, len(truth.labels))
    assert truth.srocc(scores) == pytest.approx(spearmanr(scores, truth.labels).statistic)
    drawn = truth.resampled(scores)
    # An independent draw: contents by name, one after the other.
    names = np.array([entry.content for entry in patches.entries])
    known = sorted(set(names))
    again = []
    for _ in range(300):
        kept = np.concatenate([np.flatnonzero(names == content) for content in rng.choice(known, len(known))])
        again.append(spearmanr(scores[kept], truth.labels[kept]).statistic)
    assert np.std(drawn) == pytest.approx(np.std(again), rel=0.25)
    assert np.mean(drawn) == pytest.approx(np.mean(again), abs=0.03)


def test_seeds_of_a_row_become_one_line_with_their_spread(small_data):
    truth = figures.Truth(PatchSet(small_data / "validation"), "vmaf_v0.6.1", resamples=100)
    rng = np.random.default_rng(2)
    good = truth.labels + rng.normal(0, 1, len(truth.labels))
    single = [row for row in rows.long_rows() if row.budget == 14 and row.sparsity == "obprox"]
    judged = [figures.Judged(row, 0.1, 0.13, good + rng.normal(0, 20, len(good)), good, 0.5) for row in single]
    (line,) = figures.lines(judged, truth)
    assert line["seeds"] == [0, 1, 2]
    assert line["srocc"] == pytest.approx(np.mean([truth.srocc(one.scores) for one in judged]))
    assert line["srocc_spread"] == pytest.approx(np.std([truth.srocc(one.scores) for one in judged], ddof=1))
    every = [figures.Judged(row, 0.1, 0.13, good, good, 0.5) for row in rows.all_rows()]
    truth = figures.Truth(PatchSet(small_data / "validation"), "vmaf_v0.6.1", resamples=3)
    assert sum(len(one["seeds"]) for one in figures.lines(every, truth)) == len(every)


def test_weights_drawn_anew_keep_the_widths_and_lose_what_was_learnt(teacher):
    network = cv.load(teacher)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    stage = recipes.Redraw(recipes.Redraw.Config(name="redrawn"))
    after = stage.run(network, type("Context", (), {"seed": 3})()).network.state_dict()
    for name, value in before.items():
        assert after[name].shape == value.shape
        if value.ndim > 1 and value.is_floating_point():
            assert not torch.equal(after[name], value), name
            spread = float(after[name].std() / value.std())
            assert 0.5 < spread < 2, name  # drawn as the constructor draws
