"""The tables of robustness as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Result = Mapping[str, Any]
BY_ENCODER = ("plain", "other encoders")  # the conditions whose encoders are told apart
SHOWN = 12  # broken orders that the page lists for each network; the JSON has all


def conditions(result: Result) -> list[str]:
    """One line a condition, for each network: broken orders, identical clips, correlation."""
    networks = list(result["networks"])
    head = "| condition | what | VMAF: orders |" + "".join(
        f" {name}: orders | {name}: identical | {name}: SROCC |" for name in networks
    )
    lines = [head, "|---|---|---:|" + "---:|---:|---:|" * len(networks)]
    for name, what in result["conditions"].items():
        cells = [_orders(result["vmaf"]["conditions"][name])]
        for network in networks:
            found = result["networks"][network]["conditions"].get(name)
            cells += ["-", "-", "-"] if found is None else _cells(found)
        lines.append(f"| {name} | {what} | " + " | ".join(cells) + " |")
    return lines


def _cells(found: Mapping[str, Any]) -> list[str]:
    same = found["identical"]
    top = (
        f"{same['lowest']:.4g}"
        if same["lowest"] == same["highest"]
        else f"{same['lowest']:.4g} to {same['highest']:.4g}"
    )
    ahead = f", {same['ahead']} of {same['n']} encodes ahead" if same["ahead"] else ""
    srocc = "-" if found["srocc"] is None else _short(found["srocc"])
    return [_orders(found) if found["finite"] else "not a number", f"{top}{ahead}", srocc]


def _orders(found: Mapping[str, Any]) -> str:
    tied = f" + {found['tied']} tied" if found["tied"] else ""
    return f"{found['wrong']}{tied} of {found['pairs']}"


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
