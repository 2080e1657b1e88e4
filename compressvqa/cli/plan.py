"""`compressvqa plan`: what a library of videos takes, before it is begun."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from compressvqa.cli.app import Json, app
from compressvqa.cli.completion import metrics_like
from compressvqa.cli.networks import NETWORK
from compressvqa.cli.output import print_json
from compressvqa.plurals import count


@app.command(short_help="Say what scoring a library takes.")
def plan(
    clips: Annotated[list[Path], typer.Argument(metavar="CLIPS...", help="Folders of videos, or videos.")],
    model: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--model",
            "--metric",
            "-m",
            metavar="NAME",
            autocompletion=metrics_like,
            help=f"What is to score them: {NETWORK}, or a metric. May be repeated.",
        ),
    ] = None,
    proxy: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=2, metavar="FRAMES", help="Also a proxy set (`data proxy --frames`) of all of them."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Cores like those of this machine.")] = 1,
    trials: Annotated[int, typer.Option(min=1, help="Files that are tried, at most.")] = 3,
    as_json: Json = False,
) -> None:
    """Say what decoding, scoring and a proxy set of a library take: CPU hours, hours on a cluster, bytes.

    Looks at every file, and tries the work itself on a few.

    \b
    compressvqa plan library/ -m rankdvqa-mini -m vmaf --workers 64
    """  # fmt: skip
    from compressvqa.jobs.plan import plan as planned
    from compressvqa.jobs.plan import survey
    from compressvqa.progress import bar

    with bar("look") as progress:
        files = survey(clips, progress)
    with bar("try") as progress:
        works = planned(files, model or [], proxy=proxy, trials=trials, progress=progress)
    frames, seconds = sum(file.frames for file in files), sum(file.seconds for file in files)
    size = sum(file.bytes for file in files)
    if as_json:
        library = {"files": len(files), "frames": frames, "seconds": seconds, "bytes": size}
        print_json({
            "library": library, "workers": workers,
            "work": [asdict(work) | {"hours": work.hours(workers)} for work in works],
        })  # fmt: skip
        return
    from rich.table import Table

    print(f"{count(len(files), 'video')}, {count(frames, 'frame')}, {_time(seconds)} of video, {_bytes(size)}")
    table = Table(box=None, pad_edge=False)
    for name in ("work", "CPU time", f"on {count(workers, 'core')}", "writes"):
        table.add_column(name, justify="left" if name == "work" else "right")
    for work in works:
        hours = _time(3600 * work.hours(workers))
        table.add_row(work.name, _time(work.cpu_seconds), hours, _bytes(work.bytes) if work.bytes else "-")
    Console().print(table)
    print(f"tried on {count(works[0].measured_on, 'file')} with what else runs here; each work by itself, reading "
          "over a network left out")  # fmt: skip


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
