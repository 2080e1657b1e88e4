"""Many metrics in one figure: accuracy against complexity, the Pareto front, lines for metrics that are no network."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from compressvqa.report import style
from compressvqa.report.intervals import interval
from compressvqa.report.labels import place_labels, spread
from compressvqa.report.measures import Measure
from compressvqa.report.pareto import pareto_front
from compressvqa.report.results import number

OF_NETWORKS = ("params", "macs", "macs_conv_linear")
DOMINATED = "#8b949e"
Line = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Field:
    """The metrics of a figure and what their accuracy is.

    Args:
        rows: a mapping a metric: "stage" (its name), the accuracy and its "_low" and "_high", complexities in plain
            units, "mode" ("NR" gets another marker), "other" (where its accuracy is of other data than the rest).
        accuracy: the key of the accuracy.
        title: of the y axis.
        inputs: what MACs and latency were counted on.
        teachers: {student: teacher}.
    """

    rows: Sequence[Mapping[str, Any]]
    accuracy: str = "srocc"
    title: str = "SROCC"
    inputs: str | None = None
    teachers: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def scored(self) -> list[Mapping[str, Any]]:
        """The rows that have an accuracy."""
        return [row for row in self.rows if number(row, self.accuracy) is not None]

    def points(self, measure: Measure) -> list[Point]:
        """The metrics that have this complexity, as points, with those on the Pareto front marked."""
        rows = [row for row in self.scored if (number(row, measure.key) or 0) > 0]
        places = [(float(row[measure.key]) / measure.divide, float(row[self.accuracy])) for row in rows]
        # What stands on other data is no rival.
        rivals = [(x, None if row.get("other") else y) for row, (x, y) in zip(rows, places, strict=True)]
        best = set(pareto_front(rivals))
        return [
            Point(str(row["stage"]), x, y, interval(row, self.accuracy), place in best, row.get("mode") == "NR",
                  bool(row.get("other")))
            for place, (row, (x, y)) in enumerate(zip(rows, places, strict=True))
        ]  # fmt: skip

    def lines(self, measure: Measure) -> list[tuple[str, float]]:
        """Metrics that are no network and lack this complexity: (name, accuracy) each."""
        return [
            (str(row["stage"]), float(row[self.accuracy]))
            for row in self.scored
            if number(row, measure.key) is None and all(number(row, key) is None for key in OF_NETWORKS)
            if not row.get("other")
        ]

    def absent(self, measures: Sequence[Measure]) -> dict[str, list[str]]:
        """{measure's name: the networks that it does not show, since they lack it}."""
        found = {}
        for measure in measures:
            shown = {point.name for point in self.points(measure)} | {name for name, _ in self.lines(measure)}
            missing = [str(row["stage"]) for row in self.scored if str(row["stage"]) not in shown]
            if missing:
                found[measure.name] = missing
        return found

    @cached_property
    def limits(self) -> tuple[float, float]:
        """Of the y axis: all accuracies and bars, with room around."""
        values = [float(row[self.accuracy]) for row in self.scored]
        values += [end for row in self.scored for end in interval(row, self.accuracy) or ()]
        span = max(max(values) - min(values), 0.02)
        return min(values) - 0.06 * span, max(values) + 0.06 * span


@dataclass(frozen=True)
class Point:
    """A metric in one panel."""

    name: str
    x: float
    y: float
    bar: tuple[float, float] | None
    front: bool
    blind: bool  # no-reference
    other: bool

    @property
    def look(self) -> dict[str, Any]:
        """Marker and colours. Front or not is told by filling too, since not all readers see the colours."""
        marker = "D" if self.other else ("^" if self.blind else "o")
        colour = style.BLUE if self.front else DOMINATED
        face = colour if self.front else style.PAPER
        size = 4.2 if self.other else (5.6 if self.blind else 5)
        return {"marker": marker, "markersize": size, "markerfacecolor": face, "markeredgecolor": colour,
                "markeredgewidth": 1.0, "linestyle": "none"}  # fmt: skip


def front_steps(points: Sequence[Point], right: float) -> list[tuple[float, float]]:
    """Corners of the step line through the front: the best accuracy that a budget of x buys."""
    front = sorted((point.x, point.y) for point in points if point.front)
    corners: list[tuple[float, float]] = []
    for x, y in front:
        corners += [(x, corners[-1][1])] if corners else []
        corners.append((x, y))
    return [*corners, (right, front[-1][1])] if front else []


def draw_front(axes: Axes, drawn: Field, measure: Measure) -> list[Text]:
    """Draws one panel and returns the names of its lines, at the right margin; `name_front` then moves them apart."""
    points = drawn.points(measure)
    xs = [point.x for point in points]
    axes.set_xscale("log")
    room = max((max(xs) / min(xs)) ** 0.12, 1.3)
    axes.set_xlim(min(xs) / room, max(xs) * room)
    axes.set_ylim(*drawn.limits)
    style.log_ticks(axes.xaxis, *axes.get_xlim())
    style.bare(axes)
    axes.set_xlabel(measure.title(drawn.inputs))
    corners = front_steps(points, axes.get_xlim()[1])
    axes.plot(*zip(*corners, strict=True), color=style.BLUE, alpha=0.4, linewidth=1.0, zorder=1.6) if corners else None
    for point in points:
        if point.bar is not None:
            axes.plot([point.x] * 2, point.bar, color=style.BLUE if point.front else DOMINATED, linewidth=0.9,
                      alpha=0.55, zorder=2, solid_capstyle="butt")  # fmt: skip
        axes.plot([point.x], [point.y], zorder=3, **point.look)
    for start, end in _arrows(drawn, points):
        arrow = {"arrowstyle": "-|>", "color": style.VERMILLION, "linewidth": 0.9, "shrinkA": 4, "shrinkB": 4}
        axes.annotate("", end, start, arrowprops={**arrow, "mutation_scale": 7}, zorder=2.5)
    names = []
    for name, y in drawn.lines(measure):
        axes.axhline(y, color=style.QUIET, linewidth=0.7, dashes=(4, 3), zorder=1.4)
        text = axes.text(1.02, y, name, transform=axes.get_yaxis_transform(), va="center", fontsize=6.5,
                         color=style.QUIET)  # fmt: skip
        names.append(text)
    return names


def name_front(axes: Axes, drawn: Field, measure: Measure, margin: Sequence[Text]) -> None:
    """Writes the names of points beside them and moves those at the margin apart. Axes must have their final place."""
    points = drawn.points(measure)
    left, right = axes.get_xlim()
    corners = front_steps(points, right)
    lines: list[tuple[Line, float]] = [(pair, 0.6) for pair in itertools.pairwise(corners)]
    lines += [(((p.x, p.bar[0]), (p.x, p.bar[1])), 0.5) for p in points if p.bar is not None]
    lines += [(pair, 1.0) for pair in _arrows(drawn, points)]
    lines += [(((left, y), (right, y)), 0.06) for _, y in drawn.lines(measure)]
    place_labels(
        axes, [(p.x, p.y) for p in points], [p.name for p in points],
        lines=[line for line, _ in lines], weights=[weight for _, weight in lines],
        size=7 if len(points) > 12 and axes.get_window_extent().width < 4 * axes.figure.dpi else None,
        colours=[style.INK if p.front else style.QUIET for p in points],
    )  # fmt: skip
    if not margin:
        return
    low, high = axes.get_ylim()
    frame = axes.get_window_extent()
    height = 1.05 * max(text.get_window_extent().height for text in margin) * (high - low) / frame.height
    wanted = [float(text.get_position()[1]) for text in margin]
    for text, y, at in zip(margin, wanted, spread(wanted, height, low, high), strict=True):
        text.set_y(at)
        axes.plot([1.002, 1.017], [y, at], transform=axes.get_yaxis_transform(), color=style.QUIET, linewidth=0.6,
                  clip_on=False, scalex=False, scaley=False)  # fmt: skip


def front_figure(drawn: Field, measures: Sequence[Measure]) -> Figure:
    """A panel a complexity. Where there are many names the first panel takes the whole width of a page.

    Call inside `style.house_style()`.
    """
    crowded = len(drawn.scored) > 6
    wide = len(measures) > 1 or crowded
    if crowded and len(measures) > 1:
        figure = style.new_figure(style.PAGE_WIDTH, 6.1)
        grid = figure.add_gridspec(2, len(measures) - 1, height_ratios=(1.12, 1))
        panels = [figure.add_subplot(grid[0, :])]
        panels += [figure.add_subplot(grid[1, place]) for place in range(len(measures) - 1)]
        first_of_line = panels[:2]
    else:
        figure = style.new_figure(style.PAGE_WIDTH if wide else style.COLUMN_WIDTH, 3.4 if crowded else 2.7)
        panels = list(figure.subplots(1, len(measures), sharey=True, squeeze=False)[0])
        first_of_line = panels[:1]
    for axes in first_of_line:
        axes.set_ylabel(drawn.title)
    names = [draw_front(axes, drawn, measure) for axes, measure in zip(panels, measures, strict=True)]
    handles = _legend(drawn, measures)
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles) if wide else 2, frameon=False,
                  fontsize=7, handlelength=1.6, columnspacing=1.4, borderpad=0, handletextpad=0.5)  # fmt: skip
    style.lay_out(figure)  # from here on panels stay, so that names can be placed
    for axes, measure, margin in zip(panels, measures, names, strict=True):
        name_front(axes, drawn, measure, margin)
    return figure


def _arrows(drawn: Field, points: Sequence[Point]) -> list[Line]:
    at = {point.name: (point.x, point.y) for point in points}
    return [
        (at[teacher], at[student])
        for student, teacher in drawn.teachers.items()
        if teacher in at and student in at and teacher != student
    ]


def _legend(drawn: Field, measures: Sequence[Measure]) -> list[Line2D]:
    """Only what the figure has."""
    points = [point for measure in measures for point in drawn.points(measure)]
    blank: dict[str, Any] = {"bar": None, "blind": False, "other": False}
    front, beaten = Point("", 0, 0, front=True, **blank), Point("", 0, 0, front=False, **blank)
    handles = []
    if len(points) > len(measures):  # a front of one point needs no name
        on_front = {**front.look, "linestyle": "-", "color": (0, 0.447, 0.698, 0.4), "linewidth": 1.0}
        handles.append(Line2D([], [], label="Pareto front", **on_front))
    if any(not point.front and not point.other for point in points):
        handles.append(Line2D([], [], label="not on it", **beaten.look))
    if any(point.blind for point in points):
        handles.append(Line2D([], [], label="no-reference", **{**beaten.look, "marker": "^"}))
    if any(point.other for point in points):
        handles.append(Line2D([], [], label="of other data, not comparable", **{**beaten.look, "marker": "D"}))
    if any(point.bar for point in points):
        handles.append(Line2D([], [], color=DOMINATED, linewidth=0.9, marker="|", markersize=7, linestyle="none",
                              label="confidence interval"))  # fmt: skip
    if any(drawn.lines(measure) for measure in measures):
        handles.append(Line2D([], [], color=style.QUIET, linewidth=0.7, dashes=(4, 3), label="no network"))
    if any(_arrows(drawn, drawn.points(measure)) for measure in measures):
        handles.append(Line2D([], [], color=style.VERMILLION, linewidth=0.9, label="teacher to student"))
    return handles
