"""The table of a run: a row a stage. Terminal, page, card and README agree, because none formats a figure itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compressvqa.cost import is_noisy
from compressvqa.report.intervals import interval
from compressvqa.report.numbers import (
    ABSENT,
    LATENCY,
    MACS,
    MACS_CONV_LINEAR,
    P90,
    PARAMS,
    QUANTITIES,
    between,
    digits_of_all,
    percent,
)
from compressvqa.report.results import baseline, number, ratio
from compressvqa.report.table import Cell, Table
from compressvqa.report.words import NOISY


@dataclass(frozen=True)
class Column:
    """A figure of the table: the row's key, its heading, and whether it is shown as a share of the baseline too."""

    key: str
    heading: str
    compared: bool = True

    def text(self, row: Mapping[str, Any], digits: int) -> str:
        """The figure of a row as it is printed everywhere; a cost has digits of its own."""
        value = number(row, self.key)
        if value is None:
            return ABSENT
        of_cost = next((quantity for quantity in QUANTITIES if quantity.key == self.key), None)
        return f"{value:.{digits}f}" if of_cost is None else of_cost.text(value)


COLUMNS = (
    *(Column(quantity.key, quantity.heading) for quantity in (PARAMS, MACS_CONV_LINEAR, MACS, LATENCY)),
    Column(P90.key, P90.heading, compared=False),
    Column("srocc", "SROCC"),
    Column("plcc", "PLCC"),
    Column("srocc_within", "SROCC in a content", compared=False),
    Column("pair_accuracy", "Pair acc."),
    Column("agreement_srocc", "Agreement SROCC", compared=False),
    Column("agreement_plcc", "Agreement PLCC", compared=False),
)


def result_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Lays out rows of figures. A column that no row has is left out; a figure that a row lacks is shown as "-".

    Args:
        rows: at least one, each with "stage" and any of the keys of `COLUMNS`, in plain units (parameters, MACs, ms).
            The interval of a correlation ("srocc_low", "srocc_high") stands below it, and decides its digits.

    >>> print(result_table([{"stage": "teacher", "params": 4_594_938}, {"stage": "mini", "params": 453_000}]).to_text())
    Stage      Params (M)
    teacher         4.595
    mini     0.453 (9.9%)
    <BLANKLINE>
    Small figures: share of teacher's.
    <BLANKLINE>
    """
    base = baseline(rows)
    columns = _columns(rows)
    # All correlations and shares are of the same clips: none is worth more digits than the SROCC.
    digits = digits_of_all(interval(row, "srocc") for row in rows)
    lines = []
    for row in rows:
        cells = [Cell(str(row["stage"]))]
        for column in columns:
            share = ratio(row, base, column.key) if column.compared and row is not base else None
            notes = [] if share is None else [f"({percent(share)})"]
            notes += [ends] if (ends := between(interval(row, column.key), digits, zero=True)) else []
            notes += ["noisy"] if column.key == LATENCY.key and noisy(row) else []
            cells.append(Cell(column.text(row, digits), tuple(notes)))
        lines.append(tuple(cells))
    return Table(("Stage", *(column.heading for column in columns)), tuple(lines), caption=_caption(rows, base))


def _caption(rows: Sequence[Mapping[str, Any]], base: Mapping[str, Any]) -> str:
    words = [f"Small figures: share of {base['stage']}'s."] if len(rows) > 1 else []
    if any(interval(row, "srocc") for row in rows):
        words.append("In square brackets: 95 % confidence interval.")
    if any(map(noisy, rows)):
        words.append(NOISY)
    return " ".join(words)


def noisy(row: Mapping[str, Any]) -> bool:
    """Whether a row's latency is no steady figure."""
    median, p90 = number(row, LATENCY.key), number(row, P90.key)
    return median is not None and p90 is not None and is_noisy(median, p90)


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    return [column for column in COLUMNS if any(number(row, column.key) is not None for row in rows)]


def plain_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same figures for a program: unrounded, with ``<key>_share`` of the baseline, None where absent.

    >>> plain_rows([{"stage": "teacher", "macs": 10}, {"stage": "mini", "macs": 1}])[1]
    {'stage': 'mini', 'macs': 1, 'macs_share': 0.1}
    """
    base = baseline(rows)
    columns = _columns(rows)
    with_interval = [column.key for column in columns if any(interval(row, column.key) for row in rows)]
    plain = []
    for row in rows:
        line: dict[str, Any] = {"stage": row["stage"]}
        for column in columns:
            line[column.key] = None if number(row, column.key) is None else row[column.key]
            if column.compared:
                line[f"{column.key}_share"] = ratio(row, base, column.key)
            if column.key in with_interval:
                line |= {f"{column.key}_{end}": number(row, f"{column.key}_{end}") for end in ("low", "high")}
        if "n" in row:
            line["n"] = row["n"]
        plain.append(line)
    return plain
