"""One look for every figure: sizes for print, colours for colour-blind readers, SVG that follows the page's theme."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from compressvqa.files import replacing

# Okabe and Ito's palette (jfly.uni-koeln.de/color), without its yellow, which is too pale on white.
BLUE, ORANGE, VERMILLION, GREEN, PURPLE, SKY = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"
PALETTE = (BLUE, ORANGE, VERMILLION, GREEN, PURPLE, SKY)
MARKERS = ("o", "s", "D", "^", "v", "P")
# Text and axes; arrows and remarks; grid lines; the page. A report's figures take these four from its theme.
INK, QUIET, GRID, PAPER = "#1b1f24", "#6a737d", "#d9dde2", "#fefefe"

COLUMN_WIDTH, PAGE_WIDTH = 3.5, 7.16  # inches: one and two columns of an IEEE page

_SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib, so figures are alike on every machine
    "font.size": 8,
    "text.parse_math": False,  # a "$" in a name is a dollar
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.7,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "text.color": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "svg.hashsalt": "compressvqa",  # the same figure gives the same bytes
}


@contextmanager
def house_style(**settings: Any) -> Iterator[None]:
    """Matplotlib's settings for our figures; those of the caller come back afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        for name, value in {**_SETTINGS, **settings}.items():
            mpl.rcParams[cast(Any, name)] = value
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure in inches that belongs to no window and no pyplot state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # attaches itself; text can be measured from now on
    return figure


def round_numbers(low: float, high: float) -> list[float]:
    """Plain round numbers (0.5, 1, 2) for a log axis, at least three of them between `low` and `high`."""
    decades = [10.0**power for power in range(-15, 16)]
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 2.0, 3.0, 5.0, 7.0), tuple(map(float, range(1, 10)))):
        ticks = [step * decade for decade in decades for step in steps if low <= step * decade <= high]
        if len(ticks) >= 3:
            return ticks
    return [float(tick) for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]


def log_ticks(axis: Any, low: float, high: float) -> None:
    """Labels a log axis with plain round numbers between `low` and `high`."""
    ticks = round_numbers(low, high)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def bare(axes: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """A quiet frame: grid lines, no tick marks over them."""
    axes.grid(True, axis=grid)
    axes.tick_params(length=2.5)


def lay_out(figure: Figure) -> None:
    """Gives the panels their final places. Without it every saving works them out twice, and draws once more."""
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)


def save(figure: Figure, path: Path) -> None:
    """Writes a figure whole or not at all; the format follows the suffix."""
    lay_out(figure)
    metadata = {"Date": None} if path.suffix == ".svg" else None
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."), metadata=metadata)


def inline_svg(figure: Figure, title: str, prefix: str) -> str:
    """A figure as an SVG element for a page: no background, text as text, colours that follow the page's theme.

    Args:
        figure: drawn inside `house_style(**{"svg.fonttype": "none"})`.
        title: what the figure shows, in words, for screen readers.
        prefix: unlike that of every other figure of the page; the element's ids begin with it.
    """
    lay_out(figure)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-")
    for colour, variable in ((INK, "ink"), (QUIET, "quiet"), (GRID, "grid"), (PAPER, "paper")):
        text = re.sub(re.escape(colour), f"var(--{variable})", text, flags=re.IGNORECASE)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px; font-family: var(--sans)", text)
    # The page's width decides the size, never more than drawn: keep the box, drop the fixed width and height.
    width = re.search(r'width="([\d.]+)pt"', text)
    limit = f"max-width:{float(width[1]) * 4 / 3 * 1.15:.0f}px" if width else ""
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[\d.]+pt"', "", head)
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'{head} role="img" aria-label="{label}" style="{limit}">{rest}'


def stage_colours(stages: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each stage, the same in every figure of a report."""
    unique = list(dict.fromkeys(stages))
    return {stage: (PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]) for place, stage in enumerate(unique)}
