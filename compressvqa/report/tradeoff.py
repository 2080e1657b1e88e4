"""Complexity against accuracy: the figure that says what a compression cost."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compressvqa.errors import CompressVQAError
from compressvqa.files import write_text
from compressvqa.report import style
from compressvqa.report.front import Field, front_figure
from compressvqa.report.intervals import interval
from compressvqa.report.labels import place_labels
from compressvqa.report.measures import Measure, accuracy_title, measures_of
from compressvqa.report.results import number
from compressvqa.report.run_table import plain_rows


def draw_tradeoff(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    measure: Measure,
    *,
    accuracy: str = "srocc",
    connect: bool = True,
    inputs: str | None = None,
) -> None:
    """Draws one panel: a point a row, with its confidence bar where known, an arrow from each row to the next.

    Axes limits are set here; names are placed by `name_points` once the figure's layout is final.
    """
    shown = [row for row in rows if number(row, accuracy) is not None and (number(row, measure.key) or 0) > 0]
    colours = style.stage_colours([str(row["stage"]) for row in rows])
    xs = [float(row[measure.key]) / measure.divide for row in shown]
    ys = [float(row[accuracy]) for row in shown]
    axes.set_xscale("log")
    low, high = min(xs), max(xs)
    room = max((high / low) ** 0.16, 1.25)
    axes.set_xlim(low / room, high * room)
    style.log_ticks(axes.xaxis, *axes.get_xlim())
    style.bare(axes)
    axes.set_xlabel(measure.title(inputs))
    for row, x, y in zip(shown, xs, ys, strict=True):
        colour, marker = colours[str(row["stage"])]
        if (ends := interval(row, accuracy)) is not None:
            axes.plot([x, x], ends, color=colour, linewidth=0.9, alpha=0.45, solid_capstyle="butt", zorder=1.8)
        edge: dict[str, Any] = {"markeredgecolor": style.PAPER, "markeredgewidth": 0.6}
        axes.plot([x], [y], marker, color=colour, markersize=6, zorder=3, **edge)
    if connect:
        points = list(zip(xs, ys, strict=True))
        for start, end in ((points[a], points[b]) for a, b in origins(shown)):
            arrow = {"arrowstyle": "-|>", "color": style.QUIET, "linewidth": 0.9, "shrinkA": 4.5, "shrinkB": 4.5}
            axes.annotate("", end, start, arrowprops={**arrow, "mutation_scale": 7}, zorder=2)


def origins(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Positions of each row's origin and of the row: what was made of what. A row that does not say follows the last.

    >>> origins([{"stage": "teacher"}, {"stage": "pruned"}, {"stage": "other", "origin": "teacher"}])
    [(0, 1), (0, 2)]
    """
    places = {str(row["stage"]): place for place, row in enumerate(rows)}
    found = []
    for place, row in enumerate(rows):
        origin = places.get(str(row["origin"])) if "origin" in row else place - 1
        if origin is not None and origin >= 0:
            found.append((origin, place))
    return found


def name_points(
    axes: Axes, rows: Sequence[Mapping[str, Any]], measure: Measure, *, accuracy: str = "srocc", connect: bool = True
) -> None:
    """Writes each row's stage beside its point. The axes must have their final place in the figure."""
    shown = [row for row in rows if number(row, accuracy) is not None and (number(row, measure.key) or 0) > 0]
    points = [(float(row[measure.key]) / measure.divide, float(row[accuracy])) for row in shown]
    lines = [(points[a], points[b]) for a, b in origins(shown)] if connect else []
    bars = [(x, interval(row, accuracy)) for (x, _), row in zip(points, shown, strict=True)]
    lines += [((x, ends[0]), (x, ends[1])) for x, ends in bars if ends is not None]
    place_labels(axes, points, [str(row["stage"]) for row in shown], lines=lines)


def tradeoff_figure(
    rows: Sequence[Mapping[str, Any]],
    *,
    measures: Sequence[Measure],
    accuracy: str = "srocc",
    label: str | None = None,
    n: int | None = None,
    inputs: str | None = None,
    connect: bool = True,
    size: tuple[float, float] | None = None,
) -> Figure:
    """The panels side by side, one y axis for all. Call inside `style.house_style()`."""
    figure = style.new_figure(*(size or (style.PAGE_WIDTH if len(measures) > 1 else style.COLUMN_WIDTH, 2.5)))
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=True):
        draw_tradeoff(axes, rows, measure, accuracy=accuracy, connect=connect, inputs=inputs)
    ys = [float(row[accuracy]) for row in rows if number(row, accuracy) is not None]
    ys += [end for row in rows if number(row, accuracy) is not None for end in interval(row, accuracy) or ()]
    span = max(max(ys) - min(ys), 0.02)
    panels[0].set_ylim(min(ys) - 0.2 * span, max(ys) + 0.2 * span)
    panels[0].set_ylabel(accuracy_title(label, n, accuracy))
    style.lay_out(figure)  # from here on panels stay, so that names can be placed
    for axes, measure in zip(panels, measures, strict=True):
        name_points(axes, rows, measure, accuracy=accuracy, connect=connect)
    return figure


def plot_tradeoff(
    rows: Sequence[Mapping[str, Any]],
    path: str | Path,
    *,
    accuracy: str = "srocc",
    label: str | None = None,
    n: int | None = None,
    inputs: str | None = None,
    connect: bool = True,
    front: bool = False,
    title: str | None = None,
    teachers: Mapping[str, str] | None = None,
) -> list[Path]:
    """Plots complexity against accuracy for any set of networks, as figure for print and as table.

    Args:
        rows: a mapping a network with "stage" (its name), the accuracy, and any of "macs", "params", "latency_ms" in
            plain units (MACs, parameters, milliseconds). Each complexity that some row has becomes a panel. Where the
            accuracy's key with "_low" and "_high" is there, it is drawn as a confidence bar.
        path: written are this path with the suffixes .svg, .png (300 dpi) and .csv, each by way of a temporary name.
        accuracy: the row's key for the y axis: "srocc", "plcc", "krocc" or "pair_accuracy".
        label: what the accuracy is taken against, "vmaf_v0.6.1".
        n: over how many validation clips. Where neither is given the axis does not say.
        inputs: what complexity was counted on, "12 frames of 256x256".
        connect: an arrow from each row to the next, for the stages of one run.
        front: draws a field of unrelated metrics instead, with the Pareto front: see `compressvqa.report.front`. Rows
            without any complexity of a network become horizontal lines; a row's "other" (what other data its accuracy
            is of) keeps it off the front and marks it. `connect` is then ignored.
        title: of the y axis, instead of the one made from `accuracy`, `label` and `n`.
        teachers: {student: teacher}, an arrow each, where `front` is set.

    Returns:
        The three paths.

    Raises:
        CompressVQAError: no row has both the accuracy and a complexity.
    """
    measures = measures_of(rows, accuracy)
    if not measures:
        raise CompressVQAError(f"no row has {accuracy} and one of params, macs, latency_ms", hint="evaluate first")
    stem = Path(path).with_suffix("") if Path(path).suffix in (".svg", ".png", ".csv") else Path(path)
    with style.house_style():
        if front:
            field = Field(rows, accuracy, title or accuracy_title(label, n, accuracy), inputs, teachers or {})
            figure = front_figure(field, measures)
        else:
            figure = tradeoff_figure(
                rows, measures=measures, accuracy=accuracy, label=label, n=n, inputs=inputs, connect=connect
            )
            if title is not None:
                figure.axes[0].set_ylabel(title)
        paths = [stem.with_name(stem.name + suffix) for suffix in (".svg", ".png", ".csv")]
        style.save(figure, paths[0])
        style.save(figure, paths[1])
    _write_csv(plain_rows(rows), paths[2])
    return paths


def _write_csv(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    text = io.StringIO()
    names = list(dict.fromkeys(name for line in lines for name in line))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_text(path, text.getvalue())
