"""Puts a name beside each point of a plot so that names cover neither each other, nor points, nor lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from compressvqa.report.style import PAPER, QUIET

Segment = tuple[float, float, float, float]
_ANGLES = (0, 180, 90, 270, 45, 315, 135, 225, 20, 340, 160, 200, 67, 113, 247, 293)
_DISTANCES = (5.0, 9.0, 15.0, 23.0, 33.0)  # points between the marker's middle and the label's nearest edge
_SWEEPS = 4


def _overlap(a: Bbox, b: Bbox) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return width * height if width > 0 and height > 0 else 0.0


def _inside_length(segment: Segment, box: Bbox) -> float:
    """How much of a straight line runs through a box (Liang and Barsky's clipping), in pixels."""
    x0, y0, x1, y1 = segment
    dx, dy = x1 - x0, y1 - y0
    enter, leave = 0.0, 1.0
    for step, room in ((-dx, x0 - box.x0), (dx, box.x1 - x0), (-dy, y0 - box.y0), (dy, box.y1 - y0)):
        if step == 0:
            if room < 0:
                return 0.0
        elif step < 0:
            enter = max(enter, room / step)
        else:
            leave = min(leave, room / step)
    return max(0.0, leave - enter) * math.hypot(dx, dy)


def _candidate(point: tuple[float, float], size: tuple[float, float], angle: float, distance: float) -> Bbox:
    """The box of a label whose nearest edge is `distance` pixels away from the point in a direction."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    width, height = size
    # Sideways the label's edge is what counts, not its middle: slide from edge to edge with the angle.
    x = point[0] + c * distance + (c - 1) / 2 * width
    y = point[1] + s * distance + (s - 1) / 2 * height
    return Bbox.from_bounds(x, y, width, height)


def place_labels(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    *,
    lines: Sequence[tuple[tuple[float, float], tuple[float, float]]] = (),
    colours: Sequence[str] | None = None,
) -> list[Text]:
    """Writes `names` beside `points` (data coordinates) and returns the texts.

    The axes must have their final limits and place. A name that had to go far is joined to its point by a thin line.
    Every name is put at the best of some directions and distances in turn, a few times over, since each move makes
    room for others; cost is the area shared with names and points, the length of line covered, and the distance.

    Args:
        axes: drawn on; its limits must not change afterwards.
        points: where the markers are.
        names: one a point.
        lines: straight lines that names should not cover, as pairs of points.
        colours: of the names; the style's ink where not given.
    """
    figure = axes.figure
    renderer: Any = cast(Any, figure.canvas).get_renderer()
    scale = figure.dpi / 72
    spots = [tuple(axes.transData.transform(point)) for point in points]
    segments = [(*axes.transData.transform(a), *axes.transData.transform(b)) for a, b in lines]
    texts = [axes.text(*point, name, ha="left", va="bottom") for point, name in zip(points, names, strict=True)]
    if colours is not None:
        for text, colour in zip(texts, colours, strict=True):
            text.set_color(colour)
    sizes = []
    for text in texts:
        extent = text.get_window_extent(renderer)
        sizes.append((extent.width + 2 * scale, extent.height))
    frame = axes.get_window_extent(renderer)
    markers = [Bbox.from_bounds(x - 4 * scale, y - 4 * scale, 8 * scale, 8 * scale) for x, y in spots]

    def cost(place: int, box: Bbox, distance: float, rank: int, boxes: list[Bbox | None]) -> float:
        area = sum(_overlap(box, other) for at, other in enumerate(boxes) if at != place and other is not None)
        area += sum(_overlap(box, other) for other in markers)
        covered = sum(_inside_length(segment, box) for segment in segments)
        outside = box.width * box.height - _overlap(box, frame)
        return 30 * area + 60 * scale * covered + 50 * outside + scale * scale * (4 * distance + rank)

    boxes: list[Bbox | None] = [None] * len(texts)
    chosen = [0.0] * len(texts)
    for _ in range(_SWEEPS):
        before = list(boxes)
        for place, (spot, size) in enumerate(zip(spots, sizes, strict=True)):
            best = min(
                (cost(place, box, distance, rank, boxes), distance, rank)
                for distance in _DISTANCES
                for rank, angle in enumerate(_ANGLES)
                for box in [_candidate((spot[0], spot[1]), size, angle, distance * scale)]
            )
            chosen[place] = best[1]
            boxes[place] = _candidate((spot[0], spot[1]), size, _ANGLES[best[2]], best[1] * scale)
        if boxes == before:
            break
    back = axes.transData.inverted()
    for text, box, spot, distance in zip(texts, boxes, spots, chosen, strict=True):
        assert box is not None
        text.set_position(tuple(back.transform((box.x0 + scale, box.y0))))
        text.set_bbox({"facecolor": PAPER, "edgecolor": "none", "pad": 0.6, "alpha": 0.85})  # over grid lines
        if distance > _DISTANCES[1]:
            near = (min(max(spot[0], box.x0), box.x1), min(max(spot[1], box.y0), box.y1))
            ends = back.transform([spot, near])
            axes.plot(ends[:, 0], ends[:, 1], color=QUIET, linewidth=0.5, zorder=1.5, scalex=False, scaley=False)
    return texts
