"""Sweeps: what is varied, what is tried next, what is chosen, and that a stopped one goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from clips import make
from running import inside

from compressvqa.errors import CompressVQAError
from compressvqa.executors import Unit
from compressvqa.jobs.sampled_trials import sampled_trials
from compressvqa.jobs.space import Choice, Range, grid, parse_space, titles
from compressvqa.jobs.sweep import weigh

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
    whole, _, _ = sampled_trials(space, unit, run, out=tmp_path / "whole", **settings)
    ran.clear()
    with pytest.raises(KeyboardInterrupt):
        sampled_trials(space, unit, lambda units: run(units, 7), out=tmp_path / "halved", **settings)
    halved, _, results = sampled_trials(space, unit, run, out=tmp_path / "halved", **settings)
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
    first.write_text(json.dumps({"unit": first.stem, "result": {"failed": "no space"}}))
    assert "chosen: mlp_width 8" in inside(*command, cwd=tmp_path).stdout
    assert marks == {path: path.stat().st_mtime_ns for path in (tmp_path / "swept").rglob("stage.json")}
