"""What every command takes as a network, and what it is called with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from compressvqa.cli.completion import networks_like
from compressvqa.cli.given import given, refuse
from compressvqa.errors import VerifyError

NETWORK = "a run folder, a model folder, NAME (with the weights that ship, if any), NAME=FILE or NAME=pretrained"
CODE = "file.py:function of your own, with --inputs"

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help=f"A network: {NETWORK}; or {CODE}.", autocompletion=networks_like)
]
Inputs = Annotated[
    Optional[list[str]],  # noqa: UP045  (typer reads this at run time, also on Python 3.10)
    typer.Option(metavar="1x3x224x224", help="Size of an input; repeat it for a network of several."),
]
ClipSize = Annotated[int, typer.Option(min=1, help="Height and width of the clip that it is run on, in pixels.")]
ClipFrames = Annotated[int, typer.Option(min=1, help="Frames of that clip.")]


def load_network(name: str, inputs: Sequence[str] | None = None, *, random: bool = True) -> Any:
    """The network that a user means: what `NETWORK` and `CODE` say.

    Args:
        name: as it was typed.
        inputs: sizes of its inputs, which code of the user's own needs.
        random: take a name that has no trained weights, with random ones.

    Raises:
        CompressVQAError: there is no such network, or its weights are missing or damaged.
    """
    from compressvqa.models.from_code import is_code, register_code, shape_of_text
    from compressvqa.models.named import FRESH, find_network

    if not Path(name).exists() and is_code(name):
        if not inputs:
            raise VerifyError("the sizes of its inputs are not known", where=name, hint="--inputs 1x3x224x224")
        register_code(name, [shape_of_text(text) for text in inputs])
        from compressvqa.models import create_model

        return create_model(name)
    found = find_network(name, random=random)
    return found.network.train() if found.source == FRESH else found.network


def arguments_of(network: Any, name: str, context: typer.Context) -> tuple[Any, ...]:
    """What to call a network with: `--inputs`, else a clip of `--size` and `--frames`.

    Raises:
        CompressVQAError: the network does not run on the inputs, or --size or --frames are given and say nothing.
    """
    from compressvqa.models import example_inputs
    from compressvqa.models.from_code import shape_of_text, try_inputs

    asked = context.params
    if asked["inputs"]:
        refuse(context, ("size", "frames"), "--inputs says all of the sizes")
        return try_inputs(network, [shape_of_text(text) for text in asked["inputs"]], name)
    made = example_inputs(network, size=asked["size"], frames=asked["frames"])
    if "frames" in given(context):
        longer = example_inputs(network, size=asked["size"], frames=asked["frames"] + 1)
        if [part.shape for part in longer] == [part.shape for part in made]:
            shapes = ", ".join("x".join(map(str, part.shape)) for part in made)
            refuse(context, ("frames",), f"{name} reads {shapes}, whatever the frames")
    return made
