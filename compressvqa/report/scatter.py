"""Scores against what viewers (or a proxy) said: one model on each data set, or each model on one data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from compressvqa.errors import CompressVQAError
from compressvqa.report import style
from compressvqa.report.numbers import correlation
from compressvqa.results import Evaluation, ItemScore, Result

Values = npt.NDArray[np.float64]
MOST_ROWS = 6  # panels above each other on one page
MANY = 400  # points from which on they are drawn as pixels inside the SVG, small and faint
MOST_BARS = 150  # bars of more points than this would hide them


@dataclass(frozen=True)
class Panel:
    """A cloud of points and what is known of it.

    Args:
        title: the model's or the data set's name.
        items: those that have both a score and a label.
        result: the figures of the model on the data set, None where there are none.
        label: what the label is called: "MOS", "VMAF 0.6.1 (proxy)".
        model: name of the model, for the x axis.
    """

    title: str
    items: Sequence[ItemScore]
    result: Result | None
    label: str
    model: str

    def values(self, key: str) -> Values:
        """One figure of all items, NaN where an item lacks it."""
        found = [getattr(item, key) for item in self.items]
        return np.array([math.nan if value is None else value for value in found], dtype=np.float64)

    @property
    def groups(self) -> list[str]:
        """What each point is coloured by: its content, and its ladder where contents have several."""
        several = len({item.ladder for item in self.items if item.ladder}) > 1
        contents = [item.content or item.reference or "" for item in self.items]
        return [
            f"{content}, {item.ladder}" if several and item.ladder else content
            for content, item in zip(contents, self.items, strict=True)
        ]

    @property
    def corner(self) -> str:
        """SROCC and PLCC in words, of those that are known."""
        if self.result is None:
            return ""
        found = [("SROCC", "srocc"), ("PLCC", "plcc")]
        return "\n".join(
            f"{name} {correlation(value, self.result.interval(key))}"
            for name, key in found
            if (value := self.result.figure(key)) is not None
        )


def logistic4(x: Values, parameters: Sequence[float]) -> Values:
    """(b0 - b1) / (1 + exp((b2 - x) / |b3|)) + b1, in a form that can't overflow.

    >>> logistic4(np.array([-1e6, 3.0, 1e6]), [5, 1, 3, 0.1]).tolist()
    [1.0, 3.0, 5.0]
    """
    high, low, middle, width = parameters
    rise: Values = 0.5 * (1 + np.tanh((x - middle) / (2 * max(abs(width), 1e-12))))
    return (high - low) * rise + low


def fitted_curve(panel: Panel, points: int = 200) -> tuple[Values, Values] | None:
    """The fitted curve over the range of the scores; None where no 4-parameter logistic fit is known."""
    given = panel.result.fit_parameters if panel.result is not None else None
    if panel.result is None or given is None or panel.result.fit not in (None, "logistic4"):
        return None
    known = [value for value in given if value is not None and math.isfinite(value)]
    scores = panel.values("score")
    if len(known) != 4 or len(given) != 4 or scores.size == 0 or np.ptp(scores) == 0:
        return None
    x = np.linspace(scores.min(), scores.max(), points)
    return x, logistic4(x, known)


def panels_of(evaluation: Evaluation, *, model: str | None = None, dataset: str | None = None) -> list[Panel]:
    """The clouds of one model on each data set, or of each model on one data set; those without two points left out.

    Raises:
        CompressVQAError: not exactly one of the two is given.
        EvaluationError: the evaluation has no such model or data set.
    """
    if (model is None) == (dataset is None):
        raise CompressVQAError("scatter plots are of one model or of one data set", hint="model=... or dataset=...")
    if model is not None:
        evaluation.model(model)
        pairs = [(model, facts.name) for facts in evaluation.datasets]
    else:
        evaluation.dataset(str(dataset))
        pairs = [(facts.name, str(dataset)) for facts in evaluation.models]
    panels = []
    for name, data in pairs:
        facts = evaluation.dataset(data)
        items = [item for item in evaluation.items(name, data) if item.score is not None and item.mos is not None]
        if len(items) < 2 or facts.is_label(name):
            continue
        label = facts.title + (" (proxy)" if facts.is_proxy else "")
        title = data if model is not None else evaluation.title(name)
        panels.append(Panel(title, items, evaluation.result(name, data), label, evaluation.title(name)))
    return panels


def group_colours(groups: Sequence[str]) -> dict[str, str]:
    """A quiet colour for each group: from a scale that is ordered by lightness too, without its darkest and palest."""
    unique = sorted(set(groups))
    scale = mpl.colormaps["viridis"]
    return {
        group: to_hex(scale(0.12 + 0.7 * place / max(1, len(unique) - 1))) if len(unique) > 1 else style.BLUE
        for place, group in enumerate(unique)
    }


def free_corner(axes: Axes, x: Values, y: Values, room: tuple[float, float]) -> tuple[int, int]:
    """(right, top), 0 or 1 each, of a corner of the panel without points; makes the y axis longer where none is.

    Args:
        axes: whose limits are set.
        x: of the points.
        y: of the points.
        room: width and height that must be free, as shares of the panel.
    """
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    across, up = (x - left) / (right - left), (y - low) / (high - low)
    sides = [across < room[0], across > 1 - room[0]]
    ends = [up < room[1], up > 1 - room[1]]
    corner = next((at for at in ((0, 1), (1, 0), (1, 1), (0, 0)) if not (sides[at[0]] & ends[at[1]]).any()), None)
    if corner is not None:
        return corner
    # Always at the top, so that panels with one y axis agree on its end; so far that the highest point is just below.
    tops = [up[side].max() if side.any() else 0.0 for side in sides]
    side = int(tops[1] < tops[0])
    axes.set_ylim(low, low + (high - low) * tops[side] / (1 - room[1]))
    return side, 1


def draw_scatter(axes: Axes, panel: Panel, room: tuple[float, float] = (0.46, 0.2)) -> None:
    """Draws one cloud: points by content, bars of one standard deviation, the fitted curve, SROCC and PLCC.

    `room` is the width and height of the figures in the corner, as shares of the panel; where no corner is free of
    points, the y axis is made longer.
    """
    x, y, std = panel.values("score"), panel.values("mos"), panel.values("std")
    groups = panel.groups
    colours = group_colours(groups)
    many = len(x) > MANY
    shade = float(np.clip(14 / math.sqrt(len(x)), 0.16, 0.85))
    if not many and len(x) <= MOST_BARS and np.isfinite(std).any():
        known = np.isfinite(std)
        axes.errorbar(x[known], y[known], yerr=std[known], fmt="none", ecolor=style.QUIET, elinewidth=0.4, alpha=0.3,
                      zorder=1.5)  # fmt: skip
    # Mixed up, or the content that comes last would cover the others.
    order = np.random.default_rng(0).permutation(len(x))
    axes.scatter(x[order], y[order], s=float(np.clip(900 / len(x), 2.5, 11)), c=[colours[groups[k]] for k in order],
                 alpha=shade, linewidths=0, zorder=2, rasterized=many)  # fmt: skip
    if (curve := fitted_curve(panel)) is not None:
        if many:
            axes.plot(*curve, color=style.PAPER, linewidth=2.6, alpha=0.8, zorder=2.8)  # sets it off from the points
        axes.plot(*curve, color=style.INK, linewidth=1.1, zorder=3)
    right, top = free_corner(axes, x, y, room)
    axes.text(0.97 if right else 0.03, 0.97 if top else 0.03, panel.corner, transform=axes.transAxes, fontsize=6.5,
              ha="right" if right else "left", va="top" if top else "bottom", linespacing=1.25, zorder=4,
              bbox={"facecolor": style.PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.8})  # fmt: skip
    axes.set_title(shortened(panel.title, 26), loc="left", pad=3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4))
    style.bare(axes)


def shortened(name: str, most: int) -> str:
    """A name that is too long, without its middle.

    >>> shortened("a_very_long_name.mp4", 12)
    'a_ver…me.mp4'
    """
    if len(name) <= most:
        return name
    left = (most - 1) // 2
    return f"{name[:left]}…{name[len(name) - (most - 1 - left) :]}"


def scatter_figure(panels: Sequence[Panel], *, dataset: str | None) -> Figure:
    """The panels in a grid. Call inside `style.house_style()`.

    Args:
        panels: at least one.
        dataset: the data set that all are of, so that they share the y axis; None where they are of one model.
    """
    count = len(panels)
    columns = 3 if 4 < count <= 9 and -count % 3 < -count % 4 else min(count, 4)  # few places left empty
    rows = math.ceil(len(panels) / columns)
    width = style.COLUMN_WIDTH if columns == 1 else (style.PAGE_WIDTH * 0.72 if columns == 2 else style.PAGE_WIDTH)
    panel_height = {1: 2.5, 2: 2.2, 3: 2.1}.get(columns, 1.75)
    height = 0.35 + panel_height * rows
    # The corner's two lines of figures are about 0.8 by 0.3 inches, a panel's inside about three quarters of its cell.
    room = (min(0.6, 0.8 / (0.78 * width / columns)), 0.3 / (0.72 * panel_height))
    figure = style.new_figure(width, height)
    grid = figure.subplots(rows, columns, sharey=dataset is not None, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(panels):
            axes.set_axis_off()
            continue
        draw_scatter(axes, panels[place], room)
        if place % columns == 0 or (dataset is None and panels[place].label != panels[place - 1].label):
            axes.set_ylabel(panels[place].label)
        if dataset is None:
            continue
        axes.tick_params(labelleft=place % columns == 0)
    of_one = len({panel.model for panel in panels}) == 1
    across = f"Score of {panels[0].model}" if of_one else "Score"
    if dataset is not None:
        across += f" on {dataset} (n = {max(len(panel.items) for panel in panels):,})"
    figure.supxlabel(across, fontsize=8)
    return figure


def plot_scatter(
    evaluation: Evaluation | Mapping[str, Any] | str | Path,
    path: str | Path,
    *,
    model: str | None = None,
    dataset: str | None = None,
) -> list[Path]:
    """Plots scores against the label, a panel a data set for one model, or a panel a model for one data set.

    Args:
        evaluation: what `compressvqa evaluate` wrote, or its path.
        path: written are this path with the suffixes .svg and .png (300 dpi). Panels that don't fit on one page go to
            further files, PATH-2 and so on.
        model: the model whose data sets are shown.
        dataset: the data set whose models are shown.

    Returns:
        The paths; none where no scores of items are known.

    Raises:
        EvaluationError: damaged, or no such model or data set.
        CompressVQAError: not exactly one of the two is given.
    """
    panels = panels_of(Evaluation.read(evaluation), model=model, dataset=dataset)
    stem = Path(path).with_suffix("") if Path(path).suffix in (".svg", ".png") else Path(path)
    paths = []
    with style.house_style():
        for page, start in enumerate(range(0, len(panels), 4 * MOST_ROWS), start=1):
            figure = scatter_figure(panels[start : start + 4 * MOST_ROWS], dataset=dataset)
            name = stem.name if page == 1 else f"{stem.name}-{page}"
            for suffix in (".svg", ".png"):
                paths.append(stem.with_name(name + suffix))
                style.save(figure, paths[-1])
    return paths
