"""Native code beside eager PyTorch for networks of many shapes, on clips of several forms: errors, and what each costs.

The shapes are those that native code was designed on, from 4 to 14 % of RankDVQA's MACs, with weights drawn anew from
three seeds: nothing was trained or chosen for whole numbers, and scores of such a network lie close together, so that
rounding shows most. What the check when a network is prepared makes of it, the precision that it takes, stands beside
the errors. Clips are encoded by x264, x265 and at half the size; a form is a size, a bit depth and a number of
frames, of which the last block of 12 may be short. An error is the largest difference of two scores as a share of
what eager's scores of all pairs differ by. Cost is user and system time by getrusage for a pair of 1080p frames that
are decoded, one thread.

    python benchmarks/native_shapes.py CLIPS...

Prints a table and writes it to benchmarks/results/native_shapes.{md,json}.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import stats
from score_speed import share_of_macs, spent

from compressvqa.deploy.memory import kept_memory
from compressvqa.deploy.native import Kernel
from compressvqa.deploy.native.runtime import checked_kernel
from compressvqa.environment import processor
from compressvqa.files import write_json, write_text
from compressvqa.models.rankdvqa import RankDVQA
from compressvqa.video import ffmpeg
from compressvqa.video.frames import Planes
from compressvqa.video.read import read_frames

RESULTS = Path(__file__).parent / "results"
SHAPES = (
    (4, 4, 8, 8, 16), (4, 8, 8, 16, 16), (4, 8, 16, 16, 32), (4, 12, 16, 24, 32), (8, 8, 16, 16, 32),
    (8, 16, 16, 32, 32), (4, 16, 32, 48, 64),
)  # fmt: skip
MERGE, MLP, LAST = 8, 16, 4  # the last stage feeds nothing that is scored
PRECISIONS = ("float32", "int16", "mixed", "int8")
SEEDS, BLOCK, ROUNDS = (0, 1, 2), 12, 5
RUNGS = (("libx264", 23, 1.0), ("libx264", 33, 1.0), ("libx264", 42, 1.0), ("libx265", 36, 1.0), ("libx264", 26, 0.5))


class Form(NamedTuple):
    """What clips are made into."""

    width: int
    height: int
    pixels: str
    frames: int
    seeds: tuple[int, ...]


FORMS = {
    "480x270": Form(480, 270, "yuv420p", BLOCK, SEEDS),
    "321x183, 4:4:4": Form(321, 183, "yuv444p", BLOCK, (0,)),
    "10 bit": Form(480, 270, "yuv420p10le", BLOCK, (0,)),
    "blocks of 12 and 5": Form(320, 180, "yuv420p", BLOCK + 5, (0,)),
}


def network(shape: tuple[int, ...], seed: int) -> RankDVQA:
    """A RankDVQA of such widths, its weights drawn."""
    torch.manual_seed(seed)
    return RankDVQA((*shape, LAST), merge_width=MERGE, mlp_width=MLP).eval()


def clips(source: Path, form: Form, folder: Path) -> tuple[list[Planes], list[list[Planes]]]:
    """A clip in such a form, and its encodes."""
    size = f"scale={form.width}:{form.height}:flags=bicubic"
    ffmpeg.run(["-i", str(source.resolve()), "-frames:v", str(form.frames), "-vf", size, "-pix_fmt", form.pixels,
                "-an", "-c:v", "ffv1", "reference.mkv"], folder=folder)  # fmt: skip
    encodes = []
    for codec, crf, share in RUNGS:
        small = f"scale=trunc(iw*{share}/2)*2:trunc(ih*{share}/2)*2,{size}" if share < 1 else "null"
        quiet = ["-x265-params", "log-level=error"] if codec == "libx265" else []
        ffmpeg.run(["-i", "reference.mkv", "-vf", small, "-pix_fmt", form.pixels, "-c:v", codec, *quiet, "-preset",
                    "veryfast", "-crf", str(crf), "encode.mkv"], folder=folder)  # fmt: skip
        encodes.append(list(read_frames(folder / "encode.mkv", threads=1)))
    return list(read_frames(folder / "reference.mkv", threads=1)), encodes


def blocks(frames: list[Planes]) -> list[list[Planes]]:
    """Runs of 12, the last as short as it is."""
    return [frames[first : first + BLOCK] for first in range(0, len(frames), BLOCK)]


def eager(model: RankDVQA, reference: list[Planes], distorted: list[list[Planes]]) -> list[float]:
    """Scores of whole clips by PyTorch."""
    rgb = torch.stack([planes.to_rgb() for planes in reference])[None]
    with torch.inference_mode():
        return [float(model(rgb, torch.stack([planes.to_rgb() for planes in one])[None])) for one in distorted]


def native(kernel: Kernel, reference: list[Planes], distorted: list[list[Planes]]) -> list[float]:
    """Scores of whole clips by native code, as `score` finds them: the mean over blocks."""
    return [
        statistics.fmean(kernel.score(a, b) for a, b in zip(blocks(reference), blocks(one), strict=True))
        for one in distorted
    ]


def errors(shape: tuple[int, ...], videos: dict[str, list[Any]]) -> dict[str, Any]:
    """{form: {precision: for each seed the largest error, mean and spread of differences, and the SROCC}}."""
    found: dict[str, Any] = {}
    for name, form in FORMS.items():
        rows: dict[str, list[dict[str, float]]] = {precision: [] for precision in PRECISIONS}
        for seed in form.seeds:
            model = network(shape, seed)
            expected = np.concatenate([eager(model, *video) for video in videos[name]])
            for precision in PRECISIONS:
                kernel = Kernel(model, precision=precision)
                given = np.concatenate([native(kernel, *video) for video in videos[name]])
                off = (given - expected) / np.ptp(expected)
                srocc = float(stats.spearmanr(given, expected).statistic)
                rows[precision].append({"largest": float(np.abs(off).max()), "mean": float(off.mean()),
                                        "sd": float(off.std()), "srocc": srocc})  # fmt: skip
        found[name] = rows
    return found


def costs(shape: tuple[int, ...], source: Path, folder: Path) -> dict[str, Any]:
    """CPU-ms of a pair of 1080p frames by each precision, and of one more distorted file by `mixed`."""
    reference, (distorted, *_) = clips(source, Form(1920, 1080, "yuv420p", BLOCK, ()), folder)
    model = network(shape, 0)
    kernels = {precision: Kernel(model, precision=precision) for precision in PRECISIONS}
    kept = kernels["mixed"].features(reference)
    ways = {name: lambda k=kernel: k.score(reference, distorted) for name, kernel in kernels.items()}
    ways["one more"] = lambda: kernels["mixed"].score_kept(kept, distorted)
    took: dict[str, list[float]] = {name: [] for name in ways}
    with kept_memory():
        for number in range(ROUNDS + 1):
            for name, way in ways.items():
                milliseconds = spent(way, 0) / BLOCK
                if number:  # the first round finds its memory
                    took[name].append(milliseconds)
    return {name: statistics.median(values) for name, values in took.items()}


def table(result: dict[str, Any]) -> str:
    """The figures as markdown."""
    lines = ["# Native code for many shapes", "", "CPU-ms for a pair of 1080p frames, decoded before:", ""]
    lines += ["| widths | share of MACs | " + " | ".join(PRECISIONS) + " | one more file, mixed |"]
    lines += ["|---|---:|" + "---:|" * (len(PRECISIONS) + 1)]
    for name, row in result["shapes"].items():
        cells = [f"{row['cpu_ms'][way]:.1f}" for way in (*PRECISIONS, "one more")]
        lines.append(f"| {name} | {row['macs']:.1%} | {' | '.join(cells)} |")
    lines += ["", "The largest error, as a share of what scores differ by, and the lowest SROCC with eager:", ""]
    lines += [
        "| widths | clips | " + " | ".join(PRECISIONS) + " | taken |",
        "|---|---|" + "---:|" * len(PRECISIONS) + "---|",
    ]
    for name, row in result["shapes"].items():
        for form, rows in row["errors"].items():
            cells = [_said(rows[precision]) for precision in PRECISIONS]
            taken = ", ".join(row["taken"][: len(FORMS[form].seeds)])
            lines.append(f"| {name} | {form} | {' | '.join(cells)} | {taken} |")
    return "\n".join(lines) + (
        f"\n\nMerge width {MERGE}, MLP {MLP}; weights drawn, {len(SEEDS)} seeds for clips of 480x270 and one for the "
        f"others, whole numbers in steps of the built-in pictures. {result['pairs']} pairs a form of "
        f"{len(result['clips'])} clips ({', '.join(result['clips'])}), each in {len(RUNGS)} encodes. MACs of all that "
        f"the network has. {result['instructions']}; {result['machine']}.\n"
    )


def _said(rows: list[dict[str, float]]) -> str:
    largest, srocc = max(row["largest"] for row in rows), min(row["srocc"] for row in rows)
    return f"{largest:.0e}, {srocc:.4f}" if largest < 1e-4 else f"{largest:.4f}, {srocc:.4f}"


def main() -> None:
    """Encodes, scores, compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    given = parser.parse_args()
    if not given.clips:
        print("needs clips: python benchmarks/native_shapes.py CLIPS...")
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        videos = {name: [clips(source, form, folder) for source in given.clips] for name, form in FORMS.items()}
        shapes: dict[str, Any] = {}
        for shape in SHAPES:
            name = ", ".join(map(str, shape))
            taken = [checked_kernel(network(shape, seed)).precision for seed in SEEDS]
            shapes[name] = {"macs": share_of_macs(network(shape, 0)), "errors": errors(shape, videos), "taken": taken,
                            "cpu_ms": costs(shape, given.clips[0], folder)}  # fmt: skip
            print(name, shapes[name]["cpu_ms"], flush=True)
    result = {"shapes": shapes, "clips": [clip.name for clip in given.clips], "pairs": len(given.clips) * len(RUNGS),
              "instructions": Kernel(network(SHAPES[0], 0), precision="float32").instructions,
              "machine": processor()}  # fmt: skip
    write_json(RESULTS / "native_shapes.json", result)
    write_text(RESULTS / "native_shapes.md", table(result))
    print(table(result))


if __name__ == "__main__":
    main()
