"""The plot: what is kept of the teacher's SROCC against what is kept of its MACs, with the paper's two points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compressvqa.report import style
from tradeoff_grid.rows import CUTS, SPARSITY
from tradeoff_grid.table import NAMES

# Feng et al., RankDVQA-mini (arXiv 2312.08864), Table I: G MAC and the mean SROCC of eight data sets of human scores.
PAPER = (("RankDVQA", 1.0, 1.0), ("RankDVQA-mini (paper)", 1.457 / 10.731, 0.8521 / 0.8972))
COLOURS = dict(zip(SPARSITY, (style.VERMILLION, style.BLUE, style.QUIET), strict=True))
MARKERS = dict(zip(CUTS, ("o", "s"), strict=True))


def draw(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the figure: a panel for each set of losses, a line for each way over the grid; long rows are larger."""
    with style.house_style():
        figure = style.new_figure(style.PAGE_WIDTH, 3.0)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, losses in zip(panels, ("paper", "best"), strict=True):
            chosen = [line for line in lines if line["losses"] == losses and not line["change"]]
            _panel(axes, chosen)
            axes.set_title(f"losses: {losses}")
        panels[0].set_ylabel("SROCC, % of the teacher's")
        shown = {
            label: drawn for panel in panels for drawn, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        figure.legend([*shown.values()], [*shown], loc="outside right upper", frameon=False, fontsize=6.5)
        style.save(figure, path)


def _panel(axes: Any, lines: Sequence[Mapping[str, Any]]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(1.2, 130)
    style.log_ticks(axes.xaxis, 1.2, 130)
    style.bare(axes)
    axes.set_xlabel("MACs, % of the teacher's")
    for sparsity in SPARSITY:
        for cuts, marker in MARKERS.items():
            label = f"{NAMES[sparsity]}, cut {'once' if cuts == 1 else f'{cuts} times'}"
            ways = [line for line in lines if (line["sparsity"], line["cuts"]) == (sparsity, cuts)]
            grid = sorted((line for line in ways if line["part"] == "grid"), key=lambda line: line["macs"])
            points = [100 * line["macs"] for line in grid], [100 * line["retention"] for line in grid]
            if not ways:
                continue
            axes.plot(
                *points,
                marker=marker,
                markersize=3.5 if cuts == 1 else 4.5,
                linewidth=0.9,
                color=COLOURS[sparsity],
                label=label,
                linestyle="-" if cuts == 1 else "--",
            )
            for line in (line for line in ways if line["part"] == "long"):
                x, y, ends = 100 * line["macs"], 100 * line["retention"], line["retention_interval"]
                axes.plot([x, x], [100 * end for end in ends], color=COLOURS[sparsity], linewidth=0.9, alpha=0.5)
                axes.plot([x], [y], marker, markersize=7, color=COLOURS[sparsity], markeredgecolor=style.PAPER)
    if any(line["part"] == "long" for line in lines):
        axes.plot([], [], "o", markersize=7, color=style.GRID, label="longer training, 95 % interval")
    places = [100 * macs for _, macs, _ in PAPER], [100 * kept for *_, kept in PAPER]
    star: dict[str, Any] = {"markersize": 10, "markerfacecolor": "none", "markeredgecolor": style.INK}
    axes.plot(*places, "*", **star, label="paper (human scores)", zorder=4)  # hollow: a row may lie under it
    for name, macs, kept in PAPER:
        axes.annotate(name, (100 * macs, 100 * kept), (0, 6), textcoords="offset points", ha="right", fontsize=6)
