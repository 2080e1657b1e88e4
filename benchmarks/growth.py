"""How the cost of scoring grows with frames, pixels, distorted files and workers: fitted exponents.

Claims: time grows with frames and with pixels no faster than their number (exponents of at most 1.05), with distorted
files beside one reference slower than that; peak memory does not grow with frames. How much sooner two workers are done
than one is shown, not claimed: one decodes with all cores, and reads ahead while it scores.

An exponent is the slope of a straight line through the logarithms. Time is user and system time of a process by
getrusage (on the wall for workers), the least of several rounds, in each of which every size has its turn; loading and
the first block of 12 frames, which compiles, are not in it. Memory is the process' peak. Clips are made by ffmpeg: a
moving test picture and x264 encodes of it. The network is rankdvqa-mini with the runtime that is given.

    python benchmarks/growth.py                   prints the table, writes benchmarks/results/growth.{json,csv,md,svg}
    python benchmarks/growth.py --rounds 1 --quick      small sizes, writes nothing
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compressvqa.environment import processor
from compressvqa.video import ffmpeg

RESULTS = Path(__file__).parent / "results"
MODEL = "rankdvqa-mini"
MOST = {"frames": 1.05, "pixels": 1.05, "distorted files": 1.0}  # exponents of time
MOST_MEMORY = {"frames": 0.05}
BLOCK = 12
SIZES = ("320x180", "640x360", "1280x720", "1920x1080", "3840x2160")
COSTS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)  # that the plot's axis names
# Scores argv[2] with the runtime argv[1]; says what that cost without the first block.
MEASURED = """
import json, re, resource, sys
from compressvqa.scoring import find_scorers, score_several
from compressvqa.video.clip import Pairing
runtime, (reference, *distorted) = sys.argv[1], sys.argv[2:]
def spent():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
scorer = find_scorers([MODEL], runtime=runtime)[0]
score_several(reference, distorted[:1], model=scorer, pairing=Pairing(frames=BLOCK))
before = spent()
score_several(reference, distorted, model=scorer)
# Not getrusage: its peak begins with that of the process that started this one.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
print(json.dumps({"seconds": spent() - before, "peak_mib": peak}))
""".replace("MODEL", repr(MODEL)).replace("BLOCK", str(BLOCK))


@dataclass(frozen=True)
class Point:
    """One measurement.

    Args:
        axis: what grows.
        value: its size.
        size: of a frame, as ffmpeg takes it.
        frames: of each file.
        files: distorted ones.
    """

    axis: str
    value: int
    size: str = "640x360"
    frames: int = 48
    files: int = 1


def points(quick: bool) -> list[Point]:
    """What is measured."""
    sizes = SIZES[: 2 if quick else None]
    frames, files = ((24, 48), (1, 2)) if quick else ((48, 96, 192, 384, 768), (1, 2, 4, 8))
    return [
        *(Point("frames", number, frames=number) for number in frames),
        *(Point("pixels", _pixels(size), size=size, frames=24) for size in sizes),
        *(Point("distorted files", number, files=number) for number in files),
    ]


def _pixels(size: str) -> int:
    width, height = map(int, size.split("x"))
    return width * height


NAMES = {_pixels(size): size.partition("x")[2] + "p" for size in SIZES}


def made(folder: Path, point: Point) -> list[str]:
    """A reference and distorted files of it."""
    reference = folder / f"{point.size}-{point.frames}.mkv"
    usual = ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-crf"]
    if not reference.exists():
        source = ["-f", "lavfi", "-i", f"testsrc2=size={point.size}:rate=25", "-frames:v", str(point.frames)]
        ffmpeg.run([*source, *usual, "14", reference.name], folder=folder)
    files = [str(reference)]
    for number in range(point.files):
        distorted = folder / f"{reference.stem}-{number}.mkv"
        if not distorted.exists():
            ffmpeg.run(["-i", reference.name, *usual, str(24 + 3 * number), distorted.name], folder=folder)
        files.append(str(distorted))
    return files


def measured(runtime: str, files: list[str]) -> dict[str, float]:
    """Seconds and peak memory of a process that scores the files."""
    settings = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, runtime, *files], capture_output=True, text=True, env=settings, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def shared_out(folder: Path, runtime: str, rounds: int, quick: bool) -> dict[str, float]:
    """Seconds on the wall of one worker, of one that is kept on one core, and of two, in turn.

    Files have a reference each, so that nothing is decoded twice.
    """
    place = folder / "shared"
    (place / "references").mkdir(parents=True)
    (place / "encodes").mkdir()
    files = 2 if quick else 8
    reference, *distorted = made(folder, Point("workers", 2, frames=24 if quick else 1500, files=files))
    for number, each in enumerate(distorted):  # of other contents: what is alike would be scored once
        (place / "references" / f"{number}.mkv").symlink_to(reference)
        (place / "encodes" / f"{number}.mkv").symlink_to(each)
    arms = {"one": 1, "one_core": 1, "two": 2}
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    if core is None:
        del arms["one_core"]
    least = dict.fromkeys(arms, float("inf"))
    for _ in range(rounds):
        for arm, workers in arms.items():
            command = ["-m", "compressvqa", "score", "references", "encodes", "-m", MODEL, "--runtime", runtime,
                       "--cluster", "local", "--workers", str(workers), "--quiet", "--summary"]  # fmt: skip
            settings = {**os.environ, "OMP_NUM_THREADS": "1"}
            began = time.perf_counter()
            held = (lambda: os.sched_setaffinity(0, {core})) if arm == "one_core" else None
            done = subprocess.run([sys.executable, *command], cwd=place, env=settings, capture_output=True, text=True,
                                  check=False, preexec_fn=held)  # fmt: skip
            if done.returncode:
                sys.exit(done.stderr)
            least[arm] = min(least[arm], time.perf_counter() - began)
    found = {f"{arm}_s": seconds for arm, seconds in least.items()}
    return {"files": files, **found, "speed_up": least["one"] / least["two"]}


def exponent(sizes: list[int], costs: list[float]) -> float:
    """The slope of a straight line through the logarithms, by least squares.

    >>> round(exponent([1, 2, 4], [3.0, 6.0, 12.0]), 6)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def main() -> None:
    """Measures what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runtime", default="native")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-workers", action="store_true", help="leave out what needs two idle cores")
    parser.add_argument("--workers-only", action="store_true", help="measure only that; the rest stays as it was")
    choice = parser.parse_args()
    if choice.workers_only:
        with tempfile.TemporaryDirectory() as place:
            workers = shared_out(Path(place), choice.runtime, choice.rounds, choice.quick)
        return tell(json.loads((RESULTS / "growth.json").read_text()) | {"workers": workers}, choice.quick)
    wanted = points(choice.quick)
    found: dict[Point, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = {point: made(folder, point) for point in wanted}
        for _ in range(choice.rounds):
            for point in wanted:
                now = measured(choice.runtime, files[point])
                known = found.setdefault(point, now)
                found[point] = {what: min(known[what], now[what]) for what in now}
        workers = None if choice.no_workers else shared_out(folder, choice.runtime, choice.rounds, choice.quick)
    rows = [{"axis": p.axis, "value": p.value, **found[p]} for p in wanted]
    fits = {axis: _fit([row for row in rows if row["axis"] == axis]) for axis in dict.fromkeys(p.axis for p in wanted)}
    facts: dict[str, Any] = {
        "rows": rows, "exponents": fits, "workers": workers, "runtime": choice.runtime, "rounds": choice.rounds,
        "machine": f"{processor()}, {os.cpu_count()} cores, one thread, Python {platform.python_version()}",
    }  # fmt: skip
    return tell(facts, choice.quick)


def tell(facts: dict[str, Any], quick: bool) -> None:
    """Prints the tables, writes the results and fails if a claim does not hold."""
    text = page(facts)
    print(text)
    if not quick:
        write(facts, text)
    if said := failures(facts):
        sys.exit(f"the claim does not hold: {'; '.join(said)}")


def _fit(rows: list[dict[str, Any]]) -> dict[str, float]:
    sizes = [row["value"] for row in rows]
    return {what: exponent(sizes, [row[what] for row in rows]) for what in ("seconds", "peak_mib")}


def failures(facts: dict[str, Any]) -> list[str]:
    """Claims that do not hold."""
    fits = facts["exponents"]
    said = [f"time grows with {axis} by {fits[axis]['seconds']:.2f}" for axis, most in MOST.items()
            if fits[axis]["seconds"] > most]  # fmt: skip
    said += [f"memory grows with {axis} by {fits[axis]['peak_mib']:.2f}" for axis, most in MOST_MEMORY.items()
             if fits[axis]["peak_mib"] > most]  # fmt: skip
    return said


def page(facts: dict[str, Any]) -> str:
    """The tables."""
    lines = ["# How the cost of scoring grows", "",
             f"{MODEL}, runtime {facts['runtime']}; least of {facts['rounds']} rounds. Frames and distorted files: "
             "640x360; pixels: 24 frames; distorted files: 48 frames each.", "",
             "| what grows | size | CPU s | peak MiB |", "|---|---:|---:|---:|"]  # fmt: skip
    lines += [f"| {r['axis']} | {r['value']:,} | {r['seconds']:.2f} | {r['peak_mib']:.0f} |" for r in facts["rows"]]
    lines += ["", "| what grows | exponent of time | of memory |", "|---|---:|---:|"]
    lines += [f"| {axis} | {fit['seconds']:.2f} | {fit['peak_mib']:.2f} |" for axis, fit in facts["exponents"].items()]
    if workers := facts["workers"]:
        took = f"one worker {workers['one_s']:.1f} s on the wall, two {workers['two_s']:.1f} s"
        if "one_core_s" in workers:
            took = f"one worker that is kept on one core {workers['one_core_s']:.1f} s on the wall, {took}"
            took += f", {workers['one_core_s'] / workers['two_s']:.2f} times as fast as the first and"
        lines += ["", f"{workers['files']} pairs of files of 1,500 frames, `score --workers`, start included: {took} "
                  f"{workers['speed_up']:.2f} times as fast as the second."]  # fmt: skip
    return "\n".join([*lines, "", facts["machine"] + ".", ""])


def write(facts: dict[str, Any], text: str) -> None:
    """Table, figures and plot."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    (RESULTS / "growth.md").write_text(text)
    (RESULTS / "growth.json").write_text(json.dumps(facts, indent=2) + "\n")
    with (RESULTS / "growth.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(facts["rows"][0]))
        table.writeheader()
        table.writerows(facts["rows"])
    figure, axes = pyplot.subplots(1, len(facts["exponents"]), figsize=(10, 3.2), layout="constrained")
    for plot, (axis, fit) in zip(axes, facts["exponents"].items(), strict=True):
        rows = [row for row in facts["rows"] if row["axis"] == axis]
        sizes = np.array([row["value"] for row in rows], dtype=float)
        costs = np.array([row["seconds"] for row in rows])
        slope = fit["seconds"]
        line = np.exp(np.log(costs).mean() + slope * (np.log(sizes) - np.log(sizes).mean()))
        plot.plot(sizes, line, color="#9aa4b2", linewidth=1.2, zorder=1)
        plot.scatter(sizes, costs, color="#1f5fbf", zorder=2)
        plot.set(xscale="log", yscale="log", xlabel=axis, title=f"exponent {slope:.2f}")
        plot.set_xticks(sizes, [NAMES.get(int(size), str(int(size))) for size in sizes])
        plot.minorticks_off()
        shown = [cost for cost in COSTS if costs.min() / 1.5 <= cost <= costs.max() * 1.5]
        plot.set_yticks(shown, [f"{cost:g}" for cost in shown])
        plot.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("CPU seconds")
    figure.savefig(RESULTS.parent.parent / "docs" / "figures" / "growth.svg")


if __name__ == "__main__":
    main()
