"""How often metrics break orders that are certain, on contents that no network was trained on.

Four kinds of orders are known without asking anyone: a rung of a ladder is better than a lower one; an encode is better
than what is left of it when it is coded again; a reference is better than whatever was made of it; and a clip that is
its own reference is better than a distorted one of another content. VMAF 0.6.1, its NEG form, version 1, PSNR and SSIM
are compared with any networks given; a network that learnt from VMAF and from these orders should break fewer.

    python benchmarks/orders.py                                             # built-in content, no network
    python benchmarks/orders.py --sources FOLDER --network teacher=runs/teacher/model --network mini=runs/mini/model

Every patch goes through the ladder of the recipe `reference/teacher`. Scores are kept beside the patches: a run that
was stopped goes on. Prints a table, writes ``benchmarks/results/orders.{json,md}``.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

import compressvqa as cv
from compressvqa.data import PatchSet, RankPairs
from compressvqa.data.orders import CertainOrders
from compressvqa.deploy.native.build import NativeUnavailableError
from compressvqa.deploy.native.kernel import Features, Kernel
from compressvqa.deploy.native.self_test import check
from compressvqa.environment import processor
from compressvqa.files import write_json, write_text
from compressvqa.fingerprint import weights_digest
from compressvqa.labels import label_title
from compressvqa.metrics import Violations, correlation, top_violations, violations
from compressvqa.models.rankdvqa import RankDVQA
from compressvqa.progress import bar
from compressvqa.video import RawFormat, vmaf
from compressvqa.video.frames import Planes
from compressvqa.video.vmaf import LABELS

RESULTS = Path(__file__).parent / "results"
KINDS = ("ladder", "generation", "reference", "identity")
LEGEND = (
    "ladder: rungs of one encoder on one reference. generation: an encode, and the same coded again. reference: a clip "
    "beside anything made of it. identity: a clip beside itself, against a distorted one of another content. Identical "
    "clips: the range of scores of clips beside themselves, of the range over distorted ones; 0 is a top that all "
    "share. SSIM is of luma, every third frame. SROCC is against VMAF 0.6.1, a proxy; within a content: the mean over "
    "contents."
)
Pair = Callable[[Planes, Planes], float]


def of_all(patches: PatchSet, score: Pair, title: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores of every reference beside itself, and of every distorted patch."""
    rows = [*(~number for number in range(len(patches.references))), *range(len(patches))]
    found = []
    with bar(f"orders: {title}") as progress:
        for done, row in enumerate(rows):
            found.append(score(*patches.load(row)))
            progress(done + 1, len(rows))
    count = len(patches.references)
    return np.array(found[:count]), np.array(found[count:])


def kept(file: Path, make: Callable[[], tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Scores that an earlier run left in a file, or that are made now and left there."""
    if not file.exists():
        whole, distorted = make()
        write_json(file, {"whole": whole.tolist(), "distorted": distorted.tolist()})
    found = json.loads(file.read_text())
    return np.array(found["whole"]), np.array(found["distorted"])


def ssim(reference: Planes, distorted: Planes) -> float:
    """SSIM of luma, the mean over every third frame."""
    top = float(2**reference.colour.bitdepth - 1)
    a, b = (torch.from_numpy(planes.y[::3].astype(np.float32))[:, None] for planes in (reference, distorted))
    return float(structural_similarity_index_measure(b, a, data_range=top))


def by_network(network: torch.nn.Module) -> Pair:
    """A network's raw score of a pair; RankDVQA and its pruned kin run in native code of 32 bits if it compiles."""
    if type(network) is RankDVQA:
        try:
            kernel = Kernel(network, precision="float32")
            check(kernel, network)
            return _native(kernel)
        except NativeUnavailableError:
            pass

    def score(reference: Planes, distorted: Planes) -> float:
        with torch.inference_mode():
            return float(network(reference.to_rgb()[None], distorted.to_rgb()[None]))

    return score


def _native(kernel: Kernel) -> Pair:
    """Scores of pairs, of which those of one reference come one after another: its features are worked out once."""
    last: list[tuple[Planes, Features]] = []

    def score(reference: Planes, distorted: Planes) -> float:
        planes = ("y", "u", "v")
        if not last or not all(np.array_equal(getattr(last[0][0], p), getattr(reference, p)) for p in planes):
            last[:] = [(reference, kernel.features(_each(reference)))]
        return kernel.score_kept(last[0][1], _each(distorted))

    return score


def _each(planes: Planes) -> list[Planes]:
    """The frames of a stack."""

    def of(plane: np.ndarray | None, t: int) -> np.ndarray | None:
        return None if plane is None else plane[t]

    return [replace(planes, y=planes.y[t], u=of(planes.u, t), v=of(planes.v, t)) for t in range(len(planes.y))]


def labels_of_references(patches: PatchSet) -> dict[str, np.ndarray]:
    """What libvmaf says of each reference beside itself: not 100 for every clip."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "reference.yuv"
        for reference in patches.references:
            planes = patches.planes(reference)
            path.write_bytes(planes.to_bytes())
            raw = RawFormat(patches.size, patches.size, "420", planes.colour.bitdepth)
            rows.append(vmaf.measure(path, path, raw, folder=Path(place)))
    return {name: np.array([row[name] for row in rows], dtype=float) for name in LABELS}


def judged(patches: PatchSet, whole: np.ndarray, distorted: np.ndarray) -> dict[str, Violations]:
    """Broken orders of each kind."""
    orders = CertainOrders(patches)

    def of(rows: np.ndarray) -> np.ndarray:
        return np.where(rows < 0, whole[np.where(rows < 0, ~rows, 0)], distorted[np.where(rows < 0, 0, rows)])

    found = {}
    for kind in ("ladder", "generation", "reference"):
        listed = orders.listed(kind)
        found[kind] = violations(of(listed.better), of(listed.worse))
    contents = [reference.content for reference in patches.references], [entry.content for entry in patches.entries]
    found["identity"] = top_violations(whole, contents[0], distorted, contents[1])
    return found


def within(scores: np.ndarray, label: np.ndarray, contents: list[str]) -> float:
    """The mean over contents of Spearman's correlation with the label."""
    names = np.array(contents)
    return float(np.mean([correlation(scores[names == n], label[names == n], "none").srocc for n in set(contents)]))


def row_of(name: str, whole: np.ndarray, distorted: np.ndarray, patches: PatchSet) -> dict[str, Any]:
    """One metric's line."""
    label = np.array(patches.label("vmaf_v0.6.1"), dtype=float)
    spread = float(np.ptp(whole) / np.ptp(distorted)) if np.ptp(distorted) else float("nan")
    return {
        "metric": name,
        "srocc": correlation(distorted, label, "none").srocc,
        "srocc_within": within(distorted, label, [entry.content for entry in patches.entries]),
        "spread_of_identical": spread,
        **{kind: counted.to_dict() for kind, counted in judged(patches, whole, distorted).items()},
    }


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The lines of the table, in markdown."""
    lines = ["| metric | " + " | ".join(KINDS) + " | identical clips | SROCC | within a content |",
             "|---|" + "---:|" * (len(KINDS) + 3)]  # fmt: skip
    for row in rows:
        cells = [f"{100 * row[kind]['share']:.2f} % ({row[kind]['wrong']} + {row[kind]['tied']})" for kind in KINDS]
        figures = [f"{100 * row['spread_of_identical']:.2f} %", f"{row['srocc']:.4f}", f"{row['srocc_within']:.4f}"]
        lines.append(f"| {row['metric']} | " + " | ".join([*cells, *figures]) + " |")
    return lines


def _public(place: str) -> str:
    """The name of a folder, without where it lies on this machine."""
    return Path(place).name


def main() -> None:
    """Scores, counts, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", action="append", help="folder or file of videos or photographs, or `builtin`")
    parser.add_argument("--data", type=Path, default=Path("runs/orders"), help="where patches are kept")
    parser.add_argument("--patches", type=int, default=1, help="patches of each content")
    parser.add_argument("--network", action="append", default=[], metavar="NAME=FOLDER", help="a saved network")
    parser.add_argument("--name", default="orders", help="of the files of results")
    choice = parser.parse_args()
    torch.manual_seed(0)
    places = choice.sources or ["builtin"]
    recipe = cv.Recipe.load("reference/teacher", [f"data.validation={json.dumps(places)}",
                                                  f"data.validation_patches_per_clip={choice.patches}"])  # fmt: skip
    with bar("orders: patches") as progress:
        patches = RankPairs(recipe.data).prepare(choice.data, part="validation", progress=progress)
    own = labels_of_references(patches)
    rows = [
        row_of(label_title(name), own[name], np.array(patches.label(name), dtype=float), patches) for name in LABELS
    ]
    place = choice.data / f"scores-{patches.summary()['identity']}"
    place.mkdir(exist_ok=True)
    for given in choice.network:
        name, _, folder = given.partition("=")
        network = cv.load(folder).eval()
        file = place / f"{weights_digest(network)[:16]}.json"
        scores = kept(file, functools.partial(of_all, patches, by_network(network), name))
        rows.append(row_of(name, *scores, patches))
        write(rows, patches, places, choice.name)  # the next one may take long
    scores = kept(place / "ssim.json", lambda: of_all(patches, ssim, "SSIM"))
    rows.insert(len(LABELS), row_of(label_title("ssim"), *scores, patches))
    print(write(rows, patches, places, choice.name))


def write(rows: list[dict[str, Any]], patches: PatchSet, places: list[str], name: str) -> str:
    """Writes the files of results; returns the page."""
    summary = patches.summary()
    counts = ", ".join(f"{kind} {rows[0][kind]['pairs']}" for kind in KINDS)
    size = f"{summary['size']}x{summary['size']}, {summary['frames']} frames"
    kinds = {"patches": "distorted patches", "references": "references", "contents": "contents"}
    what = " of ".join(f"{summary[key]} {kind}" for key, kind in kinds.items())
    machine = f"{processor()}, {os.cpu_count()} cores, compressvqa {cv.__version__}, patches {summary['identity']}."
    text = "\n".join(
        ["# Orders that are certain, and how often metrics break them", "",
         f"{what} ({', '.join(map(_public, places))}), {size}. In brackets: wrong and tied pairs. Pairs: {counts}.", "",
         *table(rows), "", LEGEND, "", machine, ""]
    )  # fmt: skip
    write_text(RESULTS / f"{name}.md", text)
    facts = {"rows": rows, "data": summary, "sources": [_public(place) for place in places], "machine": processor()}
    write_json(RESULTS / f"{name}.json", facts)
    return text


if __name__ == "__main__":
    main()
