"""What scoring a pair of 1080p frames costs, beside libvmaf: CPU time, decoding included and left out.

Claims (RankDVQA pruned to a share of its MACs, runtime "native"; libvmaf is ffmpeg's, model vmaf_v0.6.1): mini costs
no more than libvmaf, nano at most .8 and pico at most .6 of it; without decoding pico at most .35. Weights are random:
they do not change the work.

A reference and one x264 encode of it are made, 8-bit 4:2:0 1080p. Every way is taken in turn, round after round, with
one thread; user and system time by getrusage, medians. ``--json`` prints the figures and nothing else; without it a
table is printed and ``benchmarks/results/score_speed.{json,md}`` are written.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from compressvqa.cost import complexity
from compressvqa.deploy.native import Kernel
from compressvqa.environment import processor
from compressvqa.models.rankdvqa import RankDVQA
from compressvqa.video import ffmpeg
from compressvqa.video.frames import Planes
from compressvqa.video.read import probe, read_frames

RESULTS = Path(__file__).parent / "results"
# Outputs of the two convolutions of each stage, width inside of every scale, hidden width of its MLP; most of libvmaf's
# cost that is claimed with decoding and without.
SHAPES: dict[str, tuple[tuple[tuple[int, int], ...], int, int, float | None, float | None]] = {
    "mini": (((8, 8), (16, 16), (16, 16), (32, 32), (32, 32)), 8, 16, 1.0, None),
    "nano": (((4, 4), (8, 8), (16, 16), (16, 16), (32, 32)), 8, 16, 0.8, None),
    "pico": (((4, 4), (4, 8), (8, 8), (16, 16), (24, 24)), 8, 16, 0.6, 0.35),
}
BLOCK = 12


def network(name: str) -> RankDVQA:
    """A RankDVQA of a shape, with random weights."""
    stages, merge, hidden, _, _ = SHAPES[name]
    torch.manual_seed(0)
    made = RankDVQA((*(last for _, last in stages), 4), merge_width=merge, mlp_width=hidden).eval()
    for stage, before, (first, last) in zip(made.extractor.stages, (3, *(s[1] for s in stages)), stages, strict=False):
        stage[0] = torch.nn.Conv2d(before, first, 3, stride=2, padding=1)
        stage[2] = torch.nn.Conv2d(first, last, 3, padding=1)
    del made.extractor.stages[len(stages) :]
    return made


def share_of_macs(model: RankDVQA) -> float:
    """MACs of 12 frames of 256x256, beside those of the whole RankDVQA."""
    inputs = (torch.zeros(1, 12, 3, 256, 256),) * 2
    return complexity.profile(model, inputs).macs / complexity.profile(RankDVQA(), inputs).macs


def make(folder: Path, source: Path | None, frames: int) -> tuple[Path, Path]:
    """A reference and its encode."""
    given = ["-i", str(source)] if source else ["-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=25"]
    usual = ["-frames:v", str(frames), "-pix_fmt", "yuv420p", "-an", "-c:v", "libx264"]
    size = ["-vf", "scale=1920:1080:flags=bicubic"]
    ffmpeg.run([*given, *size, *usual, "-preset", "fast", "-crf", "14", "reference.mp4"], folder=folder)
    ffmpeg.run(["-i", "reference.mp4", *usual, "-preset", "fast", "-crf", "34", "distorted.mp4"], folder=folder)
    return folder / "reference.mp4", folder / "distorted.mp4"


def spent(call: Callable[[], Any], who: int) -> float:
    """Milliseconds of CPU time, user and system, that a call takes here or in the processes that it starts."""
    before = resource.getrusage(who)
    call()
    after = resource.getrusage(who)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def libvmaf(inputs: list[str], folder: Path) -> None:
    """libvmaf on two inputs, the distorted one first."""
    command = [
        ffmpeg.binary(),
        "-hide_banner",
        "-nostdin",
        "-loglevel",
        "error",
        "-threads",
        "1",
        "-filter_threads",
        "1",
    ]
    graph = "libvmaf=n_threads=1:model=version=vmaf_v0.6.1"
    subprocess.run([*command, *inputs, "-lavfi", graph, "-f", "null", "-"], cwd=folder, check=True)


def blocks(path: Path) -> Iterator[list[Planes]]:
    """Frames of a file, block by block."""
    held: list[Planes] = []
    for planes in read_frames(path, threads=1):
        held.append(planes)
        if len(held) == BLOCK:
            yield held
            held = []
    if held:
        yield held


def native(kernel: Kernel, reference: Path, distorted: Path) -> float:
    """The score of two files."""
    scores = [kernel.score(r, d) for r, d in zip(blocks(reference), blocks(distorted), strict=True)]
    return statistics.fmean(scores)


def decode(*files: Path) -> None:
    """Decodes files and throws the frames away."""
    for _ in zip(*(blocks(file) for file in files), strict=True):
        pass


def measure(reference: Path, distorted: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Medians of CPU-ms for a pair of frames, of each way."""
    info = probe(reference, count=True)
    frames = info.frames or 0
    files = ["-threads", "1", "-i", str(distorted.resolve()), "-threads", "1", "-i", str(reference.resolve())]
    raw: list[str] = []
    for path in (distorted, reference):
        ffmpeg.run(["-i", str(path.resolve()), "-f", "rawvideo", f"{path.stem}.raw"], folder=folder)
        form = "yuv420p" if info.colour.bitdepth == 8 else f"yuv420p{info.colour.bitdepth}le"
        raw += ["-f", "rawvideo", "-pix_fmt", form, "-s", f"{info.width}x{info.height}", "-i", f"{path.stem}.raw"]
    r, d = next(blocks(reference)), next(blocks(distorted))
    kernels = {name: Kernel(network(name)) for name in SHAPES}
    ways: dict[str, tuple[Callable[[], Any], int, int]] = {
        "libvmaf": (lambda: libvmaf(files, folder), resource.RUSAGE_CHILDREN, frames),
        "libvmaf, raw files": (lambda: libvmaf(raw, folder), resource.RUSAGE_CHILDREN, frames),
        "decoding": (lambda: decode(reference, distorted), resource.RUSAGE_SELF, frames),
    }
    for name, kernel in kernels.items():
        ways[name] = (lambda k=kernel: native(k, reference, distorted), resource.RUSAGE_SELF, frames)
        ways[f"{name}, decoded"] = (lambda k=kernel: k.score(r, d), resource.RUSAGE_SELF, len(r))
        ways[f"{name}, one more"] = (_one_more(kernel, r, d), resource.RUSAGE_SELF, len(r))
        kernel.score(r, d)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (call, who, count) in ways.items():
            found[name].append(spent(call, who) / count)
    figures: dict[str, Any] = {name: statistics.median(values) for name, values in found.items()}
    # Paired: each round's own ratio, since a busy machine slows everything down for a while.
    figures["ratios"] = {
        name: statistics.median(a / b for a, b in zip(found[name], found[beside], strict=True))
        for shape in SHAPES
        for name, beside in ((shape, "libvmaf"), (f"{shape}, decoded", "libvmaf, raw files"))
    }
    figures["parts"] = {name: _parts(kernel, r, d, rounds) for name, kernel in kernels.items()}
    figures["peak_gmac_s"] = kernels["pico"].peak()
    figures["instructions"], figures["frames"] = kernels["pico"].instructions, frames
    figures["macs_share"] = {name: share_of_macs(network(name)) for name in SHAPES}
    return figures


def _one_more(kernel: Kernel, reference: list[Planes], distorted: list[Planes]) -> Callable[[], float]:
    features = kernel.features(reference)
    return lambda: kernel.score_kept(features, distorted)


def _parts(kernel: Kernel, reference: list[Planes], distorted: list[Planes], rounds: int) -> dict[str, float]:
    runs = [kernel.parts(reference, distorted) for _ in range(rounds)]
    return {part: 1000 * statistics.median(run[part] for run in runs) / len(reference) for part in runs[0]}


def bounds(name: str, height: int, width: int, peak: dict[str, float]) -> dict[str, float]:
    """Milliseconds of each part for a pair of frames if every multiplication ran at its kind's peak."""
    stages, merge, _, _, _ = SHAPES[name]
    found, before = {}, 3
    for k, (first, last) in enumerate(stages):
        height, width = -(-height // 2), -(-width // 2)
        kind = "int16" if k == 0 else "int8"
        pixels = 2 * 9 * height * width / 1e6
        found[f"stage {k + 1}, convolution 1"] = pixels * before * first / peak[kind]
        found[f"stage {k + 1}, convolution 2"] = pixels * first * last / peak[kind]
        found[f"scale {k + 1}, conv_in"] = 9 * height * width / 1e6 * 3 * last * merge / peak["int8"]
        before = last
    return found


def table(figures: dict[str, Any], machine: str) -> str:
    """What is printed and written."""
    head = "| | share of MACs | with decoding | of libvmaf | decoded before | of libvmaf | one more distorted file |"
    lines = [
        "# What a score costs",
        "",
        "CPU-ms (user and system time) for a pair of 1080p frames, one thread, medians.",
    ]
    lines += ["", head, "|---|---:|---:|---:|---:|---:|---:|"]
    lines.append(f"| libvmaf 0.6.1 | | {figures['libvmaf']:.1f} | 1 | {figures['libvmaf, raw files']:.1f} | 1 | |")
    for name in SHAPES:
        share, ratios, decoded = figures["macs_share"][name], figures["ratios"], f"{name}, decoded"
        lines.append(
            f"| {name} | {share:.1%} | {figures[name]:.1f} | {ratios[name]:.2f} "
            f"| {figures[decoded]:.1f} | {ratios[decoded]:.2f} | {figures[f'{name}, one more']:.1f} |"
        )
    lines += [
        "",
        f"Decoding alone (PyAV, both files): {figures['decoding']:.1f}. libvmaf without decoding reads raw files.",
    ]
    peaks = _peaks(figures["peak_gmac_s"])
    lines += ["", f"Where the time goes, and what its multiplications take at this core's peak ({peaks}):", ""]
    lines += ["| part | " + " | ".join(SHAPES) + " |", "|---|" + "---:|" * len(SHAPES)]
    limits = {name: bounds(name, 1080, 1920, figures["peak_gmac_s"]) for name in SHAPES}
    for part in figures["parts"]["mini"]:
        cells = []
        for name in SHAPES:
            took, least = figures["parts"][name][part], limits[name].get(part)
            cells.append(f"{took:.2f}" + (f" ({least:.2f})" if least else ""))
        lines.append(f"| {part} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"Random weights, precision mixed, {figures['instructions']}. {machine}.", ""])


def _peaks(peak: dict[str, float]) -> str:
    return ", ".join(f"{value:.0f} G/s {kind}" for kind, value in peak.items())


def misses(figures: dict[str, Any]) -> list[str]:
    """Claims that do not hold."""
    found = []
    for name, (*_, most, most_decoded) in SHAPES.items():
        for way, limit in ((name, most), (f"{name}, decoded", most_decoded)):
            ratio = figures["ratios"].get(way)
            if limit is not None and ratio > limit:
                found.append(f"{way}: {ratio:.2f} of libvmaf, {limit} was claimed")
    return found


def main() -> None:
    """Measures, prints, writes, and fails if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="a video to make both files of; default: a test picture")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    choice = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        source = choice.source.resolve() if choice.source else None
        reference, distorted = make(Path(place), source, choice.frames)
        figures = measure(reference, distorted, Path(place), choice.rounds)
    machine = f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    figures |= {"machine": machine, "load": os.getloadavg()[0], "source": choice.source.name if source else "testsrc2"}
    figures["misses"] = misses(figures)
    if choice.json:
        print(json.dumps(figures))
        return
    text = table(figures, f"{machine}; source: {figures['source']}")
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "score_speed.md").write_text(text)
    (RESULTS / "score_speed.json").write_text(json.dumps(figures, indent=2) + "\n")
    if figures["misses"]:
        sys.exit("; ".join(figures["misses"]))


if __name__ == "__main__":
    main()
