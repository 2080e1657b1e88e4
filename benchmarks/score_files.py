"""What it saves to score several distorted files beside one reference, and how much memory long files take.

Claims: four distorted files beside one reference cost less than the four alone (the reference is decoded once, and its
features are made once by networks that can); peak memory does not grow with the length of the files; scores that were
kept cost next to nothing.

Each way is taken in turn, round after round, and the table gives the medians of the ratios. Files are made by ffmpeg: a
moving test picture, 640x360, and four x264 encodes. Run with ``python benchmarks/score_files.py``; it prints the table
and writes ``benchmarks/results/score_files.{json,md}``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from compressvqa.environment import processor
from compressvqa.evaluation import evaluate
from compressvqa.models import create_model
from compressvqa.opinions import Item, Manifest
from compressvqa.scoring import NetworkScorer, Scorer, find_scorers, score_several
from compressvqa.video import ffmpeg

RESULTS = Path(__file__).parent / "results"
RATES = (24, 30, 36, 42)
MEMORY = """
import re, sys, torch
from compressvqa.scoring import NetworkScorer, score
from compressvqa.models import create_model
torch.manual_seed(0)
model = NetworkScorer(create_model("rankdvqa"), allow_random_weights=True) if sys.argv[3] == "rankdvqa" else sys.argv[3]
score(sys.argv[1], sys.argv[2], model=model)
# Not getrusage: its peak begins with that of the process that started this one.
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


def make(folder: Path, frames: int, size: str) -> tuple[Path, list[Path]]:
    """A reference (FFV1) and its encodes."""
    reference = folder / f"reference-{frames}.mkv"
    source = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25", "-frames:v", str(frames)]
    ffmpeg.run([*source, "-pix_fmt", "yuv420p", "-c:v", "ffv1", reference.name], folder=folder)
    encodes = []
    for rate in RATES:
        encodes.append(folder / f"distorted-{frames}-{rate}.mkv")
        options = ["-c:v", "libx264", "-preset", "veryfast", "-crf", str(rate)]
        ffmpeg.run(["-i", reference.name, *options, encodes[-1].name], folder=folder)
    return reference, encodes


def timed(call: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def side_by_side(scorer: Scorer, reference: Path, encodes: list[Path], rounds: int) -> dict[str, float]:
    """Four files together and each alone, in turn."""
    together, alone = [], []
    for _ in range(rounds):
        together.append(timed(lambda: score_several(reference, encodes, model=scorer)))
        alone.append(timed(lambda: [score_several(reference, [one], model=scorer) for one in encodes]))
    ratios = [a / b for a, b in zip(together, alone, strict=True)]
    return {"together_s": statistics.median(together), "alone_s": statistics.median(alone),
            "ratio": statistics.median(ratios)}  # fmt: skip


def peak(reference: Path, distorted: Path, model: str) -> float:
    """Peak memory of a process that scores two files, in MiB."""
    command = [sys.executable, "-c", MEMORY, str(reference), str(distorted), model]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def kept(reference: Path, encodes: list[Path], folder: Path) -> dict[str, float]:
    """The same evaluation twice: the second finds its scores."""
    items = tuple(
        Item(path.name, float(-rate), reference=reference.name) for path, rate in zip(encodes, RATES, strict=True)
    )
    manifest = Manifest("four", folder, items)
    first, second = (
        timed(lambda: evaluate(["vmaf_v0.6.1"], [manifest], cache=folder / "kept", resamples=0)) for _ in range(2)
    )
    return {"first_s": first, "second_s": second, "ratio": second / first}


def main() -> None:
    """Measures, prints the table, writes the results and fails if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--size", default="640x360")
    choice = parser.parse_args()
    torch.manual_seed(0)
    scorers: dict[str, Scorer] = {"rankdvqa": NetworkScorer(create_model("rankdvqa"), allow_random_weights=True),
                                  "c3dvqa": NetworkScorer(create_model("c3dvqa"), allow_random_weights=True),
                                  "vmaf_v0.6.1": find_scorers(["vmaf_v0.6.1"])[0]}  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        reference, encodes = make(folder, choice.frames, choice.size)
        long_reference, long_encodes = make(folder, 10 * choice.frames, choice.size)
        sides = {name: side_by_side(scorer, reference, encodes, choice.rounds) for name, scorer in scorers.items()}
        memory = {
            name: [peak(reference, encodes[0], name), peak(long_reference, long_encodes[0], name)]
            for name in ("rankdvqa", "vmaf_v0.6.1")
        }
        again = kept(reference, encodes, folder)
    lines = ["# Scoring several files, and long ones", "",
             f"Four encodes of {choice.size}, {choice.frames} frames, and their reference; medians of {choice.rounds}.",
             "", "| scorer | together (s) | each alone (s) | ratio |", "|---|---:|---:|---:|"]  # fmt: skip
    lines += [f"| {n} | {s['together_s']:.2f} | {s['alone_s']:.2f} | {s['ratio']:.2f} |" for n, s in sides.items()]
    lines += ["", f"| scorer | peak memory, {choice.frames} frames (MiB) | {10 * choice.frames} frames | ratio |",
              "|---|---:|---:|---:|"]  # fmt: skip
    lines += [f"| {n} | {short:.0f} | {long:.0f} | {long / short:.2f} |" for n, (short, long) in memory.items()]
    machine = (
        f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, Python {platform.python_version()}"
    )
    lines += ["", f"An evaluation of the four by VMAF takes {again['first_s']:.2f} s; again, with its scores kept, "
              f"{again['second_s']:.2f} s.", "", f"Untrained networks. {machine}.", ""]  # fmt: skip
    text = "\n".join(lines)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "score_files.md").write_text(text)
    facts = {"side_by_side": sides, "memory_mib": memory, "kept": again, "settings": vars(choice), "machine": machine}
    (RESULTS / "score_files.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(json.dumps(facts))
    if sides["rankdvqa"]["ratio"] >= 1 or memory["rankdvqa"][1] > 1.1 * memory["rankdvqa"][0]:
        sys.exit("a claim does not hold")


if __name__ == "__main__":
    main()
