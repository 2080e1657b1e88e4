"""The one table: rows of figures with a caption, laid out for a page, a paper, a terminal, a log or a README."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compressvqa.errors import printable
from compressvqa.report.latex import broken, latex_table

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table as RichTable


@dataclass(frozen=True)
class Cell:
    """One figure.

    Args:
        text: the figure.
        notes: what stands smaller beside or below it: "(9.9%)", "[.82, .93]", "noisy".
        best: whether it is the best of its column.
    """

    text: str
    notes: tuple[str, ...] = ()
    best: bool = False

    @property
    def small(self) -> str:
        """All notes in one line."""
        return " ".join(self.notes)

    @property
    def line(self) -> str:
        """All of it in one line."""
        return " ".join([self.text, *self.notes])

    @property
    def below(self) -> list[str]:
        """The notes where each has a line of its own, so that a share needs no brackets."""
        return [note[1:-1] if note.endswith("%)") else note for note in self.notes]


@dataclass(frozen=True)
class Table:
    """Rows of figures below their headings; the first column names the row.

    Args:
        heads: the headings.
        rows: as many cells each as there are headings.
        title: a few words, for a terminal and a page.
        caption: sentences that say how the figures were counted, and on what.
        label: of the LaTeX table, after "tab:".
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    caption: str = ""
    label: str = "evaluation"

    def to_markdown(self) -> str:
        """A GitHub table whose columns line up in the source too; the best of a column is bold."""
        lines = [[_markdown(head) for head in self.heads]]
        lines += [[_bold(_markdown(cell.text), cell.best, "**") + _after(_markdown(cell.small)) for cell in row]
                  for row in self.rows]  # fmt: skip
        widths = [max(3, *(_width(line[place]) for line in lines)) for place in range(len(self.heads))]
        rule = "|" + "|".join(
            "-" * (width + 2) if place == 0 else "-" * (width + 1) + ":" for place, width in enumerate(widths)
        )
        body = ["| " + " | ".join(_padded(line, widths)) + " |" for line in lines]
        caption = ["", _markdown(self.caption)] if self.caption else []
        return "\n".join([body[0], rule + "|", *body[1:], *caption, ""])

    def to_latex(self) -> str:
        """A table over both columns of a page, with booktabs' rules; every text escaped, the best bold."""
        cells = [[(cell.text, cell.small, cell.best) for cell in row] for row in self.rows]
        return latex_table(self.heads, cells, self.caption, self.label, _width)

    def to_text(self) -> str:
        """Plain text in columns, without colour or frame, for a pipe or a log file."""
        lines = [[printable(head, one_line=True) for head in self.heads]]
        lines += [[printable(cell.line, one_line=True) for cell in row] for row in self.rows]
        widths = [max(_width(line[place]) for line in lines) for place in range(len(self.heads))]
        body = ["  ".join(_padded(line, widths)).rstrip() for line in lines]
        return "\n".join([*body, *(["", printable(self.caption)] if self.caption else []), ""])

    def to_rich(self, width: int | None = None) -> list[RichTable]:
        """For the terminal. Where `width` letters don't hold all columns, further tables take the rest. The caption
        is not in them; printing the table itself prints it too. Figures are never cut; names fold.
        """
        from rich import box
        from rich.markup import escape as escape_markup
        from rich.table import Table as Rich

        def escape(text: str) -> str:
            return escape_markup(printable(text))

        widths = [
            max(
                _width(text)
                for row in self.rows
                for text in [row[place].text, *row[place].below, *broken(self.heads[place])]
            )
            for place in range(len(self.heads))
        ]
        name = min(widths[0], 28)
        tables = []
        for number, places in enumerate(_parts(widths, name, width)):
            title = escape(self.title) if self.title and number == 0 else None
            table = Rich(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
            table.add_column(escape(self.heads[0]), overflow="fold", width=name)
            for place in places:
                head = "\n".join(broken(self.heads[place]))
                table.add_column(escape(head), justify="right", width=widths[place])
            for row in self.rows:
                table.add_row(
                    *(
                        _bold(escape(cell.text), cell.best, "[bold]", "[/bold]")
                        + "".join(f"\n[dim]{escape(note)}[/dim]" for note in cell.below)
                        for cell in [row[0], *(row[place] for place in places)]
                    )
                )
            tables.append(table)
        return tables

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        yield from self.to_rich(options.max_width)
        if self.caption:
            yield Text(printable(self.caption), style="dim")


def with_best(cells: Sequence[Cell], values: Sequence[float | None], best: str | None = "high") -> list[Cell]:
    """Marks the best of a column, and all that look like it as they are printed; nothing where all look alike.

    Args:
        cells: of the column.
        values: theirs, None for those that are no rivals.
        best: "high", "low" or None: there is no better end.
    """
    known = [(value, _figure(cell)) for value, cell in zip(values, cells, strict=True) if value is not None]
    if best is None or len({figure for _, figure in known}) < 2:
        return list(cells)
    (_, shown) = (max if best == "high" else min)(known, key=lambda pair: pair[0])
    return [
        replace(cell, best=value is not None and _figure(cell) == shown)
        for cell, value in zip(cells, values, strict=True)
    ]


def _figure(cell: Cell) -> str:
    """The figure without the result of a test behind it."""
    return cell.text.split(" ")[0]


def _parts(widths: Sequence[int], name: int, width: int | None) -> list[list[int]]:
    """The columns that stand in each of the tables that a terminal of this width needs."""
    parts: list[list[int]] = [[]]
    for place in range(1, len(widths)):
        # One letter of padding and one between columns, and an edge on both sides.
        taken = 2 + name + 1 + sum(widths[at] + 2 for at in [*parts[-1], place])
        if parts[-1] and width is not None and taken > width:
            parts.append([])
        parts[-1].append(place)
    return parts


def _bold(text: str, bold: bool, before: str, after: str | None = None) -> str:
    return f"{before}{text}{before if after is None else after}" if bold else text


def _after(text: str) -> str:
    return f" {text}" if text else ""


def _markdown(text: str) -> str:
    """Text without markup of its own, in one line.

    >>> _markdown("<b> a|b *c* rank_dvqa _x_")
    '&lt;b> a\\\\|b \\\\*c\\\\* rank_dvqa \\\\_x\\\\_'
    """
    text = re.sub(r"&(?=#?\w+;)", "&amp;", " ".join(text.split())).replace("<", "&lt;")
    text = re.sub(r"([\\`*|]|\[(?=[^]]*\][(\[]))", r"\\\1", text)  # a bracket alone makes no link
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\_", text)  # inside a word an underscore means nothing


def _width(text: str) -> int:
    """Columns of a terminal that a text takes; some letters take two."""
    from rich.cells import cell_len

    return cell_len(text)


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The first column to the left, figures to the right."""
    return [
        text + " " * (width - _width(text)) if place == 0 else " " * (width - _width(text)) + text
        for place, (text, width) in enumerate(zip(line, widths, strict=True))
    ]
