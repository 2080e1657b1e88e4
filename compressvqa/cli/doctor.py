"""`compressvqa doctor`: versions, and what is missing."""

from __future__ import annotations

import typer

from compressvqa.cli.app import Json, app
from compressvqa.cli.output import print_json


@app.command(short_help="Print versions and say what is missing.")
def doctor(as_json: Json = False) -> None:
    """Print versions and say what is missing."""
    from compressvqa.doctor import examine, missing

    found, faults = examine(), missing()
    if as_json:
        print_json({**found, "missing": faults})
    else:
        for key, value in found.items():
            print(f"{key:<20} {value}")
        print("\n".join(f"missing: {fault}" for fault in faults) or "nothing is missing")
    if faults:
        raise typer.Exit(1)
