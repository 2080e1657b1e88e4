"""What it takes to trace and plan the pruning of a vision transformer of a billion parameters.

Claim: on torch's meta device, where tensors have a shape and no content, ViT-g/14 (timm's vit_giant_patch14_224, 1.0 G
parameters, 4 GB in float32) is traced, grouped and planned to half of its work in memory that is under a tenth of its
weights. Run with ``python benchmarks/large_vit.py``; it prints the table and writes
``benchmarks/results/large_vit.{json,md}``.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import torch
from pruning_coverage.measure import TARGET, Row, apart, peak_rise

from compressvqa.models import create_model, example_inputs
from compressvqa.pruning import find_groups, trace
from compressvqa.pruning.settings import Settings
from compressvqa.pruning.widths.cost import NetworkCost
from compressvqa.pruning.widths.planning import make_plan

RESULTS = Path(__file__).parent / "results"
SHARE = 0.1  # of the weights' bytes


def planned(name: str) -> Row:
    """Seconds and bytes of each step."""
    with torch.device("meta"):
        model = create_model(name).eval()
    inputs = tuple(t.to("meta") for t in example_inputs(model))
    gc.collect()
    row: Row = {"parameters": sum(p.numel() for p in model.parameters())}
    row["weights_bytes"] = sum(p.numel() * p.element_size() for p in model.parameters())

    def work() -> None:
        start = time.perf_counter()
        facts = trace(model, inputs)
        row["trace_s"] = time.perf_counter() - start
        start = time.perf_counter()
        groups = find_groups(facts)
        row["groups_s"] = time.perf_counter() - start
        start = time.perf_counter()
        free = [group for group in groups if group.frozen is None]
        plan = make_plan(groups, NetworkCost.of(facts, free), Settings.of(target_macs=TARGET))
        row["plan_s"] = time.perf_counter() - start
        row["operators"], row["groups"], row["free_groups"] = len(facts.graph.nodes), len(groups), len(free)
        row["share"] = plan.macs[1] / plan.macs[0]

    row["peak_bytes"] = peak_rise(work)
    return row


def main() -> None:
    """Measures, prints the table, writes the results and fails if the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default="timm/vit_giant_patch14_224", help="name for create_model")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    row = {"model": arguments.model, **apart(lambda: planned(arguments.model), 1, 900)}
    if "peak_bytes" not in row:
        raise SystemExit(f"{arguments.model}: {row['outcome']}: {row['said']}")
    lines = [
        f"# {arguments.model} on the meta device",
        "",
        "| parameters | operators | groups (free) | trace s | groups s | plan s | share of MACs | peak memory |",
        "|---|---|---|---|---|---|---|---|",
        f"| {row['parameters'] / 1e9:.3f} G | {row['operators']} | {row['groups']} ({row['free_groups']}) "
        f"| {row['trace_s']:.1f} | {row['groups_s']:.1f} | {row['plan_s']:.1f} | {row['share']:.4f} "
        f"| {row['peak_bytes'] / 2**20:.0f} MiB ({row['peak_bytes'] / row['weights_bytes']:.1%} of its weights) |",
        "",
        f"{platform.machine()}, 1 thread, torch {version('torch')}, timm {version('timm')}. Peak memory: rise of the"
        " peak resident size over the network as built, in a process that does nothing else.",
    ]
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "large_vit.json").write_text(json.dumps(row, indent=1) + "\n")
    (RESULTS / "large_vit.md").write_text("\n".join(lines) + "\n")
    if not (row["peak_bytes"] < SHARE * row["weights_bytes"] and abs(row["share"] / TARGET - 1) <= 0.02):
        raise SystemExit("the claim does not hold")


if __name__ == "__main__":
    main()
