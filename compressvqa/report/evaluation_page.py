"""report.html of an evaluation: figures to point at and every table, in one file that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from compressvqa.report import page
from compressvqa.report.evaluation_table import accuracy_grid, complexity_words, statistics_grids
from compressvqa.report.evaluation_tradeoff import evaluation_field
from compressvqa.report.interactive_look import layout, scale
from compressvqa.report.interactive_scatter import clouds
from compressvqa.report.interactive_tradeoff import MEAN, NAME, tradeoffs
from compressvqa.report.measures import measures_of
from compressvqa.report.numbers import between, correlation, count
from compressvqa.report.table import Cell, Table
from compressvqa.report.words import sentence
from compressvqa.results import Evaluation, Picture

MOST_TILES = 4
WHY = {
    "lowest": "The lowest score",
    "highest": "The highest score",
    "over": "Furthest above the label",
    "under": "Furthest below the label",
}
Choices = Sequence[tuple[str, str]]


def evaluation_html(
    evaluation: Evaluation | Mapping[str, Any] | str | Path, *, teachers: Mapping[str, str] | None = None
) -> str:
    """The page of an evaluation. What the evaluation lacks is left out of it.

    Args:
        evaluation: what `compressvqa evaluate` wrote, or its path.
        teachers: {student: teacher}, an arrow each.

    Raises:
        EvaluationError: the evaluation is damaged.
    """
    found = Evaluation.read(evaluation)
    drawn, scattered = tradeoffs(found, teachers or {}), clouds(found)
    held: dict[str, Any] = {
        "tradeoffs": drawn,
        "datasets": scattered,
        "axes": layout().to_plotly_json(),
        "scale": scale(),
        "name": NAME,
    }
    accuracy = accuracy_grid(found)
    return page.render(
        "evaluation.html",
        created=found.created,
        lead=_lead(found),
        tiles=_tiles(found),
        tradeoff_choices=_tradeoff_choices(found, drawn),
        accuracy=accuracy,
        scatter_choices=_scatter_choices(found, scattered),
        clips=_clips(found.pictures),
        statistics=statistics_grids(found),
        how=_how(found),
        models=_models(found),
        datasets=_datasets(found),
        left_out=[(data.name, data.faults) for data in found.datasets if data.faults],
        environment=found.environment,
        held=page.as_script(held) if drawn or scattered else None,
        plotly=Markup(get_plotlyjs()) if drawn or scattered else None,
    )


def _lead(evaluation: Evaluation) -> str:
    """What was judged on what, in a few sentences."""
    own = [dataset for dataset in evaluation.datasets if not dataset.run]
    human = [dataset for dataset in own if not dataset.is_proxy]
    proxies = [dataset for dataset in own if dataset.is_proxy]
    parts = [f"{count(len(human), 'data set')} with viewers' scores"] if human else []
    labels = ", ".join(dict.fromkeys(dataset.title for dataset in proxies))
    parts += [f"{count(len(proxies), 'data set')} labelled by a proxy ({labels})"] if proxies else []
    models = [model for model in evaluation.models if not model.run]
    words = f"{count(len(models), 'model')} on {' and '.join(parts)}."
    if len(models) < len(evaluation.models):
        added = count(len(evaluation.models) - len(models), "network")
        elsewhere = ", judged on other data" if len(own) < len(evaluation.datasets) else ""
        words += f" Besides, {added} of run folders{elsewhere}."
    if proxies:
        words += " A proxy is another metric's output: agreeing with it is not agreeing with viewers."
    return words


def _tiles(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """The headline figures: mean SROCC of the first networks, else of the first models, with their intervals."""
    sets = evaluation.judged
    on = sets[0] if len(sets) == 1 else f"mean over {count(len(sets), 'data set')}"
    means = [(model, evaluation.overall(model.name)) for model in evaluation.models]
    known = [(model, mean) for model, mean in means if mean is not None]
    chosen = [pair for pair in known if pair[0].params] or known
    return [
        (correlation(mean.value, mean.ends), f"{evaluation.title(model.name)}, SROCC ({on})", between(mean.ends))
        for model, mean in chosen[:MOST_TILES]
    ]


def _tradeoff_choices(evaluation: Evaluation, drawn: Mapping[str, Any]) -> tuple[Choices, Choices] | None:
    """What the two boxes above the figure offer: complexities, and data sets."""
    if not drawn:
        return None
    measures = {m.key: m.name for name in drawn for m in measures_of(evaluation_field(evaluation, name or None).rows)}
    several = len(evaluation.judged) > 1
    mean = f"mean over {len(evaluation.judged)} data sets" if several else evaluation.judged[0]
    names = [(name, name or mean) for name in drawn]
    names = [(name, title) for name, title in names if name == MEAN or MEAN not in drawn or title != mean]
    return list(measures.items()), names


def _scatter_choices(evaluation: Evaluation, scattered: Sequence[Mapping[str, Any]]) -> tuple[Choices, Choices] | None:
    """What the two boxes above the clouds offer: models, and data sets."""
    if not scattered:
        return None
    scored = {name for data in scattered for name in data["clouds"]}
    models = [(model.name, evaluation.title(model.name)) for model in evaluation.models if model.name in scored]
    return models, [(str(place), str(data["name"])) for place, data in enumerate(scattered)]


def _clips(pictures: Sequence[Picture]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Pictures by model and data set: (heading, pictures) each."""
    found: dict[str, list[dict[str, Any]]] = {}
    for picture in pictures:
        shown = [("reference", picture.reference), ("distorted", picture.shown), ("damage", picture.damage)]
        found.setdefault(f"{picture.model} on {picture.dataset}", []).append(
            {
                "why": WHY.get(picture.why, picture.why),
                "name": picture.distorted,
                "frame": picture.frame,
                "score": None if picture.score is None else f"{picture.score:.4g}",
                "mos": None if picture.mos is None else f"{picture.mos:.4g}",
                "label": picture.label,
                "images": [(what, data) for what, data in shown if data],
            }
        )
    return list(found.items())


def _how(evaluation: Evaluation) -> list[str]:
    lines = [
        "SROCC: Spearman's rank correlation of the raw scores with the label, turned so that positive means agreement.",
        "PLCC, RMSE and outlier ratio: after a logistic fit of the scores to the label.",
    ]
    if evaluation.has_intervals:
        lines.append(f"Intervals: {evaluation.confidence.words}.")
    if (baseline := evaluation.significance.baseline) is not None:
        lines.append(f"F-test: on the residuals after the fit, against {evaluation.title(baseline)}.")
    lines += complexity_words(evaluation)
    if any(model.latency_ms is not None for model in evaluation.models):
        lines.append("Latency holds for the machine under environment only.")
    return lines


def _models(evaluation: Evaluation) -> Table:
    heads: tuple[str, ...] = ("Model", "Mode", "How scores are read", "Complexity counted on", "Source", "Not counted")
    rows: list[tuple[Cell, ...]] = []
    for model in evaluation.models:
        left = model.uncounted or ", ".join(model.unsupported)
        better = {True: "higher is better", False: "lower is better", None: None}[model.higher_is_better]
        read = " ".join(filter(None, [model.meaning or better, model.note])) or None
        facts = [model.mode, read, model.inputs, model.source, left or None]
        rows.append((Cell(evaluation.title(model.name)), *(Cell(page.plain(fact)) for fact in facts)))
    if all(row[-1].text == "-" for row in rows):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    return Table(heads, tuple(rows))


def _datasets(evaluation: Evaluation) -> list[str]:
    lines = []
    for dataset in evaluation.datasets:
        better = dataset.higher_is_better
        turn = "" if better is None else (" Higher is better." if better else " Lower is better.")
        lines.append(" ".join([f"{dataset.name}: {dataset.described}.{turn}", *map(sentence, dataset.notes)]))
    return lines
