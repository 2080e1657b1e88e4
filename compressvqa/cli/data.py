"""`compressvqa data`: prepare training data, list and check data sets, build a proxy set."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from compressvqa.cli.app import Cluster, Json, Overrides, RecipeName, Shard, Workers, data_app
from compressvqa.cli.general import Resumable
from compressvqa.cli.output import print_json, print_names
from compressvqa.cli.places import check_ours
from compressvqa.cli.spread import spread
from compressvqa.errors import CompressVQAError
from compressvqa.files import check_writable
from compressvqa.plurals import count

PARTS = ("train", "validation")
UNITS = ".units"  # what shares of the work say of what they did, until the whole is put together


@data_app.command("prepare", cls=Resumable, short_help="Prepare the data of a recipe.")
def data_prepare(
    recipe: RecipeName,
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the data goes.")],
    overrides: Overrides = None,
    cluster: Cluster = None,
    shard: Shard = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Prepare the data of a recipe in a folder: give it to `run` as --data-folder.

    \b
    compressvqa data prepare rankdvqa_mini data/ --shard 1/8   # one of eight machines
    compressvqa data prepare rankdvqa_mini data/               # when all eight are done
    """
    from compressvqa import registry
    from compressvqa.progress import bar
    from compressvqa.running.recipe import Recipe, kind_of

    choice = Recipe.load(recipe, overrides or ()).data
    check_writable(out / "train" / "index.json")
    check_ours(out, ("train", "validation"), what="prepared data")
    dataset = registry.datasets[kind_of(choice)].value(choice)
    if cluster or shard or workers:
        from compressvqa.executors import executor_of
        from compressvqa.jobs import make_piece, preparation_units

        executor, kind = executor_of(cluster, shard, workers), kind_of(choice)
        units = [unit for part in PARTS for unit in preparation_units(dataset, kind, out / part, part)]
        if spread(executor, make_piece, units, out / UNITS, what="data", pieces="source") is None:
            return
    found = {}
    for part in PARTS:
        with bar(f"data: {part}") as progress:
            examples = dataset.prepare(out / part, part=part, progress=progress)
        found[part] = examples.summary()
        if not as_json:
            print(f"{part}: {', '.join(f'{key} {value}' for key, value in found[part].items())}")
    shutil.rmtree(out / UNITS, ignore_errors=True)
    if as_json:
        print_json(found)


@data_app.command("list", short_help="List data sets that are read as published.")
def data_list(as_json: Json = False) -> None:
    """List the data sets with human scores that are read in their published layout."""
    from compressvqa.opinions.published import facts_of
    from compressvqa.registry import mos_sets

    entries = [(name, mos_sets[name].summary, facts_of(name)) for name in mos_sets]
    if as_json:
        print_json([{"name": n, "summary": summary, **(vars(facts) if facts else {})} for n, summary, facts in entries])
        return
    print_names([(name, summary) for name, summary, _ in entries])


@data_app.command("check", short_help="Say what is missing or odd in a data set.")
def data_check(
    name: Annotated[str, typer.Argument(help="A data set's name (`data list`), or a manifest.")],
    folder: Annotated[Optional[Path], typer.Argument(metavar="DIR", help="Where the data set lies.")] = None,  # noqa: UP045
    thorough: Annotated[bool, typer.Option("--thorough", help="Open every file, not a sample.")] = False,
    as_json: Json = False,
) -> None:
    """Say what is missing or odd in a data set.

    \b
    compressvqa data check tid2013 ~/datasets/tid2013
    """
    from compressvqa.opinions import check

    report = check(name, folder, thorough=thorough)
    if as_json:
        print_json(report.to_dict())
    else:
        print("\n".join(report.lines()))
    if not report.ok:
        raise typer.Exit(1)


@data_app.command("proxy", cls=Resumable, short_help="Build an evaluation set of clips without scores.")
def data_proxy(
    sources: Annotated[list[Path], typer.Argument(metavar="CLIPS...", help="Folders of videos, or videos.")],
    out: Annotated[Path, typer.Option(help="Folder for the set.")],
    frames: Annotated[int, typer.Option(min=2, help="Frames of each reference.")] = 60,
    start: Annotated[Optional[int], typer.Option(min=0, help="First frame; by default from the middle.")] = None,  # noqa: UP045
    downscale: Annotated[str, typer.Option(help="Whole factor, or auto: hides what a clip's own codec did.")] = "auto",
    label: Annotated[
        Literal["vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_v1.0.16_3d0h", "psnr_y"],
        typer.Option(help="What stands for the human score."),
    ] = "vmaf_v0.6.1",
    name: Annotated[Optional[str], typer.Option(help="Name of the set; by default the folder's.")] = None,  # noqa: UP045
    workers: Annotated[Optional[int], typer.Option(min=1, help="Encoders at a time.")] = None,  # noqa: UP045
    cluster: Cluster = None,
    shard: Shard = None,
    as_json: Json = False,
) -> None:
    """Build an evaluation set where no human scores exist: encodes of known order, and VMAF of each.

    It is a proxy: never call its scores MOS. A build that was stopped goes on.

    \b
    compressvqa data proxy clips/ --out runs/proxy
    """
    from compressvqa.data.proxy import build_proxy_set, proxy_pieces
    from compressvqa.progress import bar
    from compressvqa.video.folders import list_videos

    if downscale != "auto" and not downscale.isdigit():
        raise CompressVQAError(f"{downscale!r} is no whole number", where="--downscale", hint="1, 2, ... or auto")
    check_writable(out / "manifest.csv")
    check_ours(out, ("manifest.csv", "references", "distorted"), what="a proxy set")
    here = out.resolve()
    clips = sources[0] if len(sources) == 1 else [
        path for place in sources for _, path in list_videos(place) if here not in path.resolve().parents
    ]  # fmt: skip
    excerpt: dict[str, Any] = {
        "frames": frames, "start": start, "downscale": "auto" if downscale == "auto" else int(downscale),
    }  # fmt: skip
    if cluster or shard:
        from compressvqa.executors import executor_of
        from compressvqa.jobs import make_piece, proxy_units

        executor = executor_of(cluster, shard, workers if cluster else None)
        # Of several processes each encodes by itself.
        pieces = proxy_pieces(clips, out, **excerpt, workers=None if cluster else workers)
        if spread(executor, make_piece, proxy_units(pieces), out / UNITS, what="proxy set", pieces="clip") is None:
            return
    with bar("proxy set") as progress:
        manifest = build_proxy_set(clips, out, **excerpt, label=label, name=name, workers=workers, progress=progress)
    shutil.rmtree(out / UNITS, ignore_errors=True)
    scenes, items = len({item.scene for item in manifest.items}), len(manifest.items)
    if as_json:
        print_json({"manifest": out / "manifest.csv", "items": items, "clips": scenes, "label": manifest.label,
                    "notes": manifest.notes})  # fmt: skip
        return
    for note in manifest.notes:
        print(f"note: {note}")
    of = f"{count(items, 'item')} of {count(scenes, 'clip')}"
    print(f"{out / 'manifest.csv'}: {of}, {manifest.label} (a proxy, no MOS)")
