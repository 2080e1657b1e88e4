"""The command line: one thin function a command; the work is done by the library."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer
from rich.console import Console

from compressvqa.errors import CompressVQAError

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
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A registered name, or a folder made by a run.")]
PrunedName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A registered name, a folder made by a run, or file.py:function.")
]


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
) -> None:
    """Make deep video-quality networks small and fast, and prove what it cost."""


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a recipe that ships.")],
    overrides: Overrides = None,
    out: Annotated[Optional[Path], typer.Option(help="Run folder; by default runs/NAME.")] = None,  # noqa: UP045
    resume: Annotated[bool, typer.Option(help="Go on in a folder that already holds a run.")] = True,
    data_folder: Annotated[Optional[Path], typer.Option(help="Keep prepared data here, shared by runs.")] = None,  # noqa: UP045
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and run nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run a recipe to its report. Call it again after a stop: it goes on where it was.

    Example: compressvqa run rankdvqa_mini --set data.sources=clips/train --set data.validation=clips/val
    """
    from compressvqa.recipe import Recipe

    checked = Recipe.load(recipe, overrides or ())
    if dry_run:
        from compressvqa.dry_run import describe

        print(describe(checked, out))
        return
    from compressvqa.pipeline import run as run_recipe
    from compressvqa.report import result_table

    try:
        result = run_recipe(checked, out=out, resume=resume, data_folder=data_folder)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from None
    if as_json:
        _print_json({"folder": result.folder, "model": result.model, "report": result.report, "table": result.table})
        return
    console = Console()
    console.print(result_table(result.table))
    console.print(f"model:  {result.model}\nreport: {result.report}", highlight=False, soft_wrap=True)


@recipes_app.command("list")
def recipes_list() -> None:
    """List the recipes that ship with the package."""
    import yaml

    from compressvqa.recipe import shipped

    for name, path in shipped().items():
        print(f"{name:<24} {' '.join(str(yaml.safe_load(path.read_text()).get('description', '')).split())}")


@recipes_app.command("show")
def recipes_show(
    recipe: str,
    overrides: Overrides = None,
    full: Annotated[bool, typer.Option(help="Every default filled in.")] = False,
) -> None:
    """Print a recipe."""
    from compressvqa.recipe import Recipe, find

    print(Recipe.load(recipe, overrides or ()).to_yaml() if full or overrides else find(recipe).read_text(), end="")


@recipes_app.command("copy")
def recipes_copy(recipe: str, to: Annotated[Path, typer.Argument(help="File to write; must not exist.")]) -> None:
    """Copy a recipe that ships, to change it."""
    from compressvqa.recipe import find

    text = find(recipe).read_text(encoding="utf-8")
    try:
        with to.open("x", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise CompressVQAError(f"can't be written: {error.strerror}", where=to) from error
    print(to)


@recipes_app.command("check")
def recipes_check(recipe: str, overrides: Overrides = None) -> None:
    """Check a recipe; all faults are shown, with their lines."""
    from compressvqa.recipe import Recipe

    checked = Recipe.load(recipe, overrides or ())
    print(f"{recipe}: no fault; {len(checked.stages)} stages: {', '.join(stage.name for stage in checked.stages)}")


@recipes_app.command("schema")
def recipes_schema() -> None:
    """Print the JSON Schema of recipes, by which editors complete and check YAML."""
    from compressvqa.recipe import schema

    _print_json(schema().model_json_schema())


@app.command()
def models(pattern: Annotated[str, typer.Argument(help="Shell pattern.")] = "*", as_json: Json = False) -> None:
    """List models that can be created by name; "timm/*", "torchvision/*", "pyiqa/*" list those of other libraries."""
    from compressvqa.models.factory import entry_of, list_models

    found = [entry_of(name) for name in list_models(pattern)]
    if as_json:
        _print_json([{"name": entry.name, "summary": entry.summary, **entry.facts} for entry in found])
        return
    for entry in found:
        print(f"{entry.name:<20} {entry.facts['mode']}  {entry.summary}")


@app.command()
def profile(
    model: ModelName,
    size: Annotated[int, typer.Option(min=1, help="Height and width of the clip in pixels.")] = 256,
    frames: Annotated[int, typer.Option(min=1, help="Frames of the clip.")] = 12,
    latency: Annotated[bool, typer.Option(help="Measure the time of a forward pass as well.")] = False,
    as_json: Json = False,
) -> None:
    """Count parameters and MACs of a model, and say how they were counted."""
    from compressvqa import metrics
    from compressvqa.models import example_inputs

    network = _network(model)
    inputs = example_inputs(network, size=size, frames=frames)
    counted = metrics.profile(network, inputs)
    timed = metrics.latency(network, inputs) if latency else None
    if as_json:
        _print_json(counted.to_dict() | ({"latency": timed.to_dict()} if timed else {}))
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


@app.command()
def prune(
    model: PrunedName,
    folder: Annotated[Optional[Path], typer.Argument(help="Folder for the pruned network: the same as --out.")] = None,  # noqa: UP045
    out: Annotated[Optional[Path], typer.Option(help="Folder for the pruned network; none: not saved.")] = None,  # noqa: UP045
    ratio: Annotated[Optional[float], typer.Option(help="Share of channels to remove, from every group.")] = None,  # noqa: UP045
    ratios: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="LAYER=SHARE", help="Share to remove from a layer, parent or pattern; before --ratio."),
    ] = None,
    zeros: Annotated[bool, typer.Option("--zeros", help="Remove the channels that a sparsifier left at zero.")] = False,
    target_params: Annotated[Optional[float], typer.Option(help="Share of parameters to keep.")] = None,  # noqa: UP045
    target_macs: Annotated[Optional[float], typer.Option(help="Share of MACs to keep.")] = None,  # noqa: UP045
    target_latency: Annotated[Optional[float], typer.Option(help="Share of the latency to keep, measured.")] = None,  # noqa: UP045
    runtime: Annotated[Optional[str], typer.Option(help="Of the latency: eager, compile or onnxruntime.")] = None,  # noqa: UP045
    importance: Annotated[Optional[str], typer.Option(help="Which channels stay: l1, l2, random, ...")] = None,  # noqa: UP045
    scope: Annotated[Optional[str], typer.Option(help="local: a share of each group; global: one ranking.")] = None,  # noqa: UP045
    attention: Annotated[Optional[str], typer.Option(help="What may go of heads: keep, heads, width or auto.")] = None,  # noqa: UP045
    max_ratio: Annotated[Optional[float], typer.Option(help="No group loses a larger share than this.")] = None,  # noqa: UP045
    protect: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="PATTERN", help="Layer, parent or pattern to leave alone. May be repeated."),
    ] = None,
    round_to: Annotated[Optional[int], typer.Option(help="Round widths to a multiple of this.")] = None,  # noqa: UP045
    min_channels: Annotated[Optional[int], typer.Option(help="Every group keeps at least so many channels.")] = None,  # noqa: UP045
    size: Annotated[int, typer.Option(min=1, help="Height and width of the traced clip.")] = 256,
    frames: Annotated[int, typer.Option(min=1, help="Frames of the traced clip.")] = 12,
    inputs: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="1x3x224x224", help="Size of an input; repeat it for a network of several."),
    ] = None,
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

    Example: compressvqa prune rankdvqa --target-macs 0.5 --protect "scales.*.head" --out runs/small

    Example: compressvqa prune net.py:build --inputs 1x3x224x224 --explain --svg net.svg
    """
    if not explain and (group or every or svg):
        raise CompressVQAError("--group, --all and --svg say what is tied to what", hint="--explain")
    if folder is not None and out is not None:
        raise CompressVQAError("the folder is given twice", hint=f"--out {out} alone")
    network, arguments = _network_and_inputs(model, inputs or (), size=size, frames=frames)
    if explain:
        choice = {} if attention in (None, "auto") else {"attention": attention}  # auto keeps heads while it can
        _explain(model, network, arguments, protect or (), group or (), every, svg, as_json, choice)
        return
    from compressvqa.models import save
    from compressvqa.pruning import prune as prune_network

    wishes = {
        "ratios": _shares(ratio, ratios or (), zeros),
        "target_macs": target_macs,
        "target_params": target_params,
        "target_latency": target_latency,
        "runtime": runtime,
        "importance": importance,
        "scope": scope,
        "max_ratio": max_ratio,
        "attention": attention,
        "protect": tuple(protect) if protect else None,
        "round_to": round_to,
        "min_channels": min_channels,
    }
    # What was not asked for has its default where it is explained, in `prune`.
    choices: dict[str, Any] = {name: wish for name, wish in wishes.items() if wish is not None}
    pruned = prune_network(network, arguments, **choices)
    place = out or folder
    saved = None if place is None else save(pruned.model, place)
    counts = {
        name: (getattr(pruned.complexity_before, name), getattr(pruned.complexity_after, name))
        for name in ("params", "macs")
    }
    if as_json:
        said = {"plan": dataclasses.asdict(pruned.plan), "removed": pruned.removed, "dead": pruned.dead, **counts}
        _print_json({**said, "max_error": pruned.max_error, "folder": saved})
        return
    print(pruned.plan)
    for name, (before, after) in counts.items():
        print(f"{name:<12} {before:>16,} -> {after:>16,}  ({after / before:.2%})")
    print(f"pruned against zeroed: largest error {pruned.max_error:.1e} of the output's scale")
    print("nothing was saved (--out FOLDER saves)" if saved is None else saved)


@app.command()
def score(
    reference: Annotated[Optional[Path], typer.Argument(help="The reference video.")] = None,  # noqa: UP045
    distorted: Annotated[Optional[Path], typer.Argument(help="The distorted video.")] = None,  # noqa: UP045
    reference_file: Annotated[  # the order of the two is the other way round in some tools: options leave no doubt
        Optional[Path],  # noqa: UP045
        typer.Option("-r", "--reference", help="The reference video, by name."),
    ] = None,
    distorted_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-d", "--distorted", help="The distorted video, by name."),
    ] = None,
    model: Annotated[str, typer.Option(help="A registered name, or a folder made by a run.")] = "rankdvqa-mini",
    frames: Annotated[Optional[int], typer.Option(min=1, help="Score the first so many frames only.")] = None,  # noqa: UP045
    subsample: Annotated[int, typer.Option(min=1, help="Score every n-th block of 12 frames.")] = 1,
    skip_ref: Annotated[int, typer.Option(min=0, help="Leave out so many frames of the reference.")] = 0,
    skip_dist: Annotated[int, typer.Option(min=0, help="Leave out so many frames of the distorted video.")] = 0,
    width: Annotated[Optional[int], typer.Option(min=1, help="Width of headerless YUV.")] = None,  # noqa: UP045
    height: Annotated[Optional[int], typer.Option(min=1, help="Height of headerless YUV.")] = None,  # noqa: UP045
    pixel_format: Annotated[Literal["420", "422", "444"], typer.Option(help="Chroma of headerless YUV.")] = "420",
    bitdepth: Annotated[int, typer.Option(help="Bits of headerless YUV: 8, 10, 12 or 16.")] = 8,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one row a segment.")] = False,
) -> None:
    """Score a distorted video against its reference.

    Example: compressvqa score reference.mp4 distorted.mp4 --model runs/rankdvqa-mini/model
    """
    from compressvqa.data import RawFormat
    from compressvqa.progress import bar
    from compressvqa.scoring import score as score_files
    from compressvqa.scoring import score_table, to_csv

    if (reference is None) == (reference_file is None) or (distorted is None) == (distorted_file is None):
        raise CompressVQAError("score needs two files", hint="score REFERENCE DISTORTED, or score -r FILE -d FILE")
    if (width is None) != (height is None):
        raise CompressVQAError("headerless video needs both --width and --height")
    raw = RawFormat(width, height, pixel_format, bitdepth) if width is not None and height is not None else None
    with bar("score") as progress:
        result = score_files(
            reference or reference_file,
            distorted or distorted_file or "",
            model=model,
            frames=frames,
            subsample=subsample,
            skip_reference=skip_ref,
            skip_distorted=skip_dist,
            raw=raw,
            progress=progress,
        )
    if as_json:
        _print_json(result.to_dict())
    elif as_csv:
        print(to_csv(result), end="")
    else:
        Console().print(score_table(result))


@data_app.command("prepare")
def data_prepare(recipe: str, out: Path, overrides: Overrides = None) -> None:
    """Prepare the data of a recipe in a folder: give it to `run` as --data-folder."""
    from compressvqa import registry
    from compressvqa.progress import bar
    from compressvqa.recipe import Recipe

    choice = Recipe.load(recipe, overrides or ()).data
    dataset = registry.datasets[choice.kind].value(choice)
    for part in ("train", "validation"):
        with bar(f"data: {part}") as progress:
            examples = dataset.prepare(out / part, part=part, progress=progress)
        _print_json({part: examples.summary()})


@app.command()
def report(run_folder: Annotated[Path, typer.Argument(help="A run folder with results.json.")]) -> None:
    """Write the report of a finished run again."""
    from compressvqa.report import write_report

    file, recipe = run_folder / "results.json", run_folder / "recipe.yaml"
    if not file.is_file():
        raise CompressVQAError("no results.json: the run is not finished", where=run_folder)
    print(write_report(json.loads(file.read_text()), run_folder, recipe.read_text() if recipe.exists() else ""))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Print versions and say what is missing."""
    from compressvqa.doctor import examine, missing

    found, faults = examine(), missing()
    if as_json:
        _print_json({**found, "missing": faults})
    else:
        for key, value in found.items():
            print(f"{key:<20} {value}")
        print("\n".join(f"missing: {fault}" for fault in faults) or "nothing is missing")
    if faults:
        raise typer.Exit(1)


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
    from compressvqa.pruning.explain import explain
    from compressvqa.pruning.tree import to_tree

    facts = explain(trace(network, inputs, **choices), protect)
    if patterns:
        facts = facts.about(patterns)
    if svg is not None:
        from compressvqa.report.channels import save_channels

        save_channels(facts, title, svg)
    if as_json:
        _print_json({"model": title, **facts.to_dict()})
        return
    # A line is broken for a reader at a terminal, not for a program or a file.
    width = None if sys.stdout.isatty() else 10_000
    Console(width=width).print(to_tree(facts, title, every=every), highlight=False)
    if svg is not None:
        print(svg)


def _shares(ratio: float | None, ratios: Sequence[str], zeros: bool) -> Any:
    """The ratios of the library from those of the command line."""
    if zeros and (ratio is not None or ratios):
        raise CompressVQAError("--zeros takes no ratio: the zeros decide")
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


def _network_and_inputs(name: str, shapes: Sequence[str], *, size: int, frames: int) -> tuple[Any, tuple[Any, ...]]:
    """A network and what to call it with; inputs of sizes that the user gave are tried once."""
    from compressvqa.models import example_inputs
    from compressvqa.models.from_code import is_code, register_code, shape_of_text, try_inputs

    sizes = [shape_of_text(text) for text in shapes]
    own = not Path(name).is_dir() and is_code(name)
    if own:
        if not sizes:
            raise CompressVQAError("the sizes of its inputs are not known", where=name, hint="--inputs 1x3x224x224")
        register_code(name, sizes)
    network = _network(name)
    if not sizes:
        return network, example_inputs(network, size=size, frames=frames)
    return network, try_inputs(network, sizes, name)


def _network(name: str) -> Any:
    from compressvqa.models import create_model, load

    return load(name) if Path(name).is_dir() else create_model(name)


def _print_json(value: Any) -> None:
    from compressvqa.files import finite

    print(json.dumps(finite(value), indent=2, ensure_ascii=False, default=str))


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("compressvqa").addHandler(handler)
    logging.getLogger("compressvqa").setLevel(logging.INFO)
    try:
        app()
    except CompressVQAError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(1)
