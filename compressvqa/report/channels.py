"""Draws which layers are tied: one row a layer, one colour and one lane a group of channels. `Explanation` -> SVG.

A lane runs down the page from the first layer that makes a group's channels to the last one that reads them, as
branches do in a picture of commits. The file stands alone: no script, no font to fetch, text that can be selected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from compressvqa.files import replacing
from compressvqa.plurals import count
from compressvqa.pruning.dependency.explain import ExplainedGroup, Explanation
from compressvqa.report.style import BLUE, GREEN, GRID, INK, ORANGE, PURPLE, QUIET, SKY, VERMILLION

_ROW, _TOP, _MARGIN, _LETTER = 22, 120, 24, 6.65  # pixels; _LETTER is the advance of the 11 px monospaced names
_BAR = 110
_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, "#7B4FA3", "#8C6D1F", "#A8324A", "#2F7F86")
_KEPT, _DEAD, _BAND = "#9AA3AD", "#C9CED4", "#F5F7F9"
_CUT = 92  # letters of a reason that fit on its line; the whole of it is in the tooltip


@dataclass
class _Lane:
    """One group on the page."""

    fact: ExplainedGroup
    colour: str
    makes: list[int]  # rows
    reads: list[int]
    column: int = 0

    @property
    def rows(self) -> list[int]:
        return sorted({*self.makes, *self.reads})


@dataclass
class _Row:
    """One layer on the page."""

    path: str
    bars: list[tuple[_Lane, int]] = field(default_factory=list)  # (group, outputs)
    remarks: list[tuple[str, str]] = field(default_factory=list)  # (text, colour)

    @property
    def outputs(self) -> int:
        return sum(count for _, count in self.bars)

    @property
    def told(self) -> str:
        return "; ".join(text for text, _ in self.remarks)


def draw_channels(explanation: Explanation, title: str) -> str:
    """The drawing as the text of an SVG file.

    Args:
        explanation: of a network, or of the part of it that `Explanation.about` picked.
        title: name of the network.
    """
    rows, lanes = _lay_out(explanation)
    widest = max([row.outputs for row in rows] + [1])
    columns = 1 + max((lane.column for lane in lanes), default=0)
    step = min(16.0, max(6.0, 420 / columns))
    names = _MARGIN + max([_LETTER * len(row.path) for row in rows] + [160.0]) + 20
    first_lane = names + _BAR + 62
    why = first_lane + columns * step + 14
    longest = max([len(row.told) for row in rows] + [46])
    width, height = math.ceil(why + 6.1 * min(longest, _CUT) + _MARGIN), _TOP + _ROW * len(rows) + 28
    parts = [*_head(explanation, title, width, height), *_legend(names, why)]
    parts += _bands(rows, width)
    for number, row in enumerate(rows):
        y = _TOP + _ROW * number + _ROW / 2
        parts += _row(row, rows[number - 1].path if number else "", y, names, why, _BAR / math.sqrt(widest))
        parts.append(_line(first_lane - 8, y, why - 8, y, GRID, 0.6))
    for lane in lanes:
        parts += _draw_lane(lane, first_lane + lane.column * step, rows)
    return "\n".join([*parts, "</svg>"]) + "\n"


def save_channels(explanation: Explanation, title: str, path: Path) -> None:
    """Writes the drawing whole or not at all."""
    with replacing(path) as temporary:
        Path(temporary).write_text(draw_channels(explanation, title), encoding="utf-8")


# -- what goes where --------------------------------------------------------------------------------------------------


def _lay_out(explanation: Explanation) -> tuple[list[_Row], list[_Lane]]:
    """Rows and lanes; a lane takes the leftmost column that is free over its whole length."""
    facts = explanation.groups
    used = {path for fact in facts for path in (*fact.group.producers, *fact.group.consumers)}
    rows = [_Row(path) for path in explanation.layers if path in used]
    at = {row.path: number for number, row in enumerate(rows)}
    lanes, turn, colours = [], 0, _colours(len(facts))
    for fact in facts:
        kept = fact.group.frozen is not None
        colour = _DEAD if fact.dead else _KEPT if kept else colours[turn]
        turn += not (kept or fact.dead)
        makes, reads = ([at[p] for p in side] for side in (fact.group.producers, fact.group.consumers))
        lanes.append(_Lane(fact, colour, makes, reads))
    taken: list[int] = []  # the last row of each column
    for lane in sorted(lanes, key=lambda one: one.rows[0]):
        lane.column = next((c for c, last in enumerate(taken) if last < lane.rows[0]), len(taken))
        taken[lane.column : lane.column + 1] = [lane.rows[-1]]
    for lane in lanes:
        _remark(lane, rows, at)
    return rows, lanes


def _remark(lane: _Lane, rows: Sequence[_Row], at: dict[str, int]) -> None:
    """Bars, and the words at the end of the rows."""
    fact, group = lane.fact, lane.fact.group
    for path, each in group.producers.items():
        rows[at[path]].bars.append((lane, each * group.channels))
    first = rows[min(lane.makes)]
    colour = lane.colour if group.frozen is None else QUIET
    if fact.dead:
        for number in lane.makes:
            rows[number].remarks.append(("removed: nothing reads it", QUIET))
        return
    if group.frozen is not None:
        first.remarks.append((f"kept: {group.frozen}", QUIET))
    told = set()
    for tie in fact.ties if group.frozen is None else ():
        for name in tie.joins[1:] if len(tie.joins) > 1 else tie.joins:
            here = at.get(name)
            if here is None or name in told:
                continue
            told.add(name)
            other = f"with {tie.joins[0]}" if len(tie.joins) > 1 else "outputs with each other"
            rows[here].remarks.append((f"{other}, {tie.operator} at {tie.place}", colour))
    alone = [*fact.parameters, *fact.buffers]
    if alone:
        first.remarks.append((f"with {', '.join(alone)}", colour))
    if fact.coupling is not None:
        first.remarks.append((f"{fact.unit} at a time, coupling {fact.coupling}", QUIET))


def _words(fact: ExplainedGroup) -> str:
    """A group in words, for its tooltip."""
    group = fact.group
    state = "nothing reads them" if fact.dead else f"kept: {group.frozen}" if group.frozen else "can be cut"
    lines = [f"{group.name}: {count(group.channels, 'channel')}, {state}"]
    for word, counts in (("made by", group.producers), ("read by", group.consumers)):
        lines += [f"{word} {path}" + (f" ({n} per channel)" if n > 1 else "") for path, n in counts.items()]
    for word in ("norms", "parameters", "buffers"):
        names: tuple[str, ...] = getattr(fact, word)
        if names:
            lines.append(f"with {word} {', '.join(names)}")
    return "\n".join([*lines, *map(str, fact.ties)])


# -- drawing ----------------------------------------------------------------------------------------------------------


def _head(explanation: Explanation, title: str, width: int, height: int) -> list[str]:
    cut = sum(f.group.frozen is None and not f.dead for f in explanation.groups)
    kept = sum(f.group.frozen is not None and not f.dead for f in explanation.groups)
    said = (
        f"{explanation.parameter_count:,} parameters. Groups of channels: {cut} can be cut, {kept} kept whole. "
        "Layers in one lane lose their channels together."
    )
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{_quoted(title)}: which layers are tied">',
        "<style>text{font:12px system-ui,'Segoe UI',Helvetica,Arial,sans-serif}"
        "text.name{font:11px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;white-space:pre}"
        "text.small{font-size:11px}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(_MARGIN, 32, title, INK, size=18, weight=600),
        _text(_MARGIN, 53, said, QUIET),
    ]


def _legend(names: float, why: float) -> list[str]:
    y, heads = 78.0, _TOP - 12
    return [
        *_marker(True, _MARGIN + 5, y - 4, INK),
        _text(_MARGIN + 15, y, "makes the channels", QUIET, "small"),
        *_marker(False, _MARGIN + 146, y - 4, INK),
        _text(_MARGIN + 156, y, "reads them", QUIET, "small"),
        f'<rect x="{_MARGIN + 240}" y="{y - 9:.1f}" width="18" height="10" rx="2" fill="{_KEPT}"/>',
        _text(_MARGIN + 264, y, "grey: kept whole, or read by nothing", QUIET, "small"),
        _text(_MARGIN + 488, y, "point at a bar or a lane for all that is in it", QUIET, "small"),
        _text(_MARGIN, heads, "layer, in the order of running", INK, "small"),
        _text(names, heads, "outputs (bar: square root)", INK, "small"),
        _text(why, heads, "tied with, by which operator; or why kept", INK, "small"),
    ]


def _bands(rows: Sequence[_Row], width: int) -> list[str]:
    """A quiet background for every other module, so that rows of one module are seen together."""
    parts, start, dark = [], 0, False
    for number in range(1, len(rows) + 1):
        if number < len(rows) and _parent(rows[number].path) == _parent(rows[start].path):
            continue
        if dark:
            y, tall = _TOP + _ROW * start, _ROW * (number - start)
            parts.append(f'<rect x="8" y="{y}" width="{width - 16}" height="{tall}" rx="5" fill="{_BAND}"/>')
        start, dark = number, not dark
    return parts


def _parent(path: str) -> str:
    """The module that a row belongs to: everything up to the last number, or the first part of the path."""
    parts = path.split(".")
    numbers = [n for n, part in enumerate(parts[:-1]) if part.isdigit()]
    return ".".join(parts[: numbers[-1] + 1]) if numbers else parts[0]


def _row(row: _Row, above: str, y: float, names: float, why: float, scale: float) -> list[str]:
    shared = 0
    for part, other in zip(row.path.split(".")[:-1], above.split("."), strict=False):
        if part != other:
            break
        shared += len(part) + 1
    known, new = escape(row.path[:shared]), escape(row.path[shared:])
    parts = [
        f'<text class="name" x="{_MARGIN}" y="{y + 4:.1f}" fill="{INK}">'
        f'<tspan fill="{QUIET}">{known}</tspan>{new}</text>'
    ]
    x = names
    for lane, outputs in row.bars:
        long = max(3.0, scale * math.sqrt(row.outputs) * outputs / row.outputs)
        parts.append(
            f'<rect x="{x:.1f}" y="{y - 6:.1f}" width="{long:.1f}" height="12" rx="2" fill="{lane.colour}">'
            f"<title>{escape(_words(lane.fact))}</title></rect>"
        )
        x += long + 1
    if row.bars:
        parts.append(_text(x + 5, y + 4, f"{row.outputs:,}", INK, "small"))
    if row.remarks:
        shown = row.told if len(row.told) <= _CUT else f"{row.told[: _CUT - 1]}…"
        tip = "" if shown == row.told else f"<title>{escape(row.told)}</title>"
        colour = _dark(row.remarks[0][1])
        parts.append(f'<text class="small" x="{why:.1f}" y="{y + 4:.1f}" fill="{colour}">{escape(shown)}{tip}</text>')
    return parts


def _draw_lane(lane: _Lane, x: float, rows: Sequence[_Row]) -> list[str]:
    ys = [_TOP + _ROW * n + _ROW / 2 for n in lane.rows]
    dash = ' stroke-dasharray="4 3"' if lane.fact.group.frozen is not None or lane.fact.dead else ""
    parts = [
        f"<g><title>{escape(_words(lane.fact))}</title>",
        _line(x, ys[0], x, ys[-1], lane.colour, 2.4, dash),
    ]
    for number, y in zip(lane.rows, ys, strict=True):
        if number in lane.reads:
            parts += _marker(False, x, y, lane.colour)
        if number in lane.makes:
            parts += _marker(True, x, y, lane.colour)
    return [*parts, "</g>"]


def _marker(makes: bool, x: float, y: float, colour: str) -> list[str]:
    """A disc for a layer that makes channels, a ring for one that reads them."""
    if makes:
        return [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.6" fill="{colour}"/>']
    return [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="#ffffff" stroke="{colour}" stroke-width="1.8"/>']


def _colours(count: int) -> list[str]:
    """A colour for each group; when the palette is used up it comes again darker, then lighter."""
    found = []
    for number in range(count):
        base, again = _COLOURS[number % len(_COLOURS)], number // len(_COLOURS) % 3
        found.append(base if again == 0 else _mixed(base, "#000000" if again == 1 else "#ffffff", 0.35))
    return found


def _dark(colour: str) -> str:
    """The colour, dark enough to read small text in."""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    bright = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
    return _mixed(colour, "#000000", max(0.0, 1 - 0.38 / max(bright, 0.01)))


def _mixed(colour: str, other: str, share: float) -> str:
    """A colour with a share of another one in it."""
    pairs = [(int(colour[k : k + 2], 16), int(other[k : k + 2], 16)) for k in (1, 3, 5)]
    return "#" + "".join(f"{round(a * (1 - share) + b * share):02x}" for a, b in pairs)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, thick: float, dash: str = "") -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{thick}"{dash}/>'


def _text(x: float, y: float, text: str, colour: str, kind: str = "", *, size: int = 0, weight: int = 0) -> str:
    style = f' style="font-size:{size}px;font-weight:{weight}"' if size else ""
    mark = f' class="{kind}"' if kind else ""
    return f'<text{mark} x="{x:.1f}" y="{y:.1f}" fill="{colour}"{style}>{escape(text)}</text>'


def _quoted(text: str) -> str:
    return escape(text, {'"': "&quot;"})
