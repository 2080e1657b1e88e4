"""What sharing out the weights saves: peak memory of each of two processes that train a transformer.

Each arm starts two processes (gloo, processor), trains some steps of AdamW, and asks each process for its largest
resident memory (getrusage), less what it had before there was a network. With `full` weights, gradients and the
optimiser's state are shared out (FSDP); a group of layers is put together for the moment in which it runs.

    python benchmarks/sharded_memory.py                      # 200 M parameters, about a minute
    python benchmarks/sharded_memory.py --blocks 8 --width 512

Prints the table and writes ``benchmarks/results/sharded_memory.{md,json}``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.environment import environment
from compressvqa.files import write_json, write_text

RESULTS = Path(__file__).parent / "results"
STEPS, CLIPS, TOKENS = 3, 4, 16


class Clips:
    """Tokens drawn for each step."""

    def __init__(self, width: int) -> None:
        self.width = width

    def batch_at(self, step: int) -> Tensor:
        """(CLIPS, TOKENS, width)."""
        return torch.randn(CLIPS, TOKENS, self.width, generator=torch.Generator().manual_seed(step))


def network(blocks: int, width: int) -> nn.Module:
    """Blocks of a vision transformer, and a score."""
    torch.manual_seed(0)
    layers = [nn.TransformerEncoderLayer(width, width // 64, 4 * width, 0.0, batch_first=True) for _ in range(blocks)]
    return nn.Sequential(nn.Sequential(*layers), nn.Flatten(), nn.Linear(TOKENS * width, 1))


def peak() -> int:
    """Largest resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def train(sharding: str, blocks: int, width: int, place: Path) -> None:
    """One of the processes: its peak goes to a file."""
    from compressvqa.running.precision import fabric_of, processes_of
    from compressvqa.running.recipe import RuntimeChoice
    from compressvqa.training import FitSettings, fit

    runtime = RuntimeChoice(device="cpu", precision="32", sharding=sharding)  # type: ignore[arg-type]
    here, before = processes_of(runtime), peak()
    made = network(blocks, width)
    optimizer = torch.optim.AdamW(made.parameters(), 1e-4)

    def loss(model: nn.Module, clips: Tensor) -> tuple[Tensor, dict[str, float]]:
        return model(clips).square().mean(), {}

    held: list[int] = []  # before the last checkpoint, for which the first process gathers everything
    fit(
        fabric_of(runtime, made), made, optimizer, Clips(width), loss, FitSettings(STEPS),
        checkpoint=place / "checkpoint.pt", on_step=lambda *_: held.append(peak()),
    )  # fmt: skip
    found = {"training": held[-1] - before, "with the checkpoint": peak() - before}
    (place / f"{here.rank}.json").write_text(json.dumps(found))


def arm(sharding: str, blocks: int, width: int) -> list[dict[str, int]]:
    """Peaks of the two processes."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        common = os.environ | {
            "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "memory", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        line = [sys.executable, __file__, "--blocks", str(blocks), "--width", str(width), "--as", sharding, folder]
        two = [subprocess.Popen(line, env=common | {"RANK": str(r), "LOCAL_RANK": str(r)}) for r in (0, 1)]
        ended = [one.wait() for one in two]
        if any(ended):
            raise SystemExit(f"a process failed with sharding {sharding}")
        return [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in (0, 1)]


def main() -> dict[str, Any]:
    """Both arms, the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=16)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--as", nargs=2, dest="part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        train(options.part[0], options.blocks, options.width, Path(options.part[1]))
        return {}
    params = sum(p.numel() for p in network(options.blocks, options.width).parameters())
    arms = {sharding: arm(sharding, options.blocks, options.width) for sharding in ("none", "full")}
    machine = environment()
    result = {"params": params, "arms": arms, "environment": machine}
    lines = [
        "# Memory of a training whose weights are shared out", "",
        f"A transformer of {params / 1e6:.0f} M parameters, {STEPS} steps of AdamW in float32 on two processes; peak"
        " resident memory of each, GB, beyond what it had before there was a network.", "",
        "| sharding | first process | second process | first, with a checkpoint |", "|---|---:|---:|---:|",
        *(f"| {name} | {a['training'] / 1e9:.2f} | {b['training'] / 1e9:.2f} | {a['with the checkpoint'] / 1e9:.2f} |"
          for name, (a, b) in arms.items()), "",
        f"{machine['system']}, {machine['processor']}, torch {machine['packages']['torch']}.", "",
    ]  # fmt: skip
    text = "\n".join(lines)
    write_json(RESULTS / "sharded_memory.json", result)
    write_text(RESULTS / "sharded_memory.md", text)
    print(text)
    return result


if __name__ == "__main__":
    main()
