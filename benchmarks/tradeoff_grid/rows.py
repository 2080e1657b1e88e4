"""Which rows there are: one recipe each, told apart by a name that says what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

BUDGETS = (20, 14, 10, 6, 4, 2)
# Where a choice is decided: the paper's network has 13.57 % of the MACs, the smaller ones that are to ship 6 and less.
DECISIVE = (14, 6)
SPARSITY = {
    "obprox": "OBProx-SG, cut by density (rule `in`) as in the paper, channels by activation",
    "progressive": "whole channels (progressive), zeros cut",
    "none": "no sparsity training, cut by l1",
}
SEVERAL = 3
CUTS = {1: "once", SEVERAL: "in three steps, with distillation between"}
PAPER: Mapping[str, Any] = MappingProxyType(
    {"losses": {"instance": 1.0, "batch": 1.0, "class": 1.0}, "task_weight": 0.1, "temperatures": [1.0]}
)
BEST: Mapping[str, Any] = MappingProxyType({"losses": {"score-smooth-l1": 1.0, "rank-net": 1.0}, "task_weight": 0.5})
LOSSES = {"paper": PAPER, "best": BEST}
PARTS = ("grid", "long", "ablation")


@dataclass(frozen=True)
class Row:
    """One recipe.

    Args:
        part: of the table: `grid` (short distillations), `long`, or `ablation` (short, one thing changed).
        budget: MACs to keep, in per cent of the teacher's.
        sparsity: a key of `SPARSITY`.
        cuts: 1, or `SEVERAL` with distillation between them; the steps in all are the same.
        losses: a key of `LOSSES`: what distillation minimises.
        seed: of batches, dropout and whatever else is drawn.
        change: what an ablation changes, in words; empty elsewhere.
        distil: settings of the `distil` stages that differ from those of `losses`.
        prune: settings of the `prune` stages that differ.
        redrawn: whether the pruned network's weights are drawn anew before distillation.
        second_teacher: whether the second teacher teaches along.
    """

    part: str
    budget: int
    sparsity: str
    cuts: int = 1
    losses: str = "best"
    seed: int = 0
    change: str = ""
    distil: tuple[tuple[str, Any], ...] = ()
    prune: tuple[tuple[str, Any], ...] = ()
    redrawn: bool = False
    second_teacher: bool = False

    @property
    def name(self) -> str:
        """A folder's name, unlike that of any other row."""
        parts = [self.part, f"{self.budget:02d}", self.sparsity, f"{self.cuts}cut" + "s" * (self.cuts > 1), self.losses]
        words = "".join(c if c.isalnum() else "-" for c in self.change.lower())
        words = "-".join(word for word in words.split("-") if word)
        return "-".join([*parts, *([words] if words else []), f"s{self.seed}"])

    @property
    def line(self) -> Row:
        """The row without its seed: rows of one line differ in nothing else."""
        return replace(self, seed=0)


def grid() -> list[Row]:
    """Every combination, the decisive budgets first, so that a run that is stopped early has them."""
    order = [*DECISIVE, *(b for b in BUDGETS if b not in DECISIVE)]
    return [
        Row("grid", budget, sparsity, cuts, losses)
        for budget in order
        for losses in LOSSES
        for cuts in (1, SEVERAL)
        for sparsity in SPARSITY
    ]


def long_rows() -> list[Row]:
    """Long distillations and three seeds: the paper's way and the best one, at the decisive budgets."""
    arms = (("obprox", "paper"), ("progressive", "best"))
    return [
        Row("long", budget, sparsity, 1, losses, seed)
        for seed in range(3)
        for budget in DECISIVE
        for sparsity, losses in arms
    ]


def ablations(budget: int = DECISIVE[0]) -> list[Row]:
    """One thing changed at a time, beside the rows of the grid that they are to be compared with."""
    best = Row("ablation", budget, "progressive", 1, "best")
    paper = Row("ablation", budget, "obprox", 1, "paper")

    def distil(base: Row, change: str, **settings: Any) -> Row:
        return replace(base, change=change, distil=tuple(settings.items()))

    return [
        replace(best, change="weights drawn anew", redrawn=True),
        replace(paper, change="weights drawn anew", redrawn=True),
        distil(paper, "instance alone", losses={"instance": 1.0}),
        distil(paper, "instance and batch", losses={"instance": 1.0, "batch": 1.0}),
        distil(paper, "instance and class", losses={"instance": 1.0, "class": 1.0}),
        distil(paper, "no task loss", task_weight=0.0),
        distil(best, "score alone", losses={"score-smooth-l1": 1.0}),
        distil(best, "rank-net alone", losses={"rank-net": 1.0}),
        distil(best, "no task loss", task_weight=0.0),
        distil(best, "task loss alone", losses={"score-smooth-l1": 0.0}, task_weight=1.0),
        distil(paper, "temperature 4", temperatures=[4.0]),
        distil(paper, "temperatures 2 to 6", temperatures=[2.0, 3.0, 4.0, 5.0, 6.0]),
        distil(paper, "not symmetric", symmetric=False),
        replace(best, change="two teachers", second_teacher=True),
        # With a target the rules `sqrt` and `budget` give the widths of `in`: all are raised to one power.
        *(replace(paper, change=f"rule {rule}", prune=(("rule", rule),)) for rule in ("max", "uniform")),
        *(
            replace(paper, change=f"importance {name}", prune=(("importance", name),))
            for name in ("l1", "l2", "taylor")
        ),
    ]


def all_rows() -> list[Row]:
    """Every row, in the order in which they are run: each name once."""
    rows = [*grid(), *ablations(), *long_rows()]
    assert len({row.name for row in rows}) == len(rows)
    return rows
