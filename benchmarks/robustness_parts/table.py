"""The tables of robustness as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Result = Mapping[str, Any]
BY_ENCODER = ("plain", "other encoders")  # the conditions whose encoders are told apart
SHOWN = 12  # broken orders that the page lists for each network; the JSON has all


def conditions(result: Result) -> list[str]:
    """Two tables, one line a condition: broken orders, and correlation; and what identical clips have."""
    networks = result["networks"]
    names = [*networks, "VMAF 0.6.1"]
    lines = ["| neighbouring rungs in the wrong order | what | of | " + " | ".join(names) + " |",
             "|---|---|---:|" + "---:|" * len(names)]  # fmt: skip
    for name, what in result["conditions"].items():
        vmaf = result["vmaf"]["conditions"][name]
        cells = [_orders(found["conditions"][name]) for found in networks.values()] + [_orders(vmaf)]
        lines.append(f"| {name} | {what} | {vmaf['pairs']} | " + " | ".join(cells) + " |")
    lines += ["", "| SROCC with VMAF 0.6.1 | " + " | ".join(networks) + " |", "|---|" + "---:|" * len(networks)]
    for name in result["conditions"]:
        values = [found["conditions"][name]["srocc"] for found in networks.values()]
        lines.append(f"| {name} | " + " | ".join("-" if v is None else _short(v) for v in values) + " |")
    return [*lines, "", *(f"- {name}: {_identical(found['conditions'].values())}" for name, found in networks.items())]


def _identical(conditions: Iterable[Mapping[str, Any]]) -> str:
    """What a network says of clips beside themselves."""
    same = [found["identical"] for found in conditions]
    low, high = min(one["lowest"] for one in same), max(one["highest"] for one in same)
    ahead, count = sum(one["ahead"] for one in same), sum(one["n"] for one in same)
    top = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    return f"a clip beside itself has {top}; {ahead} of {count} encodes are ahead of their own reference."


def _orders(found: Mapping[str, Any]) -> str:
    if not found.get("finite", True):
        return "not a number"
    return f"{found['wrong']}" + (f" + {found['tied']} tied" if found["tied"] else "")


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def codecs(result: Result) -> list[str]:
    """One line a network: SROCC of each encoder's encodes alone, and whether training saw the encoder.

    Nothing where no condition was asked for that tells encoders apart.
    """
    first = next(iter(result["networks"].values()))["conditions"]
    where = {name: place for place in BY_ENCODER if place in first for name in first[place]["codecs"]}
    if not where:
        return []
    names = list(where)
    lines = ["## Each encoder alone", "",
             "| network | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]  # fmt: skip
    for network, found in result["networks"].items():
        seen = None if found["training"] is None else set(found["training"]["codecs"])
        cells = []
        for name in names:
            value = found["conditions"][where[name]]["codecs"][name]
            mark = "" if seen is None or name in seen else " (not seen)"
            cells.append(("-" if value is None else _short(value)) + mark)
        unknown = " (what its training saw is not known)" if seen is None else ""
        lines.append(f"| {network}{unknown} | " + " | ".join(cells) + " |")
    said = "SROCC with VMAF 0.6.1 of one encoder's encodes. Not seen: no encode of it was in training."
    return [*lines, "", said, ""]


def repeats(result: Result) -> list[str]:
    """One line a network: how far scores of the same files differ."""
    lines = ["| network | files | asked again | one file at a time | other numbers of threads | range of its scores |",
             "|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    for network, found in result["networks"].items():
        same, (low, high) = found["repeats"], found["range"]
        cells = [
            same["files"],
            *(f"{same[key]:.2g}" for key in ("runs", "single", "threads")),
            f"{low:.4g} to {high:.4g}",
        ]
        lines.append(f"| {network} | " + " | ".join(map(str, cells)) + " |")
    return lines


def broken(result: Result) -> list[str]:
    """The broken orders of each network, the worst first."""
    lines = []
    for network, found in result["networks"].items():
        span = found["range"]
        listed = [(name, one) for name, c in found["conditions"].items() for one in c["broken"]]
        listed.sort(key=lambda pair: -pair[1]["rise"])
        shown = f", the {SHOWN} worst:" if len(listed) > SHOWN else ":" if listed else "."
        lines += [f"**{network}**: {len(listed)} in all{shown}", ""]
        for name, one in listed[:SHOWN]:
            share = one["rise"] / max(span[1] - span[0], 1e-12)
            rungs = f"{one['codec']} {one['better']} -> {one['worse']}"
            labels = f"VMAF {one['labels'][0]:.1f} -> {one['labels'][1]:.1f}"
            lines.append(f"- {name}, {one['content']}, {rungs}: up by {share:.2%} of the range ({labels})")
        lines.append("")
    return lines
