"""report.html: the whole run on one page, in one file that needs no network."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import resources
from typing import Any

from compressvqa.labels import label_title
from compressvqa.report import page, style
from compressvqa.report.curves import curve_figures
from compressvqa.report.measures import measures_of
from compressvqa.report.results import (
    baseline,
    density_before_pruning,
    inputs_title,
    number,
    part,
    pruning_figures,
    ratio,
)
from compressvqa.report.summary import counted, last, limits, summary
from compressvqa.report.table import COLUMNS, percent, result_table
from compressvqa.report.tradeoff import tradeoff_figure

DATA_TITLES = {"references": "reference patches", "patches": "distorted patches", "codecs": "patches by encoder"}
FIGURE_TITLES = {
    "inputs": "Input",
    "macs": "MACs, all",
    "macs_conv_linear": "MACs, conv & linear",
    "latency_ms": "Latency",
    **{column.key: column.title for column in COLUMNS if column.key in ("params", "srocc", "plcc")},
    "pair_accuracy": "Pair accuracy",
}


def report_html(results: Mapping[str, Any], recipe_yaml: str | None = None) -> str:
    """The page of a run, see `compressvqa.report.results.Results`. What the results lack is left out of the page."""
    name = str(results.get("name", "compressvqa run"))
    with style.house_style(**{"svg.fonttype": "none"}):
        drawn = _tradeoff(results)
        curves = _curves(results)
    body = "".join(
        (
            _top(results, name),
            page.section("Results", _table(results)),
            page.section("Complexity against accuracy", drawn),
            page.section("Training", curves),
            page.section("Layers", _layers(results)),
            page.section("Data", _data(results)),
            page.section("Limits of this run", page.bullets(limits(results))),
            page.section("How the figures were counted", _counted(results)),
            page.section("Environment", _environment(results)),
            page.section("Recipe", _recipe(recipe_yaml)),
        )
    )
    css = resources.files("compressvqa.report").joinpath("page.css").read_text(encoding="utf-8")
    # No script and no address outside the page is ever needed; the policy makes the browser hold us to that.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(name)} - compressvqa report</title>\n<style>\n{css}</style></head>\n"
        f"<body><main>\n{body}</main></body></html>\n"
    )


def _top(results: Mapping[str, Any], name: str) -> str:
    end, base = last(results), baseline(results["table"])
    tiles = []
    for key, words in (("params", "of the parameters"), ("macs", "of the MACs"), ("srocc", "of the SROCC")):
        share = ratio(end, base, key)
        if end is not base and share is not None:
            tiles.append((percent(share), f"{words} of {base['stage']}"))
    time = ratio(end, base, "latency_ms")
    if end is not base and time:
        tiles.insert(min(2, len(tiles)), (f"{1 / time:.2g}x", f"the speed of {base['stage']}"))
    return (
        f"<header><h1>{html.escape(name)}</h1>{page.paragraph(when(results.get('created')), 'when')}"
        f"{page.paragraph(summary(results), 'lead')}{page.tiles(tiles)}"
        f"{page.paragraph(str(results['description']), 'note') if results.get('description') else ''}</header>\n"
    )


def when(created: Any) -> str:
    """The date in words, or as it was given where it is no ISO date."""
    try:
        moment = datetime.fromisoformat(str(created))
    except ValueError:
        return f"compressvqa report, {created}" if created else "compressvqa report"
    if len(str(created)) == len("2026-01-31"):
        return f"compressvqa report, {moment.day} {moment:%B %Y}"
    zone = moment.strftime(" %Z") if moment.tzinfo else ""
    return f"compressvqa report, {moment.day} {moment:%B %Y, %H:%M}{zone}"


def _table(results: Mapping[str, Any]) -> str:
    table = result_table(results["table"])
    notes = []
    if len(table.rows) > 1:
        notes.append(f"Small figures: share of the {table.base}'s.")
    if results.get("label"):
        n = last(results).get("n")
        notes.append(
            f"Correlations against {label_title(results['label'])}"
            + (f" on {n:,} validation clips" if isinstance(n, int) else "") + "."
        )  # fmt: skip
    if (inputs := inputs_title(results)) is not None:
        notes.append(f"MACs and latency for {inputs}.")
    return page.scroll(table.to_html()) + (page.paragraph(" ".join(notes), "note") if notes else "")


def _tradeoff(results: Mapping[str, Any]) -> str:
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
        drawings.append((style.inline_svg(figure, title, f"t-{measure.key}"), ""))
    return page.figures(drawings)


def _curves(results: Mapping[str, Any]) -> str:
    curves = part(results, "curves")
    colours = style.stage_colours([*(str(row["stage"]) for row in results["table"]), *curves])
    drawings = [
        (style.inline_svg(figure, title, f"c{place}"), "")
        for place, (_, title, figure) in enumerate(curve_figures(curves, colours, label=results.get("label")))
    ]
    return page.figures(drawings)


def _layers(results: Mapping[str, Any]) -> str:
    pruning, density = pruning_figures(results), density_before_pruning(results)
    removed, before = pruning.get("removed") or {}, pruning.get("widths_before") or {}
    gone_blocks = (pruning.get("depth") or {}).get("removed") or []
    dead = {*(pruning.get("dead") or ()), *gone_blocks}
    paths = list(dict.fromkeys([*density, *removed]))
    if not paths:
        return ""
    rows = []
    for path in paths:
        cells = []
        if density:
            share = number(density, path)
            cells.append(f'<td class="bar">{"" if share is None else page.bar(share)}</td>')
            cells.append(f'<td class="figure">{"" if share is None else percent(share)}</td>')
        if removed:
            cells.append(
                _removed(
                    path,
                    removed.get(path, 0),
                    before.get(path),
                    any(f"{path}.".startswith(f"{gone}.") for gone in dead),
                )
            )
        rows.append(f'<tr><th scope="row">{_breakable(path)}</th>{"".join(cells)}</tr>')
    heads = '<th scope="col">Layer</th>'
    heads += '<th scope="col" colspan="2">Weights left before pruning</th>' if density else ""
    heads += '<th scope="col" colspan="2">Output channels removed</th>' if removed else ""
    table = f'<table class="layers"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    notes = []
    if unread := dead - set(gone_blocks):
        notes.append(f"Layers that nothing reads, removed whole: {', '.join(sorted(unread))}.")
    if gone_blocks:
        notes.append(f"Residual blocks left out: {', '.join(gone_blocks)}.")
    if (error := number(pruning, "max_error")) is not None:
        notes.append(f"The pruned network differs from the original with those channels zeroed by at most {error:.1e}.")
    if pruning.get("rule"):
        notes.append(f"Ratio rule: {pruning['rule']}.")
    return page.scroll(table) + (page.paragraph(" ".join(notes), "note") if notes else "")


def _breakable(path: str) -> str:
    """A module path that a narrow screen breaks after its points."""
    return html.escape(path).replace(".", ".<wbr>")


def _removed(path: str, channels: Any, before: Any, dead: bool) -> str:
    count = len(channels) if isinstance(channels, (list, tuple)) else channels
    if dead:
        return f'<td class="bar">{page.bar(1.0, "gone")}</td><td class="figure">whole layer</td>'
    if not isinstance(count, int) or not count:
        return '<td class="bar"></td><td class="figure"></td>'
    if not isinstance(before, int) or before <= 0:
        return f'<td class="bar"></td><td class="figure">{count}</td>'
    return f'<td class="bar">{page.bar(count / before, "gone")}</td><td class="figure">{count} of {before}</td>'


def _data(results: Mapping[str, Any]) -> str:
    parts = {str(name): facts for name, facts in part(results, "data").items() if isinstance(facts, Mapping)}
    plain = {
        name: {key: value for key, value in facts.items() if key not in ("skipped", "labels", "notes")}
        for name, facts in parts.items()
    }
    drawn = [page.facts_table(plain, DATA_TITLES), _labels(parts, results.get("label"))]
    for title, key in (("Skipped sources", "skipped"), ("Notes", "notes")):
        lines = [f"{name}: {_skipped(item)}" for name, facts in parts.items() for item in _items(facts.get(key))]
        drawn.append(f"<h3>{title}</h3>{page.bullets(lines)}" if lines else "")
    return "".join(drawn)


def _items(skipped: Any) -> list[Any]:
    return list(skipped) if isinstance(skipped, (list, tuple)) else []


def _skipped(item: Any) -> str:
    if isinstance(item, Mapping):
        return f"{item.get('source', '?')}: {item.get('reason', 'no reason given')}"
    return str(item)


def _labels(parts: Mapping[str, Mapping[str, Any]], main: Any) -> str:
    """Spread of each label in each part of the data; the label that training and table use comes first."""
    rows, pictures = [], False
    names = list(dict.fromkeys(label for facts in parts.values() for label in part(facts, "labels")))
    for label in sorted(names, key=lambda label: label != main):
        for name, facts in parts.items():
            spread = part(facts, "labels", label)
            figures = [number(spread, key) for key in ("lowest", "median", "highest")]
            if None in figures:
                continue
            given = spread.get("histogram")
            counts = [n for n in given if isinstance(n, (int, float))] if isinstance(given, list) else []
            drawn = bool(counts)
            pictures |= drawn
            title = html.escape(label_title(str(label)))
            cells = "".join(f'<td class="figure">{figure:.1f}</td>' for figure in figures)
            picture = f"<td>{page.histogram(counts, f'{label_title(str(label))}, {name}')}</td>" if drawn else ""
            shown = f"<b>{title}</b>" if label == main else title
            rows.append(f'<tr><th scope="row">{shown}</th><td>{html.escape(name)}</td>{cells}{picture}</tr>')
    if not rows:
        return ""
    heads = ["Label", "", "lowest", "median", "highest", *(["lowest to highest"] if pictures else [])]
    head = "".join(f'<th scope="col">{title}</th>' for title in heads)
    table = f'<table class="spread"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return f"<h3>Labels of the distorted patches</h3>{page.scroll(table)}"


def _counted(results: Mapping[str, Any]) -> str:
    items = "".join(
        f"<dt>{html.escape(FIGURE_TITLES.get(key, key))}</dt><dd>{page.text(sentence)}</dd>"
        for key, sentence in counted(results).items()
    )
    return f"<dl>{items}</dl>" if items else ""


def _environment(results: Mapping[str, Any]) -> str:
    facts = part(results, "environment")
    if not facts:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{page.text(key.replace("_", " "))}</th><td>{words(value)}</td></tr>'
        for key, value in facts.items()
    )
    return page.scroll(f"<table><tbody>{rows}</tbody></table>")


def words(value: Any) -> str:
    """A fact of the environment; a table of versions as words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{page.text(key)} {page.text(item)}" for key, item in value.items() if item is not None)
    return page.text(value)


def _recipe(recipe_yaml: str | None) -> str:
    if not recipe_yaml:
        return ""
    return f"<details><summary>The resolved recipe</summary><pre>{html.escape(recipe_yaml)}</pre></details>"
