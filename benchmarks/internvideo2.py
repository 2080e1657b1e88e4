"""What the InternVideo2 family costs: sizes beside the published ones, seconds and memory on this machine's processor.

Claims: parameters (with the pooling and a head of one output) and multiply-accumulates of one clip of 8 frames of 224
pixels are those of the published table, attention's products included (torch's `FlopCounterMode` on the meta device,
where nothing is computed); the 1B runs in bfloat16 in well under 24 GiB, from its construction on; and checkpointing
lowers the memory of a training step. Each measurement has a process of its own; memory is the peak of what is resident.
The times are of the machine that is written below the table, busy or not: they are no claim.

Run with ``python benchmarks/internvideo2.py``; it prints the tables and writes
``benchmarks/results/internvideo2.{json,md}``.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from pruning_coverage.measure import Row, _resident, apart, peak_rise
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from compressvqa.models import create_model, example_inputs

RESULTS = Path(__file__).parent / "results"
GIB = 2**30
LIMIT = 900.0  # seconds for each measurement
MEMORY_LIMIT = 24 * GIB
# M parameters and G MAC as published; None: not published.
TABLE: dict[str, tuple[float, int] | None] = {
    "tiny": None, "s14": (23.05, 83), "b14": (89.44, 255), "l14": (308.9, 831), "1b14": (1020.7, 2551), "6b14": None,
}  # fmt: skip
TIMED = ("tiny", "s14", "b14", "l14", "1b14")
DTYPES = (torch.float32, torch.bfloat16)
TRAINED = {  # title: (dtype of autocast, checkpointing)
    "float32": (None, False),
    "float32, checkpointing": (None, True),
    "bfloat16 autocast": (torch.bfloat16, False),
    "bfloat16 autocast, checkpointing": (torch.bfloat16, True),
}


def counted(size: str) -> Row:
    """Parameters and MACs, on the meta device."""
    with torch.device("meta"):
        model = create_model(f"internvideo2-{size}").eval()
    (clip,) = example_inputs(model, size=224, frames=8)
    with FlopCounterMode(display=False) as counter:
        model(clip.to("meta"))
    return {"parameters": sum(p.numel() for p in model.parameters()), "macs": counter.get_total_flops() // 2}


def timed(size: str, dtype: torch.dtype, repeats: int) -> Row:
    """Seconds to build and to score one clip, and the peak memory of each."""
    start = time.perf_counter()
    model = create_model(f"internvideo2-{size}").eval().to(dtype)
    row: Row = {"build_s": time.perf_counter() - start, "build_bytes": _resident("VmHWM")}
    clip = example_inputs(model, size=224, frames=8)

    def work() -> None:
        with torch.inference_mode():
            row["score_s"] = _median(lambda: model(*clip), repeats)

    peak_rise(work)  # sets the peak back before it begins
    row["score_bytes"] = _resident("VmHWM")
    return row


def trained(dtype: torch.dtype | None, checkpointing: bool, repeats: int) -> Row:
    """Seconds of a forward and backward pass of S/14 on one clip, and by how much memory rises."""
    model = create_model("internvideo2-s14").train()
    set_checkpointing(model, checkpointing)
    clip = example_inputs(model, size=224, frames=8)
    row: Row = {}

    def step() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            loss = model(*clip).square().sum()
        loss.backward()
        model.zero_grad()

    def work() -> None:
        row["step_s"] = _median(step, repeats)

    row["step_bytes"] = peak_rise(work)
    return row


def set_checkpointing(model: nn.Module, enable: bool) -> None:
    """As a pipeline asks for it."""
    method = model.set_grad_checkpointing
    assert callable(method)
    method(enable)


def _median(work: Callable[[], object], repeats: int) -> float:
    work()  # the first call allocates and chooses kernels
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def agrees(size: str, row: Row) -> bool:
    """Whether both counts round to the published ones."""
    published = TABLE[size]
    if published is None:
        return True
    decimals = 2 if published[0] < 100 else 1
    return (round(row["parameters"] / 1e6, decimals), round(row["macs"] / 1e9)) == published


def table(rows: dict[str, Row], steps: dict[str, Row]) -> list[str]:
    """Both tables as lines of Markdown."""
    lines = [
        "# The InternVideo2 family, one clip of 8 frames of 224 pixels",
        "",
        "| model | parameters | published | G MAC | published | float32: s | peak GiB | bfloat16: s | peak GiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for size, row in rows.items():
        published = TABLE[size]
        parts = [f"{published[0]} M", str(published[1])] if published else ["-", "-"]
        cells = [f"internvideo2-{size}", f"{row['parameters'] / 1e6:.2f} M", parts[0]]
        cells += [f"{row['macs'] / 1e9:.2f}", parts[1]]
        for dtype in DTYPES:
            one = row.get(str(dtype).removeprefix("torch."), {})
            cells += [f"{one['score_s']:.2f}", f"{one['score_bytes'] / GIB:.2f}"] if "score_s" in one else ["-", "-"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "A training step of S/14, forward and backward, one clip:", ""]
    lines += ["| precision | s | peak rises by, GiB |", "|---|---|---|"]
    for title, row in steps.items():
        lines.append(f"| {title} | {row['step_s']:.2f} | {row['step_bytes'] / GIB:.2f} |")
    return lines


def main() -> None:
    """Measures, prints the tables, writes the results and fails if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2, help="timed calls after the first; the median counts")
    arguments = parser.parse_args()
    threads, repeats = arguments.threads, arguments.repeats
    rows = {size: apart(lambda size=size: counted(size), threads, LIMIT) for size in TABLE}
    for size in TIMED:
        for dtype in DTYPES:
            row = apart(lambda size=size, dtype=dtype: timed(size, dtype, repeats), threads, LIMIT)
            rows[size][str(dtype).removeprefix("torch.")] = row
    steps = {
        title: apart(lambda how=how: trained(*how, repeats), threads, LIMIT)  # type: ignore[misc]
        for title, how in TRAINED.items()
    }
    billion = rows["1b14"]["bfloat16"]
    lines = table(rows, steps)
    lines += [
        "",
        f"The 1B in bfloat16: built and cast in {billion['build_s']:.1f} s with a peak of "
        f"{billion['build_bytes'] / GIB:.2f} GiB.",
        "",
        f"{platform.machine()}, threads: {threads}, torch {version('torch')}; seconds: median of the timed calls"
        f" ({repeats}) after a first; the machine may have had other work. Peak memory: resident size, half a GiB of"
        " libraries included; of training steps, the rise.",
    ]
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    result = {"threads": threads, "repeats": repeats, "sizes": rows, "training": steps}
    (RESULTS / "internvideo2.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "internvideo2.md").write_text("\n".join(lines) + "\n")
    fits = max(billion["build_bytes"], billion["score_bytes"]) < MEMORY_LIMIT
    thrifty = all(
        steps[f"{title}, checkpointing"]["step_bytes"] < steps[title]["step_bytes"]
        for title in ("float32", "bfloat16 autocast")
    )
    if not (all(agrees(size, row) for size, row in rows.items()) and fits and thrifty):
        raise SystemExit("a claim does not hold")


if __name__ == "__main__":
    main()
