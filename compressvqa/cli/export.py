"""`compressvqa export`: a network as a file that runs without this package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from compressvqa.cli.app import AllowRandom, Json, app
from compressvqa.cli.completion import networks_like
from compressvqa.cli.networks import NETWORK
from compressvqa.cli.output import print_json
from compressvqa.cli.places import Overwrite, check_new
from compressvqa.errors import CompressVQAError
from compressvqa.files import check_writable


@app.command(short_help="Write a network as ONNX, OpenVINO or torch.export.")
def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=f"A network: {NETWORK}.", autocompletion=networks_like)],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the file, its facts and an example.")],
    format: Annotated[
        Literal["onnx", "openvino", "torch-export"], typer.Option("--format", "-f", help="What to write.")
    ] = "onnx",
    size: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="HEIGHTxWIDTH", help="One size of pictures; by default any size, where that is possible."),
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames of a block; by default the network's own.")] = None,
    name: Annotated[Optional[str], typer.Option(help="What the network is called.")] = None,  # noqa: UP045
    overwrite: Overwrite = False,
    licence: Annotated[Optional[str], typer.Option(metavar="SPDX", help="Licence of the weights.")] = None,  # noqa: UP045
    int8: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="PATCHES", help="Round to int8 by the patches of a prepared data folder (openvino only)."),
    ] = None,
    clips: Annotated[int, typer.Option(min=16, help="With --int8: so many patches, half to calibrate.")] = 128,
    allow_random_weights: AllowRandom = False,
    as_json: Json = False,
) -> None:
    """Write a network as a folder that scores without compressvqa, checked against PyTorch in a new process.

    \b
    compressvqa export rankdvqa-mini --format onnx --out exported
    compressvqa export runs/small --format openvino --size 1080x1920 --out exported
    compressvqa export rankdvqa-mini --format openvino --int8 runs/a/data/train --out exported
    """
    from compressvqa.deploy.exporting import export as export_network
    from compressvqa.deploy.exporting.export import FACTS

    check_writable(out / FACTS)
    check_new(out, FACTS, overwrite=overwrite, what="an export")

    if int8 is not None and format != "openvino":
        raise CompressVQAError(f"{format} is not written in int8", where="--int8", hint="--format openvino")
    made = export_network(
        model, out, format=format, size=_size(size), frames=frames, name=name, licence=licence,
        int8=None if int8 is None else _patches(int8, clips), allow_random_weights=allow_random_weights,
    )  # fmt: skip
    if as_json:
        print_json(made.to_dict())
        return
    print(made.file)
    print(made.said)
    for note in made.notes:
        print(note)
    print(f"python {out / 'example.py'} {'REFERENCE DISTORTED' if made.facts['mode'] == 'FR' else 'DISTORTED'}")


def _patches(folder: Path, count: int) -> list[tuple[Any, ...]]:
    """Some patches of a prepared set, spread over it, and their references."""
    from compressvqa.data.patches import PatchSet

    patches = PatchSet(folder)
    step = max(1, len(patches) // count)
    pairs = [patches.load(number) for number in range(0, len(patches), step)][:count]
    return [tuple(side.to_rgb()[None] for side in pair) for pair in pairs]


def _size(text: str | None) -> tuple[int, int] | None:
    """(height, width) out of 1080x1920, or of one number for both."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if not 1 <= len(sides) <= 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise CompressVQAError(f"{text!r} is no size of pictures", where="--size", hint="--size 1080x1920")
    return int(sides[0]), int(sides[-1])
