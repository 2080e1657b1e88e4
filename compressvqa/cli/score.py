"""`compressvqa score`: files against their reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer
from rich.console import Console

from compressvqa.cli.app import BitDepth, Height, Json, Length, PixelFormat, Rate, Size, Width, app
from compressvqa.errors import CompressVQAError

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
        str, typer.Option(help="A folder made by a run, NAME=WEIGHTS, or a metric: psnr, vmaf_v0.6.1, lpips, ...")
    ] = "rankdvqa-mini",
    frames: Annotated[Optional[int], typer.Option(min=1, help="Score the first so many frames only.")] = None,  # noqa: UP045
    subsample: Annotated[int, typer.Option(min=1, help="Score every n-th block of 12 frames.")] = 1,
    skip_ref: Annotated[int, typer.Option(min=0, help="Leave out so many frames of the reference.")] = 0,
    skip_dist: Annotated[int, typer.Option(min=0, help="Leave out so many frames of the distorted video.")] = 0,
    size: Size = "scale",
    rate: Rate = "auto",
    length: Length = "refuse",
    width: Width = None,
    height: Height = None,
    pixel_format: PixelFormat = "420",
    bitdepth: BitDepth = 8,
    segments: Annotated[bool, typer.Option("--segments", help="Show every segment, however many.")] = False,
    plot: Annotated[Optional[Path], typer.Option(help="Draw the scores over time: a .svg or .png.")] = None,  # noqa: UP045
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where a network runs.")] = "auto",
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one row a segment, as libvmaf does.")] = False,
    as_xml: Annotated[bool, typer.Option("--xml", help="Print XML, as libvmaf does.")] = False,
) -> None:
    """Score distorted videos or pictures against their reference.

    Example: compressvqa score reference.mp4 distorted.mp4 --model runs/rankdvqa-mini/model

    Example: compressvqa score reference.mp4 low.mp4 high.mp4 --model vmaf_v0.6.1 --plot course.svg
    """
    from compressvqa.progress import bar
    from compressvqa.scoring import find_scorers, logs, score_several, score_table, scores_table, segments_table
    from compressvqa.video.clip import Pairing

    scorer = find_scorers([model], device=device)[0]
    reference, distorted = _sides(files or [], reference_file, distorted_files or [], scorer.facts[0].mode)
    if plot is not None and plot.suffix.lower() not in (".svg", ".png"):
        raise CompressVQAError("a plot is written as .svg or .png", where=plot)
    with bar("score") as progress:
        scores = score_several(
            reference,
            distorted,
            model=scorer,
            pairing=Pairing(frames, subsample, skip_ref, skip_dist, size, rate, length),
            raw=_raw(width, height, pixel_format, bitdepth),
            progress=progress,
        )
    if plot is not None:
        from compressvqa.labels import label_title
        from compressvqa.report import plot_course

        courses = {
            name: [(part.first_frame, part.last_frame, part.score) for part in one.per_segment]
            for name, one in zip(_names(distorted), scores, strict=True)
        }
        fps = (scores[0].reference or scores[0].distorted).frame_rate
        plot_course(courses, plot, fps=None if fps is None else float(fps), label=label_title(scorer.facts[0].name))
    if as_json or as_csv or as_xml:
        print((logs.to_json if as_json else logs.to_csv if as_csv else logs.to_xml)(scores), end="")
    else:
        console = Console()
        console.print(score_table(scores[0]) if len(scores) == 1 else scores_table(scores))
        if segments or max(len(one.per_segment) for one in scores) <= SHOWN:
            console.print(segments_table(scores))


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


def _raw(width: int | None, height: int | None, pixel_format: Literal["420", "422", "444"], bitdepth: int) -> Any:
    """The format of headerless files, None where none was given."""
    from compressvqa.video.raw import RawFormat

    if (width is None) != (height is None):
        raise CompressVQAError("headerless video needs both --width and --height")
    return None if width is None or height is None else RawFormat(width, height, pixel_format, bitdepth)


def _names(paths: list[Path]) -> list[str]:
    """File names, with their folder where two are alike."""
    names = [path.name for path in paths]
    return [str(path) if names.count(path.name) > 1 else path.name for path in paths]
