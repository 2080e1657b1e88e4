"""`compressvqa metrics`: the metrics that there are, and how each is to be read."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console

from compressvqa.cli.app import Json, app
from compressvqa.cli.output import print_json


@app.command(short_help="List metrics, and how each is to be read.")
def metrics(
    pattern: Annotated[str, typer.Argument(help='Shell pattern; "pyiqa/*" lists those of pyiqa.')] = "*",
    as_json: Json = False,
) -> None:
    """List the metrics that `score` and `evaluate` know by name: direction, range, what identical files get.

    Networks are listed by `compressvqa models`; a saved one is scored by its folder.
    """
    from compressvqa.scoring.find import listed, other_spellings

    found = listed(pattern)
    if as_json:
        print_json(found)
        return
    console = Console()
    console.print(_table(found))
    if pattern == "*":
        also = ", ".join(f"{other} ({name})" for other, name in other_spellings().items())
        console.print(f"[dim]also known as[/dim] {also}")
        console.print(
            '[dim]and[/dim] pyiqa/NAME (compressvqa metrics "pyiqa/*"), the folder of a network, NAME=WEIGHTS'
        )


def _table(found: list[dict[str, Any]]) -> Any:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in found:
        needs = "" if one["mode"] == "FR" else "no reference: "
        lines = [escape(needs + one["summary"].rstrip(".")), f"[dim]{escape(one['meaning'])}[/dim]"]
        table.add_row(
            escape(one["name"]), "\n".join(lines + ([f"[dim]{escape(one['note'])}[/dim]"] if one["note"] else []))
        )
    return table
