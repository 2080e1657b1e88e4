"""Training curves: one small panel for each stage and quantity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compressvqa.labels import label_title
from compressvqa.report import style
from compressvqa.report.results import number

Points = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

# What is drawn, in this order, where a stage has it. Loss is noisy and gets its running mean.
QUANTITIES = {"loss": "Loss", "srocc": "Validation SROCC", "density": "Density (share of weights left)"}
MOST_POINTS = 1500  # a curve of more points looks the same and only makes the page heavy


def series(records: Sequence[Mapping[str, Any]], key: str) -> Points:
    """Steps and values of one quantity, without the records that lack it.

    >>> series([{"step": 1, "loss": 0.7}, {"step": 2}, {"step": 3, "loss": 0.5}], "loss")[0].tolist()
    [1.0, 3.0]
    """
    pairs = [(number(record, "step"), number(record, key)) for record in records]
    kept = [(step, value) for step, value in pairs if step is not None and value is not None]
    steps, values = np.array(kept, dtype=np.float64).reshape(-1, 2).T
    return steps, values


def running_mean(values: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """The mean over a centred window, which shrinks at both ends so that the curve keeps its length.

    >>> running_mean(np.array([0.0, 3.0, 0.0]), 3).tolist()
    [1.5, 1.0, 1.5]
    """
    kernel = np.ones(size)
    weights = np.convolve(np.ones_like(values), kernel, mode="full")
    sums = np.convolve(values, kernel, mode="full")
    start = (size - 1) // 2
    return np.asarray(sums[start : start + len(values)] / weights[start : start + len(values)])


def thin(points: Points, most: int = MOST_POINTS) -> Points:
    """Every k-th point, with the last one, so that at most about `most` are left."""
    steps, values = points
    if len(steps) <= most:
        return points
    places = np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))
    return steps[places], values[places]


def window(points: Points) -> int:
    """How many points a running mean of this curve takes: a twenty-fifth of them."""
    return max(1, len(points[0]) // 25)


def draw_curve(axes: Axes, points: Points, key: str, colour: str) -> None:
    """Draws one quantity over the steps of a stage."""
    steps, values = points
    if key == "loss" and window(points) > 2:
        axes.plot(*thin(points), color=colour, linewidth=0.6, alpha=0.35)
        axes.plot(*thin((steps, running_mean(values, window(points)))), color=colour)
        # A few wild steps at the start must not flatten the rest.
        low, high = np.quantile(values, [0.002, 0.995])
        room = 0.08 * (high - low or 1.0)
        axes.set_ylim(low - room, high + room)
    else:
        axes.plot(steps, values, color=colour, marker="o" if len(values) <= 40 else "", markersize=3, clip_on=False)
    last = f"{values[-1]:.3g}" if key != "srocc" else f"{values[-1]:.4f}"
    if key != "loss":
        # The last value, written where the curve ends; inside the panel, on the side with room.
        below = values[-1] > np.mean(axes.get_ylim())
        offset = (0, -5 if below else 5)
        place: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": "top" if below else "bottom"}
        axes.annotate(last, (steps[-1], values[-1]), offset, color=style.INK, **place)
    if key == "density":
        axes.set_ylim(0, max(1.0, float(values.max())) * 1.04)
    axes.set_xlim(0 if steps[0] < 0.1 * steps[-1] else steps[0], max(steps[-1], steps[0] + 1))
    style.bare(axes, "y")
    axes.set_xlabel("Step")


def curve_figures(
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    colours: Mapping[str, tuple[str, str]],
    *,
    label: str | None = None,
) -> Iterator[tuple[str, str, Figure]]:
    """Yields (stage, what the panel shows, figure) for every stage and quantity that has at least two points.

    `colours` are those of `style.stage_colours`. Call inside `style.house_style()`.
    """
    for stage, records in curves.items():
        for key, title in QUANTITIES.items():
            points = series(records, key)
            if len(points[0]) < 2:
                continue
            against = f" against {label_title(label)}" if key == "srocc" and label else ""
            figure = style.new_figure(3.3, 2.0)
            axes = figure.subplots()
            draw_curve(axes, points, key, colours[stage][0])
            mean = f" (mean over {window(points)} steps)" if key == "loss" and window(points) > 2 else ""
            axes.set_title(f"{stage}: {title}{against}{mean}", loc="left")
            yield stage, f"{title}{against} over the steps of stage {stage}", figure
