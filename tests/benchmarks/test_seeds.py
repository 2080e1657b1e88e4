"""The benchmark of seeds: finished runs are found, mean and spread are right, one run is said to be one."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from pathlib import Path

import pytest
import yaml

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: names of tests come first

import seeds


@pytest.fixture
def three(ran, tmp_path):
    """A real run, and two more whose figures are moved by a known amount."""
    folders = []
    for number, moved in enumerate((0.0, 0.03, -0.01)):
        folder = tmp_path / f"run-{number}"
        shutil.copytree(ran, folder)
        recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"seed": recipe["seed"] + number}))
        for file in folder.glob("stages/*/stage.json"):
            kept = json.loads(file.read_text())
            kept["row"]["srocc"] += moved
            file.write_text(json.dumps(kept))
        folders.append(folder)
    return folders


def call(small_recipe, tmp_path, *arguments):
    places = ["--out", str(tmp_path / "out"), "--results", str(tmp_path / "results"), "--hours", "0"]
    return seeds.main([str(small_recipe), *places, *arguments])


def test_mean_and_spread_are_those_of_the_runs(three, small_recipe, tmp_path):
    result = call(small_recipe, tmp_path, *(item for folder in three for item in ("--run", str(folder))))
    assert result["missing"] == []
    own = {row["stage"]: row["srocc"] for row in json.loads((three[0] / "results.json").read_text())["table"]}
    for stage, srocc in own.items():
        values = [srocc, srocc + 0.03, srocc - 0.01]
        assert result["stages"][stage]["srocc"]["values"] == pytest.approx(values)
        assert result["stages"][stage]["srocc"]["spread"] == pytest.approx(statistics.stdev(values))
    text = (tmp_path / "results" / "seeds_small.md").read_text()
    assert "one run" not in text
    assert seeds.said([srocc, srocc + 0.03, srocc - 0.01]) in text
    assert "Not run" not in text


def test_one_run_is_said_to_be_one_and_the_others_to_be_missing(three, small_recipe, tmp_path):
    result = call(small_recipe, tmp_path, "--run", str(three[0]))
    assert result["missing"] == [2, 3]
    text = (tmp_path / "results" / "seeds_small.md").read_text()
    assert text.count("(one run)") == 2 * len(result["stages"])  # SROCC and pair accuracy of each stage
    assert "Not run: seeds 2, 3" in text


def test_a_stage_that_gives_one_score_for_everything_has_no_srocc(three, small_recipe, tmp_path):
    for file in three[1].glob("stages/*/stage.json"):
        kept = json.loads(file.read_text())
        if kept["row"]["stage"] == "pruned":
            kept["row"]["srocc"] = None
            file.write_text(json.dumps(kept))
    result = call(small_recipe, tmp_path, *(item for folder in three for item in ("--run", str(folder))))
    assert "srocc" not in result["stages"]["pruned"]
    (row,) = [line for line in seeds.table(result["stages"]) if line.startswith("| pruned |")]
    assert "none: one score for all | - |" in row


def test_runs_of_other_recipes_are_refused(three, small_recipe, tmp_path, capsys):
    recipe = yaml.safe_load((three[1] / "recipe.yaml").read_text())
    recipe["stages"][0]["steps"] += 1
    (three[1] / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(SystemExit) as stopped:
        call(small_recipe, tmp_path, "--run", str(three[0]), "--run", str(three[1]))
    assert stopped.value.code == 2
    assert "more than their seed" in capsys.readouterr().err


def test_a_missing_seed_is_run_and_found_again(small_recipe, small_data, tmp_path):
    changes = ["--set", "stages=[{kind: train, name: teacher, steps: 1, batch: 2}]", "--data-folder", str(small_data)]
    places = ["--out", str(tmp_path / "out"), "--results", str(tmp_path / "results"), "--seeds", "2"]
    first = seeds.main([str(small_recipe), *changes, *places])
    assert first["seeds"] == [1, 2]
    values = first["stages"]["teacher"]["srocc"]["values"]
    assert values[0] != values[1]  # another seed, other weights
    before = (tmp_path / "out" / "seed-1" / "results.json").stat().st_mtime_ns
    again = seeds.main([str(small_recipe), *changes, *places])
    assert again["stages"] == first["stages"]
    assert (tmp_path / "out" / "seed-1" / "results.json").stat().st_mtime_ns == before


def test_figures_are_written_as_in_the_tables():
    assert seeds.said([0.9598]) == ".9598 (one run)"
    assert seeds.said([-0.5, -0.3]) == "-.4000 ± .1414"
    assert seeds.said([1.0, 1.0, 1.0]) == "1.0000 ± .0000"
