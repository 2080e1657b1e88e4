"""What `results.json` of a run folder holds: the one table that terminal, report, plots and model card are drawn from.

Only ``table`` is required. Every other part may be absent and is then left out of what is drawn; nothing is guessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from compressvqa.errors import CompressVQAError
from compressvqa.untrusted import read_json


class ResultsError(CompressVQAError):
    """A results.json that is missing, damaged or not of this form."""


class Row(TypedDict, total=False):
    """Figures of the network at the end of one stage; the first row, or the one called "teacher", is the baseline."""

    stage: str  # "teacher", "sparse", "pruned", "distilled", or any other name
    origin: str | None  # the stage whose network it was made of, or that taught it; absent: the row before
    params: int
    macs: int  # conv, linear, attention and recurrent layers
    macs_conv_linear: int  # conv and linear layers only: the convention of RankDVQA-mini's Table I
    latency_ms: float  # median
    latency_p90_ms: float
    srocc: float  # against Results.label, over n validation clips
    plcc: float  # after the 4-parameter logistic fit
    srocc_within: float  # the SROCC inside each content, averaged over contents
    krocc: float
    rmse: float
    pair_accuracy: float  # share of the validation pairs ranked as the label ranks them
    agreement_srocc: float  # of the raw scores with those of the first stage's network on the same clips
    agreement_plcc: float  # likewise, without a fit
    n: int


class Results(TypedDict, total=False):
    """The parts of results.json that the report knows. Unknown parts are ignored."""

    name: str
    created: str  # ISO 8601
    environment: dict[str, Any]  # versions, machine, threads, commit, ...: shown as it is
    stage_environments: dict[str, dict[str, Any]]  # {stage: that of the run it was done in}
    data: dict[str, Any]  # {"train": summary, "validation": summary}
    label: str  # what SROCC is taken against, "vmaf_v0.6.1"
    description: str  # the recipe's, one or two sentences
    model: str  # registered name of the network
    inputs: list[list[int]]  # shapes of what MACs and latency were counted on, (batch, frames, 3, height, width) each
    counted: dict[str, str]  # {figure: how it was counted}, one sentence each
    table: list[Row]
    curves: dict[str, list[dict[str, Any]]]  # {stage: [{"step": 10, "loss": 0.61, "srocc": ..., "density": ...}]}
    stages: dict[str, dict[str, Any]]  # {stage: its figures}; density and pruning are looked for here where absent
    density: dict[str, float]  # {module path: share of non-zero weights} before pruning
    pruning: dict[str, Any]  # {"removed": {path: channels}, "widths_before": {path: channels}, "dead": [path],
    # "max_error": pruned against zeroed, "density": {path: share}, "rule": name}
    limits: list[str]  # further limits of the run, one sentence each


def part(results: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """A nested part of the results, empty where it is absent or no mapping.

    >>> part({"data": {"train": {"contents": 3}}}, "data", "train"), part({"data": None}, "data")
    ({'contents': 3}, {})
    """
    found: Any = results
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def number(row: Mapping[str, Any], key: str) -> float | None:
    """A figure of a row, or None where it is absent, null or not a finite number."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def baseline(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The row that ratios refer to: the one called "teacher", else the first."""
    return next((row for row in rows if row.get("stage") == "teacher"), rows[0])


LEAST_CORRELATION = 0.1  # of a baseline that others are given as shares of


def ratio(row: Mapping[str, Any], base: Mapping[str, Any], key: str) -> float | None:
    """``row[key] / base[key]``, or None where either is absent or the base is not positive.

    A correlation near zero is no measure either: 0.2 is not twenty times as good as 0.01.

    >>> ratio({"params": 455}, {"params": 4550}, "params"), ratio({"srocc": 0.2}, {"srocc": 0.01}, "srocc")
    (0.1, None)
    """
    value, reference = number(row, key), number(base, key)
    least = LEAST_CORRELATION if key in ("srocc", "plcc", "krocc") else 0
    return None if value is None or reference is None or reference <= least else value / reference


def inputs_title(results: Mapping[str, Any]) -> str | None:
    """What complexity was counted on, or None where the results don't give a clip's shape.

    >>> inputs_title({"inputs": [[1, 12, 3, 256, 256], [1, 12, 3, 256, 256]]})
    '12 frames of 256x256'
    """
    shapes = results.get("inputs")
    if not isinstance(shapes, list) or not shapes or not isinstance(shapes[-1], (list, tuple)) or len(shapes[-1]) != 5:
        return None
    _, frames, _, height, width = shapes[-1]
    return f"{frames} frame{'' if frames == 1 else 's'} of {width}x{height}"


def pruning_figures(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """Figures of the pruning: the part of that name, else those of the first stage that removed channels."""
    candidates = [results.get("pruning"), *part(results, "stages").values()]
    return next(
        (facts for facts in candidates if isinstance(facts, Mapping) and (facts.get("removed") or facts.get("depth"))),
        {},
    )


def density_before_pruning(results: Mapping[str, Any]) -> Mapping[str, float]:
    """{module path: share of non-zero weights} that pruning started from, or the last density that a stage tells."""
    stages = [facts for facts in part(results, "stages").values() if isinstance(facts, Mapping)]
    candidates = [results.get("density"), pruning_figures(results).get("density")]
    candidates += [facts.get("density") for facts in reversed(stages)]
    return next((found for found in candidates if isinstance(found, Mapping) and found), {})


def check(results: Mapping[str, Any], where: object = None) -> None:
    """Raises ResultsError unless there is a table of at least one row, each with the name of its stage."""
    rows = results.get("table")
    if not isinstance(rows, list) or not rows:
        raise ResultsError("there is no table of results", where=where, hint="let the run come to its evaluation")
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping) or not isinstance(row.get("stage"), str):
            raise ResultsError(f"row {place} of the table names no stage", where=where)


def load(path: Path) -> dict[str, Any]:
    """Reads and checks a results.json.

    Raises:
        ResultsError: it is missing, is no JSON, or holds no table.
    """
    if not path.exists():
        raise ResultsError("there are no results to report", where=path, hint="finish the run first")
    results = read_json(path, ResultsError)
    if not isinstance(results, dict):
        raise ResultsError("is not a table of results", where=path)
    check(results, path)
    return results
