"""The table of the trade-off as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from tradeoff_grid.rows import CUTS, PARTS, SPARSITY

Line = Mapping[str, Any]
TITLES = {
    "grid": "Short distillations, the whole grid",
    "long": "Long distillations",
    "ablation": "One thing changed (short distillations)",
}
HEAD = "| budget | sparsity | cut | losses | seeds | params | MACs | after the cut | SROCC [95 %] | of the teacher's |"
RULE = "|---:|---|---|---|---:|---:|---:|---:|---:|---:|"
NAMES = {"obprox": "OBProx-SG, density", "progressive": "whole channels", "none": "none, l1"}


def markdown(lines: Sequence[Line]) -> list[str]:
    """One table a part, rows in the order of budget."""
    text: list[str] = []
    for part in PARTS:
        rows = [line for line in lines if line["part"] == part]
        if not rows:
            continue
        text += [f"## {TITLES[part]}", "", HEAD, RULE]
        text += [_row(line) for line in sorted(rows, key=_order)]
        text.append("")
    return text


def _order(line: Line) -> tuple[Any, ...]:
    sparsity = list(SPARSITY).index(line["sparsity"])
    return (-line["budget"], line["losses"] != "paper", line["cuts"], sparsity, line["change"])


def _row(line: Line) -> str:
    losses = line["losses"] + (f"; {line['change']}" if line["change"] else "")
    cut = "once" if line["cuts"] == 1 else f"{line['cuts']} times"
    spread = "" if line["srocc_spread"] is None else f" ± {_short(line['srocc_spread'])}"
    low, high = line["srocc_interval"]
    kept_low, kept_high = line["retention_interval"]
    cells = [
        f"{line['budget']} %", NAMES[line["sparsity"]], cut, losses, str(len(line["seeds"])),
        f"{line['params']:.2%}", f"{line['macs']:.2%}", _short(line["cut"]),
        f"{_short(line['srocc'])}{spread} [{_short(low)}, {_short(high)}]",
        f"{line['retention']:.1%} [{kept_low:.1%}, {kept_high:.1%}]",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _short(value: float) -> str:
    return f"{value:.4f}".replace("0.", ".", 1)


def legend(setting: Mapping[str, Any]) -> list[str]:
    """How it was counted, and what the words of the table mean."""
    return [
        "Sparsity: " + "; ".join(f"{NAMES[key]} = {words}" for key, words in SPARSITY.items()) + ".",
        "Cut: " + "; ".join(f"{count} = {words}" for count, words in CUTS.items()) + ".",
        "Losses: paper = instance, batch and class, task .1; best = score-smooth-l1 and rank-net, task .5.",
        f"Every row: the same teacher, {setting['sparse_steps']} steps of sparsity training and"
        f" {setting['distil_steps']} of distillation in all (without sparsity training, their sum of distillation; long"
        f" rows {setting['long']} times as many), batches of 8, the same batches in the same order for one seed.",
        f"SROCC is against {setting['label']}, a proxy and no opinion of people, on {setting['patches']} distorted"
        f" patches of {setting['contents']} contents that training did not see. Intervals: 95 %, contents drawn with"
        " replacement; where there are several seeds, of their mean, and ± is the standard deviation over seeds. Rows"
        " of one seed are one run. MACs are those of convolutions and linear layers.",
    ]


def to_csv(lines: Sequence[Line]) -> str:
    """One line a row of the table."""
    flat = []
    for line in lines:
        row = {key: value for key, value in line.items() if not isinstance(value, list)}
        row["seeds"] = len(line["seeds"])
        for key in ("srocc", "retention"):
            row[f"{key}_low"], row[f"{key}_high"] = line[f"{key}_interval"]
        flat.append(row)
    text = io.StringIO()
    names = list(dict.fromkeys(name for line in flat for name in line))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()
