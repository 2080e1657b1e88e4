"""What a sample of a file costs and how far its score agrees with the whole file's, beside VMAF with frames left out.

Encodes of real clips (x264, several qualities and sizes of what is coded), 48 frames each, are scored whole and by
samples of several seeds. Agreement is the SROCC of sampled with full scores; loss is what the SROCC with VMAF 0.6.1
(of all frames) falls by. Cost is user and system time of the scoring (`getrusage`), one thread, decoding included;
libvmaf's is that of ffmpeg on the same files, whole and with `n_subsample`. VMAF is a proxy, not people.

    python benchmarks/sampled.py CLIPS... [--model rankdvqa-mini] [--runtime eager] [--seeds 2]
    python benchmarks/sampled.py CLIPS... --height 1080 --decoded     # larger, and decoded before: Y4M for both

Prints a table and writes it to benchmarks/results/sampled[_1080p][_decoded].{md,json}.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

from compressvqa.environment import processor
from compressvqa.files import write_json, write_text
from compressvqa.metrics import correlation
from compressvqa.scoring import find_scorers, score_several

RESULTS = Path(__file__).parent / "results"
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
RUNGS = ((22, 1.0), (28, 1.0), (34, 1.0), (40, 1.0), (46, 1.0), (26, 0.5))  # CRF, share of the sides that was coded
FRAMES, HEIGHT = 48, 360  # unless another height is asked for
SUBSAMPLES = (1, 4, 8)


def ffmpeg(*arguments: str) -> None:
    """Runs ffmpeg on one thread."""
    subprocess.run([FFMPEG, "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *arguments], check=True)


def encodes(clip: Path, folder: Path, height: int, decoded: bool) -> tuple[Path, list[Path]]:
    """A nearly lossless reference of a clip, and its ladder; `decoded`: as Y4M."""
    reference = folder / f"{clip.stem}.mp4"
    code = ("-threads", "1", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-an")
    shown = f"scale=-4:{height},setsar=1"
    ffmpeg("-i", str(clip), "-frames:v", str(FRAMES), "-vf", shown, *code, "-crf", "8", str(reference))
    made = []
    for crf, share in RUNGS:
        file = folder / f"{clip.stem}-{crf}-{share}.mp4"
        size = "null" if share == 1 else f"scale=iw*{share}:ih*{share},scale=iw/{share}:ih/{share}"
        ffmpeg("-i", str(reference), "-vf", size, *code, "-crf", str(crf), str(file))
        made.append(file)
    if not decoded:
        return reference, made
    for file in (reference, *made):
        ffmpeg("-i", str(file), str(file.with_suffix(".y4m")))
        file.unlink()
    return reference.with_suffix(".y4m"), [file.with_suffix(".y4m") for file in made]


def cpu(children: bool = False) -> float:
    """User and system seconds of this process, or of those that it started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def vmaf(reference: Path, distorted: Path, subsample: int) -> tuple[float, float]:
    """libvmaf's score and CPU seconds."""
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log.json"
        before = cpu(children=True)
        ffmpeg("-threads", "1", "-i", str(distorted), "-threads", "1", "-i", str(reference), "-filter_threads", "1",
               "-lavfi", f"libvmaf=n_threads=1:n_subsample={subsample}:log_fmt=json:log_path={log}",
               "-f", "null", "-")  # fmt: skip
        took = cpu(children=True) - before
        return json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"], took


def network(model: str, runtime: str, files: list[tuple[Path, list[Path]]], seed: int | None) -> dict[str, Any]:
    """Scores of all files, and CPU seconds a file; making the network, and its runtime's check, is not counted."""
    scores, took = [], []
    (scorer,) = find_scorers([model], device="cpu", runtime=runtime, sampled=seed)
    score_several(files[0][0], files[0][1][:1], model=scorer)
    for reference, distorted in files:
        for file in distorted:
            before = cpu()
            (found,) = score_several(reference, [file], model=scorer)
            took.append(cpu() - before)
            scores.append(found.score)
    return {"scores": scores, "cpu_s": took}


def main() -> None:
    """Encodes, scores, compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--model", default="rankdvqa-mini")
    parser.add_argument("--runtime", default="eager")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--height", type=int, default=HEIGHT)
    parser.add_argument("--decoded", action="store_true", help="all files are Y4M: no decoding in the cost")
    arguments = parser.parse_args()
    if not arguments.clips:
        print("needs clips: python benchmarks/sampled.py CLIPS...")
        return
    with tempfile.TemporaryDirectory() as place:
        files = [encodes(clip, Path(place), arguments.height, arguments.decoded) for clip in arguments.clips]
        pairs = [(reference, file) for reference, made in files for file in made]
        began = time.monotonic()
        libvmaf = {n: [vmaf(*pair, n) for pair in pairs] for n in SUBSAMPLES}
        truth = [score for score, _ in libvmaf[1]]
        runs = {"whole": network(arguments.model, arguments.runtime, files, None)}
        print(f"whole: {time.monotonic() - began:.0f} s", flush=True)
        for seed in range(arguments.seeds):
            runs[f"sampled, seed {seed}"] = network(arguments.model, arguments.runtime, files, seed)
            print(f"seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
    full, base = runs["whole"]["scores"], float(np.sum([took for _, took in libvmaf[1]]))
    rows = []
    for name, run in runs.items():
        rows.append(_row(f"{arguments.model}, {name}", run["scores"], np.sum(run["cpu_s"]), full, truth, base))
    for n, found in libvmaf.items():
        scores = [score for score, _ in found]
        name = "libvmaf 0.6.1" + (f", n_subsample={n}" if n > 1 else "")
        rows.append(_row(name, scores, np.sum([took for _, took in found]), truth, truth, base))
    what = {"clips": [clip.name for clip in arguments.clips], "files": len(pairs), "runtime": arguments.runtime,
            "height": arguments.height, "decoded": arguments.decoded}  # fmt: skip
    larger = "" if arguments.height == HEIGHT else f"_{arguments.height}p"
    name = f"sampled{larger}{'_decoded' if arguments.decoded else ''}"
    write_json(RESULTS / f"{name}.json", {"rows": rows, **what, "runs": runs, "vmaf": truth})
    table = _table(rows, what)
    write_text(RESULTS / f"{name}.md", table)
    print(table)


def _row(name: str, scores: list[float], took: float, full: list[float], truth: list[float], base: float) -> Any:
    whole = correlation(full, truth, "none").srocc if full is not truth else 1.0
    return {
        "name": name,
        "cpu_ms_a_frame": 1000 * took / (len(scores) * FRAMES),
        "of_libvmaf": took / base,
        "srocc_with_full": correlation(scores, full, "none").srocc,
        "srocc_with_vmaf": correlation(scores, truth, "none").srocc,
        "lost": whole - correlation(scores, truth, "none").srocc,
        "largest_difference": float(np.abs(np.subtract(scores, full)).max()),
    }


def _table(rows: list[Any], what: dict[str, Any]) -> str:
    read = "Decoded before, read as Y4M" if what["decoded"] else "Decoding included"
    titles = ("", "CPU-ms a frame", "of libvmaf", "SROCC with its full score", "SROCC with VMAF", "lost", "most off")
    lines = [f"| {' | '.join(titles)} |", "|---|---:|---:|---:|---:|---:|---:|"]
    lines += [
        f"| {row['name']} | {row['cpu_ms_a_frame']:.2f} | {row['of_libvmaf']:.2f} | {row['srocc_with_full']:.4f} | "
        f"{row['srocc_with_vmaf']:.4f} | {row['lost']:.4f} | {row['largest_difference']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines) + (
        f"\n\n{what['files']} x264 encodes of {len(what['clips'])} clips ({', '.join(what['clips'])}), {FRAMES} frames "
        f"of {what['height']} rows, runtime {what['runtime']}. {read}; user and system time; {processor()}, shared "
        "with other work. VMAF 0.6.1 of all frames is the truth here: a proxy, not people.\n"
    )


if __name__ == "__main__":
    main()
