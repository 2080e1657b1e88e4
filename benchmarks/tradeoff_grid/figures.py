"""The figures of rows that were run: size, SROCC and retention with intervals, means over seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from compressvqa.data import PatchSet
from tradeoff_grid.rows import Row

Array = npt.NDArray[np.float64]
LEVEL = 95.0


@dataclass(frozen=True)
class Judged:
    """A row that was run: its last stage, and the teacher on the same patches.

    Args:
        row: which one.
        params, macs: shares of the teacher's.
        scores: of the validation patches.
        teacher: the teacher's scores of them.
        cut: SROCC after the last cut, before the last distillation.
    """

    row: Row
    params: float
    macs: float
    scores: Array
    teacher: Array
    cut: float


def read(row: Row, run: Path) -> Judged | None:
    """A finished row, or None."""
    if not (run / "results.json").exists():
        return None
    stages = [json.loads(file.read_text()) for file in sorted(run.glob("stages/*/stage.json"))]
    kept = {stage["row"]["stage"]: stage for stage in stages}
    first, last = kept["teacher"], kept["distilled"]
    return Judged(
        row,
        last["row"]["params"] / first["row"]["params"],
        last["row"]["macs_conv_linear"] / first["row"]["macs_conv_linear"],
        np.array(last["scores"], float),
        np.array(first["scores"], float),
        kept["pruned"]["row"]["srocc"],
    )


class Truth:
    """Labels of the validation patches and resamples of their contents, the same ones for every row."""

    def __init__(self, patches: PatchSet, label: str, resamples: int = 1000) -> None:
        known = patches.label(label)
        self.use = np.array([value is not None for value in known])
        self.labels = np.array([value for value in known if value is not None], float)
        names = [entry.content for entry, used in zip(patches.entries, self.use, strict=True) if used]
        self.contents = sorted(set(names))
        places = [np.flatnonzero(np.array(names) == content) for content in self.contents]
        dice = np.random.default_rng(0)
        drawn = dice.integers(0, len(places), (resamples, len(places)))
        self._resamples = [np.concatenate([places[content] for content in row]) for row in drawn]

    def srocc(self, scores: Array) -> float:
        """Spearman's correlation with the labels."""
        return float(spearmanr(scores[self.use], self.labels).statistic)

    def resampled(self, scores: Array) -> Array:
        """(resamples,) the same over contents drawn with replacement."""
        scores = scores[self.use]
        return np.array([spearmanr(scores[kept], self.labels[kept]).statistic for kept in self._resamples])


def _ends(values: Array) -> list[float]:
    low, high = np.nanpercentile(values, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return [float(low), float(high)]


def lines(judged: Sequence[Judged], truth: Truth) -> list[dict[str, Any]]:
    """A line for all seeds of a row: means, spread where there are several, intervals over contents.

    The interval of a retention comes from resamples in which network and teacher are judged on the same contents.
    With several seeds each resample takes the mean over them.
    """
    teachers: dict[bytes, tuple[float, Array]] = {}
    together: dict[str, list[Judged]] = {}
    for one in judged:
        together.setdefault(one.row.line.name, []).append(one)
    found = []
    for seeds in together.values():
        row = seeds[0].row.line
        key = seeds[0].teacher.tobytes()
        if key not in teachers:
            teachers[key] = truth.srocc(seeds[0].teacher), truth.resampled(seeds[0].teacher)
        teacher, teacher_resampled = teachers[key]
        single = [truth.srocc(one.scores) for one in seeds]
        resampled = np.mean([truth.resampled(one.scores) for one in seeds], axis=0)
        found.append(
            {
                "part": row.part,
                "budget": row.budget,
                "sparsity": row.sparsity,
                "cuts": row.cuts,
                "losses": row.losses,
                "change": row.change,
                "seeds": sorted(one.row.seed for one in seeds),
                "params": float(np.mean([one.params for one in seeds])),
                "macs": float(np.mean([one.macs for one in seeds])),
                "cut": float(np.mean([one.cut for one in seeds])),
                "srocc": float(np.mean(single)),
                "srocc_of_each_seed": single,
                "srocc_spread": float(np.std(single, ddof=1)) if len(single) > 1 else None,
                "srocc_interval": _ends(resampled),
                "teacher": teacher,
                "retention": float(np.mean(single)) / teacher,
                "retention_interval": _ends(resampled / np.where(teacher_resampled == 0, np.nan, teacher_resampled)),
            }
        )
    return found
