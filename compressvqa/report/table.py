"""The result table: one function decides columns and number formats, so terminal, page, card and README agree."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compressvqa.report.results import baseline, number, ratio

if TYPE_CHECKING:
    from rich.table import Table as RichTable

ABSENT = "-"


@dataclass(frozen=True)
class Column:
    """A figure of the table: the row's key, its heading, the unit it is divided by, digits after the point."""

    key: str
    title: str
    unit: str = ""
    divide: float = 1.0
    digits: int = 4
    compared: bool = True  # shown as a share of the baseline too

    @property
    def heading(self) -> str:
        """Title and unit, "Params (M)"."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def text(self, value: float | None) -> str:
        """A value as it is printed everywhere."""
        return ABSENT if value is None else f"{value / self.divide:.{self.digits}f}"


COLUMNS = (
    Column("params", "Params", "M", 1e6, 3),
    Column("macs_conv_linear", "MACs, conv & linear", "G", 1e9, 3),
    Column("macs", "MACs, all", "G", 1e9, 3),
    Column("latency_ms", "Latency", "ms", 1, 1),
    Column("latency_p90_ms", "p90", "ms", 1, 1, compared=False),
    Column("srocc", "SROCC"),
    Column("plcc", "PLCC"),
    Column("pair_accuracy", "Pair acc."),
    Column("agreement_srocc", "Agreement SROCC", compared=False),
    Column("agreement_plcc", "Agreement PLCC", compared=False),
)


@dataclass(frozen=True)
class Cell:
    """One figure: the value, and its share of the baseline's ("" in the baseline's own row)."""

    value: str
    share: str = ""


def percent(share: float) -> str:
    """A share as text, with one more digit where it is small.

    >>> percent(0.0991), percent(0.95), percent(0.00421)
    ('9.9%', '95.0%', '0.42%')
    """
    return f"{share:.2%}" if abs(share) < 0.01 else f"{share:.1%}"


@dataclass(frozen=True)
class ResultTable:
    """The table as text, ready to be laid out: columns that any row has, and a (stage, cells) pair per row."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    base: str  # the stage that shares refer to

    def to_rich(self, title: str | None = None) -> RichTable:
        """For the terminal: the share stands, dimmed, below the value."""
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        compared = len(self.rows) > 1
        caption = f"second line: share of {self.base}" if compared else None
        table = Table(title=title, caption=caption, caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("Stage", no_wrap=True)
        for place, column in enumerate(self.columns):
            # On a narrow terminal headings are broken between words; a figure is never cut.
            texts = [text for _, cells in self.rows for text in (cells[place].value, cells[place].share)]
            least = max(len(text) for text in [*texts, *column.heading.split()])
            table.add_column(column.heading, justify="right", min_width=least)
        for stage, cells in self.rows:
            texts = [f"{cell.value}\n[dim]{cell.share}[/dim]" if cell.share else cell.value for cell in cells]
            table.add_row(escape(stage), *texts)
        return table

    def __rich__(self) -> RichTable:
        return self.to_rich()

    def to_markdown(self) -> str:
        """A GitHub table; the share follows in brackets."""
        heads = ["Stage", *(column.heading for column in self.columns)]
        lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * len(self.columns) + "|"]
        for stage, cells in self.rows:
            texts = [f"{cell.value} ({cell.share})" if cell.share else cell.value for cell in cells]
            lines.append("| " + " | ".join([stage.replace("|", "\\|"), *texts]) + " |")
        return "\n".join(lines) + "\n"

    def to_text(self) -> str:
        """Plain text in columns, without colour or frame, for a pipe or a log file."""
        heads = ["Stage", *(column.heading for column in self.columns)]
        body = [
            [stage, *(f"{cell.value} ({cell.share})" if cell.share else cell.value for cell in cells)]
            for stage, cells in self.rows
        ]
        widths = [max(len(line[place]) for line in [heads, *body]) for place in range(len(heads))]
        lines = []
        for stage, *texts in [heads, *body]:
            padded = [text.rjust(width) for text, width in zip(texts, widths[1:], strict=True)]
            lines.append("  ".join([stage.ljust(widths[0]), *padded]).rstrip())
        return "\n".join(lines) + "\n"

    def to_html(self) -> str:
        """A table element; every text escaped."""
        heads = "".join(f'<th scope="col">{html.escape(column.heading)}</th>' for column in self.columns)
        lines = []
        for stage, cells in self.rows:
            texts = (
                f"<td>{html.escape(cell.value)}" + (f"<small>{html.escape(cell.share)}</small>" if cell.share else "")
                for cell in cells
            )
            lines.append(f'<tr><th scope="row">{html.escape(stage)}</th>{"</td>".join(texts)}</td></tr>')
        head = f'<thead><tr><th scope="col">Stage</th>{heads}</tr></thead>'
        return f'<table class="results">{head}<tbody>{"".join(lines)}</tbody></table>'


def result_table(rows: Sequence[Mapping[str, Any]]) -> ResultTable:
    """Lays out rows of figures. A column that no row has is left out; a figure that a row lacks is shown as "-".

    Args:
        rows: at least one, each with "stage" and any of the keys of `COLUMNS`, in plain units (parameters, MACs, ms).

    >>> print(result_table([{"stage": "teacher", "params": 4_594_938}, {"stage": "mini", "params": 453_000}]).to_text())
    Stage      Params (M)
    teacher         4.595
    mini     0.453 (9.9%)
    <BLANKLINE>
    """
    base = baseline(rows)
    columns = tuple(column for column in COLUMNS if any(number(row, column.key) is not None for row in rows))
    lines = []
    for row in rows:
        cells = []
        for column in columns:
            share = ratio(row, base, column.key) if column.compared and row is not base else None
            cells.append(Cell(column.text(number(row, column.key)), "" if share is None else percent(share)))
        lines.append((str(row["stage"]), tuple(cells)))
    return ResultTable(columns, tuple(lines), str(base["stage"]))


def plain_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same figures for a program: unrounded, with ``<key>_share`` of the baseline, None where absent.

    >>> plain_rows([{"stage": "teacher", "macs": 10}, {"stage": "mini", "macs": 1}])[1]
    {'stage': 'mini', 'macs': 1, 'macs_share': 0.1}
    """
    base = baseline(rows)
    columns = [column for column in COLUMNS if any(number(row, column.key) is not None for row in rows)]
    plain = []
    for row in rows:
        line: dict[str, Any] = {"stage": row["stage"]}
        for column in columns:
            line[column.key] = None if number(row, column.key) is None else row[column.key]
            if column.compared:
                line[f"{column.key}_share"] = ratio(row, base, column.key)
        if "n" in row:
            line["n"] = row["n"]
        plain.append(line)
    return plain
