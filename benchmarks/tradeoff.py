"""What a budget costs: SROCC against MACs for the paper's way, whole channels and plain importance.

Budgets of 20, 14, 10, 6, 4 and 2 % of the MACs x three kinds of sparsity x one cut or several with distillation
between x the paper's losses and the best set found; long distillations with three seeds at the decisive budgets; and
ablations that change one thing. A row is a recipe that is built here and run in a folder of its own: all rows have the
same teacher, data, batches and number of steps. Stages that are equal are run once, and the teacher is asked once about
each clip.

    python benchmarks/tradeoff.py --teacher runs/teacher/model --data runs/teacher/data
    python benchmarks/tradeoff.py ... --rows 'grid-14-*' 'long-*' --hours 2   # one row at a time; again to go on
    python benchmarks/tradeoff.py ... --hours 0                               # only the table of what has been run
    python benchmarks/tradeoff.py ... --rows 'long-*' --name tradeoff_long    # a table of its own, of other data
    python benchmarks/tradeoff.py ... --rows 'grid-06-*' --keep               # the table grows: what others ran stays

The data is that of the recipe under ``--recipe`` (settings changed with ``--set``); where ``--data`` holds it already,
it is not built again. Prints the table and writes ``benchmarks/results/tradeoff.{md,csv,json}``, where rows that were
not run are named as missing; a table with a name of its own has no rows but those asked for, and those it had if they
are kept. The docs' figure shows the grid of tradeoff.json and the long rows of all tables that lie there: each row
beside the teacher on the row's own data.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tradeoff_grid import plot, table
from tradeoff_grid.figures import Truth, lines, read
from tradeoff_grid.kept import OtherTableError, machine_of, with_kept
from tradeoff_grid.recipes import NotPossibleError, Setup, base_of, recipe_of
from tradeoff_grid.rows import Row, all_rows
from tradeoff_grid.sharing import share

import compressvqa as cv
from compressvqa.data import PatchSet
from compressvqa.environment import environment
from compressvqa.errors import CompressVQAError
from compressvqa.files import write_json, write_text
from compressvqa.labels import label_title

RESULTS = Path(__file__).parent / "results"
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "tradeoff.svg"


def run_rows(rows: Sequence[Row], setup: Setup, out: Path, data: Path, hours: float) -> dict[str, str]:
    """Runs rows that are not finished, one after the other, and begins none when the hours are over.

    Returns:
        {name of a row: why it can't be run}.
    """
    ends, failed = time.monotonic() + 3600 * hours, {}
    for number, row in enumerate(rows, start=1):
        try:
            recipe = recipe_of(row, setup)
            if read(row, out / row.name) is not None:
                continue
            if time.monotonic() >= ends:
                continue
            known = share(recipe, out / row.name, out, data)
            print(f"[{number}/{len(rows)}] {row.name}" + (f" (known: {', '.join(known)})" if known else ""), flush=True)
            began = time.monotonic()
            result = cv.run(recipe, out=out / row.name, data_folder=data)
            last = result.table[-1]
            print(f"    SROCC {last['srocc']:.4f}, {time.monotonic() - began:.0f} s", flush=True)
        except NotPossibleError as error:
            failed[row.name] = str(error)
        except CompressVQAError as error:  # one row's fault does not stop the others
            failed[row.name] = f"{error}"
            print(f"    {error}", file=sys.stderr, flush=True)
    return failed


def report(rows: Sequence[Row], failed: dict[str, str], out: Path, data: Path, setup: Setup) -> dict[str, Any]:
    """What has been run so far, and what is missing."""
    judged = [one for row in rows if (one := read(row, out / row.name)) is not None]
    patches = PatchSet(data / "validation")
    truth = Truth(patches, setup.base["data"]["label"])
    done = {one.row.name for one in judged}
    setting = {
        "sparse_steps": setup.sparse_steps,
        "distil_steps": setup.distil_steps,
        "long": setup.long,
        "label": label_title(setup.base["data"]["label"]),
        "patches": len(truth.labels),
        "contents": len(truth.contents),
    }
    return {
        "setting": setting,
        "run": len(judged),
        "lines": lines(judged, truth),
        "missing": {row.name: failed.get(row.name, "not run") for row in rows if row.name not in done},
        "environment": environment(),
    }


def _named(missing: dict[str, str]) -> list[str]:
    """The names of missing rows, those of one part and budget on a line."""
    together: dict[str, list[str]] = {}
    for name, why in missing.items():
        part, budget, rest = name.split("-", 2)
        together.setdefault(f"{part}-{budget}-", []).append(rest if why == "not run" else f"{rest} ({why})")
    return [f"- {start}: {', '.join(rests)}" for start, rests in together.items()]


def _shown(results: Path) -> list[dict[str, Any]]:
    """The lines of the figure: the grid of tradeoff.json, and the long rows of every table of a folder.

    Short rows of other data are no points of that grid's curves: they keep other shares of another teacher's SROCC.
    """
    tables = {file.stem: json.loads(file.read_text())["lines"] for file in sorted(results.glob("tradeoff*.json"))}
    return [line for name, lines in tables.items() for line in lines if name == "tradeoff" or line["part"] == "long"]


def page(result: dict[str, Any]) -> str:
    """The page of results."""
    missing: dict[str, str] = result["missing"]
    done = len(result["lines"])
    text = ["# What a budget costs", "", *table.markdown(result["lines"]), *table.legend(result["setting"]), ""]
    if not done:
        text = ["# What a budget costs", "", "No row has been run yet.", ""]
    if missing:
        text += [f"**Missing: {len(missing)} of {len(missing) + result['run']} rows were not run.**", ""]
        text += [*_named(missing), ""]
    text += [f"{machine_of(result)}.", ""]
    for there, count in result.get("kept", {}).items():
        text += [f"{count} of these lines were run earlier and kept: {there}; the same teacher and data.", ""]
    return "\n".join(text)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs rows, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="folder of the trained network")
    parser.add_argument("--second-teacher", type=Path, help="folder of another one, for the ablation with two")
    parser.add_argument("--recipe", default="reference/teacher", help="whose data and objective all rows take")
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE",
                        help="a setting of that recipe, data.sources=[FOLDER] for example")  # fmt: skip
    parser.add_argument("--data", type=Path, default=Path("runs/tradeoff/data"), help="the prepared data")
    parser.add_argument("--out", type=Path, default=Path("runs/tradeoff"), help="a folder for each row lies here")
    parser.add_argument("--rows", nargs="+", default=["*"], metavar="PATTERN", help="names of rows, with * and ?")
    parser.add_argument("--list", action="store_true", help="print the names of the rows and end")
    parser.add_argument("--hours", type=float, default=1e6, help="no row is begun after so many; 0: only the table")
    parser.add_argument("--sparse-steps", type=int, default=200)
    parser.add_argument("--distil-steps", type=int, default=300)
    parser.add_argument("--long", type=int, default=5, help="how many times as many steps the long rows take")
    parser.add_argument("--name", default="tradeoff", help="of the table's files; begins with tradeoff")
    parser.add_argument("--keep", action="store_true", help="keep lines of the table that lies there and is of the same"
                        " teacher, data and steps")  # fmt: skip
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the table goes")
    options = parser.parse_args(arguments)
    rows = all_rows()
    if not options.name.startswith("tradeoff"):
        parser.error(f"--name {options.name}: the name of a table begins with tradeoff")
    chosen = [row for row in rows if any(fnmatch.fnmatchcase(row.name, pattern) for pattern in options.rows)]
    if options.list or not chosen:
        print("\n".join(row.name for row in (chosen or rows)))
        if not chosen:
            parser.error(f"no row is named {' or '.join(options.rows)}")
        return {}
    try:
        base = base_of(options.recipe, options.changes)
        cv.load(options.teacher)
    except CompressVQAError as error:
        parser.error(str(error))
    setup = Setup(
        base, options.teacher, options.second_teacher, options.sparse_steps, options.distil_steps, options.long
    )
    failed = run_rows(chosen, setup, options.out, options.data, options.hours)
    if not (options.data / "validation" / "index.json").exists():
        parser.error(f"no prepared data in {options.data}, and no row was run that would have made it")
    reported = rows if options.name == "tradeoff" else chosen
    result = report(reported, failed, options.out, options.data, setup)
    file = options.results / f"{options.name}.json"
    try:
        result = with_kept(result, file) if options.keep else result
    except OtherTableError as error:
        parser.error(f"{file}: {error}; --name gives the rows a table of their own")
    options.results.mkdir(parents=True, exist_ok=True)
    write_json(file, result)
    write_text(options.results / f"{options.name}.csv", table.to_csv(result["lines"]))
    text = page(result)
    write_text(options.results / f"{options.name}.md", text)
    if shown := _shown(options.results):
        plot.draw(shown, FIGURE if options.results == RESULTS else options.results / "tradeoff.svg")
    print(text)
    return result


if __name__ == "__main__":
    main()
