"""What can be wrong in a `score` command is said before minutes of scoring; and what its files are read as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from compressvqa.cli.given import given, refuse
from compressvqa.errors import CompressVQAError

if TYPE_CHECKING:
    from compressvqa.scoring.pairs import Task
    from compressvqa.scoring.scorer import Scorer
    from compressvqa.video.clip import Clip
    from compressvqa.video.raw import RawFormat

FORMS = {"as_json": "--json", "as_csv": "--csv", "as_xml": "--xml", "summary": "--summary"}
OF_NETWORKS = ("device", "runtime", "allow_random_weights")
# What brings a file in step with a reference.
OF_PAIRS = ("skip_ref", "skip_dist", "size", "rate", "length", "align", "hdr")
OF_RAW = ("width", "height", "pixel_format", "bitdepth")


def check_command(context: typer.Context, names: Sequence[str]) -> str | None:
    """Checks what can be checked without a file; returns the form that is printed for programs, None for tables.

    Raises:
        CompressVQAError: options that exclude each other, or a value that is none.
    """
    from compressvqa.scoring.logs import check_suffix
    from compressvqa.scoring.pooling import Length, parse_pools

    asked = context.params
    forms = [option for name, option in FORMS.items() if asked[name]]
    if len(forms) > 1:
        raise CompressVQAError(
            f"{' and '.join(forms)} can't be printed together", hint="--out FILE.json, FILE.csv, ..."
        )
    if forms:
        refuse(context, ("segments",), f"{forms[0]} holds every segment")
    if asked["summary"]:
        refuse(context, ("per",), "--summary has one row a file", hint="--csv or --json")
    parse_pools(asked["pool"] or [])
    if asked["per"] is not None:
        Length.parse(asked["per"])
    for file in asked["out"] or []:
        check_suffix(file)
    plot = asked["plot"]
    if plot is not None and plot.suffix.lower() not in (".svg", ".png"):
        raise CompressVQAError("a plot is written as .svg or .png", where=plot)
    if plot is not None and len(names) > 1:
        raise CompressVQAError(f"a plot shows one metric, and there are {', '.join(names)}", where="--plot")
    _frame_rate(asked["frame_rate"])
    return forms[0] if forms else None


def check_scorers(context: typer.Context, scorers: Sequence[Scorer]) -> None:
    """Refuses options that no metric of these heeds."""
    from compressvqa.scoring.network import NetworkScorer

    names = ", ".join(facts.name for scorer in scorers for facts in scorer.facts)
    are = "is no network" if len(scorers) == 1 and len(scorers[0].facts) == 1 else "are no networks"
    if not any(isinstance(scorer, NetworkScorer) for scorer in scorers):
        refuse(context, OF_NETWORKS, f"{names} {are}")
    if all(facts.mode == "NR" for scorer in scorers for facts in scorer.facts):
        read = "reads no reference" if len(scorers) == 1 else "read no reference"
        refuse(context, OF_PAIRS, f"{names} {read}")
        if not context.params["identical"]:
            refuse(context, ("reference_file", "stream_ref"), f"{names} {read}")


def check_files(context: typer.Context, tasks: Sequence[Task]) -> None:
    """Refuses options that say something of files of another kind than these."""
    from compressvqa.video.sequence import is_sequence

    asked = context.params
    files = [path for task in tasks for path in (task.reference, *task.distorted) if path is not None]
    one = files[0].name if len({path.suffix for path in files}) > 1 else f"{files[0].suffix or files[0].name} files"
    headerless = [path for path in files if _is_headerless(path)]
    if not headerless:
        refuse(context, OF_RAW, f"it is of headerless .yuv, and {one} say what they hold"
               if one.endswith("files") else f"it is of headerless .yuv, and {one} says what it holds")  # fmt: skip
    if (asked["width"] is None) != (asked["height"] is None):
        raise CompressVQAError("headerless video needs both --width and --height")
    if asked["width"] is None:
        refuse(context, ("pixel_format", "bitdepth"), "headerless video needs its size too", hint="--width --height")
    if not headerless and not any(is_sequence(path) for path in files):
        refuse(context, ("frame_rate",), "it is of numbered pictures and headerless .yuv, and here is neither",
               hint="leave it out: files say their own")  # fmt: skip
    if {"stream", "stream_ref", "stream_dist"} <= given(context):
        refuse(context, ("stream",), "--stream-ref and --stream-dist say all")
    logs = [f"--out {file}" for file in asked["out"] or [] if file.suffix.lower() == ".xml"]
    logs += ["--xml"] if asked["as_xml"] else []
    if logs and sum(len(task.distorted) for task in tasks) > 1:
        raise CompressVQAError("an XML log holds one distorted file", where=logs[0], hint="JSON or CSV for several")


def check_pictures(context: typer.Context, tasks: Sequence[Task], read: Reading) -> None:
    """Refuses to deinterlace where no file says that it is interlaced."""
    from compressvqa.video import probe
    from compressvqa.video.piped import STANDARD_INPUT

    if not context.params["deinterlace"]:
        return
    clips = [clip for task in tasks for clip in (read.reference(task), *read.distorted(task)) if clip is not None]
    if all(clip.path != STANDARD_INPUT and probe(clip).scan == "progressive" for clip in clips):
        refuse(context, ("deinterlace",), "no file says that it is interlaced")


def _is_headerless(path: Path) -> bool:
    from compressvqa.video.piped import STANDARD_INPUT
    from compressvqa.video.read import RAW_SUFFIXES

    return path == STANDARD_INPUT or path.suffix.lower() in RAW_SUFFIXES


@dataclass(frozen=True)
class Reading:
    """What the files of a command are read as: format of headerless ones, streams, frames a second."""

    raw: RawFormat | None
    stream_ref: int | None
    stream_dist: int | None
    rate: Fraction | None

    @classmethod
    def of(cls, context: typer.Context) -> Reading:
        """As the options of a command say."""
        asked = context.params
        stream = asked["stream"]
        ref, dist = (stream if asked[name] is None else asked[name] for name in ("stream_ref", "stream_dist"))
        return cls(_raw(asked), ref, dist, _frame_rate(asked["frame_rate"]))

    def reference(self, task: Task) -> Clip | None:
        """The reference of a task."""
        from compressvqa.video.clip import Clip

        return None if task.reference is None else Clip(task.reference, self.raw, self.stream_ref, self.rate)

    def distorted(self, task: Task) -> list[Clip]:
        """Its distorted files."""
        from compressvqa.video.clip import Clip

        return [Clip(path, self.raw, self.stream_dist, self.rate) for path in task.distorted]


def _raw(asked: dict[str, Any]) -> RawFormat | None:
    """The format of headerless files, None where none was given."""
    from compressvqa.video.raw import RawFormat

    if asked["width"] is None:
        return None
    return RawFormat(asked["width"], asked["height"], asked["pixel_format"], asked["bitdepth"])


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
