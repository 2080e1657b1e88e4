"""What the interactive figures of a page share: axes, colours that follow the page's theme, room for names."""

from __future__ import annotations

from html import escape
from typing import Any

import matplotlib as mpl
import plotly.graph_objects as go
from matplotlib.colors import to_hex

# CSS pixels of the figure, and of its axes from the left, the top, the right and the bottom, that names are placed for.
WIDE, NARROW = (1060, 480, 80, 30, 130, 60), (470, 384, 80, 30, 130, 60)
LIGHT_INK, LIGHT_KEPT = "var(--ink)", "var(--kept)"  # the script puts the theme's colours in their place


def layout() -> go.Layout:
    """Axes, fonts and margins; colours are named after the theme."""
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


def scale() -> list[list[Any]]:
    """Colours of contents that show on light and on dark."""
    colours = mpl.colormaps["viridis"]
    return [[k / 8, to_hex(colours(0.3 + 0.55 * k / 8))] for k in range(9)]


def plotly_text(text: str) -> str:
    """Text that Plotly shows as it stands: it reads a small HTML, in which quotes are not escaped.

    >>> plotly_text('<b>"P')
    '&lt;b&gt;"P'
    """
    return escape(text, quote=False)
