"""A table of texts with a caption, laid out for a paper, a page, a terminal or a README."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table as RichTable

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "\n": " ",
}  # fmt: skip
PRINT_WIDTH = 516  # points: both columns of an IEEE page; wider tables are scaled to it


@dataclass(frozen=True)
class Entry:
    """One cell: its text, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Grid:
    """Rows of texts below their headings; the first column names the row.

    Args:
        title: a few words, for a terminal and a page.
        caption: sentences that say how the figures were counted, and on what.
        heads: the headings.
        rows: as many entries each as there are headings.
        label: of the LaTeX table, after "tab:".
    """

    title: str
    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    label: str = "evaluation"

    def to_markdown(self) -> str:
        """A GitHub table whose columns line up in the source too; the best of a column is bold."""
        lines = [[_markdown(head) for head in self.heads]]
        lines += [[_bold(_markdown(entry.text), entry.best, "**") for entry in row] for row in self.rows]
        widths = [max(3, *(_width(line[place]) for line in lines)) for place in range(len(self.heads))]
        rule = "|" + "|".join(
            "-" * (width + 2) if place == 0 else "-" * (width + 1) + ":" for place, width in enumerate(widths)
        )
        body = ["| " + " | ".join(_padded(line, widths)) + " |" for line in lines]
        return "\n".join([body[0], rule + "|", *body[1:], "", _markdown(self.caption), ""])

    def to_latex(self) -> str:
        """A table over both columns of a page, with booktabs' rules; every text escaped, the best bold."""
        heads = " & ".join(_latex_head(head) for head in self.heads)
        wide = self._print_width() > PRINT_WIDTH
        rows = [" & ".join(_bold_latex(entry) for entry in row) + r" \\" for row in self.rows]
        return "\n".join(
            [
                "% needs \\usepackage{booktabs}" + (" and \\usepackage{graphicx}" if wide else ""),
                r"\begin{table*}",
                r"  \centering",
                f"  \\caption{{{_latex(self.caption)}}}",
                f"  \\label{{tab:{re.sub(r'[^A-Za-z0-9:-]+', '-', self.label)}}}",
                r"  \footnotesize\setlength{\tabcolsep}{4pt}",
                *([r"  \resizebox{\textwidth}{!}{%"] if wide else []),
                f"  \\begin{{tabular}}{{l{'r' * (len(self.heads) - 1)}}}",
                r"    \toprule",
                f"    {heads} \\\\",
                r"    \midrule",
                *(f"    {row}" for row in rows),
                r"    \bottomrule",
                r"  \end{tabular}" + ("}" if wide else ""),
                r"\end{table*}",
                "",
            ]
        )

    def _print_width(self) -> float:
        """About how wide the LaTeX table is, in points: 4 a letter at 8 points, 8 between columns."""
        lines = [[line for head in self.heads for line in [max(_broken(head), key=len)]]]
        lines += [[entry.text for entry in row] for row in self.rows]
        return sum(4 * max(_width(line[place]) for line in lines) + 8 for place in range(len(self.heads)))

    def to_text(self) -> str:
        """Plain text in columns, without colour or frame, for a pipe or a log file."""
        lines = [list(self.heads), *([entry.text for entry in row] for row in self.rows)]
        widths = [max(_width(line[place]) for line in lines) for place in range(len(self.heads))]
        body = ["  ".join(_padded(line, widths)).rstrip() for line in lines]
        return "\n".join([*body, "", self.caption, ""])

    def to_html(self) -> str:
        """A table element and its caption as a paragraph; every text escaped."""
        heads = "".join(f'<th scope="col">{html.escape(head)}</th>' for head in self.heads)
        rows = []
        for first, *rest in self.rows:
            cells = "".join(f"<td>{_bold(html.escape(entry.text), entry.best, '<b>', '</b>')}</td>" for entry in rest)
            rows.append(f'<tr><th scope="row">{html.escape(first.text)}</th>{cells}</tr>')
        return f'<table class="grid"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'

    def to_rich(self, width: int | None = None) -> list[RichTable]:
        """For the terminal. Where `width` letters don't hold all columns, further tables take the rest. The caption
        is not in them; printing the grid itself prints it too. Figures are never cut; names fold.
        """
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        widths = [
            max(_width(text) for text in [*(row[place].text for row in self.rows), *_broken(head)])
            for place, head in enumerate(self.heads)
        ]
        name = min(widths[0], 28)
        parts: list[list[int]] = [[]]
        for place in range(1, len(self.heads)):
            # One letter of padding and one between columns, and an edge on both sides.
            taken = 2 + name + 1 + sum(widths[at] + 2 for at in [*parts[-1], place])
            if parts[-1] and width is not None and taken > width:
                parts.append([])
            parts[-1].append(place)
        tables = []
        for part, places in enumerate(parts):
            title = None if part else escape(self.title)
            table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
            table.add_column(escape(self.heads[0]), overflow="fold", width=name)
            for place in places:
                head = "\n".join(_broken(self.heads[place]))
                table.add_column(escape(head), justify="right", width=widths[place])
            for row in self.rows:
                shown = [row[0], *(row[place] for place in places)]
                table.add_row(*(_bold(escape(entry.text), entry.best, "[bold]", "[/bold]") for entry in shown))
            tables.append(table)
        return tables

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        yield from self.to_rich(options.max_width)
        yield Text(self.caption, style="dim")


def _bold(text: str, bold: bool, before: str, after: str | None = None) -> str:
    return f"{before}{text}{before if after is None else after}" if bold else text


def _bold_latex(entry: Entry) -> str:
    return f"\\textbf{{{_latex(entry.text)}}}" if entry.best else _latex(entry.text)


def _latex(text: str) -> str:
    """Text with LaTeX's own characters escaped; other letters stay, LaTeX reads UTF-8.

    >>> _latex("a_b & 100 %, ~2^3"), _latex("-1")
    ('a\\\\_b \\\\& 100 \\\\%, \\\\textasciitilde{}2\\\\textasciicircum{}3', '-1')
    """
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _broken(head: str) -> list[str]:
    """A heading in lines of about nine letters.

    >>> _broken("MACs, conv & linear (G)"), _broken("NFLX-P")
    (['MACs,', 'conv &', 'linear', '(G)'], ['NFLX-P'])
    """
    lines: list[str] = []
    for word in head.split() or [""]:
        if lines and len(lines[-1]) + len(word) < 9:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _latex_head(head: str) -> str:
    lines = [_latex(line) for line in _broken(head)]
    stack = r" \\ ".join(lines)
    return f"\\shortstack[r]{{{stack}}}" if len(lines) > 1 else stack


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
