"""Sparsity on single weights against sparsity on channels: what pruning costs before any fine-tuning, and after some.

Claim: channels that `half-space` and `progressive` train to zero are removed without loss (the pruned network gives the
trained one's scores), where OBProx-SG and the paper's density rule remove weights that were at work.

Every arm starts from the same trained teacher and is trained on the same batches for the same number of steps, then
pruned to at most 9.87 % of the parameters and 13.57 % of the MACs (RankDVQA-mini, Table I of the paper), then distilled
for the same number of steps. SROCC is against VMAF 0.6.1 on held-out clips: a stand-in for opinions, never MOS. One run
an arm; no setting was chosen by looking at these clips.

``python benchmarks/group_sparsity.py runs/clips --data runs/data-clips`` goes on from the first stage of a finished run
of ``rankdvqa_mini_long`` on a folder of videos. It can be stopped and goes on where it was; it prints the table and
writes ``benchmarks/results/group_sparsity.{json,md}``.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from compressvqa import registry
from compressvqa.data import PatchSet
from compressvqa.environment import environment, fast_bf16
from compressvqa.models import example_inputs, load, save
from compressvqa.pruning import prune, trace
from compressvqa.running.recipe import Recipe
from compressvqa.stages import DistilStage, PruneStage, SparsifyStage, StageContext, StageResult, TrainStage

RESULTS = Path(__file__).parent / "results"
ARMS = {
    "none": "none: AdamW, then the same share of every group by l1",
    "obprox-sg": "OBProx-SG, rule `in`",
    "half-space": "half-space",
    "progressive": "progressive",
}
BUDGETS = {
    "mini": {"target_params": 0.0987, "target_macs": 0.1357},
    "half": {"target_macs": 0.5},
}
COMMON = {"batch": 8, "clip_norm": 0.1, "checkpoint_seconds": 60}


def sparsify(arm: str, budget: dict[str, float], steps: int) -> SparsifyStage | TrainStage:
    """The same optimiser's base, rate and steps for all; OBProx-SG as in recipes/rankdvqa_mini_long.yaml."""
    if arm == "none":
        optimizer = {"name": "adamw", "lr": 1e-3, "weight_decay": 0.0}
        plain = {"name": "sparse", "steps": steps, "optimizer": optimizer, "schedule": {"kind": "constant"}, **COMMON}
        return TrainStage(TrainStage.Config(**plain))
    target: dict[str, Any] = {"target_density": 0.1, "prox_share": 0.3} if arm == "obprox-sg" else budget
    config = SparsifyStage.Config(
        name="sparse", sparsifier=arm, steps=steps, lr=1e-3, schedule={"kind": "constant"}, options={"base": "adamw"},
        **target, **COMMON,
    )  # fmt: skip
    return SparsifyStage(config)


def distil(steps: int) -> DistilStage:
    """As in recipes/rankdvqa_mini_long.yaml."""
    optimizer = {"name": "adamax", "lr": 2e-3}
    schedule = {"kind": "cosine", "warmup": 0.02}
    config = DistilStage.Config(
        name="distilled", teacher="teacher", steps=steps, optimizer=optimizer, schedule=schedule, **COMMON
    )
    return DistilStage(config)


def without_zeros(network: nn.Module, context: StageContext) -> StageResult:
    """Removes exactly the channels that are zero."""
    pruned = prune(network, context.inputs, ratios="zeros")
    return StageResult(pruned.model, {"widths": pruned.plan.kept, "max_error": pruned.max_error})


class Bench:
    """Data, objective and teacher of a finished run, and a folder for the arms."""

    def __init__(self, run: Path, data: Path, out: Path, places: int) -> None:
        self.recipe, self.out = Recipe.load(run / "recipe.yaml"), out
        first = sorted((run / "stages").iterdir())[0]
        self.teacher = first / "model"
        self.dataset = registry.datasets[self.recipe.data.kind].value(self.recipe.data)
        # Opened as it is and never rebuilt: every arm, and the teacher before them, must see the same patches.
        self.train, self.validation = PatchSet(data / "train"), PatchSet(data / "validation")
        rows = [reference.row for reference in self.validation.references]
        self.validation.entries = [e for e in self.validation.entries if rows[e.reference] < places]
        self.objective = registry.objectives[self.recipe.objective.kind].value(self.recipe.objective)
        self.precision: Any = "bf16-mixed" if fast_bf16() else "32-true"

    def context(self, folder: Path, stage: str, network: nn.Module) -> StageContext:
        """What a stage may use; it prints how the loss goes."""
        seed = zlib.crc32(f"{self.recipe.seed}/{stage}".encode())  # of the stage, not of the arm: the same batches
        began = time.monotonic()
        lines: list[dict[str, float]] = []

        def log(step: int, steps: int, figures: dict[str, float]) -> None:
            lines.append(figures)
            if step % 10 == 0 or step == steps:
                mean = sum(line["loss"] for line in lines[-10:]) / len(lines[-10:])
                rest = {k: float(f"{v:.4g}") for k, v in figures.items() if k not in ("loss", "lr")}
                pace = (time.monotonic() - began) / len(lines)
                print(
                    f"{folder.parent.name} {stage} {step}/{steps} loss {mean:.4f} {pace:.2f} s/step {rest}", flush=True
                )
                with (folder / "losses.jsonl").open("a") as file:
                    file.write(json.dumps({"step": step, "loss": mean, **rest}) + "\n")

        clip = self.recipe.clip
        return StageContext(
            folder=folder,
            objective=self.objective,
            batches=lambda batch: self.dataset.batches(self.train, batch=batch, seed=seed),
            network_of=lambda name: load(self.teacher),
            inputs=example_inputs(network, size=clip.size, frames=clip.frames),
            fabric=lambda: Fabric(accelerator="cpu", devices=1, precision=self.precision),
            log=log,
            seed=seed,
        )

    def stage(
        self, folder: Path, name: str, network: nn.Module, work: Callable[[nn.Module, StageContext], StageResult]
    ) -> tuple[nn.Module, dict[str, Any]]:
        """Runs a stage once, with its figures and the scores of the held-out patches."""
        folder = folder / name
        folder.mkdir(parents=True, exist_ok=True)
        done = folder / "stage.json"
        if not done.exists():
            result = work(network, self.context(folder, name, network))
            scores: list[float] = []
            row = self.judge(result.network.eval(), scores)
            save(result.network, folder / "model")
            done.write_text(json.dumps({"row": row, "figures": result.figures, "scores": scores}, indent=1))
            print(folder.parent.name, name, row, flush=True)
        return load(folder / "model"), json.loads(done.read_text())

    def judge(self, network: nn.Module, scores: list[float]) -> dict[str, Any]:
        """Size and correlations of a network; every single score is appended to `scores`."""

        def score(*clips: Tensor) -> Tensor:
            found = network(*clips)
            scores.extend(found.tolist())
            return found

        with torch.inference_mode():
            judged = self.dataset.evaluate(self.validation, score)
        facts = trace(network, example_inputs(network, size=self.recipe.clip.size, frames=self.recipe.clip.frames))
        macs = sum(cost.macs for cost in facts.dependencies.costs)
        return {"params": sum(p.numel() for p in network.parameters()), "macs": macs, **judged}

    def arm(self, arm: str, budget: str, sparse_steps: int, distil_steps: int) -> dict[str, Any]:
        """One row of the table: sparse, pruned, distilled."""
        folder, target = self.out / f"{arm}-{budget}", BUDGETS[budget]
        _, teacher = self.stage(self.out, "teacher", load(self.teacher), lambda network, _: StageResult(network))
        began = time.monotonic()
        network, sparse = self.stage(folder, "sparse", load(self.teacher), sparsify(arm, target, sparse_steps).run)
        rule = {"obprox-sg": "in", "none": None}
        by_rule = PruneStage(PruneStage.Config(name="pruned", rule=rule.get(arm), **target)).run
        network, pruned = self.stage(folder, "pruned", network, by_rule if arm in rule else without_zeros)
        row = {
            "arm": ARMS[arm],
            "budget": budget,
            "sparse_steps": sparse_steps,
            "params": pruned["row"]["params"] / teacher["row"]["params"],
            "macs": pruned["row"]["macs"] / teacher["row"]["macs"],
            "teacher": teacher["row"]["srocc"],
            "sparse": sparse["row"]["srocc"],
            "pruned": pruned["row"]["srocc"],
            "largest_difference": max(abs(a - b) for a, b in zip(sparse["scores"], pruned["scores"], strict=True)),
            "score_range": max(sparse["scores"]) - min(sparse["scores"]),
            "budget_used_by_training": sparse["figures"].get("budget_used_by_training"),
        }
        if distil_steps:
            _, distilled = self.stage(folder, "distilled", network, distil(distil_steps).run)
            row |= {"distil_steps": distil_steps, "distilled": distilled["row"]["srocc"]}
        print(row, f"{time.monotonic() - began:.0f} s", flush=True)
        return row


def table(result: dict[str, Any]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| budget | sparsifier | params | MACs | teacher | sparse | pruned | largest change by pruning | distilled |",
        "|-|-|-|-|-|-|-|-|-|",
    ]
    for row in result["rows"]:
        change = f"{row['largest_difference']:.1e} of a range of {row['score_range']:.3g}"
        distilled = f"{row['distilled']:.4f}" if "distilled" in row else "-"
        lines.append(
            f"| {row['budget']} | {row['arm']} | {row['params']:.2%} | {row['macs']:.2%} | {row['teacher']:.4f} |"
            f" {row['sparse']:.4f} | {row['pruned']:.4f} | {change} | {distilled} |"
        )
    return "\n".join(lines)


def counted(result: dict[str, Any]) -> str:
    """How the table came about."""
    train, held = result["data"]["train"], result["data"]["validation"]
    row, machine = result["rows"][0], result["environment"]
    return (
        f"Columns teacher, sparse, pruned, distilled: SROCC against VMAF 0.6.1 on {held['patches']} patches of"
        f" {held['contents']} clips, a stand-in for opinions and not MOS; training saw {train['contents']} other clips."
        f" All arms: the same teacher, {row['sparse_steps']} steps of sparsity (AdamW's base step, rate 1e-3, batch 8),"
        f" {row.get('distil_steps', 0)} of distillation, the same batches, one run each, {machine['precision']}."
        " Scores before and after pruning are float32."
        f" {machine['system']}, {machine['processor']}, torch {machine['packages']['torch']},"
        f" threads: {machine['threads']}."
    )


def main() -> None:
    """Runs the arms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run whose first stage is the teacher")
    parser.add_argument("--data", type=Path, required=True, help="its prepared data")
    parser.add_argument("--out", type=Path, default=Path("runs/group-sparsity"))
    parser.add_argument("--sparse-steps", type=int, default=300)
    parser.add_argument("--distil-steps", type=int, default=300)
    parser.add_argument("--places", type=int, default=3, help="held-out patches are cut at so many places of a clip")
    parser.add_argument("--budgets", nargs="+", choices=list(BUDGETS), default=["mini"])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    options = parser.parse_args()
    bench = Bench(options.run, options.data, options.out, options.places)
    for distil_steps in (0, options.distil_steps):  # distillation comes last, for all arms
        jobs = [(arm, budget) for budget in options.budgets for arm in options.arms]
        rows = [bench.arm(arm, budget, options.sparse_steps, distil_steps) for arm, budget in jobs]
    result = {
        "rows": rows,
        "budgets": BUDGETS,
        "data": {"train": bench.train.summary(), "validation": bench.validation.summary()},
        "environment": environment() | {"threads": torch.get_num_threads(), "precision": bench.precision},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "group_sparsity.json").write_text(json.dumps(result, indent=1) + "\n")
    text = table(result)
    (RESULTS / "group_sparsity.md").write_text(f"{text}\n\n{counted(result)}\n")
    print(text)


if __name__ == "__main__":
    main()
