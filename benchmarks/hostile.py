"""Hostile input, the long form: how many damaged inputs were read or refused in one line, and what killed work leaves.

    python benchmarks/hostile.py --seconds 600            damaged inputs, so long for each reader
    python benchmarks/hostile.py --inputs 1000000         or so many of each; after a stop, on from where it was
    python benchmarks/hostile.py --killed --moments 50    everything that writes, killed and failed at 50 moments

Each reader is fed in processes of its own with limits on memory and time (tests/hostile/hammer.py); a process that dies
or hangs counts as a fault and the next begins behind its case. Figures go to benchmarks/results/hostile.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compressvqa.environment import environment
from compressvqa.files import write_json

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "hostile.json"
READERS = ("media", "recipes", "manifests", "logs", "results", "model_folders")
WORKS = (
    "model",
    "manifest",
    "kept",
    "evaluation",
    "score",
    "prune",
    "evaluate",
    "data_prepare",
    "data_proxy",
    "run",
    "report",
    "export",
)
SLOW = ("prune", "evaluate", "data_prepare", "data_proxy", "run", "report", "export")  # seconds each
PIECE = 100_000  # cases a process: what grows without end shows
EMPTY: dict[str, Any] = {"inputs": 0, "read": 0, "refused": 0, "faults": [], "peak_mb": 0, "grown_mb": 0,
                         "seconds": 0.0, "cpu_seconds": 0.0}  # fmt: skip


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of this Python in the repository."""
    settings = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=settings, capture_output=True, text=True, check=False
    )


def damaged(
    reader: str, known: dict[str, Any], *, inputs: int, seconds: float | None, seed: int, folder: Path
) -> Iterator[dict[str, Any]]:
    """Feeds a reader until there were so many inputs, or so much time went by.

    Args:
        reader: one of `READERS`.
        known: what was found before; with the same seed, it goes on behind those inputs.
        inputs: how many in all.
        seconds: how long at most, for this call.
        seed: of all inputs.
        folder: where they are written.

    Yields:
        What was found so far, after each piece.
    """
    total = {**EMPTY, "faults": [], **(known if known.get("seed") == seed else {}), "seed": seed}
    begun, first = time.monotonic(), int(total["inputs"])
    while first < inputs and (seconds is None or time.monotonic() - begun < seconds):
        started, cpu = time.monotonic(), sum(os.times()[2:4])
        last = min(inputs, first + PIECE)
        left = [] if seconds is None else ["--seconds", str(seconds - (time.monotonic() - begun))]
        done = python("-m", "hostile.hammer", f"{reader}={last}", "--first", str(first), "--seed", str(seed),
                      "--folder", str(folder), *left)  # fmt: skip
        found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        for one in found:
            total["inputs"] += one["cases"]
            total["read"] += one["read"]
            total["refused"] += one["refused"]
            total["faults"] += one["faults"]
            for size in ("peak_mb", "grown_mb"):
                total[size] = max(total[size], one[size])
        if not found:  # it died at a case, or one took too long
            case = int((folder / "case").read_text().split()[-1])
            total["inputs"] = case + 1
            total["faults"].append({"case": case, "ended": done.returncode, "said": done.stderr[-1000:]})
        total["seconds"] = round(total["seconds"] + time.monotonic() - started, 1)
        total["cpu_seconds"] = round(total["cpu_seconds"] + sum(os.times()[2:4]) - cpu, 1)
        first = int(total["inputs"])
        yield total
        if len(total["faults"]) >= 100:  # enough to mend
            break


def killed(work: str, moments: int, folder: Path, hows: list[str] | None) -> dict[str, Any]:
    """Kills and fails work at so many of its moments; what is done once more after it is disturbed too, if not slow."""
    ways = [word for how in hows or () for word in ("--how", how)]
    twice = "0" if work in SLOW else "1"
    done = python("-m", "hostile.interrupted", work, "--moments", str(moments), "--twice", twice, *ways,
                  "--folder", str(folder))  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return dict(json.loads(lines[-1])) if lines else {"work": work, "faults": [done.stderr[-1000:]], "attempts": 0}


def main() -> None:
    """The command."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--inputs", type=int, help="of each reader at most; without --seconds, however long it takes")
    options.add_argument("--seconds", type=float, help="for each reader at most; 60 without --inputs")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--reader", choices=READERS, action="append")
    options.add_argument("--killed", action="store_true")
    options.add_argument("--work", choices=WORKS, action="append", help="with --killed: only this")
    options.add_argument("--how", choices=("kill", "fail", "full"), action="append", help="with --killed: only so")
    options.add_argument("--moments", type=int, default=50)
    given = options.parse_args()
    held: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as place:
        if given.killed:
            for work in given.work or WORKS:
                held.setdefault("killed", {})[work] = found = killed(work, given.moments, Path(place), given.how)
                write_json(RESULTS, held | {"environment": environment()})
                print(f"{work:<14} {found['attempts']:>9,} disturbed  {len(found['faults'])} faults", flush=True)
        else:
            for reader in given.reader or READERS:
                seconds = 60 if given.seconds is None and given.inputs is None else given.seconds
                inputs = given.inputs or 10**9
                kept = held.setdefault("damaged", {})
                for found in damaged(reader, kept.get(reader, {}), inputs=inputs, seconds=seconds, seed=given.seed,
                                     folder=Path(place)):  # fmt: skip
                    kept[reader] = found
                    write_json(RESULTS, held | {"environment": environment()})
                found = kept[reader]
                print(f"{reader:<14} {found['inputs']:>9,} inputs  {found['read']:>9,} read  {found['refused']:>9,} "
                      f"refused  {len(found['faults'])} faults  {found['peak_mb']} MB at most", flush=True)  # fmt: skip
    write_json(RESULTS, held | {"environment": environment()})


if __name__ == "__main__":
    main()
