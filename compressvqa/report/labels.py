"""Puts a name beside each point of a plot so that names cover neither each other, nor points, nor lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.text import Text

from compressvqa.report.style import PAPER, QUIET

Boxes = npt.NDArray[np.float64]
_ANGLES = (0, 180, 90, 270, 45, 315, 135, 225, 20, 340, 160, 200, 67, 113, 247, 293)
_DISTANCES = (5.0, 9.0, 15.0, 23.0, 33.0)  # points between the marker's middle and the label's nearest edge
_SWEEPS = 6
_NOWHERE = -1e9  # pixels


def _overlaps(boxes: Boxes, others: Boxes) -> Boxes:
    """Areas that each of (n, 4) boxes shares with each of (m, 4) others, as (n, m)."""
    a, b = boxes[:, None], others[None]
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    areas: Boxes = np.maximum(width, 0) * np.maximum(height, 0)
    return areas


def _inside_lengths(boxes: Boxes, segments: Boxes) -> Boxes:
    """How much of each of (m, 4) straight lines runs through each of (n, 4) boxes, in pixels, as (n, m).

    Liang and Barsky's clipping: the share of the line at which it enters and leaves the box.
    """
    start, step = segments[None, :, :2], segments[None, :, 2:] - segments[None, :, :2]
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (low - start) / step, (high - start) / step
    # A line parallel to a side never crosses it: it is between the two sides all along, or never.
    between = (start >= low) & (start <= high)
    enter = np.where(step == 0, np.where(between, 0.0, 2.0), np.minimum(first, second)).max(axis=2)
    leave = np.where(step == 0, np.where(between, 1.0, -1.0), np.maximum(first, second)).min(axis=2)
    shares = np.maximum(0.0, np.minimum(leave, 1) - np.maximum(enter, 0))
    lengths: Boxes = shares * np.hypot(*np.moveaxis(step, -1, 0))
    return lengths


def _candidates(point: tuple[float, float], size: tuple[float, float], scale: float) -> Boxes:
    """The boxes that a label may take, (directions x distances, 4) as x0, y0, x1, y1 in pixels.

    The nearest edge is the distance away from the point.
    """
    angles = np.radians(_ANGLES)
    c, s = np.cos(angles)[None], np.sin(angles)[None]
    distances = scale * np.array(_DISTANCES)[:, None]
    # Sideways the label's edge is what counts, not its middle: slide from edge to edge with the angle.
    x = (point[0] + c * distances + (c - 1) / 2 * size[0]).reshape(-1)
    y = (point[1] + s * distances + (s - 1) / 2 * size[1]).reshape(-1)
    return np.stack([x, y, x + size[0], y + size[1]], axis=1)


def _is_far(choice: int) -> bool:
    """Whether a name at that place needs a line to its point."""
    return _DISTANCES[choice // len(_ANGLES)] > _DISTANCES[1]


def _ties(spot: Boxes, boxes: Boxes) -> Boxes:
    """The lines from a point to the nearest spot of each box, (n, 4); of no length where none is drawn."""
    near = np.clip(spot, boxes[:, :2], boxes[:, 2:])
    far = np.array([_is_far(choice) for choice in range(len(boxes))])[:, None]
    return np.concatenate([np.broadcast_to(spot, near.shape), np.where(far, near, spot)], axis=1)


def _costs(boxes: Boxes, markers: Boxes, segments: Boxes, weight: Boxes, frame: Boxes, scale: float) -> Boxes:
    """What each of a name's (n, 4) boxes costs by itself, (n,): what it covers, what of it is outside, distance."""
    size = (boxes[0, 2] - boxes[0, 0]) * (boxes[0, 3] - boxes[0, 1])
    area = _overlaps(boxes, markers).sum(axis=1)
    covered = _inside_lengths(boxes, segments) @ weight
    outside = size - _overlaps(boxes, frame)[:, 0]
    rank = np.tile(np.arange(len(_ANGLES)), len(_DISTANCES)) + 4 * np.repeat(_DISTANCES, len(_ANGLES))
    costs: Boxes = 30 * area + 60 * scale * covered + 50 * outside + scale * scale * rank
    return costs


def _settled(
    choices: Sequence[Boxes], ties: Sequence[Boxes], fixed: Sequence[Boxes], scale: float
) -> tuple[Boxes, list[int]]:
    """The box of each name, (names, 4), and which of its choices that is, when no name moves any more."""
    chosen = [0] * len(choices)
    placed, tied = np.full((len(choices), 4), _NOWHERE), np.full((len(choices), 4), _NOWHERE)
    for sweep in range(_SWEEPS):
        before = chosen.copy()
        for place, boxes in enumerate(choices):
            placed[place] = tied[place] = _NOWHERE  # not in its own way
            crossed = _inside_lengths(placed, ties[place]).sum(axis=0) + _inside_lengths(boxes, tied).sum(axis=1)
            shared = _overlaps(boxes, placed).sum(axis=1)
            chosen[place] = int(np.argmin(fixed[place] + 30 * shared + 20 * scale * crossed))
            placed[place], tied[place] = boxes[chosen[place]], ties[place][chosen[place]]
        if sweep > 0 and chosen == before:
            break
    return placed, chosen


def place_labels(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    *,
    lines: Sequence[tuple[tuple[float, float], tuple[float, float]]] = (),
    weights: Sequence[float] | None = None,
    colours: Sequence[str] | None = None,
    size: float | None = None,
) -> list[Text]:
    """Writes `names` beside `points` (data coordinates) and returns the texts.

    The axes must have their final limits and place. A name that had to go far is joined to its point by a thin line.
    Every name is put at the best of some directions and distances in turn, a few times over, since each move makes
    room for others; cost is the area shared with names and points, the length of line covered, also of the
    lines that join names to points, and the distance.

    Args:
        axes: drawn on; its limits must not change afterwards.
        points: where the markers are.
        names: one a point.
        lines: straight lines that names should not cover, as pairs of points.
        weights: how much each line minds being covered; 1 where not given.
        colours: of the names; the style's ink where not given.
        size: of the letters, in points; the style's where not given.
    """
    figure = axes.figure
    renderer: Any = cast(Any, figure.canvas).get_renderer()
    scale = figure.dpi / 72
    spots = [tuple(axes.transData.transform(point)) for point in points]
    segments = np.array([(*axes.transData.transform(a), *axes.transData.transform(b)) for a, b in lines]).reshape(-1, 4)
    weight = np.ones(len(segments)) if weights is None else np.array(weights, dtype=np.float64)
    texts = [
        axes.text(*point, name, ha="left", va="bottom", fontsize=size)
        for point, name in zip(points, names, strict=True)
    ]
    if colours is not None:
        for text, colour in zip(texts, colours, strict=True):
            text.set_color(colour)
    sizes: list[tuple[float, float]] = []
    for text in texts:
        written = text.get_window_extent(renderer)
        sizes.append((written.width + 2 * scale, written.height))
    frame = np.array([axes.get_window_extent(renderer).extents])
    middle = np.array(spots, dtype=np.float64).reshape(-1, 2)
    markers = np.concatenate([middle - 4 * scale, middle + 4 * scale], axis=1)
    choices = [_candidates((spot[0], spot[1]), extent, scale) for spot, extent in zip(spots, sizes, strict=True)]
    ties = [_ties(spot, boxes) for spot, boxes in zip(middle, choices, strict=True)]
    fixed = []  # what a place costs whatever the other names do
    for place, (boxes, lines_to) in enumerate(zip(choices, ties, strict=True)):
        others = np.delete(markers, place, axis=0)
        costs = _costs(boxes, markers, segments, weight, frame, scale)
        fixed.append(costs + 60 * scale * _inside_lengths(others, lines_to).sum(axis=0))
    placed, chosen = _settled(choices, ties, fixed, scale)
    back = axes.transData.inverted()
    for place, (text, box, choice) in enumerate(zip(texts, placed, chosen, strict=True)):
        text.set_position(tuple(back.transform((box[0] + scale, box[1]))))
        text.set_bbox({"facecolor": PAPER, "edgecolor": "none", "pad": 0.6, "alpha": 0.85})  # over grid lines
        if _is_far(choice):
            ends = back.transform(ties[place][choice].reshape(2, 2))
            axes.plot(ends[:, 0], ends[:, 1], color=QUIET, linewidth=0.5, zorder=1.5, scalex=False, scaley=False)
    return texts


def spread(heights: Sequence[float], room: float, low: float, high: float) -> list[float]:
    """Heights for labels at a margin: as near to those wanted as they can be without overlap, in the same order.

    Args:
        heights: where each would stand.
        room: least distance between two.
        low: of the lowest one.
        high: of the highest; where all don't fit between the two they stand closer, evenly.

    >>> spread([5.0, 5.0, 1.0], 2.0, 0.0, 10.0)
    [4.0, 6.0, 1.0]
    """
    if not heights:
        return []
    order = sorted(range(len(heights)), key=lambda place: (heights[place], place))
    room = min(room, (high - low) / max(1, len(heights) - 1))
    # Groups that touch stand around the mean of what their members want (pool adjacent violators).
    groups: list[tuple[float, int]] = []  # (sum of wanted heights less their steps in the group, members)
    for place in order:
        total, count = min(max(heights[place], low), high), 1
        while groups and _start(total, count, room, low, high) < (
            _start(*groups[-1], room, low, high) + groups[-1][1] * room
        ):
            before, members = groups.pop()
            total, count = before + total - count * members * room, members + count
        groups.append((total, count))
    found = [0.0] * len(heights)
    at = iter(order)
    for total, count in groups:
        start = _start(total, count, room, low, high)
        for step in range(count):
            found[next(at)] = start + step * room
    return found


def _start(total: float, count: int, room: float, low: float, high: float) -> float:
    """Where a group begins: its mean, kept between the ends."""
    return max(low, min(total / count, high - (count - 1) * room))
