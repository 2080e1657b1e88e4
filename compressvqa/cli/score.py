"""`compressvqa score`: files against their reference."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer
from rich.console import Console

from compressvqa.cli.app import (
    Align,
    AllowRandom,
    BitDepth,
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
    Size,
    Width,
    app,
)
from compressvqa.errors import CompressVQAError

if TYPE_CHECKING:
    from compressvqa.scoring import Score

SHOWN = 20  # segments that are shown without being asked for


@app.command()
def score(
    files: Annotated[
        Optional[list[Path]],  # noqa: UP045  (typer reads this at run time, also on Python 3.10)
        typer.Argument(metavar="REF DIST...", help="The reference and its distorted videos or pictures."),
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
            help="A network that ships (`compressvqa models --pretrained`), a folder made by a run, NAME=WEIGHTS, or a "
            "metric: vmaf, psnr, lpips, ... (`compressvqa metrics`). May be repeated.",
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

    Example: compressvqa score reference.mp4 distorted.mp4

    Example: compressvqa score reference.mp4 distorted.mp4 --model runs/rankdvqa-mini/model

    Example: compressvqa score reference.mp4 low.mp4 high.mp4 --metric vmaf --metric psnr --pool p5 --pool mean

    Example: compressvqa score reference.mp4 distorted.mp4 --metric xpsnr --per second --csv

    A folder of numbered pictures, or a name for them (frame_%04d.png), is one video; - is a Y4M stream on standard
    input.
    """
    from compressvqa.progress import bar
    from compressvqa.scoring import find_scorers, logs, score_all, score_table, scores_table, segments_table
    from compressvqa.scoring.engine import in_order
    from compressvqa.scoring.network import DEFAULT
    from compressvqa.scoring.result import figure
    from compressvqa.video.clip import Clip, Pairing

    forms = {"--json": as_json, "--csv": as_csv, "--xml": as_xml, "--summary": summary}
    asked = [option for option, given in forms.items() if given]
    names = list(dict.fromkeys(model or [DEFAULT]))
    _check(asked, names, pool or [], per, plot, out or [])
    scorers = find_scorers(
        names, device=device, runtime=runtime, allow_random_weights=allow_random_weights, sampled=sampled
    )
    modes = {facts.mode for scorer in scorers for facts in scorer.facts}
    reference, distorted = _sides(
        files or [], reference_file, distorted_files or [], "FR" if "FR" in modes or identical else "NR"
    )
    _check_files(distorted, as_xml)
    form, fps = _raw(width, height, pixel_format, bitdepth), _frame_rate(frame_rate)
    left = None if reference is None else Clip(reference, form, stream if stream_ref is None else stream_ref, fps)
    right = [Clip(path, form, stream if stream_dist is None else stream_dist, fps) for path in distorted]
    with bar("score") as progress:
        scores = score_all(
            left,
            right,
            scorers,
            pools=pool or [],
            per=per,
            identical=identical,
            pairing=Pairing(
                frames, subsample, skip_ref, skip_dist, size, rate, length, align, deinterlace, rotate, crop, hdr
            ),
            progress=progress,
        )
    scores = in_order(scores, names)
    if plot is not None:
        _plot(scores, plot)
    for file in out or []:
        logs.write_scores(scores, file)
    if asked:
        written = {"--json": logs.to_json, "--csv": logs.to_csv, "--xml": logs.to_xml, "--summary": logs.to_summary}
        print(written[asked[0]](scores), end="")
        if as_csv:  # libvmaf's form of it has no place for what the numbers mean
            for one in scores:
                said = f"{one.distorted.path.name}: {one.name} {figure(one.score)} ({one.pooling})"
                print("; ".join([said, one.meaning, *one.remarks]), file=sys.stderr)
        return
    console = Console()
    console.print(score_table(scores[0]) if len(scores) == 1 else scores_table(scores))
    if segments or per is not None or max(len(one.per_segment) for one in scores) <= SHOWN:
        console.print(segments_table(scores))


def _check(
    forms: list[str], names: list[str], pool: list[str], per: str | None, plot: Path | None, out: list[Path]
) -> None:
    """What can be wrong in the command is said before minutes of scoring."""
    from compressvqa.scoring.logs import check_suffix
    from compressvqa.scoring.pooling import Length, parse_pools

    if len(forms) > 1:
        raise CompressVQAError(
            f"{' and '.join(forms)} can't be printed together", hint="--out FILE.json, FILE.csv, ..."
        )
    parse_pools(pool)
    if per is not None:
        Length.parse(per)
    for file in out:
        check_suffix(file)
    if plot is not None and plot.suffix.lower() not in (".svg", ".png"):
        raise CompressVQAError("a plot is written as .svg or .png", where=plot)
    if plot is not None and len(names) > 1:
        raise CompressVQAError(f"a plot shows one metric, and there are {', '.join(names)}", where="--plot")


def _check_files(distorted: list[Path], as_xml: bool) -> None:
    known: set[Path] = set()
    for file in distorted:
        if file.resolve() in known:
            raise CompressVQAError("is named twice", where=file)
        known.add(file.resolve())
    if as_xml and len(distorted) > 1:
        raise CompressVQAError("an XML log holds one distorted file", hint="--json or --csv for several")


def _plot(scores: list[Score], plot: Path) -> None:
    """Draws the course of each file over time."""
    from compressvqa.labels import label_title
    from compressvqa.report import plot_course
    from compressvqa.scoring.result import file_names

    names = file_names(scores)
    courses = {
        names[one.distorted.path]: [(part.first_frame, part.last_frame, part.score) for part in one.per_segment]
        for one in scores
    }
    fps = scores[0].frame_rate
    plot_course(courses, plot, fps=None if fps is None else float(fps), label=label_title(scores[0].name))


def _sides(
    files: list[Path], reference: Path | None, distorted: list[Path], mode: str
) -> tuple[Path | None, list[Path]]:
    """Reference and distorted files out of what was given by place and by name."""
    rest = list(files)
    if reference is None and mode == "FR" and rest and len(rest) + len(distorted) > 1:
        reference = rest.pop(0)
    rest += distorted
    if not rest or (mode == "FR" and reference is None):
        needs = "two files" if mode == "FR" else "a file"
        raise CompressVQAError(f"score needs {needs}", hint="score REFERENCE DISTORTED, or score -r FILE -d FILE")
    return reference, rest


def _frame_rate(text: str | None) -> Fraction | None:
    """Frames a second out of a number or a fraction; 23.976 and its kin stand for fractions of 1001."""
    if text is None:
        return None
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise CompressVQAError(f"--frame-rate {text} is no frame rate", hint="25, 23.976, 30000/1001")
    broadcast = Fraction(round(rate * Fraction(1001, 1000)) * 1000, 1001)
    return broadcast if abs(rate - broadcast) < Fraction(1, 200) and rate.denominator > 1 else rate


def _raw(width: int | None, height: int | None, pixel_format: Literal["420", "422", "444"], bitdepth: int) -> Any:
    """The format of headerless files, None where none was given."""
    from compressvqa.video.raw import RawFormat

    if (width is None) != (height is None):
        raise CompressVQAError("headerless video needs both --width and --height")
    return None if width is None or height is None else RawFormat(width, height, pixel_format, bitdepth)
