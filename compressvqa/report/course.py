"""Scores over time: several distorted files of one reference in one plot."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from compressvqa.errors import CompressVQAError
from compressvqa.report import style
from compressvqa.report.scatter import Values, shortened

Segments = Sequence[tuple[int, int, float]]
SUFFIXES = (".svg", ".png")
_DASHES = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))


def plot_course(
    courses: Mapping[str, Segments],
    path: str | Path,
    *,
    fps: float | None = None,
    title: str | None = None,
    label: str | None = None,
) -> Path:
    """Plots scores over time.

    Args:
        courses: {name of a distorted file: its segments (first frame, last frame, score)}, frames counted from 0, last
            ones included. Segments that share frames are joined at their middles; others are steps, with a gap where
            no segment is or its score is not a number.
        path: ends in .svg or .png (300 dpi).
        fps: frames a second; with it the axis is in seconds.
        title: above the plot.
        label: of the y axis: the metric's name.

    Returns:
        The path.

    Raises:
        CompressVQAError: another suffix, nothing to plot, or a segment that ends before it begins.

    A mean in the legend is that of the segments, each weighted by its number of frames.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        given = f"no plot of format {path.suffix!r}" if path.suffix else "a plot's name needs a suffix"
        raise CompressVQAError(given, where=path, hint=f"{path.stem or 'plot'}.svg or {path.stem or 'plot'}.png")
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise CompressVQAError(f"{fps} frames a second is no frame rate", where=path)
    for name, segments in courses.items():
        wrong = next((segment for segment in segments if segment[1] < segment[0]), None)
        if wrong is not None:
            raise CompressVQAError(f"a segment from frame {wrong[0]} to {wrong[1]} ends before it begins", where=name)
    if not any(math.isfinite(score) for segments in courses.values() for _, _, score in segments):
        raise CompressVQAError("there is no score to plot", where=path)
    with style.house_style():
        lines = math.ceil(len(courses) / 2) if len(courses) > 1 else 1
        figure = style.new_figure(style.PAGE_WIDTH, 2.5 + 0.16 * lines + (0.18 if title else 0))
        axes = figure.subplots()
        rate = fps or 1.0
        for place, (name, segments) in enumerate(courses.items()):
            colour, dashes = (
                style.PALETTE[place % len(style.PALETTE)],
                _DASHES[place // len(style.PALETTE) % len(_DASHES)],
            )
            x, y = course_line(segments)
            thin = 0.8 if len(x) > 600 else (1.1 if len(x) > 150 else 1.4)
            named = f"{shortened(name, 44)}   {_mean(segments)}"
            axes.plot(x / rate, y, color=colour, linestyle=dashes, linewidth=thin, label=named, solid_joinstyle="round",
                      marker="o" if len(segments) == 1 and len(x) == 1 else "")  # fmt: skip
        _finish(axes, courses, rate, label)
        axes.set_xlabel("Time (s)" if fps else "Frame")
        figure.legend(loc="outside upper left", ncols=1 if len(courses) == 1 else 2, frameon=False, fontsize=7,
                      borderpad=0.1, handlelength=2.2, columnspacing=2, alignment="left", title_fontsize=8,
                      title=shortened(title, 90) if title else None)  # fmt: skip
        style.save(figure, path)
    return path


def course_line(segments: Segments) -> tuple[Values, Values]:
    """The line of a course: frame positions and scores, NaN where it breaks.

    A segment reaches from its first frame to the one after its last. Where all segments are one frame long, or where
    some share frames, each is a point at its middle instead.

    >>> course_line([(0, 1, 5.0), (2, 3, 7.0), (6, 7, 8.0)])[0].tolist()
    [0.0, 2.0, 2.0, 4.0, nan, 6.0, 8.0]
    """
    ordered = sorted(segments, key=lambda segment: (segment[0], segment[1]))
    shared = any(later[0] <= earlier[1] for earlier, later in itertools.pairwise(ordered))
    single = len(ordered) > 1 and all(first == last for first, last, _ in ordered)
    x: list[float] = []
    y: list[float] = []
    for place, (first, last, score) in enumerate(ordered):
        value = score if math.isfinite(score) else math.nan
        if place and not shared and first > ordered[place - 1][1] + 1:
            x.append(math.nan)
            y.append(math.nan)
        if shared or single:
            x.append((first + last) / 2)
            y.append(value)
        else:
            x += [float(first), float(last + 1)]
            y += [value, value]
    return np.array(x, dtype=np.float64), np.array(y, dtype=np.float64)


def _mean(segments: Segments) -> str:
    known = [(last - first + 1, score) for first, last, score in segments if math.isfinite(score)]
    frames = sum(count for count, _ in known)
    return f"mean {sum(count * score for count, score in known) / frames:.4g}" if known else "no score"


def _finish(axes: Axes, courses: Mapping[str, Segments], rate: float, label: str | None) -> None:
    known = [score for segments in courses.values() for _, _, score in segments if math.isfinite(score)]
    room = 0.08 * (max(known) - min(known)) or 0.05 * abs(known[0]) or 1.0
    axes.set_ylim(min(known) - room, max(known) + room)
    ends = [frame for segments in courses.values() for first, last, _ in segments for frame in (first, last + 1)]
    axes.set_xlim(min(ends) / rate, max(ends) / rate)
    axes.set_ylabel(label or "Score")
    style.bare(axes, "y")
