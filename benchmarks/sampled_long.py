"""A sample of a long file, which is read from the key frames before what is looked at: cost and error.

The clips are scaled to 1080p and put one behind the other; encodes of that film are scored whole and by samples, and by
libvmaf. Cost is user and system time by getrusage, one thread, decoding included, for each frame of the film. VMAF is
beside it for its cost only.

    python benchmarks/sampled_long.py CLIPS... [--model rankdvqa-mini] [--keys 48 250] [--seeds 3]

Prints a table and writes it to benchmarks/results/sampled_long.{md,json}.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sampled import RESULTS, cpu, ffmpeg, vmaf

from compressvqa.environment import processor
from compressvqa.files import write_json, write_text
from compressvqa.scoring import find_scorers, score_several
from compressvqa.video import Pairing
from compressvqa.video.read import probe

RUNGS = (26, 38)  # CRF
SIZE = "scale=1920:1080:flags=bicubic,setsar=1,fps=25,format=yuv420p"


def film(clips: list[Path], folder: Path, keys: int) -> tuple[Path, list[Path]]:
    """A nearly lossless reference, and its encodes, with a key frame at least every so many frames."""
    inputs = [word for clip in clips for word in ("-i", str(clip))]
    each = ";".join(f"[{number}:v]{SIZE}[v{number}]" for number in range(len(clips)))
    graph = each + ";" + "".join(f"[v{number}]" for number in range(len(clips))) + f"concat=n={len(clips)}[out]"
    code = ("-threads", "1", "-c:v", "libx264", "-preset", "veryfast", "-g", str(keys), "-an")
    reference = folder / f"reference-{keys}.mp4"
    ffmpeg(*inputs, "-filter_complex", graph, "-map", "[out]", *code, "-crf", "10", str(reference))
    made = []
    for crf in RUNGS:
        made.append(folder / f"{crf}-{keys}.mp4")
        ffmpeg("-i", str(reference), *code, "-crf", str(crf), str(made[-1]))
    return reference, made


def scored(model: str, reference: Path, files: list[Path], seed: int | None) -> tuple[list[float], list[float]]:
    """The scores of files by native code, and CPU seconds of each; getting ready is not counted."""
    (scorer,) = find_scorers([model], device="cpu", runtime="native", sampled=seed)
    score_several(reference, files[:1], model=scorer, pairing=Pairing(frames=24))
    scores, took = [], []
    for file in files:
        before = cpu()
        (found,) = score_several(reference, [file], model=scorer)
        took.append(cpu() - before)
        scores.append(found.score)
    return scores, took


def measure(model: str, reference: Path, files: list[Path], frames: int, seeds: int) -> list[dict[str, Any]]:
    """A row for the whole file, for each seed, and for libvmaf."""
    whole, base = scored(model, reference, files, None)
    found = [vmaf(reference, file, 1) for file in files]
    of_vmaf = sum(took for _, took in found)
    theirs = {"scores": [score for score, _ in found], "cpu_s": [took for _, took in found]}
    rows = [{"name": f"{model}, whole", "scores": whole, "cpu_s": base}, {"name": "libvmaf 0.6.1", **theirs}]
    for seed in range(seeds):
        scores, took = scored(model, reference, files, seed)
        rows.append({"name": f"{model}, sampled, seed {seed}", "scores": scores, "cpu_s": took})
    for row in rows:
        row["cpu_ms_a_frame"] = 1000 * sum(row["cpu_s"]) / (len(files) * frames)
        row["of_libvmaf"] = sum(row["cpu_s"]) / of_vmaf
        if row["name"].startswith(model):
            row["most_off"] = float(np.abs(np.subtract(row["scores"], whole)).max())
    return rows


def table(results: dict[str, Any]) -> str:
    """The figures as markdown."""
    lines = ["# A sample of a long film", "",
             "| key frame every | | CPU-ms a frame of the film | of libvmaf | most off, of 100 |",
             "|---:|---|---:|---:|---:|"]  # fmt: skip
    for keys, rows in results["rows"].items():
        for row in rows:
            off = f"{row['most_off']:.2f}" if "most_off" in row else ""
            lines.append(f"| {keys} | {row['name']} | {row['cpu_ms_a_frame']:.2f} | {row['of_libvmaf']:.2f} | {off} |")
    return "\n".join(lines) + (
        f"\n\n{results['frames']} frames of 1080p: {len(results['clips'])} clips in a row "
        f"({', '.join(results['clips'])}); x264, CRF {', '.join(map(str, RUNGS))}, and a reference of CRF 10. At most "
        f"32 blocks of 12 frames are looked at, an eighth of the picture in each. By `native`, {results['machine']}, "
        "shared with other work.\n"
    )


def main() -> None:
    """Encodes, scores, compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--model", default="rankdvqa-mini")
    parser.add_argument("--keys", nargs="+", type=int, default=[48, 250])
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    if not given.clips:
        print("needs clips: python benchmarks/sampled_long.py CLIPS...")
        return
    torch.set_num_threads(1)
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for keys in given.keys:
            reference, files = film(given.clips, Path(place), keys)
            frames = probe(reference, count=True).frames or 0
            rows[str(keys)] = measure(given.model, reference, files, frames, given.seeds)
            print(keys, [(row["name"], row["of_libvmaf"]) for row in rows[str(keys)]], flush=True)
    result = {"rows": rows, "frames": frames, "clips": [clip.name for clip in given.clips], "machine": processor()}
    write_json(RESULTS / "sampled_long.json", result)
    write_text(RESULTS / "sampled_long.md", table(result))
    print(table(result))


if __name__ == "__main__":
    main()
