"""What a convolution costs OpenVINO at each width: which widths it works through without waste.

Two convolutions of 3x3 with LeakyReLU, from so many channels to as many, on 4 frames of 240x136, float32, one thread;
the least CPU time (user and system) of seven calls. `round_to="openvino"` of pruning rests on this table.

    python benchmarks/openvino_widths.py

Prints a table and writes it to benchmarks/results/openvino_widths.{md,json}.
"""

from __future__ import annotations

import importlib.metadata
import time
from pathlib import Path

import openvino
import torch
from torch import nn

from compressvqa.environment import processor
from compressvqa.files import write_json, write_text

RESULTS = Path(__file__).parent / "results"
WIDTHS = (4, 8, 12, 16, 18, 20, 24, 28, 32, 40, 48)
FRAMES, HEIGHT, WIDTH = 4, 136, 240
CALLS = 7


def cost(width: int) -> float:
    """CPU-ms of a call."""
    layers = [part for _ in range(2) for part in (nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.1))]
    clip = torch.rand(FRAMES, width, HEIGHT, WIDTH)
    graph = openvino.convert_model(nn.Sequential(*layers).eval(), example_input=clip)
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    call = openvino.Core().compile_model(graph, "CPU", settings)
    best = float("inf")
    for _ in range(2 + CALLS):
        before = time.process_time()
        call([clip.numpy()])
        best = min(best, time.process_time() - before)
    return 1000 * best


def main() -> None:
    """Measures all widths."""
    rows = []
    for width in WIDTHS:
        took = cost(width)
        macs = 2 * 9 * width**2 * FRAMES * HEIGHT * WIDTH
        rows.append({"width": width, "cpu_ms": took, "gmac_per_s": macs / took / 1e6})
    lines = ["| channels | CPU-ms | CPU-ms an input | GMAC/s |", "|---:|---:|---:|---:|"]
    lines += [
        f"| {row['width']} | {row['cpu_ms']:.1f} | {row['cpu_ms'] / row['width']:.2f} | {row['gmac_per_s']:.1f} |"
        for row in rows
    ]
    flags = "AVX-512" if torch.backends.cpu.get_cpu_capability() == "AVX512" else "no AVX-512"
    table = "\n".join(lines) + (
        f"\n\nTwo 3x3 convolutions of equal width on {FRAMES} frames of {WIDTH}x{HEIGHT}, float32, one thread, the "
        f"least of {CALLS} calls; {processor()}, {flags}, openvino {importlib.metadata.version('openvino')}.\n"
    )
    write_json(RESULTS / "openvino_widths.json", {"rows": rows, "processor": processor()})
    write_text(RESULTS / "openvino_widths.md", table)
    print(table)


if __name__ == "__main__":
    main()
