"""What the training loop adds to a loop written by hand, on the same network, batches and optimiser.

RankDVQA of the width given, AdamW, gradient norm clipped, one pair of clips a step from memory. Both loops run in turn,
a few steps each, and are compared by user and system time of the process (the least of the turns, a step); the claim is
3 % at most. Beside it what a step waits for its batch where one is drawn from a set of patches (`--patches FOLDER`, the
`data/train` of a run): wall time, on which a busy machine tells.

    python benchmarks/train_speed.py [--patches FOLDER] [--steps 6] [--turns 5]

Prints a table and writes it to benchmarks/results/train_speed.{md,json}.
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

import compressvqa as cv
from compressvqa.data.pairs import RankBatch
from compressvqa.data.patches import PatchSet
from compressvqa.environment import processor
from compressvqa.files import write_json, write_text
from compressvqa.registry import datasets
from compressvqa.training import RankPairsObjective
from compressvqa.training.loop import FitSettings, fit

RESULTS = Path(__file__).parent / "results"
SIZE, BATCH = 128, 2
CLIP = 0.1


class Held:
    """The same batch at every step: what reading costs is left out."""

    def __init__(self) -> None:
        dice = torch.Generator().manual_seed(0)
        clips = [torch.rand(BATCH, 12, 3, SIZE, SIZE, generator=dice) for _ in range(4)]
        names = [str(number) for number in range(BATCH)]
        self.batch = RankBatch(clips[0], clips[1], clips[2], clips[3], torch.tensor([1.0, 0.0]), names, names)

    def batch_at(self, step: int) -> RankBatch:
        """The batch."""
        del step
        return self.batch


def ours(network: torch.nn.Module, objective: Any, batches: Any, steps: int) -> None:
    """The loop of every stage."""

    def loss(model: torch.nn.Module, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        return objective.loss(model(*objective.inputs(batch)), batch), {}

    with tempfile.TemporaryDirectory() as folder:
        fit(Fabric(accelerator="cpu", devices=1), network, torch.optim.AdamW(network.parameters(), 1e-4), batches, loss,
            FitSettings(steps, 0, CLIP, checkpoint_seconds=1e9), checkpoint=Path(folder) / "checkpoint.pt")  # fmt: skip


def by_hand(network: torch.nn.Module, objective: Any, batches: Any, steps: int) -> None:
    """As one would write it."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    network.train()
    for step in range(steps):
        batch = batches.batch_at(step)
        loss = objective.loss(network(*objective.inputs(batch)), batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()


def compared(steps: int, turns: int) -> dict[str, float]:
    """CPU seconds a step of both, the least of the turns, the last checkpoint of ours included."""
    network, objective, batches = cv.create_model("rankdvqa"), RankPairsObjective(RankPairsObjective.Config()), Held()
    best = {"ours": float("inf"), "by hand": float("inf")}
    for turn in range(turns + 1):
        for name, loop in (("ours", ours), ("by hand", by_hand)):
            model = copy.deepcopy(network)
            before = time.process_time()
            loop(model, objective, batches, steps)
            if turn:
                best[name] = min(best[name], (time.process_time() - before) / steps)
    return best


def waiting(folder: Path, steps: int) -> dict[str, float]:
    """Wall seconds that a step waits for its batch, and that it takes, with batches drawn from patches."""
    kind = datasets["rank-pairs"].value
    batches = kind(kind.Config(size=SIZE)).batches(PatchSet(folder), batch=BATCH)
    network, objective = cv.create_model("rankdvqa"), RankPairsObjective(RankPairsObjective.Config())
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    from compressvqa.training.loop import _prefetch

    waited, began = 0.0, time.perf_counter()
    with _prefetch(batches, 0, steps) as queue:
        while True:
            before = time.perf_counter()
            found = next(queue, None)
            waited += time.perf_counter() - before
            if found is None:
                break
            loss = objective.loss(network(*objective.inputs(found[1])), found[1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {"step_s": (time.perf_counter() - began) / steps, "wait_s": waited / steps}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=Path)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--turns", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = compared(arguments.steps, arguments.turns)
    more = found["ours"] / found["by hand"] - 1
    lines = ["| loop | CPU-ms a step |", "|---|---:|"]
    lines += [f"| {name} | {1000 * took:.1f} |" for name, took in found.items()]
    how = f"{arguments.steps} steps a turn, the least of {arguments.turns} turns"
    what = f"RankDVQA, {BATCH} pairs of 12 frames of {SIZE}x{SIZE}, one thread"
    lines += ["", f"{more:+.1%} over the loop by hand; {what}, {how}."]
    result: dict[str, Any] = {"loops": found, "more": more}
    if arguments.patches is not None:
        result["loader"] = waited = waiting(arguments.patches, 2 * arguments.steps)
        share = waited["wait_s"] / waited["step_s"]
        lines += [f"Waiting for a batch of patches: {share:.1%} of a step ({waited['step_s']:.2f} s, wall time)."]
    load = os.getloadavg()[0]
    table = "\n".join(lines) + f"\n{processor()}, load {load:.0f}.\n"
    write_json(RESULTS / "train_speed.json", {**result, "processor": processor(), "load": load})
    write_text(RESULTS / "train_speed.md", table)
    print(table)


if __name__ == "__main__":
    main()
