"""`compressvqa models` and `compressvqa profile`: what there is and what it costs."""

from __future__ import annotations

import difflib
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compressvqa.cli.app import Json, app
from compressvqa.cli.networks import ClipFrames, ClipSize, Inputs, ModelName, arguments_of, load_network
from compressvqa.cli.output import print_json, print_names
from compressvqa.errors import RegistryError

if TYPE_CHECKING:
    from compressvqa.models.shipped import Shipped
    from compressvqa.registry import Entry


@app.command(short_help="List networks by name.")
def models(
    pattern: Annotated[str, typer.Argument(help="Shell pattern.")] = "*",
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Only those whose trained weights ship.")] = False,
    as_json: Json = False,
) -> None:
    """List models that can be created by name; "timm/*", "torchvision/*", "pyiqa/*" list those of other libraries.

    A star marks those whose trained weights ship.
    """
    from compressvqa.models.factory import entry_of, list_models
    from compressvqa.models.shipped import shipped

    ships = shipped()
    found = {name: entry_of(name) for name in list_models(pattern, pretrained=pretrained)}
    if not found and not pretrained:
        close = difflib.get_close_matches(pattern, list_models(), n=3)
        raise RegistryError(f"no network matches {pattern!r}", hint=", ".join(close) or "compressvqa models")
    if as_json:
        print_json([_facts(name, entry, ships.get(name)) for name, entry in found.items()])
        return
    if pretrained and not found:
        what = f"that match {pattern!r}" if ships else "with this version"
        print(f"no trained weights ship {what}", file=sys.stderr)
    rows = []
    for name, entry in found.items():
        one = ships.get(name)
        rows.append((name, f"{entry.facts['mode']}{'*' if one else ''}", entry.summary if one is None else one.summary))
    print_names(rows)


def _facts(name: str, entry: Entry, ships: Shipped | None) -> dict[str, Any]:
    """What there is to say of a name, as JSON would hold it."""
    facts = {key: value for key, value in entry.facts.items() if not callable(value)}
    known = {"name": name, "summary": entry.summary if ships is None else ships.summary, **facts}
    return known | {"pretrained": ships is not None} | ({} if ships is None else {"weights": ships.to_dict()})


@app.command(short_help="Count parameters and MACs of a network.")
def profile(
    context: typer.Context,
    model: ModelName,
    size: ClipSize = 256,
    frames: ClipFrames = 12,
    inputs: Inputs = None,
    latency: Annotated[bool, typer.Option(help="Measure the time of a forward pass as well.")] = False,
    as_json: Json = False,
) -> None:
    """Count parameters and MACs of a model, and say how they were counted."""
    from compressvqa import cost
    from compressvqa.user_code import tried

    network = load_network(model, inputs)
    arguments = arguments_of(network, model, context)
    counted = tried(lambda: cost.profile(network, arguments), model)
    timed = tried(lambda: cost.latency(network, arguments), model) if latency else None
    if as_json:
        print_json(counted.to_dict() | ({"latency": timed.to_dict()} if timed else {}))
        return
    print(f"parameters             {counted.params:,}")
    print(f"MACs                   {counted.macs:,}")
    print(f"  conv and linear only {counted.macs_conv_linear:,}  (the convention of RankDVQA-mini's Table I)")
    print(f"  FlopCounterMode says {counted.cross_check:,}")
    if timed is not None:
        print(
            f"latency                {timed.median_ms:.1f} ms, nine of ten below {timed.p90_ms:.1f} ms ({timed.device})"
        )
    print(f"counted on             {', '.join(str(tuple(shape)) for shape in counted.shapes)}")
    print(f"operators not counted  {', '.join(counted.unsupported) or 'none'}")
    print(f"modules never called   {', '.join(counted.uncalled) or 'none'}")
    print(f"\n{counted.convention}\n")
    for path, macs in counted.by_module.items():
        if macs and not any(other.startswith(f"{path}.") for other in counted.by_module) and path:
            print(f"{macs / counted.macs:>7.2%}  {macs:>16,}  {path}")
