"""The trade-off figure of an evaluation: the mean over its data sets, or one of them, against complexity."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressvqa.errors import CompressVQAError
from compressvqa.files import write_text
from compressvqa.report import style
from compressvqa.report.front import Field, front_figure
from compressvqa.report.measures import measures_of
from compressvqa.results import Evaluation

KEYS = ("params", "macs", "macs_conv_linear", "latency_ms", "latency_p90_ms")


def plot_evaluation_tradeoff(
    evaluation: Evaluation | Mapping[str, Any] | str | Path,
    path: str | Path,
    *,
    dataset: str | None = None,
    teachers: Mapping[str, str] | None = None,
) -> list[Path]:
    """Plots SROCC against MACs, parameters and latency, with the Pareto front, and writes it as table too.

    Args:
        evaluation: what `compressvqa evaluate` wrote, or its path.
        path: written are this path with the suffixes .svg, .png (300 dpi) and .csv.
        dataset: one data set; by default the mean over all of viewers' scores, or over all proxies where there are
            no others. A model that lacks one of them has no mean and is not drawn.
        teachers: {student: teacher}, an arrow each.

    Returns:
        The three paths.

    Raises:
        EvaluationError: damaged, or no such data set.
        CompressVQAError: no model has both an SROCC and a complexity.
    """
    found = Evaluation.read(evaluation)
    drawn = evaluation_field(found, dataset, teachers)
    measures = measures_of(drawn.rows)
    if not measures:
        raise CompressVQAError("no model has an SROCC and one of params, macs, latency_ms", hint="compressvqa evaluate")
    stem = Path(path).with_suffix("") if Path(path).suffix in (".svg", ".png", ".csv") else Path(path)
    with style.house_style():
        figure = front_figure(drawn, measures)
        paths = [stem.with_name(stem.name + suffix) for suffix in (".svg", ".png", ".csv")]
        style.save(figure, paths[0])
        style.save(figure, paths[1])
    write_text(paths[2], _csv(drawn))
    return paths


def evaluation_field(
    evaluation: Evaluation, dataset: str | None = None, teachers: Mapping[str, str] | None = None
) -> Field:
    """The metrics of an evaluation as a figure draws them.

    Figures of a run folder's own data are marked as of other data; the metric that a proxy is made of is left out,
    since it agrees with itself.
    """
    rows = []
    for model in evaluation.models:
        name = model.name
        row: dict[str, Any] = {"stage": evaluation.title(name), "mode": model.mode}
        row |= {key: value for key in KEYS if (value := getattr(model, key)) is not None}
        if dataset is not None:
            if not evaluation.dataset(dataset).is_label(name):
                keys = ("srocc", "srocc_low", "srocc_high")
                row |= {key: evaluation.figure(name, dataset, key) for key in keys}
        elif (mean := evaluation.overall(name)) is not None:
            row |= {"srocc": mean.value, "srocc_low": mean.low, "srocc_high": mean.high}
        elif (own := _other_data(evaluation, name)) is not None:
            row |= own
        rows.append(row)
    arrows = {evaluation.title(student): evaluation.title(teacher) for student, teacher in (teachers or {}).items()}
    return Field(rows, "srocc", accuracy_words(evaluation, dataset), evaluation.inputs, arrows)


def accuracy_words(evaluation: Evaluation, dataset: str | None) -> str:
    """The y axis's name: which correlation, against what, on which data."""
    names = (dataset,) if dataset is not None else evaluation.judged
    if len(names) == 1:
        facts = evaluation.dataset(names[0])
        label = facts.title + (", a proxy" if facts.is_proxy else "")
        return f"SROCC on {names[0]}\n({label}{f', n = {facts.n:,}' if facts.n is not None else ''})"
    labels = [evaluation.dataset(name).title for name in names]
    if all(evaluation.dataset(name).is_proxy for name in names):
        against = f"{labels[0]}, a proxy" if len(set(labels)) == 1 else "proxies, no viewers' scores"
        return f"Mean SROCC over {len(names)} data sets\n({against})"
    return f"Mean SROCC over {len(names)} data sets\n({' and '.join(dict.fromkeys(labels))})"


def _other_data(evaluation: Evaluation, model: str) -> dict[str, Any] | None:
    """The SROCC of a run's network on the run's own data, said to be of that."""
    for dataset in evaluation.datasets:
        value = evaluation.figure(model, dataset.name, "srocc")
        if dataset.run and value is not None:
            return {"srocc": value, "other": f"{dataset.name} ({dataset.title})"}
    return None


def _csv(drawn: Field) -> str:
    measures = measures_of(drawn.rows)
    on_front = {m.key: {point.name for point in drawn.points(m) if point.front} for m in measures}
    names = ["model", "mode", "srocc", "srocc_low", "srocc_high", "other_data", *KEYS]
    names += [f"front_{measure.key}" for measure in measures]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n", restval="", extrasaction="ignore")
    writer.writeheader()
    for row in drawn.rows:
        front = {f"front_{key}": int(row["stage"] in best) for key, best in on_front.items()}
        writer.writerow({**row, "model": row["stage"], "other_data": row.get("other"), **front})
    return text.getvalue()
