"""`compressvqa score`: files against their reference."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer
from rich.console import Console

from compressvqa.cli.app import (
    Align,
    AllowRandom,
    BitDepth,
    Cluster,
    Crop,
    Deinterlace,
    Hdr,
    Height,
    Json,
    Length,
    PixelFormat,
    Rate,
    Rotate,
    RuntimeName,
    Sandbox,
    Shard,
    Size,
    Width,
    Workers,
    app,
)
from compressvqa.cli.completion import metrics_like
from compressvqa.cli.general import general
from compressvqa.cli.networks import NETWORK
from compressvqa.cli.output import emit, emit_json
from compressvqa.cli.score_checks import Reading, check_command, check_files, check_pictures, check_scorers
from compressvqa.cli.score_shared import score_shared
from compressvqa.errors import CompressVQAError
from compressvqa.files import check_writable

if TYPE_CHECKING:
    from compressvqa.scoring import Score
    from compressvqa.scoring.pairs import Task
    from compressvqa.scoring.scorer import Scorer

SHOWN = 20  # segments that are shown without being asked for
FILES_SHOWN = 5  # files of which they are


@app.command(short_help="Score videos or pictures against a reference.")
def score(
    context: typer.Context,
    files: Annotated[
        Optional[list[Path]],  # noqa: UP045  (typer reads this at run time, also on Python 3.10)
        typer.Argument(
            metavar="REF DIST...",
            help="The reference and its distorted videos or pictures; folders of them; or a table of pairs.",
        ),
    ] = None,
    reference_file: Annotated[  # the order of the two is the other way round in some tools: options leave no doubt
        Optional[Path],  # noqa: UP045
        typer.Option("-r", "--reference", help="The reference, by name."),
    ] = None,
    distorted_files: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option("-d", "--distorted", help="A distorted file, by name. May be repeated."),
    ] = None,
    model: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--model",
            "--metric",
            "-m",
            metavar="NAME",
            show_default="rankdvqa-mini",
            autocompletion=metrics_like,
            help=f"A network: {NETWORK} (`compressvqa models`); or a metric: vmaf, psnr, lpips, ... "
            "(`compressvqa metrics`). May be repeated.",
        ),
    ] = None,
    pool: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="NAME",
            help="The score of a file out of its frames: p5 (any percentile), mean, harmonic, min, max, median. "
            "May be repeated: the first is the score.",
        ),
    ] = None,
    per: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="LENGTH", help="Also pool each second, or each 24 (frames), or 0.5s."),
    ] = None,
    identical: Annotated[
        bool, typer.Option("--identical", help="Also score the reference against itself: what identical files get.")
    ] = False,
    frames: Annotated[Optional[int], typer.Option(min=1, help="Score the first so many frames only.")] = None,  # noqa: UP045
    subsample: Annotated[int, typer.Option(min=1, help="Score every n-th block of 12 frames.")] = 1,
    skip_ref: Annotated[int, typer.Option(min=0, help="Leave out so many frames of the reference.")] = 0,
    skip_dist: Annotated[int, typer.Option(min=0, help="Leave out so many frames of the distorted video.")] = 0,
    size: Size = "scale",
    rate: Rate = "auto",
    length: Length = "refuse",
    align: Align = "no",
    deinterlace: Deinterlace = False,
    rotate: Rotate = "no",
    crop: Crop = "no",
    hdr: Hdr = "refuse",
    width: Width = None,
    height: Height = None,
    pixel_format: PixelFormat = "420",
    bitdepth: BitDepth = 8,
    stream: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, help="Video stream to score of files that hold several, counted from 0."),
    ] = None,
    stream_ref: Annotated[Optional[int], typer.Option(min=0, help="The same, of the reference only.")] = None,  # noqa: UP045
    stream_dist: Annotated[Optional[int], typer.Option(min=0, help="The same, of distorted files only.")] = None,  # noqa: UP045
    frame_rate: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Frames a second of numbered pictures and headerless YUV: 25, 23.976, 30000/1001."),
    ] = None,
    sampled: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, metavar="SEED", help="Networks score a sample of each file, drawn by this seed: cheaper."),
    ] = None,
    segments: Annotated[bool, typer.Option("--segments", help="Show every segment, however many.")] = False,
    plot: Annotated[Optional[Path], typer.Option(help="Draw the scores over time: a .svg or .png.")] = None,  # noqa: UP045
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where a network runs.")] = "auto",
    runtime: RuntimeName = "auto",
    allow_random_weights: AllowRandom = False,
    sandbox: Sandbox = False,
    cluster: Cluster = None,
    shard: Shard = None,
    workers: Workers = None,
    cache: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FOLDER", help="Keep what is scored: the same command goes on, and shares meet there."),
    ] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one row a segment, as libvmaf does.")] = False,
    as_xml: Annotated[bool, typer.Option("--xml", help="Print XML, as libvmaf does.")] = False,
    summary: Annotated[
        bool, typer.Option("--summary", help="Print CSV, one row a file and metric: score, direction, range, poolings.")
    ] = False,
    out: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(metavar="FILE", help="Also write a log: a .json, .csv or .xml. May be repeated."),
    ] = None,
) -> None:
    """Score distorted videos or pictures against their reference.

    \b
    compressvqa score reference.mp4 distorted.mp4
    compressvqa score reference.mp4 low.mp4 high.mp4 -m vmaf -m psnr --pool p5 --pool mean
    compressvqa score reference.mp4 distorted.mp4 --model runs/rankdvqa-mini --per second --csv
    compressvqa score reference.mp4 encodes/
    compressvqa score references/ encodes/ --summary > scores.csv
    compressvqa score pairs.csv --out scores.json
    compressvqa score pairs.csv --cluster local --summary

    A folder of videos stands for all of them; of two folders, dog.mp4 goes with dog.mp4 and dog_crf30.mp4. A table
    has the columns ref,dist. A folder of numbered pictures, or a name for them (frame_%04d.png), is one video. Beside
    another file, - is a Y4M stream on standard input; alone, it is such a table.
    """
    from compressvqa.scoring import find_scorers, logs, score_table, scores_table, segments_table
    from compressvqa.scoring.engine import in_order, without_repeats
    from compressvqa.scoring.network import DEFAULT
    from compressvqa.scoring.pairs import pairs_of
    from compressvqa.video.clip import Pairing
    from compressvqa.video.sandbox import sandboxed

    names = list(dict.fromkeys(model or [DEFAULT]))
    form = check_command(context, names)
    check_writable(plot, *(out or ()))
    settings: dict[str, Any] = {"device": device, "runtime": runtime, "allow_random_weights": allow_random_weights}
    scorers = find_scorers(names, sampled=sampled, **settings)
    check_scorers(context, scorers)
    modes = {facts.mode for scorer in scorers for facts in scorer.facts}
    tasks = pairs_of(
        files or [], reference_file, distorted_files or [],
        needs_reference="FR" in modes or identical, stream=getattr(sys.stdin, "buffer", None),
    )  # fmt: skip
    check_files(context, tasks)
    read = Reading.of(context)
    check_pictures(context, tasks, read)
    pairing = Pairing(frames, subsample, skip_ref, skip_dist, size, rate, length, align, deinterlace, rotate, crop, hdr)
    how: dict[str, Any] = {"pools": pool or [], "per": per, "identical": identical, "pairing": pairing}
    if cluster or shard or workers or cache:
        shared = score_shared(context, tasks, read, names, scorers, {**settings, "sampled": sampled}, how)
        if shared is None:
            return
        scores = shared
    else:
        with sandboxed(sandbox):
            scores = _score(tasks, read, scorers, how)
    scores = in_order(without_repeats(scores), names)
    if form is not None:
        _print(scores, form)
    else:
        console = Console()
        console.print(score_table(scores[0]) if len(scores) == 1 else scores_table(scores))
        if segments or per is not None or _are_few(scores):
            console.print(segments_table(scores))
    for file in out or []:  # what was computed is printed before it is written and drawn
        logs.write_scores(scores, file)
    if plot is not None:
        _plot(scores, plot)


def _score(tasks: Sequence[Task], read: Reading, scorers: Sequence[Scorer], how: dict[str, Any]) -> list[Score]:
    """Scores one reference after the other."""
    from compressvqa.progress import bar
    from compressvqa.scoring import score_all

    scores: list[Score] = []
    with bar("score") as progress:
        for number, task in enumerate(tasks, 1):
            # Where there are several references, work is counted by them: frames of the next are not known yet.
            progress.update(number - 1, len(tasks)) if len(tasks) > 1 else None
            shown = progress if len(tasks) == 1 else None
            scores += score_all(read.reference(task), read.distorted(task), scorers, progress=shown, **how)
    return scores


def _are_few(scores: Sequence[Score]) -> bool:
    """Whether segments are shown without being asked for: few of them, and of few files."""
    from compressvqa.scoring.result import subjects

    files = set(subjects(scores))
    return max(len(one.per_segment) for one in scores) <= SHOWN and len(files) <= FILES_SHOWN


def _print(scores: Sequence[Score], form: str) -> None:
    """Prints scores for programs."""
    from compressvqa.scoring import logs
    from compressvqa.scoring.result import figure

    if form == "--json":
        emit_json(logs.to_json(scores))
        return
    emit({"--csv": logs.to_csv, "--xml": logs.to_xml, "--summary": logs.to_summary}[form](scores))
    if form == "--csv" and not general.quiet:  # libvmaf's form of it has no place for what the numbers mean
        for one in scores:
            said = f"{one.distorted.path.name}: {one.name} {figure(one.score)} ({one.pooling})"
            print("; ".join([said, one.meaning, *one.remarks]), file=sys.stderr)


def _plot(scores: list[Score], plot: Path) -> None:
    """Draws the course of each file over time."""
    from compressvqa.labels import label_title
    from compressvqa.report import plot_course
    from compressvqa.scoring.result import file_names, subjects

    names, of = file_names(scores), subjects(scores)
    if not any(one.per_segment for one in scores):
        raise CompressVQAError(f"{scores[0].name} is one number a file: it has no course to draw", where="--plot")
    courses = {
        names[subject]: [(part.first_frame, part.last_frame, part.score) for part in one.per_segment]
        for one, subject in zip(scores, of, strict=True)
    }
    fps = scores[0].frame_rate
    plot_course(courses, plot, fps=None if fps is None else float(fps), label=label_title(scores[0].name))
