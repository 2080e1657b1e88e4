"""Pieces of a report page. Every text that comes from outside goes through `text`, which escapes it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def text(value: Any) -> str:
    """A value as escaped text: lists joined, mappings as "key: value", numbers plain.

    >>> text({"a": [1, "<b>"], "c": 0.25})
    'a: 1, &lt;b&gt;; c: 0.25'
    """
    if isinstance(value, Mapping):
        return "; ".join(f"{text(key)}: {text(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple, set)):
        return ", ".join(text(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return html.escape("-" if value is None else str(value))


def section(title: str, *parts: str) -> str:
    """A section with a heading, or nothing where it would be empty."""
    body = "".join(parts)
    return f"<section><h2>{html.escape(title)}</h2>{body}</section>\n" if body else ""


def paragraph(words: str, kind: str = "") -> str:
    """A paragraph of plain words."""
    mark = f' class="{kind}"' if kind else ""
    return f"<p{mark}>{html.escape(words)}</p>"


def bullets(lines: Iterable[str]) -> str:
    """A list of sentences, or nothing."""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def scroll(table: str) -> str:
    """A table that is wider than a phone scrolls by itself, not the page."""
    return f'<div class="scroll" tabindex="0">{table}</div>'


def tiles(items: Iterable[tuple[str, str]]) -> str:
    """A row of large figures: (figure, what it is)."""
    cells = "".join(f'<div class="tile"><b>{html.escape(a)}</b><span>{html.escape(b)}</span></div>' for a, b in items)
    return f'<div class="tiles">{cells}</div>' if cells else ""


def figures(drawings: Iterable[tuple[str, str]], kind: str = "figures") -> str:
    """Inline SVG elements side by side where there is room: (svg, caption)."""
    items = "".join(
        f"<figure>{svg}" + (f"<figcaption>{html.escape(caption)}</figcaption>" if caption else "") + "</figure>"
        for svg, caption in drawings
    )
    return f'<div class="{kind}">{items}</div>' if items else ""


def bar(share: float, kind: str = "") -> str:
    """A bar of a share in [0, 1]."""
    width = 100 * min(1.0, max(0.0, share))
    mark = f' class="{kind}"' if kind else ""
    return f'<span class="track"><i{mark} style="width:{width:.1f}%"></i></span>'


def histogram(counts: Sequence[float], words: str) -> str:
    """Counts over equal bins as bars; `words` say what of."""
    top = max([*counts, 1])
    bars = "".join(f'<i style="height:{100 * count / top:.0f}%"></i>' for count in counts)
    return f'<div class="histogram" role="img" aria-label="{html.escape(words)}">{bars}</div>'


def facts_table(parts: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    """Fields of several parts side by side: a row a fact, a column a part."""
    keys = list(dict.fromkeys(key for facts in parts.values() for key in facts))
    if not keys:
        return ""
    head = "".join(f'<th scope="col">{text(part)}</th>' for part in parts)
    rows = "".join(
        f'<tr><th scope="row">{text(titles.get(key, key.replace("_", " ")))}</th>'
        + "".join(f"<td>{text(facts.get(key))}</td>" for facts in parts.values())
        + "</tr>"
        for key in keys
    )
    table = f'<table><thead><tr><th scope="col"></th>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return scroll(table)
