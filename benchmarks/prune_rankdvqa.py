"""What pruning RankDVQA's quality network costs, and whether its targets are met.

Claim: one trace finds every tie of RankDVQA (no unknown operator, the dead sixth stage) in about the time of a forward
pass; a share of 9.87 % of the parameters, one of 13.57 % of the MACs, and both together (the sizes of RankDVQA-mini in
the paper's Table I) are met within 2 % and not exceeded; the pruned network equals the original with the removed
channels zeroed to 1e-5, relative to the output's largest value.

Beside it, torch-pruning's own MagnitudePruner is asked for the same network. Run with
``python benchmarks/prune_rankdvqa.py``; it prints the table and writes ``benchmarks/results/prune_rankdvqa.{json,md}``.
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
import torch_pruning
from torch import nn

from compressvqa.models import create_model, example_inputs
from compressvqa.pruning import find_groups, prune, trace

RESULTS = Path(__file__).parent / "results"
PARAMS, MACS = 0.0987, 0.1357
TARGETS: dict[str, dict[str, float]] = {
    f"target_params={PARAMS}": {"target_params": PARAMS},
    f"target_macs={MACS}": {"target_macs": MACS},
    "both": {"target_params": PARAMS, "target_macs": MACS},
}


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Median wall time after one warm-up."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def rows(network: nn.Module, inputs: tuple[torch.Tensor, ...]) -> list[dict[str, Any]]:
    """One row for each target."""
    found = []
    for name, target in TARGETS.items():
        start = time.perf_counter()
        pruned = prune(network, inputs, **target)
        took = time.perf_counter() - start
        before, after = pruned.complexity_before, pruned.complexity_after
        found.append(
            {
                "asked": name,
                "params": after.params,
                "params_share": after.params / before.params,
                "macs": after.macs,
                "macs_share": after.macs / before.macs,
                "max_error": pruned.max_error,
                "seconds": round(took, 2),
            }
        )
    return found


def torch_pruning_outcome(network: nn.Module, inputs: tuple[torch.Tensor, ...]) -> str:
    """What MagnitudePruner says when it is asked to halve every layer."""
    copied = copy.deepcopy(network).train()
    try:
        pruner = torch_pruning.pruner.MagnitudePruner(
            copied, inputs, importance=torch_pruning.importance.MagnitudeImportance(p=1), pruning_ratio=0.5
        )
        pruner.step()
        copied.eval()(*inputs)
    except Exception as error:  # whatever it is, it is what a user gets to see
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return "ran"


def main() -> None:
    """Measures, prints the table, writes the results and fails if the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--size", type=int, default=256, help="height and width of the 12 frames")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    network = create_model("rankdvqa").eval()
    inputs = example_inputs("rankdvqa", size=arguments.size)

    def forward() -> None:
        with torch.no_grad():
            network(*inputs)

    facts = trace(network, inputs)
    groups = find_groups(facts)
    report: dict[str, Any] = {
        "size": arguments.size,
        "threads": arguments.threads,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "operators": len(facts.graph.nodes),
        "unknown_operators": [str(u) for u in facts.unknown_ops],
        "dead": facts.dead,
        "groups": {"free": sum(g.frozen is None for g in groups), "kept": sum(g.frozen is not None for g in groups)},
        "forward_s": round(seconds(forward, arguments.rounds), 3),
        "trace_s": round(seconds(lambda: trace(network, inputs), arguments.rounds), 3),
        "torch_pruning": torch_pruning_outcome(network, inputs),
        "rows": rows(network, inputs),
    }
    lines = ["| asked | parameters | MACs | error | seconds |", "|---|---|---|---|---|"]
    lines += [
        f"| {r['asked']} | {r['params']:,} ({r['params_share']:.2%}) | {r['macs'] / 1e9:.4f} G ({r['macs_share']:.2%}) "
        f"| {r['max_error']:.1e} | {r['seconds']} |"
        for r in report["rows"]
    ]
    said = (
        f"12 frames of {arguments.size}x{arguments.size}, {arguments.threads} threads, torch {torch.__version__}. "
        f"Forward {report['forward_s']} s, trace {report['trace_s']} s (medians of {arguments.rounds}); seconds are "
        f"those of trace, plan, surgery and check. Unknown operators: {len(report['unknown_operators'])}. "
        f"Dead: {facts.dead}. MACs: convolutions, linear layers and products of attention.\n\n"
        f"torch-pruning {torch_pruning.__version__} on the same network: {report['torch_pruning']}"
    )
    table = "\n".join([*lines, "", said])
    print(table)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "prune_rankdvqa.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / "prune_rankdvqa.md").write_text(table + "\n")
    for row, target in zip(report["rows"], TARGETS.values(), strict=True):
        used = [row[f"{name.removeprefix('target_')}_share"] / share for name, share in target.items()]
        if not (max(used) <= 1 and max(used) >= 0.98 and row["max_error"] <= 1e-5):
            raise SystemExit(f"the claim does not hold for {row['asked']}")


if __name__ == "__main__":
    main()
