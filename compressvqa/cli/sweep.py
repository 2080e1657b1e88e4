"""`compressvqa sweep`: many settings of a recipe, and which is worth its cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer
from rich.console import Console

from compressvqa.cli.app import Cluster, Json, Overrides, RecipeName, Shard, Workers, app
from compressvqa.cli.general import Resumable
from compressvqa.cli.output import print_json
from compressvqa.cli.places import check_ours
from compressvqa.cli.spread import spread
from compressvqa.errors import CompressVQAError
from compressvqa.files import check_writable
from compressvqa.plurals import count

if TYPE_CHECKING:
    from compressvqa.jobs.sweep import Swept

UNITS = "units"


@app.command(cls=Resumable, short_help="Try many settings of a recipe.")
def sweep(
    recipe: RecipeName,
    out: Annotated[Path, typer.Option(help="Folder of the sweep.")],
    vary: Annotated[
        list[str],
        typer.Option(metavar="KEY=VALUES", help="A setting and its values, V1,V2,... or LOW..HIGH or LOW..HIGH:log."),
    ],
    overrides: Overrides = None,
    sampler: Annotated[
        Literal["grid", "tpe"], typer.Option(help="Every combination, or what Optuna chooses (extra `sweep`).")
    ] = "grid",
    trials: Annotated[Optional[int], typer.Option(min=1, help="With tpe: how many.")] = None,  # noqa: UP045
    at_once: Annotated[int, typer.Option(min=1, help="With tpe: how many are chosen at a time.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="With tpe: of the choices.")] = 0,
    accuracy: Annotated[
        Literal["srocc", "plcc", "pair_accuracy"], typer.Option(help="What there is to be much of.")
    ] = "srocc",
    cost: Annotated[Literal["macs", "params"], typer.Option(help="What there is to be little of.")] = "macs",
    within: Annotated[
        float, typer.Option(min=0, help="The cheapest run so near to the best accuracy is chosen.")
    ] = 0.01,
    stop_after: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="STAGE", help="End trials that are below the median after this stage; again for more."),
    ] = None,
    cluster: Cluster = None,
    shard: Shard = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Run a recipe with many settings; end in accuracy against cost, the Pareto front, and a chosen recipe.

    The same command goes on where it was stopped.

    \b
    compressvqa sweep rankdvqa_mini --vary seed=0,1,2 --out runs/sweep
    compressvqa sweep mine.yaml --vary stages.a.optimizer.lr=1e-5..1e-3:log --sampler tpe --out lr
    """
    from compressvqa.executors import Results, Together, executor_of
    from compressvqa.executors import Shard as Share
    from compressvqa.jobs.rungs import Rungs
    from compressvqa.jobs.sampled_trials import sampled_trials
    from compressvqa.jobs.space import grid, parse_space
    from compressvqa.jobs.sweep import run_trial, trial_unit, weigh, write_sweep

    space = parse_space(vary)
    _check(sampler, trials)
    check_writable(out / "sweep.json")
    check_ours(out, ("sweep.json", "recipes", "trials", UNITS), what="a sweep")
    executor, results_kept = executor_of(cluster, shard, workers), Results(out / UNITS)
    if sampler == "tpe" and isinstance(executor, Share):  # what is tried next hangs on what all of them found
        executor = Together(executor)

    def run(units: Any) -> dict[str, Any] | None:
        # What made a trial fail may be mended since: a full disk, a missing file. Shares that wait for each other would
        # take away what another one waits for.
        for unit in () if isinstance(executor, Together) else executor.share(units):
            kept = results_kept.get(unit.name)
            if kept is not None and "failed" in kept[0]:
                results_kept.drop(unit.name)
        return spread(executor, run_trial, units, out / UNITS, what="trials", pieces="trial")

    def unit_of(trial: Any, until: str | None) -> Any:
        return trial_unit(recipe, overrides or (), trial, out, until)

    stops = _in_order(recipe, overrides or (), stop_after or ())
    rungs = Rungs(unit_of, run, stops=stops, accuracy=accuracy, kept=results_kept)
    if sampler == "grid":
        tried = grid(space)
        ended = rungs(tried)
        if ended is None:
            return
        units, results = ended
    else:
        tried, units, results = sampled_trials(
            space,
            rungs,
            out=out,
            count=trials or 0,
            at_once=at_once,
            seed=seed,
            accuracy=accuracy,
            cost=cost,
            share=shard,
        )
    swept = weigh(tried, units, results, accuracy=accuracy, cost=cost, within=within)
    written = write_sweep(swept, out, accuracy=accuracy)
    if as_json:
        print_json({
            "trials": swept.rows, "failed": swept.failed, "stopped": swept.stopped, "chosen": swept.chosen,
        })  # fmt: skip
    else:
        _show(swept, written, accuracy, cost)


def _check(sampler: str, trials: int | None) -> None:
    if sampler == "grid" and trials is not None:
        raise CompressVQAError("a grid has as many trials as combinations", where="--trials", hint="--sampler tpe")
    if sampler == "tpe" and trials is None:
        raise CompressVQAError("how many trials?", where="--sampler tpe", hint="--trials 20")


def _in_order(recipe: str, overrides: Sequence[str], stops: Sequence[str]) -> list[str]:
    """Stages after which weak trials end, in the order of the recipe."""
    from compressvqa.running.recipe import Recipe

    if not stops:
        return []
    loaded = Recipe.load(recipe, overrides)
    for stop in stops:
        loaded.up_to(stop)
    return [stage.name for stage in loaded.stages if stage.name in stops]


def _show(swept: Swept, written: list[Path], accuracy: str, cost: str) -> None:
    """The trials from the cheapest to the dearest, those on the front marked, and the chosen one."""
    from rich.table import Table

    front = {swept.rows[place]["stage"] for place in swept.front}
    table = Table(box=None, pad_edge=False)
    for name in ("trial", accuracy, cost, "front"):
        table.add_column(name, justify="left" if name in ("trial", "front") else "right")
    for row in sorted(swept.rows, key=lambda row: row.get(cost) or 0):
        figures = [f"{row[accuracy]:.4f}" if row.get(accuracy) is not None else "-", f"{row.get(cost, 0):,.0f}"]
        table.add_row(row["stage"], *figures, "yes" if row["stage"] in front else "")
    console = Console()
    console.print(table)
    if swept.failed:
        print(f"{count(len(swept.failed), 'trial')} did not end: {next(iter(swept.failed.values()))}")
    for name, why in swept.stopped.items():
        print(f"stopped: {name} ({why})")
    print(f"chosen: {swept.chosen['stage']}\nmodel:  {swept.chosen['model']}")
    for path in written:
        print(path)
