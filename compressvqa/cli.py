"""The command line: one thin function a command; the work is done by the library."""

from __future__ import annotations

import json
import logging
import sys
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
    """List the models that can be created by name."""
    from compressvqa import registry

    found = [registry.models[name] for name in registry.models.names(pattern)]
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
    model: ModelName,
    out: Annotated[Path, typer.Argument(help="Folder for the pruned network.")],
    ratio: Annotated[Optional[float], typer.Option(min=0, max=1, help="Share of channels to remove.")] = None,  # noqa: UP045
    target_params: Annotated[Optional[float], typer.Option(help="Share of parameters to keep.")] = None,  # noqa: UP045
    target_macs: Annotated[Optional[float], typer.Option(help="Share of MACs to keep.")] = None,  # noqa: UP045
    importance: Annotated[str, typer.Option(help="Which channels stay: l1, l2, random, ...")] = "l1",
    protect: Annotated[Optional[list[str]], typer.Option(help="Module path pattern to leave alone.")] = None,  # noqa: UP045
    round_to: Annotated[int, typer.Option(min=1, help="Round widths to a multiple of this.")] = 1,
    size: Annotated[int, typer.Option(min=1, help="Height and width of the traced clip.")] = 256,
) -> None:
    """Remove channels from a network and prove that the rest computes the same."""
    from compressvqa.models import example_inputs, save
    from compressvqa.pruning import prune as prune_network

    network = _network(model)
    pruned = prune_network(
        network,
        example_inputs(network, size=size),
        ratios=ratio,
        target_macs=target_macs,
        target_params=target_params,
        importance=importance,
        protect=tuple(protect or ()),
        round_to=round_to,
    )
    print(pruned.plan)
    for name, before, after in (
        ("parameters", pruned.complexity_before.params, pruned.complexity_after.params),
        ("MACs", pruned.complexity_before.macs, pruned.complexity_after.macs),
    ):
        print(f"{name:<12} {before:>16,} -> {after:>16,}  ({after / before:.2%})")
    print(f"pruned against zeroed: largest error {pruned.max_error:.1e} of the output's scale")
    print(save(pruned.model, out))


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
