"""How much a recipe's figures depend on the seed: the same recipe several times, mean and spread of every stage.

Weights, batches, crops and dropout are drawn anew for each seed; the data is the same, prepared once. A figure of one
run says little: it is marked as such.

    python benchmarks/seeds.py rankdvqa_mini                              # seeds 0, 1 and 2
    python benchmarks/seeds.py mine.yaml --seeds 5 --set data.sources=FOLDER --set data.validation=FOLDER
    python benchmarks/seeds.py mine.yaml --seeds 3 --run runs/mine        # a finished run counts as one of them
    python benchmarks/seeds.py mine.yaml --hours 2                        # begins no run after so many; again to go on
    python benchmarks/seeds.py mine.yaml --hours 0                        # only the table of what has been run

Prints the table and writes ``benchmarks/results/seeds_NAME.{md,json}``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

import compressvqa as cv
from compressvqa.environment import environment
from compressvqa.errors import CompressVQAError
from compressvqa.files import write_json, write_text
from compressvqa.labels import label_title

RESULTS = Path(__file__).parent / "results"
FIGURES = ("srocc", "plcc", "pair_accuracy", "params", "macs_conv_linear", "seconds")


def finished(run: Path) -> dict[str, Any] | None:
    """A finished run's seed, what it ran, and the figures of each of its stages; None where it is not finished."""
    if not (run / "results.json").exists():
        return None
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    stages = {}
    for file in sorted(run.glob("stages/*/stage.json")):
        kept = json.loads(file.read_text())
        row = kept["row"] | {"seconds": kept["seconds"]}
        stages[row["stage"]] = {name: row[name] for name in FIGURES if row.get(name) is not None}
    results = json.loads((run / "results.json").read_text())
    # What a seed may change, and what only names things.
    same = {key: value for key, value in recipe.items() if key not in ("seed", "name", "description")}
    return {
        "seed": recipe["seed"],
        "recipe": json.dumps(same, sort_keys=True),
        "validation": results["data"]["validation"],
        "label": results["label"],
        "stages": stages,
    }


def said(values: Sequence[float], digits: int = 4) -> str:
    """Mean and standard deviation over runs, or the one figure there is, and of how many runs it is.

    >>> said([0.9, 0.92, 0.91]), said([0.9])
    ('.9100 ± .0100', '.9000 (one run)')
    """
    mean = _short(statistics.mean(values), digits)
    return f"{mean} ± {_short(statistics.stdev(values), digits)}" if len(values) > 1 else f"{mean} (one run)"


def _short(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 and "0." in text[:3] else text


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each stage that every run has, each figure: the runs' values, mean, and standard deviation (n - 1)."""
    found: dict[str, dict[str, Any]] = {}
    for stage in runs[0]["stages"]:
        found[stage] = {}
        for name in FIGURES:
            values = [run["stages"][stage][name] for run in runs if name in run["stages"].get(stage, {})]
            if len(values) == len(runs):
                spread = statistics.stdev(values) if len(values) > 1 else None
                found[stage][name] = {"values": values, "mean": statistics.mean(values), "spread": spread}
    return found


def table(stages: dict[str, dict[str, Any]]) -> list[str]:
    """One line a stage; without an SROCC where a run's network gives one score for everything."""
    lines = ["| stage | params | MACs | SROCC | lowest to highest | pair accuracy | minutes |",
             "|---|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for stage, figures in stages.items():
        srocc = figures.get("srocc", {}).get("values", [])
        ends = f"{_short(min(srocc), 4)} to {_short(max(srocc), 4)}" if len(srocc) > 1 else "-"
        accuracy = said(figures["pair_accuracy"]["values"]) if "pair_accuracy" in figures else "-"
        cells = [
            stage, f"{figures['params']['mean'] / 1e6:.3f} M", f"{figures['macs_conv_linear']['mean'] / 1e9:.3f} G",
            said(srocc) if srocc else "none: one score for all", ends, accuracy,
            f"{figures['seconds']['mean'] / 60:.1f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def page(result: dict[str, Any]) -> str:
    """The page of results."""
    lines = [f"# {result['name']}, {len(result['seeds'])} of {result['wanted']} seeds", ""]
    machine = result["environment"]
    if result["stages"]:
        held = result["validation"]
        what = "patches" if "patches" in held else "clips"
        judged = f"{held.get(what, '?')} distorted {what} of {held.get('contents', '?')} contents"
        label = label_title(result["label"]) if result["label"] else "the label"
        lines += [*table(result["stages"]), ""]
        seeds = ", ".join(map(str, result["seeds"]))
        lines += [
            f"Seeds {seeds}: mean ± standard deviation over runs. SROCC against {label} on {judged} that training did"
            " not see; the data is the same for every seed. MACs are those of convolutions and linear layers.",
            "",
        ]
    if result["missing"]:
        lines += [f"**Not run: seeds {', '.join(map(str, result['missing']))}.**", ""]
    lines += [f"{machine['system']}, {machine['processor']}, torch {machine['packages']['torch']}.", ""]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs what is missing, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="file or name of a recipe")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from the recipe's own on")
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE",
                        help="a setting of the recipe")  # fmt: skip
    parser.add_argument("--run", action="append", default=[], type=Path, help="a finished run that counts too")
    parser.add_argument("--out", type=Path, help="runs and data lie here; by default runs/seeds/NAME")
    parser.add_argument("--data-folder", type=Path, help="the prepared data; by default data under --out")
    parser.add_argument("--hours", type=float, default=1e6, help="no run is begun after so many; 0: only the table")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the table goes")
    options = parser.parse_args(arguments)
    try:
        recipe = cv.Recipe.load(options.recipe, options.changes)
        out = options.out or Path("runs") / "seeds" / recipe.name
        runs: dict[int, dict[str, Any]] = {}
        for folder in options.run:
            known = finished(folder)
            if known is None:
                parser.error(f"{folder} holds no finished run")
            runs[known["seed"]] = known
        ends = time.monotonic() + 3600 * options.hours
        wanted = range(recipe.seed, recipe.seed + options.seeds)
        for seed in wanted:
            place = out / f"seed-{seed}"
            if seed not in runs and finished(place) is None and time.monotonic() < ends:
                one = cv.Recipe.load(options.recipe, [*options.changes, f"seed={seed}"])
                cv.run(one, out=place, data_folder=options.data_folder or out / "data")
            if seed not in runs and (known := finished(place)) is not None:
                runs[seed] = known
    except CompressVQAError as error:
        parser.error(str(error))
    if len({run["recipe"] for run in runs.values()}) > 1:
        parser.error("the runs differ in more than their seed: not the same recipe")
    first = next(iter(runs.values()), None)
    result = {
        "name": recipe.name,
        "seeds": sorted(runs),
        "wanted": options.seeds,
        "missing": [seed for seed in wanted if seed not in runs],
        "stages": summary([runs[seed] for seed in sorted(runs)]) if runs else {},
        "validation": first["validation"] if first else {},
        "label": first["label"] if first else None,
        "environment": environment(),
    }
    text = page(result)
    write_json(options.results / f"seeds_{recipe.name}.json", result)
    write_text(options.results / f"seeds_{recipe.name}.md", text)
    print(text)
    return result


if __name__ == "__main__":
    main()
