"""report.html of a run: the whole of it on one page, in one file that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from compressvqa.labels import label_title
from compressvqa.report import page, style
from compressvqa.report.curves import curve_figures
from compressvqa.report.intervals import interval, with_intervals
from compressvqa.report.layers import layers_of
from compressvqa.report.measures import measures_of
from compressvqa.report.numbers import QUANTITIES, between, digits_of, percent
from compressvqa.report.results import baseline, inputs_title, number, part, ratio
from compressvqa.report.run_table import COLUMNS, result_table
from compressvqa.report.summary import counted, last, limits, summary
from compressvqa.report.tradeoff import tradeoff_figure
from compressvqa.report.use import use_of

DATA_TITLES = {"references": "reference patches", "patches": "distorted patches", "codecs": "patches by encoder"}
FIGURE_TITLES = {
    "inputs": "Input",
    **{column.key: column.heading for column in COLUMNS},
    **{quantity.key: quantity.title for quantity in QUANTITIES},
    "pair_accuracy": "Pair accuracy",
}


def report_html(results: Mapping[str, Any], recipe_yaml: str | None = None) -> str:
    """The page of a run, see `compressvqa.report.results.Results`. What the results lack is left out of the page."""
    results = {**results, "table": with_intervals(results["table"])}
    rows: Sequence[Mapping[str, Any]] = results["table"]
    with style.house_style(**{"svg.fonttype": "none"}):
        tradeoffs, curves = _tradeoffs(results), _curves(results)
    parts = {str(name): facts for name, facts in part(results, "data").items() if isinstance(facts, Mapping)}
    spreads = list(_spreads(parts, results.get("label")))
    table = result_table(rows)
    return page.render(
        "run.html",
        name=str(results.get("name", "compressvqa run")),
        created=results.get("created"),
        summary=summary(results),
        description=results.get("description"),
        tiles=_tiles(results),
        table=table,
        table_note=f"{table.caption} {_table_note(results)}".strip(),
        tradeoffs=tradeoffs,
        tradeoff_note=_tradeoff_note(rows) if tradeoffs else "",
        use=use_of(results),
        curves=curves,
        layers=layers_of(results),
        data={n: {k: v for k, v in f.items() if k not in ("skipped", "labels", "notes")} for n, f in parts.items()},
        data_titles=DATA_TITLES,
        spreads=spreads,
        has_pictures=any(row["counts"] for row in spreads),
        data_lines=[(title, _lines(parts, key)) for title, key in (("Skipped sources", "skipped"), ("Notes", "notes"))],
        limits=limits(results),
        counted=[(FIGURE_TITLES.get(key, key), sentence) for key, sentence in counted(results).items()],
        environment=part(results, "environment"),
        recipe=recipe_yaml,
    )


def _tiles(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The headline figures: (figure, what it is, its interval)."""
    end, base = last(results), baseline(results["table"])
    if end is base:
        return []
    tiles = [
        (percent(share), f"of the {noun} of {base['stage']}", "")
        for key, noun in (("params", "parameters"), ("macs", "MACs"))
        if (share := ratio(end, base, key)) is not None
    ]
    if time := ratio(end, base, "latency_ms"):
        tiles.append((f"{1 / time:.2g}x", f"the speed of {base['stage']}", ""))
    share = ratio(end, base, "srocc")
    if share is not None:
        ends = interval(end, "srocc")
        shown = f"SROCC {number(end, 'srocc'):.{digits_of(ends)}f} {between(ends, zero=True)}".strip()
        # An interval is not broken over two lines.
        tiles.append((percent(share), f"of the SROCC of {base['stage']}", shown.replace(", ", ",\u00a0")))
    return tiles


def _table_note(results: Mapping[str, Any]) -> str:
    notes = []
    if results.get("label"):
        n = last(results).get("n")
        on = f" on {n:,} validation clips" if isinstance(n, int) else ""
        notes.append(f"Correlations against {label_title(results['label'])}{on}.")
    if (inputs := inputs_title(results)) is not None:
        notes.append(f"MACs and latency for {inputs}.")
    return " ".join(notes)


def _tradeoff_note(rows: Sequence[Mapping[str, Any]]) -> str:
    if not any(interval(row, "srocc") for row in rows):
        return ""
    return (
        "Bars: 95 % confidence intervals of each SROCC alone (Fisher's z). All stages are judged on the same clips, so "
        "that a difference between two of them is known better than the bars suggest."
    )


def _tradeoffs(results: Mapping[str, Any]) -> list[Markup]:
    rows: Sequence[Mapping[str, Any]] = results["table"]
    n = last(results).get("n")
    drawings = []
    for measure in measures_of(rows):
        figure = tradeoff_figure(
            rows, measures=[measure], label=results.get("label"), n=n if isinstance(n, int) else None,
            inputs=inputs_title(results), size=(3.4, 2.7),
        )  # fmt: skip
        stages = ", ".join(str(row["stage"]) for row in rows)
        title = f"{measure.name} against SROCC of the stages {stages}; the figures are in the table above"
        drawings.append(Markup(style.inline_svg(figure, title, f"t-{measure.key}")))
    return drawings


def _curves(results: Mapping[str, Any]) -> list[Markup]:
    curves = part(results, "curves")
    colours = style.stage_colours([*(str(row["stage"]) for row in results["table"]), *curves])
    drawn = curve_figures(curves, colours, label=results.get("label"))
    return [Markup(style.inline_svg(figure, title, f"c{place}")) for place, (_, title, figure) in enumerate(drawn)]


def _lines(parts: Mapping[str, Mapping[str, Any]], key: str) -> list[str]:
    """What was skipped, or noted, in each part of the data."""
    lines = []
    for name, facts in parts.items():
        given = facts.get(key)
        for item in given if isinstance(given, (list, tuple)) else []:
            if isinstance(item, Mapping):
                item = f"{item.get('source', '?')}: {item.get('reason', 'no reason given')}"  # noqa: PLW2901
            lines.append(f"{name}: {item}")
    return lines


def _spreads(parts: Mapping[str, Mapping[str, Any]], main: Any) -> Sequence[dict[str, Any]]:
    """Spread of each label in each part of the data; the label that training and table use comes first."""
    found = []
    names = list(dict.fromkeys(label for facts in parts.values() for label in part(facts, "labels")))
    for label in sorted(names, key=lambda label: label != main):
        for name, facts in parts.items():
            spread = part(facts, "labels", label)
            figures = [number(spread, key) for key in ("lowest", "median", "highest")]
            if None in figures:
                continue
            given = spread.get("histogram")
            counts = [n for n in given if isinstance(n, (int, float))] if isinstance(given, list) else []
            title = label_title(str(label))
            found.append({"title": title, "main": label == main, "part": name, "figures": figures, "counts": counts})
    return found
