"""The result of a scoring: one number, its course over time, and how it is written down."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compressvqa.scoring.scorer import Segment
from compressvqa.video.difference import Difference
from compressvqa.video.info import VideoInfo

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA = 1  # of Score.to_dict; a new number where a key changes its meaning or goes away


@dataclass(frozen=True)
class Score:
    """What `score` found.

    Args:
        score: mean over the segments; higher is better.
        per_segment: the segments, in order.
        model: name, mode, direction and range of the network, and where it came from.
        reference: facts of the reference; None for a no-reference network.
        distorted: facts of the distorted video.
        differences: in what the two files differ although they can be compared.
        settings: block, subsample, frames, skipped frames, tiles and device of this scoring.
    """

    score: float
    per_segment: tuple[Segment, ...]
    model: dict[str, Any]
    reference: VideoInfo | None
    distorted: VideoInfo
    differences: tuple[Difference, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def pooled(self) -> dict[str, float | None]:
        """Min, max, mean and harmonic mean over the segments, as libvmaf pools; None where one is not defined."""
        return pool([segment.score for segment in self.per_segment])

    def to_dict(self) -> dict[str, Any]:
        """Plain values that read like libvmaf's JSON log: ``frames[].frameNum``, ``.metrics`` and ``pooled_metrics``.

        A segment is listed under its first frame; ``lastFrameNum`` says where it ends.
        """
        name = self.model["name"]
        return {
            "schema": SCHEMA,
            "version": _version(),
            "model": self.model,
            "reference": None if self.reference is None else _facts(self.reference),
            "distorted": _facts(self.distorted),
            "differences": [
                {"what": found.what, "reference": found.reference, "distorted": found.distorted, "note": found.hint}
                for found in self.differences
            ],
            "settings": self.settings,
            "frames": [
                {"frameNum": part.first_frame, "lastFrameNum": part.last_frame, "metrics": {name: part.score}}
                for part in self.per_segment
            ],
            "pooled_metrics": {name: self.pooled},
            "score": self.score,
        }

    def lines(self) -> list[tuple[str, str]]:
        """What a person reads: (name, value), the score first."""
        pooled = {name: "-" if value is None else f"{value:.4f}" for name, value in self.pooled.items()}
        count = len(self.per_segment)
        kind = "frame" if all(part.first_frame == part.last_frame for part in self.per_segment) else "block"
        found = [
            (str(self.model["name"]), f"{self.score:.4f}"),
            ("min / max", f"{pooled['min']} / {pooled['max']} over {count} {kind}{'' if count == 1 else 's'}"),
            ("harmonic mean", pooled["harmonic_mean"]),
        ]
        if self.reference is not None:
            found.append(("reference", str(self.reference)))
        found.append(("distorted", str(self.distorted)))
        if "compared as" in self.settings:
            found.append(("compared as", str(self.settings["compared as"])))
        if self.settings.get("tiles", 1) > 1:
            found.append(("tiles", f"{self.settings['tiles']} a frame, mean weighted by area"))
        notes = {found.hint for found in self.differences}
        notes |= {
            f"{info.path.name}: {note}" for info in (self.reference, self.distorted) if info for note in info.notes
        }
        found += [("differs", str(one)) for one in self.differences]
        return found + [("note", note) for note in sorted(notes) if note]

    def to_text(self) -> str:
        """`lines` in two columns, without colour."""
        width = max(len(name) for name, _ in self.lines())
        return "".join(f"{name.ljust(width)}  {value}\n" for name, value in self.lines())


def segments_table(scores: Sequence[Score]) -> Table:
    """The course over time for the terminal: a row a segment, a column a file."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in ("frames", "seconds", *(score.distorted.path.name for score in scores)):
        table.add_column(escape(name), justify="right")
    rate = (scores[0].reference or scores[0].distorted).frame_rate
    rows: dict[tuple[int, int], list[str]] = {}
    for place, score in enumerate(scores):
        for part in score.per_segment:
            row = rows.setdefault((part.first_frame, part.last_frame), ["-"] * len(scores))
            row[place] = f"{part.score:.4f}"
    for (first, last), values in sorted(rows.items()):
        seconds = "-" if rate is None else f"{first / float(rate):.2f}"
        table.add_row(str(first) if first == last else f"{first} to {last}", seconds, *values)
    return table


def scores_table(scores: Sequence[Score]) -> Table:
    """Several files' scores for the terminal, a row each, and below what differs."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in ("file", str(scores[0].model["name"]), "min", "max", "harmonic mean", "differs from the reference"):
        table.add_column(name, overflow="fold", justify="left" if name.startswith(("file", "diff")) else "right")
    shown = scores[0].reference
    if shown is not None and shown.notes:
        table.caption = escape("; ".join(f"{shown.path.name}: {note}" for note in shown.notes))
    for score in scores:
        pooled = ["-" if score.pooled[k] is None else f"{score.pooled[k]:.4f}" for k in ("min", "max", "harmonic_mean")]
        said = "; ".join((*(f"{one.what} {one.distorted}" for one in score.differences), *score.distorted.notes))
        table.add_row(escape(score.distorted.path.name), f"[bold]{score.score:.4f}[/bold]", *pooled, escape(said))
    return table


def score_table(score: Score) -> Table:
    """`Score.lines` for the terminal."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for place, (name, value) in enumerate(score.lines()):
        table.add_row(escape(name), f"[bold]{escape(value)}[/bold]" if place == 0 else escape(value))
    return table


def pool(scores: list[float]) -> dict[str, float | None]:
    """Min, max, mean, and libvmaf's harmonic mean n / sum(1 / (x + 1)) - 1, None where some x <= -1.

    >>> pool([1.0, 3.0])
    {'min': 1.0, 'max': 3.0, 'mean': 2.0, 'harmonic_mean': 1.6666666666666665}
    """
    positive = min(scores) > -1
    harmonic = len(scores) / math.fsum(1 / (x + 1) for x in scores) - 1 if positive else None
    return {
        "min": min(scores),
        "max": max(scores),
        "mean": math.fsum(scores) / len(scores),
        "harmonic_mean": harmonic,
    }


def _facts(info: VideoInfo) -> dict[str, Any]:
    return {
        "path": str(info.path),
        "codec": info.codec,
        "width": info.width,
        "height": info.height,
        "pixel_format": info.chroma,
        "bitdepth": info.colour.bitdepth,
        "matrix": info.colour.matrix,
        "full_range": info.colour.full_range,
        "transfer": info.transfer,
        "frame_rate": None if info.frame_rate is None else float(info.frame_rate),
        "frames": info.frames,
        "notes": list(info.notes),
    }


def _version() -> str:
    try:
        return importlib.metadata.version("compressvqa")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree that was not installed
        return "not installed"
