"""What int8 costs in the order of files: the small networks that ship, rounded after training, on encodes held out.

Claim: with every convolution and product in int8 (nncf's scheme for transformers, calibrated on training patches),
SROCC with the label falls by at most .005. Cost is user and system time a block of 12 frames on one thread, int8 beside
float32, both by OpenVINO, in turn.

    python benchmarks/int8_order.py PATCHES ENCODES [--models rankdvqa-mini ...]

PATCHES is a folder of training patches (RUN/data/train), ENCODES a data set by `compressvqa data proxy`. Prints a
table, writes it to benchmarks/results/int8_order.{md,json}, and exits with 1 if the claim fails. Where the label is
VMAF, this says nothing about people.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import compressvqa as cv
from compressvqa.data.patches import PatchSet
from compressvqa.environment import processor
from compressvqa.metrics import correlation
from compressvqa.results.evaluation import Evaluation
from compressvqa.scoring.find import find_scorers

RESULTS = Path(__file__).parent / "results"
MOST_LOST = 0.005
FRAMES = 12  # of a block
CLIPS = 128  # half of them calibrate
SMALL = ("rankdvqa-mini", "rankdvqa-nano", "rankdvqa-pico")


@cv.register_model("exported", mode="FR", frames=FRAMES, smallest_side=96)
class Exported(nn.Module):
    """A network that OpenVINO runs out of a file, one thread; gives raw scores."""

    def __init__(self, folder: str = "") -> None:
        super().__init__()
        openvino = importlib.import_module("openvino")
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        self.run = openvino.Core().compile_model(f"{folder}/model.xml", "CPU", settings)

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        """(B, T, 3, H, W) each to (B,); a short block repeats its last frame, as example.py does."""
        clips = {"reference": reference, "distorted": distorted}
        last = FRAMES - reference.shape[1]
        full = {
            name: torch.cat([clip, clip[:, -1:].repeat(1, last, 1, 1, 1)], 1).numpy() for name, clip in clips.items()
        }
        return torch.from_numpy(self.run(full)["raw_score"])


def main() -> None:
    """Rounds, scores, compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patches", type=Path, nargs="?")
    parser.add_argument("encodes", type=Path, nargs="?")
    parser.add_argument("--models", nargs="+", default=SMALL)
    arguments = parser.parse_args()
    if arguments.patches is None or arguments.encodes is None:
        print("needs patches and encodes: python benchmarks/int8_order.py PATCHES ENCODES")
        return
    torch.set_num_threads(1)
    rows = []
    for name in arguments.models:
        rows.append(row(name, arguments.patches, arguments.encodes))
        print(json.dumps(rows[-1]), flush=True)
    page = document(rows, arguments.encodes)
    print(page)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "int8_order.json").write_text(json.dumps(rows, indent=1) + "\n")
    (RESULTS / "int8_order.md").write_text(page)
    if failing := [row["model"] for row in rows if not row["lost"] <= MOST_LOST]:
        raise SystemExit(f"the claim does not hold: {', '.join(failing)}")


def row(name: str, patches: Path, encodes: Path) -> dict[str, Any]:
    """One network in float and in int8."""
    found, step = PatchSet(patches), max(1, len(PatchSet(patches)) // CLIPS)
    pairs = [found.load(number) for number in range(0, len(found), step)][:CLIPS]
    clips = [tuple(side.to_rgb()[None] for side in pair) for pair in pairs]
    with tempfile.TemporaryDirectory() as place:
        made = {
            "float": cv.export(name, Path(place) / "float", format="openvino"),
            "int8": cv.export(name, Path(place) / "int8", format="openvino", int8=clips),
        }
        networks = {kind: cv.create_model("exported", folder=str(one.folder)).eval() for kind, one in made.items()}
        raw, label = {}, np.array([])
        for kind, network in networks.items():
            (scorer,) = find_scorers([network], device="cpu", runtime="eager", allow_random_weights=True)
            with tempfile.TemporaryDirectory() as cache:  # files' scores are kept by network, and these have no weights
                judged = cv.evaluate([scorer], [encodes], cache=Path(cache), resamples=0)
            raw[kind], label = scores_of(judged)
        srocc = {kind: abs(correlation(one, label, "none").srocc) for kind, one in raw.items()}
        return {
            "model": name,
            "layers_int8": made["int8"].facts["int8"]["layers"],
            "layers_in_float": made["int8"].facts["int8"]["layers_in_float"],
            "clips": made["int8"].facts["int8"]["calibrated_on"],
            "files": len(label),
            "srocc": srocc,
            "lost": srocc["float"] - srocc["int8"],
            "srocc_int8_with_float": correlation(raw["int8"], raw["float"], "none").srocc,
            "cpu_ms": cost(networks, clips[0]),
            "machine": processor(),
        }


def scores_of(judged: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    """Raw scores and labels of an evaluation of one model on one data set."""
    items = judged.scores[0].items
    return np.array([one.score for one in items]), np.array([one.mos for one in items])


def cost(networks: dict[str, nn.Module], clip: tuple[Tensor, ...]) -> dict[str, float]:
    """Milliseconds of processor time for one block of a patch, medians of 9 in turn."""
    took: dict[str, list[float]] = {kind: [] for kind in networks}
    for turn in range(10):
        for kind, network in networks.items():
            before = resource.getrusage(resource.RUSAGE_SELF)
            network(*clip)
            after = resource.getrusage(resource.RUSAGE_SELF)
            if turn:
                took[kind].append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return {kind: round(1000 * statistics.median(times), 2) for kind, times in took.items()}


def document(rows: list[dict[str, Any]], encodes: Path) -> str:
    """The page."""
    lines = [
        "# Int8 after training, in the order of files",
        "",
        f"{rows[0]['files']} encodes that no network was trained on (`{encodes.name}`, by `compressvqa data proxy`;",
        f"label VMAF 0.6.1, a proxy). Calibrated on {rows[0]['clips']} training patches of 256x256.",
        f"{rows[0]['machine']}, one thread.",
        "",
        "| network | in int8 | in float | SROCC float32 | int8 | lost | int8 with float32 | CPU ms float32 | int8 |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for one in rows:
        lines.append(
            f"| {one['model']} | {one['layers_int8']} | {len(one['layers_in_float'])} | {one['srocc']['float']:.4f} | "
            f"{one['srocc']['int8']:.4f} | {one['lost']:+.4f} | {one['srocc_int8_with_float']:.4f} | "
            f"{one['cpu_ms']['float']:.0f} | {one['cpu_ms']['int8']:.0f} |"
        )
    lines += [
        "",
        "CPU ms: user and system time of a block (12 frames of 256x256, both clips), medians of 9, taken in turn.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
