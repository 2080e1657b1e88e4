"""Tables of pages out of versioned data: what stands between `<!-- table: NAME -->` and `<!-- end of table -->`."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from scripts.pages.reference.markdown import table

MARK = re.compile(r"(<!-- table: (?P<name>\w+) -->\n\n).*?(<!-- end of table -->)", flags=re.DOTALL)


def filled(root: Path) -> dict[Path, str]:
    """{page: its text with every table drawn anew} of the pages that have some."""
    found = {}
    for page in sorted([root / "README.md", *(root / "docs").rglob("*.md")]):
        text = page.read_text(encoding="utf-8")
        if MARK.search(text):
            found[page] = MARK.sub(
                lambda at: at[1] + TABLES[at["name"]](root / "benchmarks" / "results") + "\n" + at[3], text
            )
    return found


def rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV."""
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def first_steps(results: Path) -> str:
    """What one run of the recipe first_steps gave."""
    lines = [
        [
            one["stage"],
            f"{int(one['params']) / 1e6:.3f} M",
            f"{int(one['macs']) / 1e9:.2f} G",
            f"{float(one['latency_ms_share']):.0%}",
            f"{float(one['srocc']):.2f} [{float(one['srocc_low']):.2f}, {float(one['srocc_high']):.2f}]",
        ]
        for one in rows(results / "first_steps.csv")
    ]
    return table(["stage", "parameters", "MACs", "time", "SROCC [95 % interval]"], lines)


def licences(results: Path) -> str:
    """Packages that are needed, with their licences."""
    found = rows(results.parent.parent / "docs" / "licences.csv")
    lines = [[f"`{one['package']}`", one["extra"] and f"`{one['extra']}`", *list(one.values())[2:]] for one in found]
    return table(["package", "extra", "licence", "what it does here"], lines)


def install(results: Path) -> str:
    """What an installation takes."""
    found = rows(results / "install.csv")
    return table([*found[0]], [one.values() for one in found])


TABLES = {"first_steps": first_steps, "licences": licences, "install": install}
