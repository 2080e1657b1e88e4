"""What every command shares: the application and common arguments."""

from __future__ import annotations

from typing import Annotated, Literal, Optional

import typer

from compressvqa.cli.completion import recipes_like
from compressvqa.cli.general import Application

app = Application(
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
recipes_app = Application(help="List, show, copy and check recipes.")
app.add_typer(recipes_app, name="recipes")
data_app = Application(help="Prepare and look at training data.")
app.add_typer(data_app, name="data")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A YAML file, or the name of a recipe that ships (`compressvqa recipes list`).",
        autocompletion=recipes_like,
    ),
]
Overrides = Annotated[
    Optional[list[str]],  # noqa: UP045  (typer reads this at run time, also on Python 3.10)
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting: --set stages.teacher.steps=500. May be repeated."
    ),
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
Sandbox = Annotated[
    bool,
    typer.Option("--sandbox", help="Decode in another, limited process: files of strangers (docs/threat_model.md)."),
]
AllowRandom = Annotated[
    bool, typer.Option("--allow-random-weights", help="Also take networks that were never trained.")
]
Cluster = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="local|auto|ADDRESS",
        help="Share the work out: to processes of this machine; to the Ray cluster it belongs to, or another one.",
    ),
]
Shard = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="I/N", help="Do the I-th of N shares of the work only (docs/cluster.md)."),
]
Workers = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=1, help="Processes that share the work on this machine."),
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
