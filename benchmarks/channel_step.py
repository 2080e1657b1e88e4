"""What one step of the sparsifiers of channels costs on RankDVQA's quality network (94 tensors, 4.6 M parameters).

Claim: without a loop over channels, a step of `HalfSpace` (which looks at all weights before and after its base step)
or of `Progressive` costs no more than four of torch's own foreach AdamW, and so a few hundredths of a training step.

All of them step in turn, round after round, so that whatever else runs on the machine slows them alike; the table gives
the medians. Run with ``python benchmarks/channel_step.py``; it prints the table and writes
``benchmarks/results/channel_step.{json,md}``.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compressvqa.models import create_model, example_inputs
from compressvqa.sparsity import HalfSpace, OBProxSG, Progressive
from compressvqa.sparsity.aim import aim_of

RESULTS = Path(__file__).parent / "results"
LR = 1e-3
BUDGET = {"target_params": 0.0987, "target_macs": 0.1357}


def methods(network: nn.Module) -> dict[str, Callable[[], object]]:
    """{name: one step}, each on its own copy of the network."""

    def fresh() -> tuple[nn.Module, Any]:
        net = copy.deepcopy(network)
        aim = aim_of(net, example_inputs(net, size=96), **BUDGET)
        for p in net.parameters():
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(0)) * 1e-3
        return net, aim

    def half_space(warmup_steps: int) -> Callable[[], object]:
        net, aim = fresh()
        phases = {"warmup_steps": warmup_steps, "floor": 0.05}
        return HalfSpace(net.parameters(), LR, lam=1e-4, channels=aim.channels, base="adamw", **phases).step

    def progressive(warmup_steps: int) -> Callable[[], object]:
        net, aim = fresh()
        phases = {"widths": aim.plan.kept, "warmup_steps": warmup_steps, "prune_steps": 10**6}
        return Progressive(net.parameters(), LR, channels=aim.channels, base="adamw", **phases).step

    return {
        "torch AdamW, foreach": torch.optim.AdamW(fresh()[0].parameters(), lr=LR, foreach=True).step,
        "OBProxSG on AdamW": OBProxSG(fresh()[0].parameters(), LR, lam=1e-4, prox_steps=10**9, base="adamw").step,
        "HalfSpace on AdamW, warm-up step": half_space(10**9),
        "HalfSpace on AdamW, half-space step": half_space(0),
        "Progressive on AdamW, warm-up step": progressive(10**9),
        "Progressive on AdamW, fading step": progressive(0),
    }


def measure(rounds: int, warm_up: int = 5) -> dict[str, float]:
    """Median milliseconds of each method."""
    torch.manual_seed(0)
    steps = methods(create_model("rankdvqa"))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + warm_up):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values[warm_up:]) for name, values in times.items()}


def main() -> None:
    """Measures, prints the table, writes the results and fails if the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    medians = measure(arguments.rounds)

    adamw = medians["torch AdamW, foreach"]
    rows = [{"step": k, "median_ms": round(v, 2), "of_adamw": round(v / adamw, 2)} for k, v in medians.items()]
    holds = all(row["of_adamw"] <= 4 for row in rows)
    setting = f"torch {torch.__version__}, {arguments.threads} threads, {platform.machine()}, {arguments.rounds} rounds"
    lines = ["| step | median ms | of foreach AdamW |", "|---|---|---|"]
    lines += ["| {step} | {median_ms} | {of_adamw} |".format(**row) for row in rows]
    text = "\n".join(lines) + f"\n\n4,594,938 parameters in 94 tensors, 1,312 channels, CPU; {setting}; interleaved.\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "channel_step.md").write_text(text, encoding="utf-8")
    record = {"setting": setting, "threads": arguments.threads, "rows": rows, "claim_holds": holds}
    (RESULTS / "channel_step.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if not holds:
        raise SystemExit("the claim does not hold here")


if __name__ == "__main__":
    main()
