"""Does time follow MACs? Networks pruned to shares of their MACs, and what is left of their CPU time, by runtime.

RankDVQA, C3DVQA and a video Swin transformer, each pruned to 50 and 25 % of its MACs with widths that suit the runtime;
time is user and system time of this process for a call of the whole network on one block, one thread, the least of
several calls, the original and the pruned ones in turn. The claim is a speed-up of at least .8 of the MAC reduction:
(1 / share of time) / (1 / share of MACs). Weights are random: time does not hang on them.

    python benchmarks/latency_vs_macs.py [--only PATTERN] [--size 256] [--calls 7]

Prints a table and writes it to benchmarks/results/latency_vs_macs.{md,json}. Rows that are there are kept.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import compressvqa as cv
from compressvqa.deploy import made
from compressvqa.environment import processor
from compressvqa.errors import CompressVQAError
from compressvqa.files import write_json, write_text

RESULTS = Path(__file__).parent / "results"
SHARES = (0.5, 0.25)
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "rankdvqa": lambda: cv.create_model("rankdvqa"),
    "c3dvqa": lambda: cv.create_model("c3dvqa"),
    "swin3d_t": lambda: cv.create_model("video-backbone", backbone="swin3d_t", size=224),
}
RUNTIMES = ("openvino", "eager")
ROUND_TO = {"openvino": {"rankdvqa": 8, "c3dvqa": 16, "swin3d_t": 16}, "eager": {}}


def cpu_ms(calls: list[Callable[[], Any]], times: int) -> list[float]:
    """The least CPU time of each call, called in turn."""
    best = [float("inf")] * len(calls)
    for turn in range(times + 1):
        for number, call in enumerate(calls):
            before = time.process_time()
            call()
            if turn:
                best[number] = min(best[number], 1000 * (time.process_time() - before))
    return best


def rows(name: str, runtime: str, size: int, times: int) -> list[dict[str, Any]]:
    """One network on one runtime."""
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    inputs = cv.example_inputs(network, size=size)
    multiple = ROUND_TO[runtime].get(name, 1)
    smaller = [cv.prune(network, inputs, target_macs=share, round_to=multiple, verify=False) for share in SHARES]
    compiled = [made(runtime).compile(one, inputs) for one in (network, *(one.model.eval() for one in smaller))]
    took = cpu_ms([lambda call=call: call(*inputs) for call in compiled], times)
    found = []
    for one, ms in zip(smaller, took[1:], strict=True):
        share = one.complexity_after.macs / one.complexity_before.macs
        found.append({"network": name, "runtime": runtime, "round_to": multiple, "macs": share, "time": ms / took[0],
                      "before_ms": took[0], "after_ms": ms, "kept_of_speed_up": share * took[0] / ms})  # fmt: skip
    return found


def table(found: list[dict[str, Any]], size: int) -> str:
    """The rows as markdown."""
    lines = ["| network | runtime | round_to | MACs left | CPU-ms | time left | speed-up of the MAC reduction |",
             "|---|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    lines += [
        f"| {row['network']} | {row['runtime']} | {row['round_to']} | {row['macs']:.1%} | {row['before_ms']:.0f} -> "
        f"{row['after_ms']:.0f} | {row['time']:.1%} | {row['kept_of_speed_up']:.2f} |"
        for row in found
    ]
    return "\n".join(lines) + (
        f"\n\nOne block of {size}x{size}, one thread, user and system time, the least of several calls in turn; random "
        f"weights, pruned by l1 without a proof; {processor()}, shared with other work.\n"
    )


def main() -> None:
    """Measures what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="shell pattern of NETWORK/RUNTIME")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--calls", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    file = RESULTS / "latency_vs_macs.json"
    kept: list[dict[str, Any]] = json.loads(file.read_text())["rows"] if file.exists() else []
    for name in NETWORKS:
        for runtime in RUNTIMES:
            known = any(row["network"] == name and row["runtime"] == runtime for row in kept)
            if known or not fnmatch.fnmatch(f"{name}/{runtime}", arguments.only):
                continue
            try:
                kept += rows(name, runtime, arguments.size, arguments.calls)
            except CompressVQAError as error:
                print(f"{name}/{runtime}: {error}", flush=True)
                continue
            write_json(file, {"rows": kept, "size": arguments.size, "processor": processor()})
            write_text(RESULTS / "latency_vs_macs.md", table(kept, arguments.size))
    print(table(kept, arguments.size))


if __name__ == "__main__":
    main()
