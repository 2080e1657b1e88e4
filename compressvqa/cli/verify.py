"""`compressvqa verify`: whether one network is another with channels zeroed, whoever pruned it."""

from __future__ import annotations

from typing import Annotated

import typer

from compressvqa.cli.app import Json, app
from compressvqa.cli.networks import CODE, NETWORK, ClipFrames, ClipSize, Inputs, arguments_of, load_network
from compressvqa.cli.output import print_json


@app.command(short_help="Tell whether a network is another one, pruned.")
def verify(
    context: typer.Context,
    original: Annotated[
        str, typer.Argument(metavar="ORIGINAL", help=f"The network before pruning: {NETWORK}; or {CODE}.")
    ],
    smaller: Annotated[str, typer.Argument(metavar="SMALLER", help="What was made of it: likewise.")],
    size: ClipSize = 96,
    frames: ClipFrames = 12,
    inputs: Inputs = None,
    power: Annotated[bool, typer.Option(help="Check too what a comparison could not notice.")] = True,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    as_json: Json = False,
) -> None:
    """Tell whether SMALLER is ORIGINAL with channels zeroed, whoever pruned it, and which channels went.

    Exit code 0: it is. 1: it is not, or it is not proven. 2: a mistake in what was asked.

    \b
    compressvqa verify runs/teacher/model runs/pruned/model
    """
    import compressvqa as cv

    # Weights that are drawn at random are another network's every time.
    networks = [load_network(name, inputs, random=False) for name in (original, smaller)]
    arguments = arguments_of(networks[0], original, context)
    found = cv.verify(networks[0], networks[1], arguments, power=power, seed=seed)
    if as_json:
        print_json(found.to_dict())
    else:
        print(found)
    if not found.passed:
        raise typer.Exit(1)
