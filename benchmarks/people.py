"""Networks that ship and other metrics against people, on still frames of clips that viewers scored.

A data set of single frames asks a network of videos the same question twelve times over. So RankDVQA and its pruned kin
are asked once: the layers that read a block's twelve frames get the sum of their weights over the frames, which is the
same score to rounding (compared before it is used), and native code in 32 bits runs them (compared with PyTorch on the
first item). Everything else is `compressvqa evaluate`: files brought together, intervals (BCa bootstrap over items),
PLCC after the fit. Within a content: the mean over contents of Spearman's correlation, its interval from a bootstrap of
the items of each content.

    python benchmarks/people.py TEST1.csv TEST2.csv
    python benchmarks/people.py TEST1.csv --network mine=FOLDER --metric psnr --metric vmaf_v0.6.1

Scores are kept in --data: a run that was stopped goes on. Prints a table, writes
``benchmarks/results/people.{md,json}``.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from beside_teacher import RESAMPLES, cell, figures
from torch import nn

import compressvqa as cv
from compressvqa.deploy.native.kernel import Kernel
from compressvqa.environment import processor
from compressvqa.errors import DataError
from compressvqa.files import write_json, write_text
from compressvqa.models.factory import spec_of
from compressvqa.opinions import Item, Manifest, read_dataset
from compressvqa.progress import bar
from compressvqa.results import Evaluation
from compressvqa.scoring.score_file import ScoreFile
from compressvqa.video.align import blocks, stacked
from compressvqa.video.clip import Pairing
from compressvqa.video.compare import look
from compressvqa.video.frames import Planes

RESULTS = Path(__file__).parent / "results"
METRICS = ("vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_v1.0.16_3d0h", "psnr", "ssim", "ms_ssim")
SAME = 1e-4  # of the spread of raw scores, some 7: what adding twelve numbers in another order may move


@torch.no_grad()
def of_stills(network: nn.Module) -> nn.Module:
    """A RankDVQA that is shown one frame and says what it said of twelve equal ones; the network itself is changed.

    Raises:
        DataError: it is no RankDVQA of blocks, or it doesn't say the same afterwards.
    """
    spec = spec_of(network)
    if spec.name != "rankdvqa":
        raise DataError("stills are folded for RankDVQA only", where=spec.name)
    network.eval()
    clip = torch.rand(2, 1, 1, 3, 128, 160, generator=torch.Generator().manual_seed(0))
    before = network(*clip.expand(-1, -1, network.frames, -1, -1, -1))
    for scale in network.scales:
        weight = scale.conv_in.weight
        folded = weight.unflatten(1, (network.frames, -1)).sum(1)
        scale.conv_in.weight = nn.Parameter(folded)
        scale.conv_in.in_channels = folded.shape[1]
        scale.compare.frames = 1
    network.frames = spec.kwargs["frames"] = 1
    if (moved := float((network(*clip) - before).abs())) > SAME:
        raise DataError(f"one frame gets another score than twelve equal ones: {moved:.1e} apart", where=spec.name)
    return network


def shown(manifest: Manifest, item: Item) -> tuple[list[Planes], list[Planes]]:
    """A picture and its reference, of one size."""
    reference, distorted = manifest.reference(item), manifest.distorted(item)
    block = next(iter(blocks(reference, [distorted], [look(reference, distorted, Pairing())], Pairing(), block=1)))
    return list(block.reference), list(block.distorted[0])


def of_networks(networks: dict[str, nn.Module], manifests: Sequence[Manifest], place: Path) -> list[ScoreFile]:
    """Raw scores of the stills, each network's in a file of its own; what is there already stays.

    Raises:
        DataError: native code and PyTorch disagree on the first item.
    """
    kernels = {name: Kernel(network, precision="float32") for name, network in networks.items()}
    known = {name: _kept(place / f"{name}.csv") for name in networks}
    checked = False
    for manifest in manifests:
        with bar(f"people: {manifest.name}") as progress:
            for done, item in enumerate(manifest.items):
                if any(item.distorted not in found for found in known.values()):
                    pair = shown(manifest, item)
                    for name, kernel in kernels.items():
                        known[name][item.distorted] = kernel.score(*pair)
                        if not checked:
                            _agree(networks[name], pair, known[name][item.distorted])
                        rows = "".join(f"{file},{score!r}\n" for file, score in known[name].items())
                        write_text(place / f"{name}.csv", f"file,{name}\n{rows}")
                    checked = True
                progress(done + 1, len(manifest.items))
    return [ScoreFile(name, place / f"{name}.csv", higher_is_better=True) for name in networks]


def _kept(file: Path) -> dict[str, float]:
    if not file.exists():
        return {}
    return {name: float(score) for name, score in list(csv.reader(file.read_text().splitlines()))[1:]}


@torch.inference_mode()
def _agree(network: nn.Module, pair: tuple[list[Planes], list[Planes]], score: float) -> None:
    expected = float(network(*(stacked(side) for side in pair)))
    if abs(expected - score) > SAME:
        raise DataError(f"native code says {score}, PyTorch {expected}")


def by_model(found: Evaluation) -> list[dict[str, Any]]:
    """A row a model: its figures on each data set."""
    sets = {dataset.name: figures(found, dataset.name) for dataset in found.datasets}
    return [
        {"model": model.name, "sets": {name: rows[place] for name, rows in sets.items()}}
        for place, model in enumerate(found.models)
    ]


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The lines of the table, in markdown."""
    sets = list(rows[0]["sets"])
    heads = [head for name in sets for head in (f"{name}: SROCC", "within a content", "PLCC")]
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for row in rows:
        cells = []
        for name in sets:
            one = row["sets"][name]
            inner = one["within"]
            cells += [cell(one["srocc"], one["srocc_low"], one["srocc_high"]),
                      cell(inner["srocc"], inner["low"], inner["high"]), f"{one['plcc']:.3f}"]  # fmt: skip
        lines.append(f"| {row['model']} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Scores, compares, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", nargs="+", help="data sets of pictures with opinion scores")
    parser.add_argument("--network", action="append", default=[], metavar="NAME=FOLDER", help="a saved RankDVQA")
    parser.add_argument("--metric", action="append", default=[], help=f"default: {', '.join(METRICS)}")
    parser.add_argument("--data", type=Path, default=Path("runs/people"), help="where scores are kept")
    parser.add_argument("--name", default="people", help="of the files of results")
    choice = parser.parse_args()
    given = dict(one.partition("=")[::2] for one in choice.network)
    networks = {name: cv.load(folder) for name, folder in given.items()} or {
        name: cv.create_model(name, weights="pretrained") for name in cv.list_models("rankdvqa*", pretrained=True)
    }
    manifests = [read_dataset(name) for name in choice.manifests]
    taken = of_networks({name: of_stills(network) for name, network in networks.items()}, manifests, choice.data)
    with bar("people") as progress:
        found = cv.evaluate([*taken, *(choice.metric or METRICS)], manifests, cache=choice.data / "kept",
                            resamples=RESAMPLES, progress=progress)  # fmt: skip
    found.write(choice.data)
    rows = by_model(found)
    said = [f"{name}: {one['n']} items of {len(one['within']['contents'])} contents"
            for name, one in rows[0]["sets"].items()]  # fmt: skip
    notes = sorted({note for one in manifests for note in one.notes})
    text = "\n".join(
        ["# Against people, a still frame of each clip", "", *table(rows), "",
         f"MOS. {'; '.join([*said, *notes])}.", "",
         "SROCC of the raw scores over all items of a set, in square brackets its 95 % interval (BCa bootstrap over"
         " items); within a content: the mean over the set's contents, its interval from resampling each content's"
         " items. PLCC after a 4-parameter logistic fit. Frames of another size are scaled to their reference's"
         " (bicubic). Networks of twelve frames see the frame twelve times.", "",
         f"{processor()}, {os.cpu_count()} cores, compressvqa {cv.__version__}.", ""]
    )  # fmt: skip
    print(text)
    write_text(RESULTS / f"{choice.name}.md", text)
    write_json(RESULTS / f"{choice.name}.json", {"rows": rows, "machine": processor(), "notes": notes})


if __name__ == "__main__":
    main()
