"""Sweeps: what is varied, what is tried next, what is chosen, and that a stopped one goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from clips import make
from running import inside

from compressvqa.errors import CompressVQAError, RecipeError
from compressvqa.executors import Results, Unit
from compressvqa.jobs.rungs import Rungs
from compressvqa.jobs.sampled_trials import sampled_trials
from compressvqa.jobs.space import Choice, Range, grid, parse_space, titles
from compressvqa.jobs.sweep import weigh
from compressvqa.running.recipe import Recipe

RECIPE = """\
version: 1
name: small
seed: 0
model: {name: rankdvqa, options: {widths: [4, 4, 6, 6, 8, 8], merge_width: 8, mlp_width: 8}}
objective: {kind: rank-pairs}
data: {kind: rank-pairs, sources: %s, validation: 0.5, two_content_share: 0, gap: 1,
  frames: 2, size: 96, patches_per_clip: 1, ladder: [{codec: x264, crf: [20, 30, 40, 50]}]}
stages: [{kind: train, name: train, steps: 0}]
"""


def test_what_is_varied_is_read_as_numbers_words_and_ranges() -> None:
    space = parse_space(["a.lr=1e-4..1e-2:log", "steps=10..20", "b=1e-3,0.5", "rule=in,out", "on=true,false"])
    assert space["a.lr"] == Range(1e-4, 1e-2, log=True)
    assert not space["a.lr"].whole
    assert space["steps"] == Range(10, 20)
    assert space["steps"].whole
    assert [space[name] for name in ("b", "rule", "on")] == [
        Choice((1e-3, 0.5)), Choice(("in", "out")), Choice((True, False)),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a=2..1", "a=0..1:log", "a=1,1", "a=x..y", "a=[1"])
def test_what_varies_nothing_is_refused(text: str) -> None:
    with pytest.raises(CompressVQAError, match="--vary"):
        parse_space([text])


def test_names_are_as_long_as_they_have_to_be() -> None:
    assert titles([{"x.lr": 0.1, "y.lr": 1}]) == ["x.lr 0.1, y.lr 1"]
    with pytest.raises(CompressVQAError, match="--sampler tpe"):
        grid({"a": Range(0, 1)})


def unit(settings: Mapping[str, Any]) -> Unit:
    return Unit.named(dict(settings), {"recipe": "r.yaml", **settings})


def at(settings: Mapping[str, Any], until: str | None) -> Unit:
    """Its unit up to a stage; whole where there is none."""
    return unit(settings) if until is None else unit({**settings, "until": until})


def test_the_cheapest_within_reach_of_the_best_is_chosen() -> None:
    figures = {1: (0.90, 10), 2: (0.95, 20), 3: (0.955, 40), 4: (0.94, 50)}
    trials = [{"n": n} for n in figures] + [{"n": 5}]
    units = [unit(trial) for trial in trials]
    results = {
        one.name: {"row": {"srocc": figures[n][0], "macs": figures[n][1]}, "model": "m"}
        for one, n in zip(units, figures, strict=False)
    }
    results[units[-1].name] = {"failed": "no such target"}
    swept = weigh(trials, units, results, accuracy="srocc", cost="macs", within=0.01)
    assert [swept.rows[place]["trial"]["n"] for place in swept.front] == [1, 2, 3]
    assert swept.chosen["trial"] == {"n": 2}
    assert swept.failed == {"n 5": "no such target"}
    assert weigh(trials, units, results, accuracy="srocc", cost="macs", within=0).chosen["trial"] == {"n": 3}


def accuracies(given: Mapping[int, Mapping[str, float]], ran: list[tuple[int, Any]]) -> Any:
    """Runs a trial by looking up its accuracy after a stage; a value below 0 is a failure."""

    def run(units: list[Unit]) -> dict[str, Any]:
        found = {}
        for one in units:
            n, stage = one.arguments["n"], one.arguments.get("until", "end")
            ran.append((n, stage))
            value = given[n][stage]
            found[one.name] = {"failed": "why"} if value < 0 else {"row": {"srocc": value, "macs": n}, "model": "m"}
        return found

    return run


def test_trials_below_the_median_go_no_further() -> None:
    after_a = dict(zip(range(7), (0.9, 0.5, 0.7, float("nan"), -1, 0.8, 0.6), strict=True))
    given = {n: {"a": value, "b": 1 - value, "end": value} for n, value in after_a.items()}
    ran: list[tuple[int, Any]] = []
    trials = [{"n": n} for n in given]
    rungs = Rungs(at, accuracies(given, ran), stops=["a", "b"])
    ended = rungs(trials)
    assert ended is not None
    units, results = ended
    # After a: the median of .9 .5 .7 nothing .8 .6 is .65; after b (.1 .3 .2) it is .2.
    assert [n for n, stage in ran if stage == "b"] == [0, 2, 5]
    assert [n for n, stage in ran if stage == "end"] == [2, 5]
    said = {n: results[one.name].get("stopped", "") for n, one in enumerate(units)}
    assert {n for n, why in said.items() if why.startswith("after a: ")} == {1, 3, 6}
    assert {n for n, why in said.items() if why.startswith("after b: ")} == {0}
    swept = weigh(trials, units, results, accuracy="srocc", cost="macs", within=0.2)
    assert [row["trial"]["n"] for row in swept.rows] == [2, 5]
    assert set(swept.stopped) == {"n 0", "n 1", "n 3", "n 6"}
    assert swept.failed == {"n 4": "why"}
    # A later round is held against all that came before it.
    ran.clear()
    given[7] = {"a": 0.66, "b": 0.1, "end": 0.9}
    assert rungs([{"n": 7}]) is not None
    assert ran == [(7, "a"), (7, "b")]


def test_a_share_goes_on_when_the_others_are_there(tmp_path: Path) -> None:
    given = {n: {"a": n / 10, "end": n / 10} for n in range(4)}
    kept, ran = Results(tmp_path), []

    def share(*mine: int) -> Rungs:
        def run(units: list[Unit]) -> None:
            for name, result in accuracies(given, ran)([u for u in units if u.arguments["n"] in mine]).items():
                kept.keep(name, result)

        return Rungs(at, run, stops=["a"], kept=kept)

    trials = [{"n": n} for n in given]
    assert share(0, 2)(trials) is None
    assert ran == [(0, "a"), (2, "a")]
    assert share(1, 3)(trials) is None
    assert ran[2:] == [(1, "a"), (3, "a"), (3, "end")]


def test_a_stopped_search_tries_what_one_that_was_not_stopped_does(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    space = parse_space(["x=0.0..1.0", "kind=a,b", "n=1..4"])
    ran: list[str] = []

    def run(units: list[Unit], stop_at: int | None = None) -> dict[str, Any]:
        found = {}
        for one in units:
            if len(ran) == stop_at:
                raise KeyboardInterrupt
            ran.append(one.name)
            x, n = one.arguments["x"], one.arguments["n"]
            found[one.name] = {"row": {"srocc": 1 - (x - 0.3) ** 2 - (one.arguments["kind"] == "a"), "macs": n}}
        return found

    settings: dict[str, Any] = {"count": 16, "at_once": 3, "seed": 7, "accuracy": "srocc", "cost": "macs"}
    whole, _, _ = sampled_trials(space, Rungs(at, run), out=tmp_path / "whole", **settings)
    ran.clear()
    with pytest.raises(KeyboardInterrupt):
        sampled_trials(space, Rungs(at, lambda units: run(units, 7)), out=tmp_path / "halved", **settings)
    halved, _, results = sampled_trials(space, Rungs(at, run), out=tmp_path / "halved", **settings)
    assert halved == whole
    assert len(whole) == 16
    later = [trial for trial in whole[8:] if trial["kind"] == "b"]
    assert len(later) >= 5, "it does not learn that b is better"
    assert set(results) == {unit(trial).name for trial in whole}


def test_a_grid_ends_in_a_front_and_a_chosen_recipe(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for number, source in enumerate(("testsrc2", "testsrc")):
        name = tmp_path / "clips" / f"v{number}.mkv"
        make(name, "-c:v", "ffv1", "-pix_fmt", "yuv420p", source=source, size="128x96", frames=4)
    (tmp_path / "recipe.yaml").write_text(RECIPE % (tmp_path / "clips"))
    command = ("sweep", "recipe.yaml", "--vary", "model.options.mlp_width=8,16", "--out", "swept", "--within", "2")
    done = inside(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "swept" / "sweep.json").read_text())
    assert [trial["trial"] for trial in found["trials"]] == [{"model.options.mlp_width": v} for v in (8, 16)]
    assert found["chosen"]["trial"] == {"model.options.mlp_width": 8}
    assert "mlp_width: 8" in (tmp_path / "swept" / "chosen.yaml").read_text()
    assert {path.name for path in (tmp_path / "swept").glob("tradeoff.*")} == {
        "tradeoff.svg", "tradeoff.png", "tradeoff.csv",
    }  # fmt: skip
    marks = {path: path.stat().st_mtime_ns for path in (tmp_path / "swept").rglob("stage.json")}
    assert len(marks) == 2
    [first, _] = (tmp_path / "swept" / "units").rglob("*.json")
    for share in ((), ("--shard", "1/1")):  # a share, too, tries again what failed
        first.write_text(json.dumps({"unit": first.stem, "result": {"failed": "no space"}}))
        again = inside(*command, *share, cwd=tmp_path).stdout
        assert "chosen: mlp_width 8" in again
        assert "did not end" not in again
    assert marks == {path: path.stat().st_mtime_ns for path in (tmp_path / "swept").rglob("stage.json")}


def test_weak_trials_end_after_a_stage_and_the_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for number, source in enumerate(("testsrc2", "testsrc")):
        name = tmp_path / "clips" / f"v{number}.mkv"
        make(name, "-c:v", "ffv1", "-pix_fmt", "yuv420p", source=source, size="128x96", frames=4)
    stages = "[{kind: train, name: first, steps: 0}, {kind: train, name: last, steps: 0}]"
    text = (RECIPE % (tmp_path / "clips")).replace("[{kind: train, name: train, steps: 0}]", stages)
    (tmp_path / "recipe.yaml").write_text(text)
    command = ("sweep", "recipe.yaml", "--vary", "seed=0,1", "--out", "swept", "--json", "--stop-after")
    done = inside(*command, "first", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["trials"]) == 1
    assert len(found["stopped"]) == 1
    stood = {path: path.stat().st_mtime_ns for path in (tmp_path / "swept" / "trials").rglob("stage.json")}
    assert sorted(path.parent.name for path in stood) == ["01-first"] * 2 + ["02-last"]
    again = inside(*command, "first", cwd=tmp_path)
    assert json.loads(again.stdout) == found
    assert {path: path.stat().st_mtime_ns for path in stood} == stood, "stages were run again"
    refused = inside(*command, "last", cwd=tmp_path)
    assert refused.returncode == 2
    assert "nothing left to stop" in refused.stderr
    with pytest.raises(RecipeError, match=r"no stage 'lest'.*first, last"):
        Recipe.load(tmp_path / "recipe.yaml").up_to("lest")
