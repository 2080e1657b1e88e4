"""The tables of an evaluation: one of the form of RankDVQA-mini's Table I, and one of all statistics a data set."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from compressvqa.cost import is_noisy
from compressvqa.errors import CompressVQAError
from compressvqa.report.numbers import (
    ABSENT,
    LATENCY,
    MACS,
    MACS_CONV_LINEAR,
    P90,
    PARAMS,
    between,
    count,
    digits_of_all,
    percent,
    short,
)
from compressvqa.report.summary import COUNTED
from compressvqa.report.table import Cell, Table, with_best
from compressvqa.report.words import NOISY, sentence
from compressvqa.results import Dataset, Evaluation, Model, Result

Format = Literal["markdown", "latex", "csv", "text"]


@dataclass(frozen=True)
class Statistic:
    """A figure of a model on a data set: where it is kept, its heading, digits, and which end is the better one."""

    key: str
    title: str
    digits: int = 4
    best: Literal["high", "low"] | None = "high"
    interval: bool = False

    def value(self, result: Result) -> float | None:
        """The figure, None where it was not measured."""
        return result.figure(self.key)


STATISTICS = (
    Statistic("n", "n", 0, None),
    Statistic("srocc", "SROCC", interval=True),
    Statistic("plcc", "PLCC", interval=True),
    Statistic("krocc", "KROCC", interval=True),
    Statistic("rmse", "RMSE", 3, "low"),
    Statistic("outlier_ratio", "OR", 4, "low"),
    Statistic("logistic5.plcc", "PLCC, 5 par."),
    Statistic("logistic5.rmse", "RMSE, 5 par.", 3, "low"),
    Statistic("logistic5.outlier_ratio", "OR, 5 par.", 4, "low"),
    Statistic("different_similar_auc", "AUC different/similar"),
    Statistic("better_worse_auc", "AUC better/worse"),
    Statistic("better_worse_correct", "Correct better/worse"),
    Statistic("ladder_accuracy", "Ladders in order"),
    Statistic("retention", "Retention"),
    Statistic("agreement_srocc", "Agreement SROCC"),
    Statistic("agreement_plcc", "Agreement PLCC"),
    Statistic("agreement_mae", "Mean difference", 3, "low"),
)

EXPLAINED = {
    "PLCC": "PLCC, RMSE and OR (share of outliers): after a 4-parameter logistic fit of the scores to the label.",
    "PLCC, 5 par.": "'5 par.': after a 5-parameter logistic fit instead.",
    "AUC different/similar": "AUC and share correct: Krasula's analyses, of pairs that are significantly different or "
    "not, and of which clip of a different pair is the better one.",
    "Ladders in order": "Ladders in order: share of the neighbours on a ladder of encodes that the scores put in the "
    "order of their rates.",
}
AGREEMENT = "Spearman's rank correlation of a network's raw scores with those of {teacher} on the same items"


def evaluation_table(evaluation: Evaluation | Mapping[str, Any] | str | Path, format: Format = "markdown") -> str:
    """The tables of an evaluation as text.

    Args:
        evaluation: what `compressvqa evaluate` wrote, or the path of its evaluation.json.
        format: "markdown", "latex" (booktabs) or "text" for people: the table in the form of Table I of the
            RankDVQA-mini paper, then one of all statistics for each data set. "csv" for programs: a line a model and
            data set, every figure unrounded, empty where it was not measured.

    Raises:
        EvaluationError: the evaluation is damaged.
        CompressVQAError: unknown format.
    """
    found = Evaluation.read(evaluation)
    if format == "csv":
        return _csv(found)
    tables = [accuracy_grid(found), *statistics_grids(found)]
    if format == "latex":
        return "\n".join(table.to_latex() for table in tables)
    if format == "markdown":
        return "\n".join(f"## {table.title}\n\n{table.to_markdown()}" for table in tables)
    if format == "text":
        return "\n".join(f"{table.title}\n\n{table.to_text()}" for table in tables)
    raise CompressVQAError(f"no table of format {format!r}", hint="markdown, latex, csv or text")


def accuracy_grid(evaluation: Evaluation) -> Table:
    """Models as rows; SROCC and F-test on each data set, the mean, retention, and complexity as columns."""
    columns: list[tuple[str, list[Cell]]] = [
        ("Model", [Cell(evaluation.title(model.name)) for model in evaluation.models])
    ]
    judged = evaluation.judged
    ordered = sorted(evaluation.datasets, key=lambda dataset: dataset.name not in judged)  # stable: proxies last
    after_mean = [dataset for dataset in ordered if dataset.name not in judged]
    for dataset in ordered:
        if dataset in after_mean[:1]:
            columns += _overall(evaluation)
        columns.append((_dataset_head(dataset), _srocc_column(evaluation, dataset)))
    if not after_mean:
        columns += _overall(evaluation)
    columns += _complexity(evaluation)
    rows = zip(*(entries for _, entries in columns), strict=True)
    title = f"SROCC and complexity of {count(len(evaluation.models), 'model')}"
    return Table(tuple(head for head, _ in columns), tuple(rows), title, accuracy_caption(evaluation))


def statistics_grids(evaluation: Evaluation) -> list[Table]:
    """A table a data set: every statistic that was measured on it."""
    grids = []
    for dataset in evaluation.datasets:
        name = dataset.name
        found = {
            model.name: result
            for model in evaluation.models
            if (result := evaluation.result(model.name, name)) is not None
        }
        shown = [s for s in STATISTICS if any(s.value(result) is not None for result in found.values())]
        if not shown:
            continue
        columns = [[Cell(evaluation.title(model)) for model in found]]
        for statistic in shown:
            # What has no interval of its own is a figure of the same items, and worth no more digits.
            digits = min(statistic.digits, _digits(found.values(), statistic.key if statistic.interval else "srocc"))
            cells = [_statistic(statistic, result, digits) for result in found.values()]
            values = [None if dataset.is_label(model) else statistic.value(found[model]) for model in found]
            columns.append(with_best(cells, values, statistic.best))
        heads = ("Model", *(statistic.title for statistic in shown))
        rows = tuple(zip(*columns, strict=True))
        caption = _statistics_caption(evaluation, dataset, heads)
        grids.append(Table(heads, rows, name, caption, f"evaluation-{name}"))
    return grids


def accuracy_caption(evaluation: Evaluation) -> str:
    """What the figures of the table are, how they were counted and on which data."""
    judged = evaluation.judged
    proxies = [dataset.name for dataset in evaluation.datasets if dataset.is_proxy]
    words = ["SROCC: Spearman's rank correlation of the raw scores with the label, positive where they agree."]
    baseline, alpha = evaluation.significance.baseline, evaluation.significance.alpha
    if any(evaluation.significance.matrix.values()) and baseline:
        level = f" at {100 * alpha:g} %" if alpha is not None else ""
        words.append(
            f"In brackets: F-test{level} on the residuals after the fit, 1 better than "
            f"{evaluation.title(baseline)}, -1 worse, 0 no difference shown."
        )
    if len(judged) > 1:
        kind = "proxy data sets" if all(name in proxies for name in judged) else "data sets with viewers' scores"
        words.append(f"Overall: plain mean over the {len(judged)} {kind}, only where a model has all of them.")
    if evaluation.teacher and any(evaluation.retention(m.name) is not None for m in evaluation.models):
        of = "Overall" if len(judged) > 1 else "SROCC"
        words.append(f"Retention: share of {evaluation.title(evaluation.teacher)}'s {of}.")
    if evaluation.teacher and any(_agrees(evaluation, m.name) is not None for m in evaluation.models):
        mean = ", the plain mean over the same data sets" if len(judged) > 1 else ""
        words.append(f"Agreement: {AGREEMENT.format(teacher=evaluation.title(evaluation.teacher))}{mean}.")
    if evaluation.has_intervals:
        mean = "; of a mean: combined as those of independent data sets" if len(judged) > 1 else ""
        words.append(f"In square brackets: {evaluation.confidence.words}{mean}; they decide how many digits are shown.")
    words.append("Bold: the best of a column.")
    if any(map(_noisy, evaluation.models)):
        words.append(NOISY)
    words += complexity_words(evaluation)
    words += [f"{dataset.name}: {dataset.described}." for dataset in evaluation.datasets]
    return " ".join(words)


def complexity_words(evaluation: Evaluation) -> list[str]:
    """How complexity was counted, one sentence each."""
    words = []
    if any(model.macs is not None or model.macs_conv_linear is not None for model in evaluation.models):
        words.append(COUNTED["macs"].split(" 'All'")[0])
    if any(model.macs_conv_linear is not None for model in evaluation.models):
        words.append(COUNTED["macs_conv_linear"])
    measured = any(value is not None for m in evaluation.models for value in (m.macs, m.macs_conv_linear, m.latency_ms))
    if measured and evaluation.inputs:
        words.append(f"MACs and latency: {evaluation.inputs}.")
        for inputs, names in evaluation.odd_inputs.items():
            words.append(
                f"But {inputs} for {', '.join(map(evaluation.title, names))}, so not comparable with the others."
            )
    runs = dict.fromkeys(
        model.run for model in evaluation.models if model.run is not None and model.latency_ms is not None
    )
    if runs:
        words.append(f"Latency of {', '.join(runs)} was measured by the run itself, maybe on another machine.")
    return words


def _statistics_caption(evaluation: Evaluation, dataset: Dataset, heads: Sequence[str]) -> str:
    words = [f"{dataset.name}: {dataset.described}.", "Correlations are positive where scores and label agree."]
    words += [text for head, text in EXPLAINED.items() if head in heads]
    if "Agreement SROCC" in heads and evaluation.teacher:
        teacher = evaluation.title(evaluation.teacher)
        words.append(
            f"Agreement SROCC: {AGREEMENT.format(teacher=teacher)}; PLCC: Pearson's, without a fit; mean difference: "
            f"of the absolute values, on the scale of {teacher}."
        )
    if evaluation.has_intervals:
        words.append(f"In square brackets: {evaluation.confidence.words}.")
    same = [evaluation.title(model.name) for model in evaluation.models if dataset.is_label(model.name)]
    if same:
        words.append(f"{', '.join(same)} is this proxy's label itself.")
    return " ".join([*words, *map(sentence, dataset.notes)])


def _dataset_head(dataset: Dataset) -> str:
    if dataset.run:
        return f"{dataset.name} (other data, {dataset.title})"
    return f"{dataset.name} (proxy: {dataset.title})" if dataset.is_proxy else dataset.name


def _srocc_column(evaluation: Evaluation, dataset: Dataset) -> list[Cell]:
    cells: list[Cell] = []
    values: list[float | None] = []
    digits = _digits(evaluation.result(model.name, dataset.name) for model in evaluation.models)
    for model in evaluation.models:
        result = evaluation.result(model.name, dataset.name)
        value = None if result is None else result.srocc
        if dataset.is_label(model.name):
            cells.append(Cell(ABSENT if value is None else "the label"))
            values.append(None)
            continue
        wins = evaluation.wins(model.name, dataset.name)
        ends = None if result is None else result.interval("srocc")
        text = short(value, digits) + (f" ({wins})" if value is not None and wins is not None else "")
        cells.append(Cell(text, _notes(between(ends, digits)) if value is not None else ()))
        values.append(value)
    # Data that only the stages of one run have is no contest.
    return cells if dataset.run else with_best(cells, values)


def _notes(text: str) -> tuple[str, ...]:
    return (text,) if text else ()


def _digits(results: Iterable[Result | None], key: str = "srocc") -> int:
    """Digits of a column: what the middle one of its intervals bears."""
    return digits_of_all(None if result is None else result.interval(key) for result in results)


def _overall(evaluation: Evaluation) -> list[tuple[str, list[Cell]]]:
    names = [model.name for model in evaluation.models]
    columns = []
    means = [evaluation.overall(name) for name in names]
    if len(evaluation.judged) > 1 and any(mean is not None for mean in means):
        proxy = all(evaluation.dataset(name).is_proxy for name in evaluation.judged)
        head = "Overall (proxies)" if proxy else "Overall"
        digits = digits_of_all(None if mean is None else mean.ends for mean in means)
        cells = [
            Cell(ABSENT) if mean is None else Cell(short(mean.value, digits), _notes(between(mean.ends, digits)))
            for mean in means
        ]
        columns.append((head, with_best(cells, [None if mean is None else mean.value for mean in means])))
    kept = [evaluation.retention(name) for name in names]
    if any(share is not None for share in kept):
        texts = [ABSENT if share is None else percent(share) for share in kept]
        columns.append(("Retention", [Cell(text) for text in texts]))
    agreed = [_agrees(evaluation, name) for name in names]
    if any(value is not None for value in agreed):
        digits = digits_of_all(None if mean is None else mean.ends for mean in means)
        columns.append(("Agreement", [Cell(short(value, digits)) for value in agreed]))
    return columns


def _agrees(evaluation: Evaluation, model: str) -> float | None:
    """Rank correlation with the teacher's own scores, the mean over the judged data sets."""
    mean = evaluation.overall(model, "agreement_srocc")
    return None if mean is None else mean.value


def _complexity(evaluation: Evaluation) -> list[tuple[str, list[Cell]]]:
    columns = []
    for quantity in (MACS_CONV_LINEAR, MACS, PARAMS, LATENCY, P90):
        values = [getattr(model, quantity.key) for model in evaluation.models]
        if any(value is not None for value in values):
            noisy = [quantity is LATENCY and _noisy(model) for model in evaluation.models]
            cells = [
                Cell(quantity.text(value), ("noisy",) if odd else ()) for value, odd in zip(values, noisy, strict=True)
            ]
            columns.append((quantity.heading, cells))
    return columns


def _noisy(model: Model) -> bool:
    """Whether a model's latency is no steady figure."""
    both = model.latency_ms is not None and model.latency_p90_ms is not None
    return both and is_noisy(model.latency_ms or 0.0, model.latency_p90_ms or 0.0)


def _statistic(statistic: Statistic, result: Result, digits: int) -> Cell:
    value = statistic.value(result)
    if statistic.key == "retention":
        return Cell(ABSENT if value is None else percent(value))
    if statistic.title.startswith(("RMSE", "Mean")) or statistic.digits == 0:
        return Cell(ABSENT if value is None else f"{value:,.{statistic.digits}f}")
    ends = result.interval(statistic.key) if statistic.interval and value is not None else None
    return Cell(short(value, digits), _notes(between(ends, digits)))


def _csv(evaluation: Evaluation) -> str:
    lines = []
    of_model = ("mode", "higher_is_better", "source", "params", "macs", "macs_conv_linear", "latency_ms",
                "latency_p90_ms", "inputs")  # fmt: skip
    for model in evaluation.models:
        name = model.name
        facts = {key: getattr(model, key) for key in of_model}
        for dataset in evaluation.datasets:
            result = evaluation.result(name, dataset.name)
            if result is None:
                continue
            line: dict[str, Any] = {"model": name, "dataset": dataset.name, "kind": _kind(dataset)}
            line |= {"label": dataset.label}
            for statistic in STATISTICS:
                key = statistic.key.replace(".", "_")
                line[key] = result.n if key == "n" else statistic.value(result)
                if statistic.interval:
                    line |= {f"{key}_{end}": result.figure(f"{key}_{end}") for end in ("low", "high")}
            line["f_test"] = evaluation.wins(name, dataset.name)
            lines.append(line | facts)
        mean = evaluation.overall(name)
        if mean is not None and len(evaluation.judged) > 1:
            kind = _kind(evaluation.dataset(evaluation.judged[0]))
            figures = {"srocc": mean.value, "srocc_low": mean.low, "srocc_high": mean.high}
            lines.append(
                {"model": name, "dataset": "Overall", "kind": kind, **figures, "retention": evaluation.retention(name)}
                | facts
            )
        if not any(line["model"] == name for line in lines):
            lines.append({"model": name, **facts})  # complexity alone is worth a line
    text = io.StringIO()
    names = list(dict.fromkeys(key for line in lines for key in line))
    writer = csv.DictWriter(text, names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _kind(dataset: Dataset) -> str:
    return "proxy" if dataset.is_proxy else "human"
