"""Draws docs/architecture.svg: the pipeline in one picture, the type of what is handed on written at each arrow.

Run it after a change of the shape: ``python docs/draw_architecture.py``. A test compares the file with this script.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

INK, QUIET, LINE, CARD, PAPER = "#1b1f24", "#57606a", "#8c959f", "#ffffff", "#f6f8fa"
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#007a5a"
WIDTH, HEIGHT = 1200, 830
SANS = "font-family='system-ui, Segoe UI, Roboto, DejaVu Sans, sans-serif'"
MONO = "font-family='ui-monospace, SFMono-Regular, Menlo, DejaVu Sans Mono, monospace'"

parts: list[str] = []


def words(
    x: float, y: float, text: str, *, size: int = 12, colour: str = INK, look: str = SANS, more: str = ""
) -> None:
    """One line of text; `y` is its base line."""
    parts.append(f"<text x='{x}' y='{y}' font-size='{size}' fill='{colour}' {look} {more}>{escape(text)}</text>")


def box(x: float, y: float, width: float, height: float, title: str, lines: list[str], colour: str = BLUE) -> None:
    """A part of the package: its module in bold, then what it holds; a diamond marks what a plugin can add."""
    parts.append(f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='7' fill='{CARD}' stroke='{LINE}'/>")
    parts.append(f"<rect x='{x}' y='{y + 8}' width='4' height='{height - 16}' fill='{colour}'/>")
    words(x + 14, y + 22, title, size=13, more="font-weight='650'")
    for place, line in enumerate(lines):
        words(x + 14, y + 41 + 16 * place, line, size=11, colour=QUIET)


def arrow(points: list[tuple[float, float]], label: str, at: tuple[float, float], anchor: str = "middle") -> None:
    """A line with a head at its end and the type that goes along it."""
    path = " ".join(f"{'L' if place else 'M'}{x} {y}" for place, (x, y) in enumerate(points))
    parts.append(f"<path d='{path}' fill='none' stroke='{INK}' stroke-width='1.4' marker-end='url(#head)'/>")
    for place, line in enumerate(label.split("\n")):
        words(at[0], at[1] + 14 * place, line, size=11, colour=INK, look=MONO, more=f"text-anchor='{anchor}'")


def draw() -> str:
    """The whole picture as SVG."""
    parts.clear()
    parts.append(
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' "
        "role='img' aria-label='The pipeline, from recipe to report'>"
    )
    parts.append(
        "<defs><marker id='head' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='7' markerHeight='7' orient='auto'>"
        f"<path d='M0 0L10 5L0 10z' fill='{INK}'/></marker></defs>"
    )
    parts.append(f"<rect width='{WIDTH}' height='{HEIGHT}' rx='10' fill='{PAPER}'/>")
    panel = f"fill='#fff8f2' stroke='{ORANGE}' stroke-opacity='.7'"
    parts.append(f"<rect x='36' y='190' width='1128' height='272' rx='9' {panel}/>")
    _first_row()
    _pruning()
    _last_rows()
    words(40, 803, "◆ registered: a plugin adds its own through registry.py.", colour=QUIET)
    words(395, 803, "pipeline.py runs the stages in a run folder, run_folder.py lets a killed run go on.", colour=QUIET)
    parts.append("</svg>\n")
    return "\n".join(parts)


def _first_row() -> None:
    box(40, 40, 180, 92, "recipe.py", ["Recipe.load", "checked YAML: model,", "data, objective, stages"])
    box(350, 40, 180, 92, "data/", ["◆ dataset.prepare", "decode, encoding ladder,", "VMAF labels, rank pairs"])
    box(660, 40, 180, 92, "training/", ["◆ objective, ◆ model", "fit: one loop on Fabric,", "resumes exactly"])
    box(970, 40, 180, 92, "sparsity/", ["◆ sparsifier: OBProxSG", "DensityController", "same loop, L1 on weights"])
    arrow([(220, 86), (350, 86)], "Recipe", (285, 78))
    arrow([(530, 86), (660, 86)], "PatchSet\nRankBatch", (595, 64))
    arrow([(840, 86), (970, 86)], "nn.Module", (905, 78))
    words(905, 104, "the teacher", size=11, colour=QUIET, more="text-anchor='middle'")
    arrow(
        [(1060, 132), (1060, 168), (24, 168), (24, 262), (52, 262)], "nn.Module, many weights exactly zero", (560, 161)
    )
    arrow([(24, 262), (24, 392), (52, 392)], "", (0, 0))


def _pruning() -> None:
    words(52, 214, "pruning/", size=13, colour=ORANGE, more="font-weight='650'")
    promise = "any nn.Module; can be used alone. All is planned before anything is cut; all is proven."
    words(122, 214, promise, colour=QUIET)
    box(52, 228, 140, 76, "trace", ["one forward pass;", "labels on channels"], ORANGE)
    box(284, 228, 140, 76, "groups", ["channels that must", "go together"], ORANGE)
    box(52, 358, 140, 76, "density", ["share of weights", "left in each layer"], ORANGE)
    box(284, 358, 140, 76, "ratios", ["◆ ratio rule, or", "a size target"], ORANGE)
    box(516, 284, 140, 94, "plan", ["which channels go:", "◆ importance;", "frozen, printable"], ORANGE)
    box(764, 284, 140, 94, "surgery", ["cuts weights, takes", "dead layers out", "of a copy"], ORANGE)
    box(992, 284, 158, 94, "verify", ["pruned = original with", "those channels zeroed,", "or it is refused"], ORANGE)
    arrow([(192, 266), (284, 266)], "Trace", (238, 258))
    arrow([(424, 266), (470, 266), (470, 312), (516, 312)], "Group[]", (430, 258), "start")
    arrow([(192, 396), (284, 396)], "{path:\ndensity}", (238, 374))
    arrow([(424, 396), (470, 396), (470, 350), (516, 350)], "{path: share removed}", (430, 414), "start")
    arrow([(656, 331), (764, 331)], "PruningPlan", (710, 323))
    arrow([(904, 331), (992, 331)], "nn.Module", (950, 323))
    arrow([(1070, 378), (1070, 490), (130, 490), (130, 522)], "Pruned: .model .max_error .removed .plan", (560, 483))


def _last_rows() -> None:
    box(
        40,
        522,
        180,
        92,
        "distillation/",
        ["◆ losses, FeatureTaps", "TeacherCache; teacher:", "an earlier stage"],
        GREEN,
    )
    box(350, 522, 180, 92, "metrics/", ["params, MACs, latency,", "SROCC, pair accuracy", "of every stage"], GREEN)
    box(660, 522, 180, 92, "report/", ["one table for terminal,", "page, plot and card"], GREEN)
    box(350, 672, 180, 92, "models/", ["save, load: constructor,", "widths, safetensors;", "no pickle"], GREEN)
    box(660, 672, 180, 92, "scoring/", ["score(reference,", "distorted): streamed", "in blocks of 12 frames"], GREEN)
    arrow([(220, 568), (350, 568)], "nn.Module", (285, 560))
    arrow([(530, 568), (660, 568)], "results.json", (595, 560))
    arrow([(840, 568), (920, 568)], "", (0, 0))
    words(930, 560, "report.html", size=12, look=MONO)
    words(930, 578, "tradeoff.svg .png .csv", size=12, look=MONO)
    arrow([(130, 614), (130, 718), (350, 718)], "nn.Module", (240, 710))
    arrow([(530, 718), (660, 718)], "model/", (595, 710))
    words(595, 736, "config.json,", size=11, colour=QUIET, more="text-anchor='middle'")
    words(595, 751, "model card", size=11, colour=QUIET, more="text-anchor='middle'")
    arrow([(840, 718), (920, 718)], "Score", (880, 710))
    words(930, 714, "table, JSON, CSV", size=12, look=MONO)
    words(930, 732, "mean, min, max, per block", size=11, colour=QUIET)


if __name__ == "__main__":
    Path(__file__).with_name("architecture.svg").write_text(draw(), encoding="utf-8")
