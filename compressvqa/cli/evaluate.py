"""`compressvqa evaluate`: judge models on data sets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer
from rich.console import Console

from compressvqa.cli.app import (
    Align,
    AllowRandom,
    Cluster,
    Crop,
    Deinterlace,
    Hdr,
    Json,
    Length,
    Rate,
    Rotate,
    RuntimeName,
    Sandbox,
    Shard,
    Size,
    Workers,
    app,
)
from compressvqa.cli.general import Resumable
from compressvqa.cli.given import refuse
from compressvqa.cli.networks import NETWORK
from compressvqa.cli.output import emit, print_json
from compressvqa.cli.places import check_ours
from compressvqa.cli.spread import spread
from compressvqa.errors import CompressVQAError
from compressvqa.files import check_writable

if TYPE_CHECKING:
    from compressvqa.executors import Executor
    from compressvqa.results import Evaluation

UNITS = "units"  # folder of what shares of an evaluation took, beside the kept scores

# What says how networks run, and how files are brought together.
OF_NETWORKS = ("device", "runtime", "allow_random_weights", "latency")
OF_FILES = ("size", "rate", "length", "align", "deinterlace", "rotate", "crop", "hdr", "frames", "subsample", "pool")


@app.command(cls=Resumable, short_help="Judge models on data sets of human scores.")
def evaluate(
    context: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... DATASET...",
            help=f"Models and data sets. A model is a network ({NETWORK}) or a metric (psnr, vmaf, ...); a data set "
            "is a manifest or NAME=FOLDER (`compressvqa data list`).",
        ),
    ],
    out: Annotated[Optional[Path], typer.Option(help="Folder for tables, plots and the page.")] = None,  # noqa: UP045
    split: Annotated[Optional[str], typer.Option(help="Only this part of the data sets.")] = None,  # noqa: UP045
    teacher: Annotated[Optional[str], typer.Option(help="Retention is the SROCC over this model's.")] = None,  # noqa: UP045
    baseline: Annotated[Optional[str], typer.Option(help="The F-test compares with this model.")] = None,  # noqa: UP045
    title: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="MODEL=NAME", help="What a model is called in the tables. May be repeated."),
    ] = None,
    scores: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="NAME=FILE", help="Scores taken elsewhere: CSV, JSON, or a folder of libvmaf's logs."),
    ] = None,
    command: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="NAME=COMMAND", help="An outside program: 'tool {reference} {distorted}'."),
    ] = None,
    lower_is_better: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="NAME", help="A score of --scores or --command of which less is better."),
    ] = None,
    higher_is_better: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="NAME", help="A score of --scores or --command of which more is better."),
    ] = None,
    pool: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The score of a file out of its frames: p5, mean, harmonic, min, max, median."),
    ] = None,
    size: Size = "scale",
    rate: Rate = "auto",
    length: Length = "refuse",
    align: Align = "no",
    deinterlace: Deinterlace = False,
    rotate: Rotate = "no",
    crop: Crop = "no",
    hdr: Hdr = "refuse",
    frames: Annotated[Optional[int], typer.Option(min=1, help="Score the first so many frames only.")] = None,  # noqa: UP045
    subsample: Annotated[int, typer.Option(min=1, help="Score every n-th block of 12 frames.")] = 1,
    gap: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Scores so far apart differ, where a data set gives no deviations."),
    ] = None,
    by_content: Annotated[bool, typer.Option("--by-content", help="Intervals draw whole contents, not items.")] = False,
    resamples: Annotated[int, typer.Option(min=0, help="Resamples of the confidence intervals.")] = 2000,
    latency: Annotated[bool, typer.Option("--latency", help="Measure each network's time.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first item that can't be scored.")] = False,
    cache: Annotated[Optional[Path], typer.Option(help="Folder of kept scores.")] = None,  # noqa: UP045
    cluster: Cluster = None,
    shard: Shard = None,
    workers: Workers = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where networks run.")] = "auto",
    runtime: RuntimeName = "auto",
    allow_random_weights: AllowRandom = False,
    sandbox: Sandbox = False,
    form: Annotated[
        Literal["text", "markdown", "latex", "csv"], typer.Option("--format", help="How the table is printed.")
    ] = "text",
    as_json: Json = False,
) -> None:
    """Judge models on data sets: SROCC, PLCC, KROCC, RMSE, OR, F-test, Krasula's analyses, retention, cost.

    Scores are kept: the same command goes on where it was stopped, and a model more costs only itself.

    \b
    compressvqa evaluate runs/mini vmaf_v0.6.1 psnr live-vqa=LIVE/ --out runs/judged
    compressvqa evaluate rankdvqa-mini rankdvqa manifest.csv --teacher rankdvqa
    """
    from compressvqa.evaluation import evaluate as judge
    from compressvqa.evaluation import write_evaluation
    from compressvqa.evaluation.cache import default_folder
    from compressvqa.executors import executor_of
    from compressvqa.opinions import looks_like_dataset
    from compressvqa.progress import bar
    from compressvqa.video.clip import Pairing
    from compressvqa.video.sandbox import sandboxed

    datasets = [text for text in what if looks_like_dataset(text)]
    models: list[Any] = [text for text in what if text not in datasets]
    named = list(models)
    models += _outside(scores or [], command or [], lower_is_better or [], higher_is_better or [])
    if not datasets or not models:
        lacks = "data set" if not datasets else "model"
        raise CompressVQAError(f"there is no {lacks} among {', '.join(what)}",
                               hint="evaluate MODEL... MANIFEST or NAME=FOLDER")  # fmt: skip
    _check(context, named)
    check_writable(None if out is None else out / "evaluation.json")
    check_ours(out, ("evaluation.json",), what="an evaluation")
    named_as = dict(_pair(text, "--title") for text in title or [])
    pairing = Pairing(
        frames, subsample, size=size, rate=rate, length=length, align=align, deinterlace=deinterlace, rotate=rotate,
        crop=crop, hdr=hdr,
    )  # fmt: skip
    settings: dict[str, Any] = {"device": device, "runtime": runtime, "allow_random_weights": allow_random_weights}
    units = cache or default_folder()
    if cluster or shard or workers or (units / UNITS).is_dir():
        reading = {"titles": named_as, "split": split, "pairing": pairing, "sandbox": sandbox}
        executor = executor_of(cluster, shard, workers) if cluster or shard or workers else None
        if not _taken(models, datasets, executor, units, settings=settings, **reading):
            return
    with bar("evaluate") as progress, sandboxed(sandbox):
        found = judge(
            models, datasets, titles=named_as, split=split, teacher=teacher, baseline=baseline, pairing=pairing,
            pool=pool, gap=gap, latency=latency, strict=strict, cache=cache, resamples=resamples,
            by_content=by_content, pictures=out is not None, progress=progress, **settings,
        )  # fmt: skip
    if as_json:
        print_json(found.to_dict())
    else:
        _show(found, form)
    sys.stdout.flush()  # what was computed is printed before it is written and drawn
    written = [] if out is None else write_evaluation(found, out)
    if not as_json and form == "text":
        for path in written:
            print(path)
    if any(dataset.left_out for dataset in found.datasets):
        raise typer.Exit(1)


def _taken(models: list[Any], datasets: list[str], executor: Executor | None, cache: Path, **reading: Any) -> bool:
    """Has others take scores, and puts them where the evaluation finds them.

    Args:
        models: as typed, or scorers.
        datasets: as typed.
        executor: what takes them; None: nothing, only what shares took before is gathered.
        cache: folder of kept scores.
        reading: see `compressvqa.jobs.evaluation_units`.

    Returns:
        Whether there may be all: False after one share of several.
    """
    from compressvqa.executors import Results
    from compressvqa.jobs import evaluation_units, gather, take_scores

    units = evaluation_units(models, datasets, **reading)
    if executor is None:
        kept = Results(cache / UNITS)
        held = [found[0] for unit in units if (found := kept.get(unit.name)) is not None]
    else:
        results = spread(executor, take_scores, units, cache / UNITS, what="scores", pieces="piece")
        if results is None:
            return False
        held = list(results.values())
    gather(cache, held)
    return True


def _check(context: typer.Context, names: list[Any]) -> None:
    """Refuses options that nothing of this command heeds.

    Args:
        context: of the command.
        names: models but for files of scores and outside programs.
    """
    from compressvqa.scoring.find import is_network

    asked = context.params
    networks = [name for name in names if is_network(name)]
    if not networks:
        refuse(context, OF_NETWORKS, "there is no network among the models")
    if not names and not asked["command"]:
        refuse(context, OF_FILES, "scores taken elsewhere are not taken again")
    if asked["as_json"]:
        refuse(context, ("form",), "--json is a form too", hint="one or the other")
    if asked["resamples"] == 0:
        refuse(context, ("by_content",), "with --resamples 0 there are no intervals")


def _show(found: Evaluation, form: Literal["text", "markdown", "latex", "csv"]) -> None:
    """Prints the tables; a terminal's are folded to its width."""
    from compressvqa.report import accuracy_grid, evaluation_table, statistics_grids

    console = Console()
    if form != "text" or not console.is_terminal:
        emit(evaluation_table(found, format=form) + "\n")
    else:
        for grid in (accuracy_grid(found), *statistics_grids(found)):
            console.print(grid)
    if form == "text":
        _say_how_to_read(found, console)


def _say_how_to_read(found: Evaluation, console: Console) -> None:
    """A line a metric: direction, range, what identical files get."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for model in found.models:
        if model.meaning:
            table.add_row(escape(model.name), escape(model.meaning + (f"; {model.note}" if model.note else "")))
    if table.row_count:
        console.print("How the scores are to be read")
        console.print(table)


def _outside(scores: list[str], commands: list[str], lower: list[str], higher: list[str]) -> list[Any]:
    """Scorers of files of scores and of outside programs."""
    from compressvqa.scoring.command import CommandScorer
    from compressvqa.scoring.score_file import ScoreFile

    if both := set(lower) & set(higher):
        raise CompressVQAError(
            f"{min(both)!r} can't be better both ways", where="--lower-is-better, --higher-is-better"
        )
    found: list[Any] = []
    said = dict.fromkeys(higher, True) | dict.fromkeys(lower, False)
    for text in scores:
        name, value = _pair(text, "--scores")
        found.append(ScoreFile(name, Path(value), higher_is_better=said.get(name)))
    for text in commands:
        name, value = _pair(text, "--command")
        found.append(CommandScorer(name, value, higher_is_better=said.get(name)))
    for names, option in ((lower, "--lower-is-better"), (higher, "--higher-is-better")):
        unknown = set(names) - {one.facts[0].name for one in found}
        if unknown:
            raise CompressVQAError(f"{min(unknown)!r} is no score of --scores or --command", where=option)
    return found


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if option == "--title":  # a model may hold an equals sign itself: NAME=WEIGHTS
        name, equals, value = text.rpartition("=")
    if not (name and equals and value):
        raise CompressVQAError(f"{text!r} is no NAME=VALUE", where=option)
    return name, value
