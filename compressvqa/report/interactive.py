"""report.html of an evaluation: figures to point at and every table, in one file that needs no network."""

from __future__ import annotations

import html
import itertools
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import plotly.graph_objects as go
from matplotlib.colors import to_hex
from plotly.offline import get_plotlyjs

from compressvqa.files import finite
from compressvqa.report import page, style
from compressvqa.report.evaluation_table import (
    accuracy_caption,
    accuracy_grid,
    complexity_words,
    short,
    statistics_grids,
)
from compressvqa.report.evaluation_tradeoff import evaluation_field
from compressvqa.report.front import Field, Point, front_steps
from compressvqa.report.html import when, words
from compressvqa.report.labels import place_labels, spread
from compressvqa.report.measures import Measure, measures_of
from compressvqa.report.results import number
from compressvqa.report.scatter import Panel, fitted_curve, panels_of
from compressvqa.report.words import sentence
from compressvqa.results import Dataset, Evaluation

MEAN = ""  # the data set's name that stands for the mean over all
MOST_POINTS = 4000  # of one cloud on the page: more make it slow and look no different
# CSS pixels of the figure, and of its axes from the left, the top, the right and the bottom, that names are placed for.
WIDE, NARROW = (1060, 480, 80, 30, 130, 60), (470, 384, 80, 30, 130, 60)
LIGHT_INK, LIGHT_KEPT = "var(--ink)", "var(--kept)"  # the script puts the theme's colours in their place


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
    tradeoffs, clouds = _tradeoffs(found, teachers or {}), _clouds(found)
    held: dict[str, Any] = {
        "tradeoffs": tradeoffs,
        "datasets": clouds,
        "axes": _layout().to_plotly_json(),
        "scale": _scale(),
        "name": NAME,
    }
    body = "".join(
        (
            _top(found),
            page.section("Accuracy against complexity", _tradeoff_section(found, tradeoffs)),
            page.section("SROCC on each data set", _accuracy_section(found)),
            page.section("Scores against the label", _scatter_section(found, clouds)),
            page.section("All statistics", _statistics_section(found)),
            page.section("What was measured, and how", page.bullets(_how(found))),
            page.section("Models", _models(found)),
            page.section("Data sets", _datasets(found)),
            page.section("Environment", _environment(found)),
        )
    )
    files = resources.files("compressvqa.report")
    css = "".join(files.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "interactive.css"))
    script = ""
    if tradeoffs or clouds:
        # "<" never stands in the JSON, so nothing in a name can end the element that holds it.
        data = json.dumps(finite(held), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        code = files.joinpath("interactive.js").read_text(encoding="utf-8")
        script = (
            f'<script type="application/json" id="held">{data}</script>\n'
            f"<script>{get_plotlyjs()}</script>\n<script>{code}</script>\n"
        )
    # No address outside the page is ever needed; the policy makes the browser hold us to that.
    policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>compressvqa evaluation</title>\n<style>\n{css}</style></head>\n"
        f"<body><main>\n{body}</main>\n{script}</body></html>\n"
    )


# --- figures ------------------------------------------------------------------------------------------------------


def tradeoff_plot(drawn: Field, measure: Measure) -> go.Figure:
    """One trade-off as an interactive figure, without the names of its points, see `point_names`.

    Colours are named after the page's theme ("var(--ink)").
    """
    points, lines = drawn.points(measure), drawn.lines(measure)
    figure = go.Figure(layout=_layout())
    span, (low, high) = _span(points), drawn.limits
    corners = front_steps(points, 10 ** span[1])
    if corners:
        figure.add_trace(
            go.Scatter(x=[x for x, _ in corners], y=[y for _, y in corners], mode="lines", hoverinfo="skip",
                       line={"color": LIGHT_KEPT, "width": 1.2}, opacity=0.5, showlegend=False)
        )  # fmt: skip
    facts = {str(row["stage"]): row for row in drawn.rows}
    for name, chosen in (
        ("Pareto front", [p for p in points if p.front]),
        ("not on it", [p for p in points if not p.front and not p.other]),
        ("of other data, not comparable", [p for p in points if p.other]),
    ):
        if chosen:
            figure.add_trace(_points(name, chosen, measure, facts))
    shift = (high - low) / (WIDE[1] - WIDE[3] - WIDE[5])  # of the y axis, for a pixel
    heights = spread([y for _, y in lines], 13 * shift, low, high)
    for (name, y), height in zip(lines, heights, strict=True):
        figure.add_shape(type="line", xref="paper", x0=0, x1=1, y0=y, y1=y, layer="below",
                         line={"color": "var(--quiet)", "width": 1, "dash": "dash"})  # fmt: skip
        figure.add_annotation(text=html.escape(f"{name} {short(y)}"), xref="paper", x=1, y=y, xanchor="left",
                              showarrow=False, xshift=4, yshift=round((height - y) / shift, 1),
                              font={"size": 11, "color": "var(--quiet)"})  # fmt: skip
    at = {point.name: point for point in points}
    for student, teacher in drawn.teachers.items():
        if student in at and teacher in at and student != teacher:
            end, start = at[student], at[teacher]
            figure.add_annotation(x=np.log10(end.x), y=end.y, ax=np.log10(start.x), ay=start.y, axref="x", ayref="y",
                                  text="", arrowhead=2, arrowwidth=1.2, arrowcolor="var(--gone)", standoff=6,
                                  startstandoff=6)  # fmt: skip
    ticks = style.round_numbers(10 ** span[0], 10 ** span[1])
    figure.update_xaxes(type="log", range=list(span), title={"text": html.escape(measure.title(drawn.inputs))},
                        tickmode="array", tickvals=ticks, ticktext=[f"{tick:,.10g}" for tick in ticks])  # fmt: skip
    # The names at the margin are as long as they are: Plotly cuts what leaves the figure.
    room = max([30, *(7 * len(f"{name} {short(y)}") for name, y in lines)])
    figure.update_layout(margin_r=room)
    title = html.escape(drawn.title).replace("\n", "<br>")
    figure.update_yaxes(range=[low, high], title={"text": title})
    return figure


def _points(name: str, points: Sequence[Point], measure: Measure, facts: Mapping[str, Mapping[str, Any]]) -> go.Scatter:
    front = name == "Pareto front"
    hover = [_hover(point, measure, facts[point.name]) for point in points]
    bars: dict[str, Any] = {}
    if any(point.bar for point in points):
        bars = {
            "error_y": {
                "type": "data", "symmetric": False, "thickness": 1, "width": 0,
                "color": LIGHT_KEPT if front else "var(--quiet)",
                "array": [point.bar[1] - point.y if point.bar else None for point in points],
                "arrayminus": [point.y - point.bar[0] if point.bar else None for point in points],
            }
        }  # fmt: skip
    symbols = ["diamond" if p.other else ("triangle-up" if p.blind else "circle") for p in points]
    return go.Scatter(
        name=name, x=[point.x for point in points], y=[point.y for point in points], mode="markers",
        marker={"size": 10, "symbol": symbols, "color": LIGHT_KEPT if front else "var(--paper)",
                "line": {"width": 1.6, "color": LIGHT_KEPT if front else "var(--quiet)"}},
        customdata=hover, hovertemplate="%{customdata}<extra></extra>", **bars,
    )  # fmt: skip


def _hover(point: Point, measure: Measure, row: Mapping[str, Any]) -> str:
    """All that is known of a point, as Plotly's own small HTML; names are escaped."""
    lines = [f"<b>{html.escape(point.name)}</b>", f"SROCC {short(point.y)}"]
    if point.bar:
        lines[1] += f" [{short(point.bar[0], 3)}, {short(point.bar[1], 3)}]"
    for key, unit, divide, digits in (
        ("macs", "G MAC", 1e9, 3), ("macs_conv_linear", "G MAC, conv & linear", 1e9, 3),
        ("params", "M parameters", 1e6, 3), ("latency_ms", "ms", 1.0, 1),
    ):  # fmt: skip
        if (value := number(row, key)) is not None:
            lines.append(f"{value / divide:,.{digits}f} {html.escape(unit)}")
    if row.get("other"):
        lines.append(f"of other data: {html.escape(str(row['other']))}")
    return "<br>".join(lines)


def _span(points: Sequence[Point]) -> tuple[float, float]:
    """Ends of the x axis, as powers of ten."""
    xs = [point.x for point in points]
    room = max((max(xs) / min(xs)) ** 0.1, 1.3)
    return float(np.log10(min(xs) / room)), float(np.log10(max(xs) * room))


# What all names have in common.
NAME = {"showarrow": True, "arrowhead": 0, "arrowwidth": 0.6, "standoff": 6, "borderpad": 0, "bgcolor": "var(--paper)"}


def point_names(drawn: Field, measure: Measure, size: tuple[int, int, int, int, int, int]) -> list[dict[str, Any]]:
    """Annotations with the names of the points. Matplotlib places them, as Plotly would pile them up.

    Args:
        drawn: the metrics.
        measure: of the x axis.
        size: in CSS pixels, see `WIDE`.
    """
    points = drawn.points(measure)
    across, (low, high) = _span(points), drawn.limits
    width, height, left, top, right, bottom = size
    with style.house_style(**{"font.size": 9.0, "figure.dpi": 100}):
        canvas = style.new_figure(width / 100, height / 100)
        canvas.set_layout_engine("none")
        inside = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
        axes = canvas.add_axes(inside)
        axes.set_xlim(*across)
        axes.set_ylim(low, high)
        at = [(float(np.log10(point.x)), point.y) for point in points]
        steps = [(float(np.log10(x)), y) for x, y in front_steps(points, 10 ** across[1])]
        obstacles = [(pair, 0.6) for pair in itertools.pairwise(steps)]
        obstacles += [(((x, p.bar[0]), (x, p.bar[1])), 0.5) for (x, _), p in zip(at, points, strict=True) if p.bar]
        obstacles += [(((across[0], y), (across[1], y)), 0.06) for _, y in drawn.lines(measure)]
        places = {point.name: spot for point, spot in zip(points, at, strict=True)}
        obstacles += [
            ((places[teacher], places[student]), 1.0)
            for student, teacher in drawn.teachers.items()
            if student in places and teacher in places
        ]
        texts = place_labels(axes, at, [point.name for point in points], lines=[line for line, _ in obstacles],
                             weights=[weight for _, weight in obstacles])  # fmt: skip
        boxes = [text.get_window_extent() for text in texts]
        spots = axes.transData.transform(at)
    names = []
    for point, (x, y), box, spot in zip(points, at, boxes, spots, strict=True):
        # The middle of Plotly's text is (ax, ay) pixels away from the point; down is positive.
        ax, ay = (box.x0 + box.x1) / 2 - spot[0], spot[1] - (box.y0 + box.y1) / 2
        gap = max(abs(ax) - box.width / 2, abs(ay) - box.height / 2)
        names.append(
            {
                "x": x, "y": y, "ax": round(float(ax), 1), "ay": round(float(ay), 1), "text": html.escape(point.name),
                "arrowcolor": "var(--quiet)" if gap > 14 else "rgba(0,0,0,0)",
                "font": {"size": 12, "color": LIGHT_INK if point.front else "var(--quiet)"},
            }
        )  # fmt: skip
    return names


def _layout() -> go.Layout:
    axis = {"gridcolor": "var(--grid)", "linecolor": LIGHT_INK, "showline": True, "zeroline": False, "ticks": "outside",
            "tickcolor": LIGHT_INK, "automargin": True}  # fmt: skip
    return go.Layout(
        template="none", paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
        font={"family": 'system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif', "size": 13, "color": LIGHT_INK},
        margin={"l": 70, "r": 130, "t": 30, "b": 60}, xaxis=axis, yaxis=axis, hovermode="closest",
        hoverlabel={"align": "left", "bgcolor": "var(--paper)", "bordercolor": "var(--quiet)",
                    "font": {"color": LIGHT_INK}},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "var(--quiet)", "activecolor": LIGHT_INK},
        legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0}, dragmode="pan",
    )  # fmt: skip


def _scale() -> list[list[Any]]:
    """Colours of contents that show on light and on dark."""
    scale = mpl.colormaps["viridis"]
    return [[k / 8, to_hex(scale(0.3 + 0.55 * k / 8))] for k in range(9)]


def _tradeoffs(evaluation: Evaluation, teachers: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """{data set: {measure: figure and note}}, the mean over all first where there is one."""
    found: dict[str, dict[str, Any]] = {}
    names = [dataset.name for dataset in evaluation.datasets]
    for name in [MEAN, *names] if len(evaluation.judged) > 1 or len(names) > 1 else names:
        drawn = evaluation_field(evaluation, name or None, teachers)
        figures = {}
        for measure in measures_of(drawn.rows):
            note = _note(evaluation, name, drawn, measure)
            figures[measure.key] = {
                "figure": tradeoff_plot(drawn, measure).to_plotly_json(),
                "wide": point_names(drawn, measure, WIDE),
                "narrow": point_names(drawn, measure, NARROW),
                "note": note,
            }
        if figures:
            found[name] = figures
    return found


def _note(evaluation: Evaluation, name: str, drawn: Field, measure: Measure) -> str:
    sentences = []
    bars = any(point.bar for point in drawn.points(measure))
    if bars and evaluation.has_intervals:
        mean = "" if name or len(evaluation.judged) == 1 else ", combined as those of independent data sets"
        sentences.append(f"Bars: {evaluation.confidence.words}{mean}.")
    missing = drawn.absent([measure]).get(measure.name)
    if missing:
        sentences.append(f"Not drawn, since it was not measured: {', '.join(missing)}.")
    data = [evaluation.dataset(data) for data in ([name] if name else evaluation.judged)]
    labels = [model.name for model in evaluation.models if any(facts.is_label(model.name) for facts in data)]
    if labels:
        sentences.append(f"Not drawn, since it is the label itself: {', '.join(map(evaluation.title, labels))}.")
    known = {evaluation.title(label) for label in labels}
    unscored = [row["stage"] for row in drawn.rows if number(row, "srocc") is None and row["stage"] not in known]
    if unscored:
        sentences.append(f"Without an SROCC here: {', '.join(unscored)}.")
    other = dict.fromkeys(str(row["other"]) for row in drawn.scored if row.get("other"))
    if other:
        sentences.append(f"Diamonds are of other data and can't be compared: {'; '.join(other)}.")
    if drawn.lines(measure):
        sentences.append("Dashed: metrics that are no network.")
    return " ".join(sentences)


def _clouds(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Scores in columns: what is of the data set once, then a column a model."""
    found = []
    for dataset in evaluation.datasets:
        name = dataset.name
        panels = {panel.model: panel for panel in panels_of(evaluation, dataset=name)}
        if not panels:
            continue
        items: dict[tuple[str, str], int] = {}
        columns: dict[str, list[Any]] = {"file": [], "mos": [], "std": [], "shown": [], "group": []}
        groups: dict[str, int] = {}
        clouds = {}
        order = sorted({group for panel in panels.values() for group in panel.groups})
        for model in evaluation.models:
            title = evaluation.title(model.name)
            if title in panels:
                panel = panels[title]
                groups = {group: place for place, group in enumerate(order)}
                clouds[model.name] = _cloud(panel, items, columns, groups, dataset)
        label = dataset.title + (" (proxy)" if dataset.is_proxy else "")
        found.append(
            {"name": name, "label": html.escape(label), "names": [html.escape(group) for group in order], **columns,
             "clouds": clouds}
        )  # fmt: skip
    return found


def _cloud(
    panel: Panel,
    items: dict[tuple[str, str], int],
    columns: dict[str, list[Any]],
    groups: Mapping[str, int],
    dataset: Dataset,
) -> dict[str, Any]:
    chosen: Sequence[int] = range(len(panel.items))
    if len(panel.items) > MOST_POINTS:
        chosen = np.sort(np.random.default_rng(0).permutation(len(panel.items))[:MOST_POINTS]).tolist()
    at, score = [], []
    names = panel.groups
    for place in chosen:
        item = panel.items[place]
        key = (item.distorted, f"{item.mos!r}")
        if key not in items:
            items[key] = len(items)
            columns["file"].append(html.escape(item.distorted or "?"))
            columns["mos"].append(item.mos)
            columns["shown"].append(f"{item.mos:.4g}")
            columns["std"].append(item.std)
            columns["group"].append(groups[names[place]])
        at.append(items[key])
        score.append(float(item.score or 0.0))
    curve = fitted_curve(panel, 120)
    sentences = [f"{panel.model} on {dataset.name}: {dataset.described}. {', '.join(panel.corner.splitlines())}."]
    if len(chosen) < len(panel.items):
        sentences.append(f"{len(chosen):,} of {len(panel.items):,} points are shown, drawn at random.")
    if curve is not None:
        sentences.append("The line is the fitted 4-parameter logistic.")
    return {
        "model": html.escape(panel.model), "at": at, "score": [float(f"{value:.6g}") for value in score],
        "shown": [f"{value:.4g}" for value in score], "note": " ".join(sentences),
        "curve": None if curve is None else [[float(f"{v:.5g}") for v in side] for side in curve],
    }  # fmt: skip


# --- sections -----------------------------------------------------------------------------------------------------


def _top(evaluation: Evaluation) -> str:
    own = [dataset for dataset in evaluation.datasets if not dataset.run]
    human = [dataset for dataset in own if not dataset.is_proxy]
    proxies = [dataset for dataset in own if dataset.is_proxy]
    parts = [_count(len(human), "data set") + " with viewers' scores"] if human else []
    labels = ", ".join(dict.fromkeys(dataset.title for dataset in proxies))
    parts += [f"{_count(len(proxies), 'data set')} labelled by a proxy ({labels})"] if proxies else []
    models = [model for model in evaluation.models if not model.run]
    lead = f"{_count(len(models), 'model')} on {' and '.join(parts)}."
    if len(models) < len(evaluation.models):
        added = _count(len(evaluation.models) - len(models), "network")
        elsewhere = ", judged on other data" if len(own) < len(evaluation.datasets) else ""
        lead += f" Besides, {added} of run folders{elsewhere}."
    if proxies:
        lead += " A proxy is another metric's output: agreeing with it is not agreeing with viewers."
    head = page.paragraph(when(evaluation.created).replace("report", "evaluation", 1), "when")
    return f"<header><h1>Evaluation of quality metrics</h1>{head}{page.paragraph(lead, 'lead')}</header>\n"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _select(name: str, title: str, choices: Sequence[tuple[str, str]]) -> str:
    options = "".join(f'<option value="{html.escape(value)}">{html.escape(text)}</option>' for value, text in choices)
    return f'<label>{html.escape(title)}<select id="{name}">{options}</select></label>'


def _plot(name: str, kind: str = "") -> str:
    without = "<noscript><p>The figures of this page need JavaScript; the same stand beside it as SVG.</p></noscript>"
    return f'<div class="plot{kind}" id="{name}"></div>{without}<p class="note" id="{name}-note"></p>'


def _tradeoff_section(evaluation: Evaluation, tradeoffs: Mapping[str, Mapping[str, Any]]) -> str:
    if not tradeoffs:
        return ""
    measures = {m.key: m for name in tradeoffs for m in measures_of(evaluation_field(evaluation, name or None).rows)}
    mean = f"mean over {len(evaluation.judged)} data sets" if len(evaluation.judged) > 1 else evaluation.judged[0]
    names = [(name, name or mean) for name in tradeoffs]
    names = [(name, title) for name, title in names if name == MEAN or MEAN not in tradeoffs or title != mean]
    return (
        f'<div class="controls">{_select("tradeoff-measure", "x axis", [(k, m.name) for k, m in measures.items()])}'
        f"{_select('tradeoff-data', 'data', names)}</div>{_plot('tradeoff')}"
    )


def _accuracy_section(evaluation: Evaluation) -> str:
    return page.scroll(accuracy_grid(evaluation).to_html()) + page.paragraph(accuracy_caption(evaluation), "note")


def _scatter_section(evaluation: Evaluation, clouds: Sequence[Mapping[str, Any]]) -> str:
    if not clouds:
        return ""
    scored = {name for data in clouds for name in data["clouds"]}
    models = [(m.name, evaluation.title(m.name)) for m in evaluation.models if m.name in scored]
    datasets = [(str(place), str(data["name"])) for place, data in enumerate(clouds)]
    return (
        f'<div class="controls">{_select("scatter-model", "model", models)}'
        f"{_select('scatter-data', 'data', datasets)}</div>{_plot('scatter', ' square')}"
    )


def _statistics_section(evaluation: Evaluation) -> str:
    parts = []
    for place, grid in enumerate(statistics_grids(evaluation)):
        table = page.scroll(grid.to_html()) + page.paragraph(grid.caption, "note")
        opened = "" if place else " open"
        parts.append(f"<details{opened}><summary>{html.escape(grid.title)}</summary>{table}</details>")
    return "".join(parts)


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


def _models(evaluation: Evaluation) -> str:
    facts = {
        evaluation.title(model.name): {
            key: getattr(model, key) for key in ("mode", "higher_is_better", "inputs", "source")
        }
        for model in evaluation.models
    }
    heads = ("Model", "Mode", "Higher is better", "Complexity counted on", "Source")
    head = "".join(f'<th scope="col">{title}</th>' for title in heads)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(f"<td>{page.text(value)}</td>" for value in values.values())
        + "</tr>"
        for name, values in facts.items()
    )
    return page.scroll(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")


def _datasets(evaluation: Evaluation) -> str:
    lines = []
    for dataset in evaluation.datasets:
        better = dataset.higher_is_better
        turn = "" if better is None else (" Higher is better." if better else " Lower is better.")
        notes = map(sentence, dataset.notes)
        lines.append(" ".join([f"{dataset.name}: {dataset.described}.{turn}", *notes]))
    return page.bullets(lines)


def _environment(evaluation: Evaluation) -> str:
    facts = evaluation.environment
    if not facts:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{page.text(str(key).replace("_", " "))}</th><td>{words(value)}</td></tr>'
        for key, value in facts.items()
    )
    return page.scroll(f"<table><tbody>{rows}</tbody></table>")
