"""`compressvqa prune`: remove channels, or say what is tied to what."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console

from compressvqa.cli.app import Json, app
from compressvqa.cli.given import refuse
from compressvqa.cli.networks import ClipFrames, ClipSize, Inputs, ModelName, arguments_of, load_network
from compressvqa.cli.output import print_json
from compressvqa.cli.places import Overwrite, check_new
from compressvqa.errors import CompressVQAError
from compressvqa.files import check_writable

# What says how to prune, and says nothing beside --explain, which prunes nothing.
PRUNING = (
    "folder", "out", "overwrite", "ratio", "ratios", "zeros", "target_params", "target_macs", "target_latency",
    "runtime", "importance", "scope", "depth", "depth_by", "blocks", "max_ratio", "round_to", "min_channels",
)  # fmt: skip
TARGETS = ("target_params", "target_macs", "target_latency")


@app.command(short_help="Remove channels, verified; or say what is tied.")
def prune(
    context: typer.Context,
    model: ModelName,
    folder: Annotated[Optional[Path], typer.Argument(help="Folder for the pruned network: the same as --out.")] = None,  # noqa: UP045
    out: Annotated[Optional[Path], typer.Option(help="Folder for the pruned network; none: not saved.")] = None,  # noqa: UP045
    overwrite: Overwrite = False,
    ratio: Annotated[Optional[float], typer.Option(help="Share of channels to remove, from every group.")] = None,  # noqa: UP045
    ratios: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="LAYER=SHARE", help="Share to remove below a module path or pattern; before --ratio."),
    ] = None,
    zeros: Annotated[bool, typer.Option("--zeros", help="Remove the channels that a sparsifier left at zero.")] = False,
    target_params: Annotated[Optional[float], typer.Option(help="Share of parameters to keep.")] = None,  # noqa: UP045
    target_macs: Annotated[Optional[float], typer.Option(help="Share of MACs to keep.")] = None,  # noqa: UP045
    target_latency: Annotated[Optional[float], typer.Option(help="Share of the latency to keep, measured.")] = None,  # noqa: UP045
    runtime: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Of the latency: eager, compile, onnxruntime, openvino or native."),
    ] = None,
    importance: Annotated[Optional[str], typer.Option(help="Which channels stay: l1, l2, random, ...")] = None,  # noqa: UP045
    scope: Annotated[Optional[str], typer.Option(help="local: a share of each group; global: one ranking.")] = None,  # noqa: UP045
    attention: Annotated[Optional[str], typer.Option(help="What may go of heads: keep, heads, width or auto.")] = None,  # noqa: UP045
    depth: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Share or number of residual blocks left out first; targets are of the network as given."),
    ] = None,
    depth_by: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Which blocks go: influence, even or last (`loss` needs data: the `prune` stage)."),
    ] = None,
    blocks: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="PATTERN", help="With --depth: only blocks at these module paths. May be repeated."),
    ] = None,
    max_ratio: Annotated[Optional[float], typer.Option(help="No group loses a larger share than this.")] = None,  # noqa: UP045
    protect: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="PATTERN", help="Module path or pattern to leave alone. May be repeated."),
    ] = None,
    round_to: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="N|native|openvino", help="Round widths to a multiple of this, or of what a runtime likes."
        ),
    ] = None,
    min_channels: Annotated[Optional[int], typer.Option(help="Every group keeps at least so many channels.")] = None,  # noqa: UP045
    size: ClipSize = 256,
    frames: ClipFrames = 12,
    inputs: Inputs = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which layers are tied and why; prune nothing.")
    ] = False,
    group: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="PATTERN", help="With --explain: only groups with such a layer. May be repeated."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="With --explain: every group on its own, in full.")] = False,
    svg: Annotated[Optional[Path], typer.Option(help="With --explain: draw the groups into this file.")] = None,  # noqa: UP045
    as_json: Json = False,
) -> None:
    """Remove channels from a network and prove that the rest computes the same, or say what is tied to what.

    MODEL may also be a network of your own: file.py:function or package.module:function, with --inputs.

    \b
    compressvqa prune rankdvqa --target-macs 0.5 --protect "scales.*.head" --out runs/small
    compressvqa prune net.py:build --inputs 1x3x224x224 --explain --svg net.svg
    """
    _check(context)
    place = out or folder
    check_writable(svg, None if place is None else place / "config.json")
    check_new(place, "config.json", overwrite=overwrite, what="a network")
    from compressvqa.models import also_of

    network = load_network(model, inputs)
    arguments = arguments_of(network, model, context)
    if explain:
        choice: dict[str, Any] = {"also": also_of(network, arguments)}
        choice |= {} if attention in (None, "auto") else {"attention": attention}  # auto keeps heads while it can
        _explain(model, network, arguments, protect or (), group or (), every, svg, as_json, choice)
        return
    from compressvqa.models import save
    from compressvqa.pruning import WrittenSettings
    from compressvqa.pruning import prune as prune_network

    # What was not asked for has its default where it is declared, in `Settings`.
    asked = {name: context.params[name] for name in WrittenSettings.model_fields}
    asked["ratios"] = _shares(ratio, ratios or (), zeros)
    asked["round_to"] = int(round_to) if round_to is not None and round_to.lstrip("-").isdecimal() else round_to
    choices: dict[str, Any] = {name: wish for name, wish in asked.items() if wish is not None and wish not in ([], ())}
    shorter = _without_blocks(network, arguments, depth, depth_by, blocks)
    if shorter is not None:
        network = shorter.model
        for name in ("target_macs", "target_params"):  # shares of the network as given
            if name in choices:
                counted = name.removeprefix("target_")
                left = getattr(shorter.complexity_after, counted) / getattr(shorter.complexity_before, counted)
                choices[name] = min(1.0, choices[name] / left)
    also = also_of(network, arguments)
    pruned: Any = prune_network(network, arguments, also=also, **choices) if choices or shorter is None else None
    left_out = {} if shorter is None else {"blocks": shorter.removed}
    end, first = pruned or shorter, shorter or pruned
    counts = {
        name: (getattr(first.complexity_before, name), getattr(end.complexity_after, name))
        for name in ("params", "macs")
    }
    error = max(float(part.max_error) for part in (shorter, pruned) if part is not None)
    if as_json:
        said: dict[str, Any] = {**left_out, **counts, "max_error": error, "folder": place}
        if pruned is not None:
            said |= {"plan": dataclasses.asdict(pruned.plan), "removed": pruned.removed, "dead": pruned.dead}
        print_json(said)
    else:
        if shorter is not None:
            print(f"left out     {', '.join(shorter.removed)}")
        if pruned is not None:
            print(pruned.plan)
        for name, (before, after) in counts.items():
            print(f"{name:<12} {before:>16,} -> {after:>16,}  ({after / before:.2%})")
        print(f"pruned against zeroed: largest error {error:.1e} of the output's scale")
    sys.stdout.flush()  # a full disk must not lose the figures
    if place is not None:
        save(end.model, place)
    if not as_json:
        print("nothing was saved (--out FOLDER saves)" if place is None else place)


def _check(context: typer.Context) -> None:
    """What is asked for must go together."""
    asked = context.params
    if asked["explain"]:
        refuse(context, PRUNING, "--explain prunes nothing", hint="one or the other")
    else:
        refuse(context, ("group", "every", "svg"), "it is of what is tied to what", hint="--explain")
    if asked["folder"] is not None and asked["out"] is not None:
        raise CompressVQAError("the folder is given twice", hint=f"--out {asked['out']} alone")
    if asked["folder"] is None and asked["out"] is None:
        refuse(context, ("overwrite",), "nothing is saved", hint="--out FOLDER")
    if asked["target_latency"] is None:
        refuse(context, ("runtime",), "no latency is asked for", hint="--target-latency 0.5")
    if asked["depth"] is None:
        refuse(context, ("blocks",), "no block is left out", hint="--depth 0.25")
    if any(asked[name] is not None for name in TARGETS) and not asked["ratios"]:
        refuse(context, ("ratio",), "the target says how much goes", hint="--ratios LAYER=SHARE for layers that differ")
    if asked["zeros"]:
        refuse(context, ("ratio", "ratios"), "with --zeros the zeros decide")
        refuse(
            context, (*TARGETS, "importance", "scope", "max_ratio"), "--zeros removes just the channels that are zero"
        )


def _without_blocks(
    network: Any, inputs: Any, share: float | None, by: str | None, blocks: Sequence[str] | None
) -> Any:
    """The network without a share of its residual blocks; None where none was asked for."""
    from compressvqa.pruning import prune_depth

    if share is None:
        if by is not None:
            raise CompressVQAError("--depth-by says which blocks go, but not how many", hint="--depth 0.25")
        return None
    if by == "loss":
        raise CompressVQAError("--depth-by loss needs data", hint="a recipe with a `prune` stage: depth_by: loss")
    remove = int(share) if share >= 1 and share == int(share) else share
    return prune_depth(network, inputs, remove=remove, by=by or "influence", blocks=blocks or None)


def _explain(
    title: str,
    network: Any,
    inputs: Any,
    protect: Sequence[str],
    patterns: Sequence[str],
    every: bool,
    svg: Path | None,
    as_json: bool,
    choices: dict[str, Any],
) -> None:
    """Prints which layers are tied and why, and draws it where a file is named."""
    from compressvqa.pruning import trace
    from compressvqa.pruning.dependency.explain import explain
    from compressvqa.pruning.dependency.tree import to_tree

    facts = explain(trace(network, inputs, **choices), protect)
    if patterns:
        facts = facts.about(patterns)
    if as_json:
        print_json({"model": title, **facts.to_dict()})
    else:
        # A line is broken for a reader at a terminal, not for a program or a file.
        width = None if sys.stdout.isatty() else 10_000
        Console(width=width).print(to_tree(facts, title, every=every), highlight=False)
    if svg is not None:
        from compressvqa.report.channels import save_channels

        sys.stdout.flush()  # a full disk must not lose what was found
        save_channels(facts, title, svg)
        if not as_json:
            print(svg)


def _shares(ratio: float | None, ratios: Sequence[str], zeros: bool) -> Any:
    """The ratios of the library from those of the command line."""
    named: dict[str, float] = {} if ratio is None or not ratios else {"*": ratio}
    for text in ratios:
        layer, equals, share = text.rpartition("=")
        try:
            named[layer] = float(share)
        except ValueError:
            equals = ""
        if not (layer and equals):
            raise CompressVQAError(f"{text!r} is no LAYER=SHARE", where="--ratios", hint="--ratios layer4=0.5")
    return "zeros" if zeros else named or ratio
