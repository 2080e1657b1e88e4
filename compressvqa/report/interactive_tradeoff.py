"""The trade-off of an evaluation as a figure to point at: Plotly draws it, Matplotlib places the names."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from compressvqa.report import style
from compressvqa.report.evaluation_tradeoff import evaluation_field
from compressvqa.report.front import Field, Point, front_steps
from compressvqa.report.interactive_look import LIGHT_INK, LIGHT_KEPT, NARROW, WIDE, layout, plotly_text
from compressvqa.report.intervals import interval
from compressvqa.report.labels import place_labels, spread
from compressvqa.report.measures import Measure, measures_of
from compressvqa.report.numbers import LATENCY, MACS, MACS_CONV_LINEAR, PARAMS, between, correlation
from compressvqa.report.results import number
from compressvqa.results import Evaluation

MEAN = ""  # the data set's name that stands for the mean over all


def tradeoffs(evaluation: Evaluation, teachers: Mapping[str, str]) -> dict[str, dict[str, Any]]:
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


def tradeoff_plot(drawn: Field, measure: Measure) -> go.Figure:
    """One trade-off as an interactive figure, without the names of its points, see `point_names`.

    Colours are named after the page's theme ("var(--ink)").
    """
    points, lines = drawn.points(measure), drawn.lines(measure)
    figure = go.Figure(layout=layout())
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
    written = [f"{name} {correlation(y, interval(facts[name], drawn.accuracy))}" for name, y in lines]
    for (_, y), text, height in zip(lines, written, heights, strict=True):
        figure.add_shape(type="line", xref="paper", x0=0, x1=1, y0=y, y1=y, layer="below",
                         line={"color": "var(--quiet)", "width": 1, "dash": "dash"})  # fmt: skip
        figure.add_annotation(text=plotly_text(text), xref="paper", x=1, y=y, xanchor="left",
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
    figure.update_xaxes(type="log", range=list(span), title={"text": plotly_text(measure.title(drawn.inputs))},
                        tickmode="array", tickvals=ticks, ticktext=[f"{tick:,.10g}" for tick in ticks])  # fmt: skip
    # The names at the margin are as long as they are: Plotly cuts what leaves the figure.
    room = max([30, *(7 * len(text) for text in written)])
    figure.update_layout(margin_r=room)
    title = plotly_text(drawn.title).replace("\n", "<br>")
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
    lines = [
        f"<b>{plotly_text(point.name)}</b>",
        f"SROCC {correlation(point.y, point.bar)} {between(point.bar)}".strip(),
    ]
    for quantity, unit in (
        (MACS, "G MAC"), (MACS_CONV_LINEAR, "G MAC, conv & linear"), (PARAMS, "M parameters"), (LATENCY, "ms"),
    ):  # fmt: skip
        if (value := number(row, quantity.key)) is not None:
            lines.append(f"{quantity.text(value)} {plotly_text(unit)}")
    if row.get("other"):
        lines.append(f"of other data: {plotly_text(str(row['other']))}")
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
                "x": x, "y": y, "ax": round(float(ax), 1), "ay": round(float(ay), 1), "text": plotly_text(point.name),
                "arrowcolor": "var(--quiet)" if gap > 14 else "rgba(0,0,0,0)",
                "font": {"size": 12, "color": LIGHT_INK if point.front else "var(--quiet)"},
            }
        )  # fmt: skip
    return names
