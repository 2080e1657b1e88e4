"""Scores as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from compressvqa.scoring.pooling import pool_by
from compressvqa.scoring.result import Score, Subject, figure, file_names, subjects, title

MOST_COLUMNS = 5  # of scores, beside two of time: 80 signs a line
NAME_WIDTH = 16  # that a file's name has at least, where it is folded


def score_table(score: Score) -> Table:
    """`Score.lines`: one score of one file."""
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for place, (name, value) in enumerate(score.lines()):
        table.add_row(escape(name), f"[bold]{escape(value)}[/bold]" if place == 0 else escape(value))
    return table


def scores_table(scores: Sequence[Score]) -> RenderableType:
    """Several scores, a row each; below, how each metric is to be read, and in what the files differ.

    No figure and no header is cut: where a terminal is too narrow, long names of files are folded, and then poolings
    that nobody asked for are left out, the last first.

    Args:
        scores: of one or several files by one or several metrics, the metrics of a file one after the other.
    """
    spare = [name for name in ("min", "max", "harmonic_mean") if name not in scores[0].pools]
    some = [spare[:count] for count in range(len(spare), -1, -1)]
    return Group(Fitting([_Scores(scores, more) for more in some]), _legend(scores), *_about_files(scores))


@dataclass(frozen=True)
class Fitting:
    """The first of several tables that fits into the width there is; the last where none does."""

    choices: Sequence[_Scores]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unbound = options.update(max_width=1 << 16)
        widths = [Measurement.get(console, unbound, one.table(name_width=NAME_WIDTH)).maximum for one in self.choices]
        fits = [one for one, width in zip(self.choices, widths, strict=True) if width <= options.max_width]
        yield (fits or [self.choices[-1]])[0].table()


@dataclass(frozen=True)
class _Scores:
    """A table of scores, with some poolings beside those that were asked for."""

    scores: Sequence[Score]
    more: Sequence[str]

    def table(self, name_width: int | None = None) -> Table:
        """The table; names of files are folded where they must be, or to a given width."""
        scores = self.scores
        files, of, metrics = file_names(scores), subjects(scores), _metrics(scores)
        table = Table(box=box.SIMPLE, pad_edge=False)
        if len(files) > 1:
            table.add_column("file", overflow="fold", max_width=name_width)
        if len(metrics) > 1:
            table.add_column("metric", no_wrap=True)
        asked = scores[0].pools
        first = title(asked[0]) if asked else "score"
        table.add_column(metrics[0] if len(metrics) == 1 and not asked else first, justify="right", no_wrap=True)
        names = [*asked[1:], *self.more]
        for name in names:
            table.add_column(title(name), justify="right", no_wrap=True)
        for place, score in enumerate(scores):
            row = [f"[bold]{figure(score.score)}[/bold]", *(figure(score.pooled[name]) for name in names)]
            shown = place == 0 or of[place - 1] != of[place]
            head = [escape(files[of[place]]) if shown else ""] if len(files) > 1 else []
            table.add_row(*head, *([escape(score.name)] if len(metrics) > 1 else []), *row)
        return table


def _legend(scores: Sequence[Score]) -> Table:
    """How each metric is to be read. What the reference gets against itself is the same for all files."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name in _metrics(scores):
        some = [one for one in scores if one.name == name]
        table.add_row(escape(name), escape(some[0].meaning))
        for remark in dict.fromkeys(remark for one in some for remark in one.remarks):
            table.add_row("", escape(remark))
    return table


def _about_files(scores: Sequence[Score]) -> list[RenderableType]:
    """In what each file differs from the reference, and what was done about it."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    first = dict(reversed(list(zip(subjects(scores), scores, strict=True))))
    for subject, name in file_names(scores).items():
        for one in first[subject].differences:
            hint = f" ({one.hint})" if one.hint else ""
            table.add_row(escape(name), escape(f"{one}{hint}"))
        for note in (*first[subject].distorted.notes, *first[subject].settings.get("notes", ())):
            table.add_row(escape(name), escape(note))
    forms = list(dict.fromkeys(str(one.settings["compared as"]) for one in scores if "compared as" in one.settings))
    for form in forms:
        of = _only(scores, form, file_names(scores)) if len(forms) > 1 else ""
        table.add_row("compared as", escape(form + of))
    shown = next((one.reference for one in scores if one.reference is not None), None)
    if shown is not None:
        for note in shown.notes:
            table.add_row(escape(shown.path.name), escape(note))
    return ["", table, ""] if table.row_count else [""]


def _only(scores: Sequence[Score], form: str, names: Mapping[Subject, str]) -> str:
    """Which files, and which metrics of them, are compared in this form; each is said where not all are."""
    alike = [one for one in scores if one.settings.get("compared as") == form]
    of = dict(zip(map(id, scores), subjects(scores), strict=True))
    files = list(dict.fromkeys(names[of[id(one)]] for one in alike))
    metrics = list(dict.fromkeys(one.name for one in alike))
    said = [*(files if len(files) < len(names) else []), *(metrics if len(metrics) < len(_metrics(scores)) else [])]
    return f" ({', '.join(said)})" if said else ""


def segments_table(scores: Sequence[Score]) -> RenderableType:
    """The course over time: a row a segment or a stretch.

    One metric has a column a file; several metrics have a table a file and a column each. Where several poolings of
    stretches don't fit into a terminal's width, the first is shown; logs hold all.
    """
    files, of = file_names(scores), subjects(scores)
    if len(_metrics(scores)) == 1:
        return _Course([(files[subject], one) for subject, one in zip(of, scores, strict=True)], None)
    tables = []
    for subject, name in files.items():
        some = [(one.name, one) for one, its in zip(scores, of, strict=True) if its == subject]
        tables.append(_Course(some, name if len(files) > 1 else None))
    return Group(*tables)


@dataclass(frozen=True)
class _Course:
    """Columns of scores over time, in as many tables below each other as the width asks for."""

    named: Sequence[tuple[str, Score]]
    caption: str | None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        first = self.named[0][1]
        pools = (first.pools or ("mean",)) if first.per is not None else ("mean",)
        if len(pools) * len(self.named) > MOST_COLUMNS:
            pools = pools[:1]
        columns = [(name, score, pool) for name, score in self.named for pool in pools]
        heads = [name + (f" {title(pool)}" if pool != "mean" or len(pools) > 1 else "") for name, _, pool in columns]
        rows: dict[tuple[int, int], list[str]] = {}
        for place, (_, score, pool) in enumerate(columns):
            for part in score.parts:
                row = rows.setdefault((part.first_frame, part.last_frame), ["-"] * len(columns))
                row[place] = figure(pool_by(pool, part.scores))
        begin = 0
        while begin < len(columns):
            end = len(columns)
            while end > begin + 1 and not self._fits(heads[begin:end], rows, (begin, end), console, options):
                end -= 1
            yield self._table(heads[begin:end], rows, (begin, end), NAME_WIDTH if end == begin + 1 else None)
            begin = end

    def _fits(
        self,
        heads: Sequence[str],
        rows: Mapping[tuple[int, int], list[str]],
        part: tuple[int, int],
        console: Console,
        options: ConsoleOptions,
    ) -> bool:
        table = self._table(heads, rows, part, NAME_WIDTH)
        return Measurement.get(console, options.update(max_width=1 << 16), table).maximum <= options.max_width

    def _table(
        self,
        heads: Sequence[str],
        rows: Mapping[tuple[int, int], list[str]],
        part: tuple[int, int],
        head_width: int | None,
    ) -> Table:
        """Some of the columns; long names above them are folded, figures never."""
        caption = None if self.caption is None else escape(self.caption)
        table = Table(box=box.SIMPLE, pad_edge=False, title=caption, title_justify="left")
        for name in ("frames", "seconds"):
            table.add_column(name, justify="right", no_wrap=True)
        longest = max(len(value) for values in rows.values() for value in values) if rows else 1
        for head in heads:
            width = None if head_width is None else max(head_width, longest)
            table.add_column(escape(head), justify="right", overflow="fold", min_width=longest, max_width=width)
        rate = self.named[0][1].frame_rate
        for (start, last), values in sorted(rows.items()):
            seconds = "-" if rate is None else f"{start / float(rate):.2f}"
            table.add_row(str(start) if start == last else f"{start} to {last}", seconds, *values[slice(*part)])
        return table


def _metrics(scores: Sequence[Score]) -> list[str]:
    return list(dict.fromkeys(score.name for score in scores))
