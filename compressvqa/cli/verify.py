"""`compressvqa verify`: whether one network is another with channels zeroed, whoever pruned it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from compressvqa.cli.app import Json, app, load_network, print_json
from compressvqa.errors import VerifyError

_WHAT = "a folder made by a run, NAME=FILE with weights, NAME=pretrained, or file.py:function."


@app.command()
def verify(
    original: Annotated[str, typer.Argument(metavar="ORIGINAL", help=f"The network before pruning: {_WHAT}")],
    smaller: Annotated[str, typer.Argument(metavar="SMALLER", help=f"What was made of it: {_WHAT}")],
    size: Annotated[int, typer.Option(min=1, help="Height and width of the clip that both are run on.")] = 96,
    frames: Annotated[int, typer.Option(min=1, help="Frames of the clip.")] = 12,
    inputs: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="1x3x224x224", help="Size of an input; repeat it for a network of several."),
    ] = None,
    power: Annotated[bool, typer.Option(help="Check too what a comparison could not notice.")] = True,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    as_json: Json = False,
) -> None:
    """Tell whether SMALLER is ORIGINAL with channels zeroed, whoever pruned it, and which channels went.

    Exit code 0: it is. 1: it is not, or it is not proven. 2: a mistake in what was asked.

    Example: compressvqa verify runs/teacher/model runs/pruned/model
    """
    import compressvqa as cv

    networks = [_network(name, inputs or ()) for name in (original, smaller)]
    arguments = _arguments(networks[0], original, inputs or (), size=size, frames=frames)
    found = cv.verify(networks[0], networks[1], arguments, power=power, seed=seed)
    if as_json:
        print_json(found.to_dict())
    else:
        print(found)
    if not found.passed:
        raise typer.Exit(1)


def _network(name: str, shapes: Sequence[str]) -> Any:
    """A network from what the command line calls it."""
    from compressvqa.models import create_model
    from compressvqa.models.from_code import is_code, register_code, shape_of_text

    registered, equals, weights = name.partition("=")
    if Path(name).is_dir():
        return load_network(name)
    if equals:
        if weights != "pretrained" and not Path(weights).exists():
            raise VerifyError(f"there is no {weights!r}", where=name, hint="NAME=FILE with the network's weights")
        return create_model(registered, weights=weights)
    if not is_code(name):
        create_model(name)  # an unknown name is said to be one
        hint = f"{name}=FILE with its weights, {name}=pretrained, or a folder made by a run"
        raise VerifyError(
            "by its name alone it has random weights, another network's every time", where=name, hint=hint
        )
    if not shapes:
        raise VerifyError("the sizes of its inputs are not known", where=name, hint="--inputs 1x3x224x224")
    register_code(name, [shape_of_text(text) for text in shapes])
    return load_network(name)


def _arguments(network: Any, name: str, shapes: Sequence[str], *, size: int, frames: int) -> Any:
    """What both networks are called with."""
    from compressvqa.models import example_inputs
    from compressvqa.models.from_code import shape_of_text, try_inputs

    if shapes:
        return try_inputs(network, [shape_of_text(text) for text in shapes], name)
    return example_inputs(network, size=size, frames=frames)
