"""A GPU beside the processor: the same losses of a short training, the same scores, and what both cost.

Losses of ten steps of AdamW in float32 (RankDVQA of small width, drawn clips, TF32 off) may differ by 1e-3 of their
size, scores of the network that ships by 1e-4 of 0 to 100. Times are wall times of the whole step or file after one to
warm up; training is measured at the full width, as recipes train (bf16 where the device is a GPU).

    python benchmarks/gpu/compare.py [--device cuda] [--only training|scoring]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import compressvqa as cv
from compressvqa.environment import environment
from compressvqa.files import write_json, write_text
from compressvqa.running.precision import fabric_of, processes_of
from compressvqa.running.recipe import RuntimeChoice
from compressvqa.training import FitSettings, RankPairsObjective, fit
from compressvqa.training.optimizers import OptimizerChoice
from compressvqa.video.ffmpeg import binary

RESULTS = Path(__file__).parent.parent / "results"
SMALL = {"widths": (4, 4, 6, 6, 8, 8), "merge_width": 8, "mlp_width": 8}


class Drawn:
    """Pairs of drawn clips; a pure function of the step."""

    def __init__(self, pairs: int, size: int) -> None:
        self.pairs, self.size = pairs, size

    def batch_at(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """(2B, ...) references and distorted clips, and which of each pair is better, (B,)."""
        dice = torch.Generator().manual_seed(step)
        clips = torch.rand(2, 2 * self.pairs, 12, 3, self.size, self.size, generator=dice)
        return clips[0], clips[1], (torch.rand(self.pairs, generator=dice) > 0.5).float()


def step_loss(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """The loss of `rank-pairs`."""
    reference, distorted, better = batch
    objective = RankPairsObjective(RankPairsObjective.Config())
    known: Any = type("Known", (), {"better_a": better, "weight": None})
    return objective.loss(model(reference, distorted), known), {}


def train(device: str, precision: str, steps: int, batches: Drawn, **widths: Any) -> tuple[list[float], float]:
    """Losses of the steps, and seconds a step but the first."""
    torch.manual_seed(0)
    network = cv.create_model("rankdvqa", **widths)
    runtime = RuntimeChoice(device=device, precision=precision)
    losses, times = [], []

    def on_step(step: int, figures: dict[str, float]) -> None:
        losses.append(figures["loss"])
        times.append(time.perf_counter())

    optimizer = OptimizerChoice(name="adamw", lr=1e-3).build(network.parameters())
    with tempfile.TemporaryDirectory() as place:
        fit(
            fabric_of(runtime, network), network, optimizer, batches, step_loss,
            FitSettings(steps, checkpoint_seconds=1e9), checkpoint=Path(place) / "checkpoint.pt", on_step=on_step,
        )  # fmt: skip
    return losses, (times[-1] - times[0]) / (len(times) - 1)


def training(device: str) -> dict[str, Any]:
    """Equality at a small width, and time at the full one."""
    here = processes_of(RuntimeChoice(device=device, precision="32"))
    size, pairs = (96, 2) if device == "cpu" else (256, 8)
    theirs, _ = train(device, "32", 10, Drawn(2, 96), **SMALL)
    found: dict[str, Any] = {"processes": here.size}
    if here.size == 1:
        ours, _ = train("cpu", "32", 10, Drawn(2, 96), **SMALL)
        apart = max(abs(a - b) / abs(b) for a, b in zip(theirs, ours, strict=True))
        found |= {"losses_apart": apart, "losses_equal": apart <= 1e-3}
    if device != "cpu":
        _, found["seconds_a_step"] = train(device, "bf16", 12, Drawn(pairs, size))
        found["step"] = f"RankDVQA, {pairs} pairs of 12 frames of {size}x{size}, bf16"
        found["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return found


def scoring(device: str) -> dict[str, Any]:
    """Scores of one pair of files on both, and frames a second."""
    size, frames = ("320x180", 24) if device == "cpu" else ("1920x1080", 96)
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place) / "r.mkv", Path(place) / "d.mkv"]
        for file, quality in zip(files, ("0", "36"), strict=True):
            source = f"testsrc2=size={size}:rate=25,noise=alls=12:all_seed=1"
            subprocess.run(
                [binary(), "-v", "error", "-f", "lavfi", "-i", source, "-frames:v", str(frames), "-c:v", "libx264",
                 "-crf", quality, "-pix_fmt", "yuv420p", str(file)],
                check=True,
            )  # fmt: skip
        found: dict[str, Any] = {"file": f"{size}, {frames} frames, with decoding"}
        for name, where in (("cpu", "cpu"), ("device", device)):
            cv.score(*files, device=where, runtime="eager")  # to warm up
            began = time.perf_counter()
            found[f"score_{name}"] = cv.score(*files, device=where, runtime="eager").score
            found[f"frames_a_second_{name}"] = frames / (time.perf_counter() - began)
    found["scores_apart"] = abs(found["score_cpu"] - found["score_device"])
    return found | {"scores_equal": found["scores_apart"] <= 0.01}


def main() -> int:
    """0 where all is equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--only", choices=("training", "scoring"))
    asked = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    found: dict[str, Any] = {"device": asked.device, "environment": environment()}
    if asked.device == "cuda":
        found["card"] = torch.cuda.get_device_name()
    for name, measure in (("training", training), ("scoring", scoring)):
        if asked.only in (None, name):
            found[name] = measure(asked.device)
    if processes_of(RuntimeChoice(device=asked.device)).rank:
        return 0
    rows = [f"| {part}: {name} | {value} |" for part in ("training", "scoring") for name, value in
            found.get(part, {}).items()]  # fmt: skip
    table = "\n".join([f"# {found.get('card', 'processor')} beside the processor", "", "| | |", "|---|---|", *rows, ""])
    print(table)
    if asked.device == "cuda" and asked.only is None:
        write_json(RESULTS / "gpu.json", found)
        write_text(RESULTS / "gpu.md", table)
    wrong = [name for part in ("training", "scoring") for name, value in found.get(part, {}).items() if value is False]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
