"""What every command shares: the application, common arguments, and how JSON is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from compressvqa.errors import Terminated

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipes_app = typer.Typer(help="List, show, copy and check recipes.", no_args_is_help=True)
app.add_typer(recipes_app, name="recipes")
data_app = typer.Typer(help="Prepare and look at training data.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Overrides = Annotated[
    Optional[list[str]],  # noqa: UP045  (typer reads this at run time, also on Python 3.10)
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting: --set stages.teacher.steps=500. May be repeated."
    ),
]
ModelName = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A name, NAME=pretrained, NAME=FILE with weights, or a folder made by a run."),
]
Size = Annotated[
    Literal["scale", "refuse"], typer.Option(help="Another size than the reference's: scale (bicubic) or refuse.")
]
Rate = Annotated[
    Literal["auto", "hold", "number", "refuse"],
    typer.Option(help="Another frame rate, or one that varies: hold the frame nearest in time, or go by number."),
]
Length = Annotated[
    Literal["refuse", "trim"], typer.Option(help="Another number of frames: refuse, or trim to the shorter file.")
]
Align = Annotated[
    Literal["no", "offset", "frames"],
    typer.Option(help="Files out of step: take out one offset, or also frames that were dropped or doubled."),
]
Deinterlace = Annotated[
    bool, typer.Option("--deinterlace", help="Make whole pictures of files that say they are interlaced (bwdif).")
]
Rotate = Annotated[Literal["no", "auto"], typer.Option(help="Turn and mirror pictures as their files say: auto.")]
Crop = Annotated[
    str,
    typer.Option(metavar="auto|W:H:X:Y", help="Cut off black bars, or cut out a box (REFBOX,DISTBOX: one a file)."),
]
Hdr = Annotated[
    Literal["refuse", "as-is"], typer.Option(help="Two files of one HDR curve: refuse, or compare as coded.")
]
RuntimeName = Annotated[
    str,
    typer.Option(
        "--runtime", metavar="NAME", help="What runs a network: auto (the quickest here), eager, or another runtime."
    ),
]
AllowRandom = Annotated[
    bool, typer.Option("--allow-random-weights", help="Also take networks that were never trained.")
]
Width = Annotated[Optional[int], typer.Option(min=1, help="Width of headerless YUV.")]  # noqa: UP045
Height = Annotated[Optional[int], typer.Option(min=1, help="Height of headerless YUV.")]  # noqa: UP045
PixelFormat = Annotated[Literal["420", "422", "444"], typer.Option(help="Chroma of headerless YUV.")]
BitDepth = Annotated[int, typer.Option(help="Bits of headerless YUV: 8, 10, 12 or 16.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from compressvqa import __version__

        print(f"compressvqa {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    plugin: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="FILE.py|MODULE",
            envvar="COMPRESSVQA_PLUGINS",
            help="Import code of your own first, which registers networks, losses, ... May be repeated.",
        ),
    ] = None,
) -> None:
    """Make deep video-quality networks small and fast, and prove what it cost."""
    from compressvqa.user_code import import_code

    for code in plugin or ():
        import_code(code)


def load_network(name: str) -> Any:
    """A network by name, with its weights as NAME=pretrained or NAME=FILE, or from a folder."""
    from compressvqa.models import create_model, load

    if Path(name).is_dir():
        return load(name)
    registered, equals, weights = name.partition("=")
    return create_model(registered, weights=weights if equals else None)


@contextmanager
def resumable() -> Iterator[None]:
    """Long work that goes on where it was: Ctrl-C and SIGTERM, as clusters send it, end in one line that says so."""
    from compressvqa.running.surroundings import terminated_as_interrupted

    with terminated_as_interrupted():
        try:
            yield
        except KeyboardInterrupt as stop:
            print("stopped; the same command goes on from here", file=sys.stderr)
            raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None


def print_json(value: Any) -> None:
    """Prints strict JSON."""
    from compressvqa.files import plain

    print(json.dumps(plain(value), indent=2, ensure_ascii=False))
