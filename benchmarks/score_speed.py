"""What scoring a pair of 1080p frames costs, beside libvmaf: CPU time, decoding included and left out.

Claims (the networks that ship, runtime "native", in the precision that it takes; libvmaf is ffmpeg's, model
vmaf_v0.6.1): mini costs no more than libvmaf, nano at most .8 and pico at most .6 of it; without decoding pico at most
.35; none costs more than VMAF v1; one more distorted file costs at most .6 of the first.

A reference and two x264 encodes of it are made, 8-bit 4:2:0 1080p. Every way is taken in turn, round after round, with
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from compressvqa.cost import complexity
from compressvqa.deploy.memory import kept_memory
from compressvqa.deploy.native import Kernel
from compressvqa.deploy.native.runtime import checked_kernel
from compressvqa.environment import processor
from compressvqa.models import load
from compressvqa.models.rankdvqa import RankDVQA
from compressvqa.models.shipped import shipped_folder
from compressvqa.video import ffmpeg
from compressvqa.video.frames import Planes
from compressvqa.video.read import probe, read_frames

RESULTS = Path(__file__).parent / "results"
# Most of libvmaf 0.6.1's cost that is claimed with decoding and without.
CLAIMS: dict[str, tuple[float, float | None]] = {"mini": (1.0, None), "nano": (0.8, None), "pico": (0.6, 0.35)}
MOST_OF_V1, MOST_MORE = 1.0, 0.6
PRECISIONS = ("mixed", "int16", "float32")
VMAF = {"VMAF 0.6.1": "vmaf_v0.6.1", "VMAF v1": "vmaf_v1.0.16_3d0h"}
BLOCK = 12
Way = tuple[Callable[[], Any], int, int]  # what is done, whose time counts, for how many pairs of frames


def network(name: str) -> RankDVQA:
    """A network that ships."""
    made = load(shipped_folder(f"rankdvqa-{name}")).eval()
    assert isinstance(made, RankDVQA)
    return made


def share_of_macs(model: RankDVQA) -> float:
    """MACs of 12 frames of 256x256, beside those of the whole RankDVQA."""
    inputs = (torch.zeros(1, 12, 3, 256, 256),) * 2
    return complexity.profile(model, inputs).macs / complexity.profile(RankDVQA(), inputs).macs


def make(folder: Path, source: Path | None, frames: int) -> list[Path]:
    """A reference and two encodes of it; a short source is shown again and again."""
    given = (
        ["-stream_loop", "-1", "-i", str(source)]
        if source
        else ["-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=25"]
    )
    usual = ["-frames:v", str(frames), "-pix_fmt", "yuv420p", "-an", "-c:v", "libx264", "-preset", "fast"]
    ffmpeg.run([*given, "-vf", "scale=1920:1080:flags=bicubic", *usual, "-crf", "14", "reference.mp4"], folder=folder)
    for name, quality in (("distorted.mp4", "34"), ("other.mp4", "28")):
        ffmpeg.run(["-i", "reference.mp4", *usual, "-crf", quality, name], folder=folder)
    return [folder / name for name in ("reference.mp4", "distorted.mp4", "other.mp4")]


def spent(call: Callable[[], Any], who: int) -> float:
    """Milliseconds of CPU time, user and system, that a call takes here or in the processes that it starts."""
    before = resource.getrusage(who)
    call()
    after = resource.getrusage(who)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def libvmaf(inputs: list[str], folder: Path, model: str = "vmaf_v0.6.1") -> None:
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
    graph = f"libvmaf=n_threads=1:model=version={model}"
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


def native_several(kernel: Kernel, reference: Path, distorted: Sequence[Path]) -> list[float]:
    """The scores of several files against one reference, which is decoded and worked through once."""
    scores: list[list[float]] = [[] for _ in distorted]
    for r, *others in zip(blocks(reference), *map(blocks, distorted), strict=True):
        features = kernel.features(r)
        for found, d in zip(scores, others, strict=True):
            found.append(kernel.score_kept(features, d))
    return [statistics.fmean(found) for found in scores]


def decode(*files: Path) -> None:
    """Decodes files and throws the frames away."""
    for _ in zip(*(blocks(file) for file in files), strict=True):
        pass


def measure(files: Sequence[Path], folder: Path, rounds: int) -> dict[str, Any]:
    """Medians of CPU-ms for a pair of frames, of each way."""
    networks = {name: network(name) for name in CLAIMS}
    ways, kernels, blocks_read = _ways(files, folder, networks)
    found: dict[str, list[float]] = {name: [] for name in ways}
    with kept_memory():  # as where files are scored
        for _ in range(rounds):
            for name, (call, who, count) in ways.items():
                found[name].append(spent(call, who) / count)

    # Paired: each round's own ratio, since a busy machine slows everything down for a while.
    def ratio(way: str, beside: str) -> float:
        return statistics.median(a / b for a, b in zip(found[way], found[beside], strict=True))

    figures: dict[str, Any] = {"cpu_ms": {name: statistics.median(values) for name, values in found.items()}}
    figures["ratios"] = {
        f"{way}{decoded}": {beside: ratio(f"{way}{decoded}", f"{beside}{decoded}") for beside in VMAF}
        for way in kernels
        for decoded in ("", ", decoded")
        if f"{way}{decoded}" in found
    }
    # What a second distorted file adds, with decoding, beside what the first costs.
    figures["one_more"] = {
        name: statistics.median(
            (two - one) / one for two, one in zip(found[f"{name}, two files"], found[name], strict=True)
        )
        for name in (f"{network} {PRECISIONS[0]}" for network in CLAIMS)
    }
    figures["taken"] = {name: checked_kernel(model).precision for name, model in networks.items()}
    figures["parts"] = {way: _parts(kernel, *blocks_read, rounds) for way, kernel in kernels.items()}
    figures["macs_share"] = {name: share_of_macs(model) for name, model in networks.items()}
    one = next(iter(kernels.values()))
    return figures | {"peak_gmac_s": one.peak(), "instructions": one.instructions}


def _ways(
    files: Sequence[Path], folder: Path, networks: dict[str, RankDVQA]
) -> tuple[dict[str, Way], dict[str, Kernel], tuple[list[Planes], list[Planes]]]:
    reference, distorted, _ = files
    frames = probe(reference, count=True).frames or 0
    coded = ["-threads", "1", "-i", str(distorted.resolve()), "-threads", "1", "-i", str(reference.resolve())]
    raw: list[str] = []
    for path in (distorted, reference):
        ffmpeg.run(["-i", str(path.resolve()), "-f", "rawvideo", f"{path.stem}.raw"], folder=folder)
        raw += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "1920x1080", "-i", f"{path.stem}.raw"]
    here, children = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    ways: dict[str, Way] = {"decoding": (lambda: decode(reference, distorted), here, frames)}
    for name, model in VMAF.items():
        ways[name] = (lambda m=model: libvmaf(coded, folder, m), children, frames)
        ways[f"{name}, decoded"] = (lambda m=model: libvmaf(raw, folder, m), children, frames)
    r, d = next(blocks(reference)), next(blocks(distorted))
    kernels: dict[str, Kernel] = {}
    for name, network in networks.items():
        for precision in PRECISIONS:
            way, kernel = f"{name} {precision}", Kernel(network, precision=precision)
            kernels[way] = kernel
            kernel.score(r, d)
            ways[f"{way}, decoded"] = (lambda k=kernel: k.score(r, d), here, len(r))
            if precision == "float32":
                continue
            ways[way] = (lambda k=kernel: native(k, reference, distorted), here, frames)
            if precision == PRECISIONS[0]:
                ways[f"{way}, two files"] = (lambda k=kernel: native_several(k, reference, files[1:]), here, frames)
    return ways, kernels, (r, d)


def _parts(kernel: Kernel, reference: list[Planes], distorted: list[Planes], rounds: int) -> dict[str, float]:
    runs = [kernel.parts(reference, distorted) for _ in range(rounds)]
    return {part: 1000 * statistics.median(run[part] for run in runs) / len(reference) for part in runs[0]}


def bounds(model: RankDVQA, precision: str, height: int, width: int, peak: dict[str, float]) -> dict[str, float]:
    """Milliseconds of each part for a pair of frames if every multiplication ran at its kind's peak."""
    found, before = {}, 3
    for k, scale in enumerate(model.scales):
        height, width = -(-height // 2), -(-width // 2)
        kind = "float32" if precision == "float32" else "int16" if precision == "int16" or k < 3 else "int8"
        layers = [layer for layer in model.extractor.stages[k] if isinstance(layer, torch.nn.Conv2d)]
        for number, layer in enumerate(layers, 1):
            macs = 2 * 9 * height * width * before * layer.out_channels / 1e6
            found[f"stage {k + 1}, convolution {number}"] = macs / peak[kind]
            before = layer.out_channels
        macs = 9 * height * width * 3 * before * scale.conv_in.out_channels / 1e6
        found[f"scale {k + 1}, conv_in"] = macs / peak["float32" if precision == "float32" else "int8"]
    return found


def table(figures: dict[str, Any], machine: str) -> str:
    """What is printed and written."""
    cpu, ratios = figures["cpu_ms"], figures["ratios"]
    lines = [
        "# What a score costs",
        "",
        "CPU-ms (user and system time) for a pair of 1080p frames, one thread, medians.",
        "",
    ]
    lines += [
        "| | share of MACs | with decoding | of 0.6.1 | of v1 | decoded before | of 0.6.1 | of v1 | one more file |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [f"| {name} | | {cpu[name]:.1f} | | | {cpu[f'{name}, decoded']:.1f} | | | |" for name in VMAF]
    for name in CLAIMS:
        for precision in PRECISIONS:
            way = f"{name} {precision}"
            taken = " (taken)" if figures["taken"][name] == precision else ""
            cells = [f"{name}, {precision}{taken}", f"{figures['macs_share'][name]:.1%}"]
            for one in (way, f"{way}, decoded"):
                cells += [f"{cpu[one]:.1f}" if one in cpu else ""]
                cells += [f"{ratios[one][beside]:.2f}" if one in ratios else "" for beside in VMAF]
            more = figures["one_more"].get(way)
            lines.append(f"| {' | '.join(cells)} | {'' if more is None else f'{more:.0%} of the first'} |")
    lines += [
        "",
        f"Decoding alone (PyAV, both files): {cpu['decoding']:.1f}. Where frames were decoded before, libvmaf",
    ]
    lines[-1] += " reads raw files, and RankDVQA planes in memory. One more file: with decoding, the reference kept."
    peaks = ", ".join(f"{value:.0f} G/s {kind}" for kind, value in figures["peak_gmac_s"].items())
    lines += ["", f"Where the time goes, and what its multiplications take at this core's peak ({peaks}):", ""]
    ways = [f"{name} {figures['taken'][name]}" for name in CLAIMS]
    lines += ["| part | " + " | ".join(ways) + " |", "|---|" + "---:|" * len(ways)]
    peak = figures["peak_gmac_s"]
    limits = {way: bounds(network(way.split()[0]), way.split()[1], 1080, 1920, peak) for way in ways}
    for part in figures["parts"][ways[0]]:
        took = [(figures["parts"][way][part], limits[way].get(part)) for way in ways]
        cells = [f"{ms:.2f}" + (f" ({least:.2f})" if least else "") for ms, least in took]
        lines.append(f"| {part} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"The networks that ship, {figures['instructions']}. {machine}.", ""])


def misses(figures: dict[str, Any]) -> list[str]:
    """Claims that do not hold, of the precision that is taken."""
    found = []
    for name, (most, most_decoded) in CLAIMS.items():
        way = f"{name} {figures['taken'][name]}"
        limits = [
            (way, "VMAF 0.6.1", most),
            (way, "VMAF v1", MOST_OF_V1),
            (f"{way}, decoded", "VMAF 0.6.1", most_decoded),
        ]
        for one, beside, limit in limits:
            ratio = figures["ratios"][one][beside]
            if limit is not None and ratio > limit:
                found.append(f"{one}: {ratio:.2f} of {beside}, {limit} was claimed")
        more = figures["one_more"].get(way, 0)
        if more > MOST_MORE:
            found.append(f"{way}: one more file costs {more:.2f} of the first, {MOST_MORE} was claimed")
    return found


def main() -> None:
    """Measures, prints, writes, and fails if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="a video to make the files of; default: a test picture")
    parser.add_argument("--what", help="what the source is, for the table; default: its name")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    choice = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        files = make(Path(place), choice.source.resolve() if choice.source else None, choice.frames)
        figures = measure(files, Path(place), choice.rounds)
    source = choice.what or (choice.source.name if choice.source else "testsrc2")
    machine = (
        f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}, Python {platform.python_version()}"
    )
    figures |= {"machine": machine, "source": source, "frames": choice.frames, "rounds": choice.rounds}
    figures["misses"] = misses(figures)
    if choice.json:
        print(json.dumps(figures))
        return
    text = table(figures, f"{machine}; {choice.frames} frames of {source}, {choice.rounds} rounds")
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "score_speed.md").write_text(text)
    (RESULTS / "score_speed.json").write_text(json.dumps(figures, indent=2) + "\n")
    if figures["misses"]:
        sys.exit("; ".join(figures["misses"]))


if __name__ == "__main__":
    main()
