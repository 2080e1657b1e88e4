"""Draws the pictures of the concepts: `python docs/concepts/draw.py`. A test compares the files with this script.

The points of "judging" are benchmarks/results/ladder_scores.csv, the curve of "scale" is that of the rankdvqa-mini that
ships.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
INK, QUIET, LINE, CARD, PAPER = "#1b1f24", "#57606a", "#8c959f", "#ffffff", "#f6f8fa"
BLUE, ORANGE, GREEN, PALE = "#0072b2", "#d55e00", "#007a5a", "#dbe9f4"
SANS = "font-family='system-ui, Segoe UI, Roboto, DejaVu Sans, sans-serif'"


class Picture:
    """Shapes on a paper of its own colour, so that it reads in light and dark alike."""

    def __init__(self, width: int, height: int, label: str):
        self.parts = [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' "
            f"role='img' aria-label={quoteattr(label)}>",
            "<defs><marker id='head' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='7' markerHeight='7' "
            f"orient='auto'><path d='M0 0L10 5L0 10z' fill='{INK}'/></marker></defs>",
            f"<rect width='{width}' height='{height}' rx='10' fill='{PAPER}'/>",
        ]

    def text(self, x: float, y: float, words: str, size: int = 13, colour: str = INK, anchor: str = "middle") -> None:
        """Lines of text; `y` is the first one's base line."""
        for number, line in enumerate(words.split("\n")):
            place = f"x='{x:g}' y='{y + number * size * 1.3:g}' text-anchor='{anchor}'"
            self.parts.append(f"<text {place} font-size='{size}' fill='{colour}' {SANS}>{escape(line)}</text>")

    def box(self, x: float, y: float, width: float, height: float, words: str, colour: str = BLUE) -> None:
        """A card with words in its middle."""
        lines = words.count("\n")
        self.rect(x, y, width, height, CARD, colour, 7)
        self.text(x + width / 2, y + height / 2 + 4.5 - lines * 8.5, words)

    def rect(
        self, x: float, y: float, width: float, height: float, fill: str, stroke: str = "none", round_by: int = 0
    ) -> None:
        """A filled rectangle."""
        place = f"x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='{round_by}'"
        self.parts.append(f"<rect {place} fill='{fill}' stroke='{stroke}'/>")

    def line(self, *points: tuple[float, float], colour: str = INK, head: bool = True, width: float = 1.4) -> None:
        """A line through points, with a head at its end."""
        path = " ".join(f"{'L' if number else 'M'}{x:.5g} {y:.5g}" for number, (x, y) in enumerate(points))
        end = " marker-end='url(#head)'" if head else ""
        self.parts.append(f"<path d='{path}' fill='none' stroke='{colour}' stroke-width='{width:g}'{end}/>")

    def dot(self, x: float, y: float, colour: str) -> None:
        """A point of a plot."""
        self.parts.append(f"<circle cx='{x:.5g}' cy='{y:.5g}' r='4.5' fill='{colour}' fill-opacity='.75'/>")

    def axes(
        self, box: tuple[int, int, int, int], x: tuple[float, float], y: tuple[float, float], names: tuple[str, str]
    ) -> Callable[[float, float], tuple[float, float]]:
        """A frame with the ends of both axes named; gives the place of a point on the paper."""
        left, top, width, height = box
        self.rect(left, top, width, height, CARD, LINE)
        for value, place in zip(x, (left, left + width), strict=True):
            self.text(place, top + height + 18, f"{value:g}", 12, QUIET)
        for value, place in zip(y, (top + height, top), strict=True):
            self.text(left - 8, place + 4, f"{value:g}", 12, QUIET, "end")
        self.text(left + width / 2, top + height + 36, names[0], 12, QUIET)
        self.text(left, top - 12, names[1], 12, QUIET, "start")
        return lambda a, b: (
            left + width * (a - x[0]) / (x[1] - x[0]),
            top + height * (1 - (b - y[0]) / (y[1] - y[0])),
        )

    def svg(self) -> str:
        """The whole picture."""
        return "\n".join([*self.parts, "</svg>\n"])


def rank_pairs() -> str:
    """Two encodes of one reference, one network for both, one answer."""
    picture = Picture(
        860, 260, "Two distorted clips go through the same network; the margin of scores is compared with a label"
    )
    picture.box(30, 30, 150, 60, "clip A\nx264, CRF 23", GREEN)
    picture.box(30, 170, 150, 60, "clip B\nx265, CRF 41", ORANGE)
    picture.text(105, 135, "and the reference of each", 12, QUIET)
    picture.box(260, 30, 150, 60, "network")
    picture.box(260, 170, 150, 60, "the same network")
    picture.box(490, 100, 140, 60, "score A - score B\na margin")
    picture.box(700, 100, 130, 60, "which is better:\nA (by VMAF)", GREEN)
    picture.line((180, 60), (260, 60))
    picture.line((180, 200), (260, 200))
    picture.line((410, 60), (450, 60), (450, 120), (490, 120))
    picture.line((410, 200), (450, 200), (450, 140), (490, 140))
    picture.line((630, 130), (700, 130))
    picture.text(665, 88, "loss", 12, QUIET)
    return picture.svg()


def sparsity() -> str:
    """Weights of a layer: all, a tenth left anywhere, whole channels gone."""
    picture = Picture(860, 280, "Weights of a layer, dense, sparse in single weights, and sparse in whole channels")
    rows, columns, side = 8, 12, 18
    left = {(0, 3), (1, 9), (2, 5), (3, 0), (3, 11), (4, 7), (5, 2), (6, 10), (7, 4), (7, 8)}
    kept = {0, 2, 3, 6}
    for number, (title, lives, note) in enumerate(
        [
            ("trained", lambda row, column: True, "every weight counts"),
            (
                "OBProx-SG",
                lambda row, column: (row, column) in left,
                "single weights are zero:\nhow many says how far to cut",
            ),
            (
                "half-space, progressive",
                lambda row, column: row in kept,
                "whole channels are zero:\nthey go without any loss",
            ),
        ]
    ):
        x = 40 + number * 280
        picture.text(x + columns * side / 2, 30, title, 14)
        for row in range(rows):
            for column in range(columns):
                fill = BLUE if lives(row, column) else PALE
                picture.rect(x + column * side, 45 + row * side, side - 2, side - 2, fill)
        picture.text(x + columns * side / 2, 45 + rows * side + 24, note, 12, QUIET)
    picture.text(430, 268, "a row is an output channel, a square one of its weights", 12, QUIET)
    return picture.svg()


def groups() -> str:
    """One channel through a residual block: every layer that holds it."""
    picture = Picture(860, 250, "A channel of a residual block lives in every layer that it passes")
    names = ["conv 1", "norm", "conv 2", "+", "conv 3"]
    places = [40, 200, 360, 540, 680]
    for name, x in zip(names, places, strict=True):
        width = 60 if name == "+" else 120
        picture.rect(x, 60, width, 110, CARD, BLUE, 7)
        if name == "+":
            picture.text(x + width / 2, 122, name, 22)
            continue
        picture.text(x + width / 2, 50, name, 13)
        for channel in range(4):
            fill = ORANGE if channel == 2 else PALE
            picture.rect(x + 14, 70 + channel * 24, width - 28, 16, fill, "none", 3)
    for start, end in ((160, 200), (320, 360), (480, 540), (600, 680)):
        picture.line((start, 126), (end, 126), colour=ORANGE, width=2)
    picture.line((340, 126), (340, 200), (570, 200), (570, 172), colour=ORANGE, width=2)
    picture.text(455, 216, "the shortcut adds the same channel", 12, QUIET)
    picture.text(430, 240, "orange: one group. It goes from all of these layers at once, or from none.", 12, QUIET)
    return picture.svg()


def distillation() -> str:
    """Teacher and student see the same clips; three levels of what is compared."""
    picture = Picture(860, 270, "Teacher and student see the same clips, and the student learns the teacher's answers")
    picture.box(30, 105, 120, 60, "a batch of\nclip pairs", GREEN)
    picture.box(220, 30, 150, 60, "teacher\nlarge, frozen")
    picture.box(220, 180, 150, 60, "student\npruned", ORANGE)
    picture.line((150, 125), (185, 125), (185, 60), (220, 60))
    picture.line((150, 145), (185, 145), (185, 210), (220, 210))
    levels = [
        ("instance", "each pair: how sure, which"),
        ("batch", "how the pairs relate"),
        ("class", "how the answers relate"),
    ]
    for number, (name, what) in enumerate(levels):
        y = 52 + number * 62
        picture.box(480, y, 110, 42, name)
        picture.text(604, y + 26, what, 12, QUIET, "start")
    picture.line((370, 60), (430, 60), (430, 125), (480, 125), head=False)
    picture.line((370, 210), (430, 210), (430, 145), (480, 145), head=False)
    picture.text(535, 258, "and, with a small weight, the labels", 12, QUIET)
    return picture.svg()


def judging() -> str:
    """Scores beside labels: what a correlation is taken of."""
    picture = Picture(860, 330, "Scores of 24 encodes beside VMAF: rankdvqa-mini and PSNR")
    with (ROOT / "benchmarks" / "results" / "ladder_scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    colours = dict(zip(sorted({row["content"] for row in rows}), (BLUE, ORANGE), strict=True))
    for number, (metric, span) in enumerate({"rankdvqa-mini": (0, 100), "psnr": (15, 45)}.items()):
        unit = "0 to 100" if metric != "psnr" else "dB"
        place = picture.axes(
            (70 + number * 410, 50, 320, 210), span, (0, 100), (f"{metric}, {unit}", "VMAF 0.6.1, the label")
        )
        for row in rows:
            picture.dot(*place(float(row[metric]), float(row["vmaf_v0.6.1"])), colours[row["content"]])
    told = ", ".join(f"{'blue' if colour == BLUE else 'orange'}: {content}" for content, colour in colours.items())
    picture.text(430, 318, f"12 encodes each of two contents ({told})", 12, QUIET)
    return picture.svg()


def scale() -> str:
    """The curve that reads raw scores of rankdvqa-mini."""
    from compressvqa.metrics.score_scale import ScoreScale
    from compressvqa.models.shipped import WEIGHTS_FOLDER

    kept = json.loads((WEIGHTS_FOLDER / "rankdvqa-mini" / "config.json").read_text(encoding="utf-8"))["scale"]
    curve = ScoreScale(tuple(kept["raw"]), tuple(kept["readable"]))
    picture = Picture(860, 330, "The curve from raw scores of rankdvqa-mini to 0 to 100")
    place = picture.axes(
        (90, 50, 700, 210), (-30, 5), (0, 100), ("raw score of rankdvqa-mini", "0 to 100, reads like VMAF 0.6.1")
    )
    picture.line(*(place(raw / 4, curve(raw / 4)) for raw in range(-120, 21)), colour=BLUE, head=False, width=2.5)
    for raw, readable in zip(kept["raw"], kept["readable"], strict=True):
        picture.dot(*place(raw, readable), ORANGE)
    picture.text(
        430, 318, "dots: the six knots, fitted to 1,272 validation patches; the curve never stands still", 12, QUIET
    )
    return picture.svg()


PICTURES = {one.__name__: one for one in (rank_pairs, sparsity, groups, distillation, judging, scale)}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (HERE / f"{name}.svg").write_text(draw(), encoding="utf-8")
