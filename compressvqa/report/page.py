"""Pages from templates. Whatever comes from outside is escaped by the templates; what is markup says so."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from compressvqa.files import finite
from compressvqa.report.table import Table


def render(template: str, **facts: Any) -> str:
    """A page of `compressvqa/report/templates`.

    Args:
        template: name of its file.
        facts: what it shows. Text is escaped; only `Markup` is taken as it is.
    """
    return _environment().get_template(template).render(**facts)


def table_html(table: Table, kind: str = "grid") -> Markup:
    """A table element, every text of it escaped."""
    macros: Any = _environment().get_template("parts.html").module
    return Markup(macros.table(table, kind))


def as_script(value: Any) -> Markup:
    """Plain values as JSON for a script element: "<" never stands in it, so that no name can end the element."""
    text = json.dumps(finite(value), ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def source(name: str) -> Markup:
    """A file of the templates' folder, as it is: style sheets and scripts of our own."""
    loader = _environment().loader
    assert loader is not None
    return Markup(loader.get_source(_environment(), name)[0])


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("compressvqa.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"plain": plain, "breakable": breakable, "when": when}
    made.globals["source"] = source
    return made


def plain(value: Any) -> str:
    """A value as text: lists joined, mappings as "key: value", numbers plain.

    >>> plain({"a": [1, "<b>"], "c": 0.25})
    'a: 1, <b>; c: 0.25'
    """
    if isinstance(value, Mapping):
        return "; ".join(f"{plain(key)}: {plain(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple, set)):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return "-" if value is None else str(value)


def breakable(path: str) -> Markup:
    """A path that a narrow screen breaks after its points and slashes.

    >>> breakable("a.<b>/c")
    Markup('a.<wbr>&lt;b&gt;/<wbr>c')
    """
    return Markup(str(escape(path)).replace(".", ".<wbr>").replace("/", "/<wbr>"))


def when(created: Any, what: str) -> str:
    """The date in words, or as it was given where it is no ISO date.

    >>> when("2026-01-31", "report"), when(None, "report")
    ('compressvqa report, 31 January 2026', 'compressvqa report')
    """
    try:
        moment = datetime.fromisoformat(str(created))
    except ValueError:
        return f"compressvqa {what}, {created}" if created else f"compressvqa {what}"
    if len(str(created)) == len("2026-01-31"):
        return f"compressvqa {what}, {moment.day} {moment:%B %Y}"
    zone = moment.strftime(" %Z") if moment.tzinfo else ""
    return f"compressvqa {what}, {moment.day} {moment:%B %Y, %H:%M}{zone}"
