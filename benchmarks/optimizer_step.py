"""What one optimiser step costs on RankDVQA's quality network (94 tensors, 4.6 M parameters).

Claim: either phase of `OBProxSG` costs no more than torch's own foreach AdamW, and at most a tenth of what public
implementations do, a loop over the tensors that selects elements by boolean masks.

All of them step in turn, round after round, so that whatever else runs on the machine slows them alike; the table gives
the medians. Run with ``python benchmarks/optimizer_step.py``; it prints the table and writes
``benchmarks/results/optimizer_step.{json,md}``.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compressvqa.models import create_model
from compressvqa.sparsity import OBProxSG

RESULTS = Path(__file__).parent / "results"
LR, LAM = 1e-3, 1e-4


def parameters(shapes: list[torch.Size]) -> list[torch.nn.Parameter]:
    """Weights and gradients of a fixed seed, so that every method works on the same numbers."""
    generator = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape, generator=generator) * 0.05) for shape in shapes]
    for param in params:
        param.grad = torch.randn(param.shape, generator=generator) * 1e-3
    return params


@torch.no_grad()
def mask_loop_prox(params: list[torch.nn.Parameter]) -> None:
    """Prox-SG as it is usually written: positive, negative and small elements by mask, one tensor after the other."""
    for param in params:
        moved = param - LR * gradient(param)
        result = torch.zeros_like(moved)
        positive, negative = moved > LR * LAM, moved < -LR * LAM
        result[positive] = moved[positive] - LR * LAM
        result[negative] = moved[negative] + LR * LAM
        param.copy_(result)


@torch.no_grad()
def mask_loop_orthant(params: list[torch.nn.Parameter]) -> None:
    """The Orthant step in the same manner."""
    for param in params:
        grad, moved = gradient(param), torch.zeros_like(param)
        positive, negative = param > 0, param < 0
        moved[positive] = param[positive] - LR * (grad[positive] + LAM)
        moved[negative] = param[negative] - LR * (grad[negative] - LAM)
        moved[positive & (moved <= 0)] = 0
        moved[negative & (moved >= 0)] = 0
        param.copy_(moved)


def gradient(param: torch.nn.Parameter) -> Tensor:
    """The gradient, which is there."""
    assert param.grad is not None
    return param.grad


def methods(shapes: list[torch.Size]) -> dict[str, Callable[[], object]]:
    """{name: one step}, each on its own copy of the weights."""

    def ours(base: str, prox: bool, eps: float = 0.0) -> Callable[[], object]:
        phases = {"prox_steps": 10**9} if prox else {"prox_steps": 0, "orthant_steps": math.inf}
        return OBProxSG(parameters(shapes), LR, lam=LAM, eps=eps, base=base, **phases).step

    loop_prox, loop_orthant = parameters(shapes), parameters(shapes)
    return {
        "OBProxSG, Prox step": ours("sgd", True),
        "OBProxSG, Orthant step": ours("sgd", False),
        "OBProxSG, Orthant step with eps": ours("sgd", False, eps=1e-4),
        "OBProxSG on AdamW, Prox step": ours("adamw", True),
        "OBProxSG on AdamW, Orthant step": ours("adamw", False),
        "torch SGD, foreach": torch.optim.SGD(parameters(shapes), lr=LR, foreach=True).step,
        "torch AdamW, foreach": torch.optim.AdamW(parameters(shapes), lr=LR, foreach=True).step,
        "mask loop, Prox step": lambda: mask_loop_prox(loop_prox),
        "mask loop, Orthant step": lambda: mask_loop_orthant(loop_orthant),
    }


def measure(rounds: int, warm_up: int = 5) -> dict[str, float]:
    """Median milliseconds of each method."""
    steps = methods([parameter.shape for parameter in create_model("rankdvqa").parameters()])
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
    loops = {phase: medians[f"mask loop, {phase} step"] for phase in ("Prox", "Orthant")}
    rows: list[dict[str, Any]] = [
        {
            "method": name,
            "median_ms": round(value, 2),
            "of_adamw": round(value / adamw, 3),
            "of_mask_loop": round(value / loops["Prox" if "Prox" in name else "Orthant"], 3),
        }
        for name, value in medians.items()
    ]
    plain = [row for row in rows if row["method"].startswith("OBProxSG, ")]
    holds = all(row["of_adamw"] <= 1 and row["of_mask_loop"] <= 0.1 for row in plain)
    setting = f"torch {torch.__version__}, {arguments.threads} threads, {platform.machine()}, {arguments.rounds} rounds"
    lines = ["| step | median ms | of foreach AdamW | of the mask loop |", "|---|---|---|---|"]
    lines += ["| {method} | {median_ms} | {of_adamw} | {of_mask_loop} |".format(**row) for row in rows]
    text = "\n".join(lines) + f"\n\n4,594,938 parameters in 94 tensors on the CPU; {setting}; interleaved.\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "optimizer_step.md").write_text(text, encoding="utf-8")
    record = {"setting": setting, "threads": arguments.threads, "rows": rows, "claim_holds": holds}
    (RESULTS / "optimizer_step.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record))
    if not holds:
        raise SystemExit("the claim does not hold here")


if __name__ == "__main__":
    main()
