"""Rows of measurements -> summary, table and claim."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Any

from pruning_coverage.measure import TARGET, Row
from pruning_coverage.peer import RATIO

NEAR = 0.02  # a target is met when the work kept is within 2 % of it
_LARGE = 20 * 2**20  # bytes of a forward pass with its weights from which on a ratio of memories means something
_HOW = f"""How it was counted.

- Verified: the pruned network equals the original with the removed channels zeroed, to 1e-5 of the largest output, on
  fresh inputs, with true and shaken weights (LayerNorm and GroupNorm: statistics over kept channels).
- The judge (`benchmarks/pruning_coverage/judge.py`) finds what was removed from the weights alone, whoever pruned.
- torch-pruning has no target in MACs: MagnitudePruner, L1, ratio {RATIO} (about half of the work), the layers whose
  channels the network returns ignored, `num_heads` given for modules with a `qkv`.
- Share: multiply-accumulates after / before, by torch's FlopCounterMode.
- Seconds: wall, median of up to three runs after a forward pass, in a process of its own. "trace" is our trace with
  its groups, "prune" is trace, plan and surgery without verification, "all" is with verification, run once.
- Memory: rise of the peak resident size over the loaded network, in a process that does nothing else and returns freed
  memory at once; for networks whose forward pass with weights takes more than {_LARGE // 2**20} MiB.
- Saved: written by `save`, read by `load`, state and outputs equal to the bit; "twice": after a second pruning too."""


def done(row: Row) -> bool:
    """Pruned, verified and near the target."""
    return row["ours"]["outcome"] == "verified" and abs(row["ours"]["planned_share"] / TARGET - 1) <= NEAR


def summary(rows: list[Row]) -> dict[str, Any]:
    """The figures that stand above the table."""
    mine = Counter(r["ours"]["outcome"] for r in rows)
    both = [r for r in rows if "prune_s" in r["ours"] and "prune_s" in r["torch_pruning"]]
    large = [r for r in rows if (r["memory_forward"] or 0) > _LARGE]
    return {
        "networks": len(rows),
        "ours": dict(mine),
        "near_target": sum(map(done, rows)),
        "silently_wrong": [r["name"] for r in rows if r["ours"].get("judged") in ("silently wrong", "broken")],
        "judged": dict(Counter(r["ours"].get("judged", "no result") for r in rows)),
        "round_trip": dict(Counter(_trip(r) for r in rows if r["ours"]["outcome"] == "verified")),
        "kept_after_all": sum(bool(r["ours"].get("notes")) for r in rows),
        "torch_pruning": dict(Counter(r["torch_pruning"]["outcome"] for r in rows)),
        "time_ratio": _quartiles([r["ours"]["prune_s"] / r["torch_pruning"]["prune_s"] for r in both]),
        "time_ratio_right": _quartiles(
            [
                r["ours"]["prune_s"] / r["torch_pruning"]["prune_s"]
                for r in both
                if r["torch_pruning"]["outcome"] == "right"
            ]
        ),
        "time_ratio_verified": _quartiles([r["ours"]["verified_s"] / r["torch_pruning"]["prune_s"] for r in both]),
        "memory_ratio": _quartiles([r["memory_prune"] / r["memory_forward"] for r in large if r["memory_prune"]]),
        "memory_ratio_verified": _quartiles(
            [r["memory_verify"] / r["memory_forward"] for r in large if r["memory_verify"]]
        ),
    }


def failures(found: dict[str, Any]) -> list[str]:
    """What of the claim does not hold."""
    said = []
    if found["silently_wrong"]:
        said.append(f"silently wrong: {', '.join(found['silently_wrong'])}")
    if found["near_target"] < 0.95 * found["networks"]:
        said.append(
            f"{found['near_target']} of {found['networks']} pruned to within {NEAR:.0%} of the target, under 95 %"
        )
    return said


def document(rows: list[Row], found: dict[str, Any], machine: str) -> str:
    """The page: summary, table, refusals."""
    lines = [
        "# Which networks can be pruned",
        "",
        f"{found['networks']} networks at random initialisation, asked for {TARGET:.0%} of their multiply-accumulates.",
        machine,
        "",
        "| | compressvqa | torch-pruning |",
        "|---|---|---|",
        *_outcomes(found),
        "",
        f"- Within {NEAR:.0%} of the target: {found['near_target']} of {found['networks']}.",
        f"- Judged by the same judge as torch-pruning: {_counts(found['judged'])}.",
        f"- Saved and loaded to the bit: {_counts(found['round_trip'])} (twice: also after a second pruning).",
        f"- Networks where the check found a group that must stay whole: {found['kept_after_all']}.",
        f"- Seconds, our trace and prune / torch-pruning's build and step: {_quartile_text(found['time_ratio'])};"
        f" where torch-pruning is right: {_quartile_text(found['time_ratio_right'])};"
        f" ours with verification: {_quartile_text(found['time_ratio_verified'])}.",
        f"- Peak memory, trace and prune / one forward pass with weights: {_quartile_text(found['memory_ratio'])};"
        f" with verification: {_quartile_text(found['memory_ratio_verified'])}.",
        "",
        _HOW,
        "",
        "| network | parameters | ours | share | error | trace s | prune s | all s | memory | judge | saved "
        "| torch-pruning | share | s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *[_line(row) for row in rows],
        "",
        "## Refused",
        "",
        *[
            f"- {r['name']}: {r['ours']['outcome']}: {r['ours'].get('said', '')}"
            for r in rows
            if r["ours"]["outcome"] != "verified"
        ],
        "",
        "## Kept whole after all",
        "",
        *[f"- {r['name']}: {'; '.join(r['ours']['notes'][:3])}" for r in rows if r["ours"].get("notes")],
        "",
        "## What torch-pruning said",
        "",
        *[
            f"- {r['name']}: {r['torch_pruning']['outcome']}: {r['torch_pruning'].get('said', '')}"
            for r in rows
            if r["torch_pruning"]["outcome"] != "right"
        ],
    ]
    return "\n".join(lines) + "\n"


def _outcomes(found: dict[str, Any]) -> list[str]:
    mine, other = found["ours"], found["torch_pruning"]
    wrong = len(found["silently_wrong"])
    return [
        f"| pruned and right | {mine.get('verified', 0) - wrong} | {other.get('right', 0)} |",
        f"| silently wrong | {wrong} | {other.get('silently wrong', 0)} |",
        f"| refused or raised | {mine.get('refused', 0)} | {other.get('raised', 0)} |",
        f"| broken (does not run, or other shapes) | 0 | {other.get('broken', 0)} |",
        f"| nothing removed | 0 | {other.get('nothing removed', 0)} |",
        f"| not judged | 0 | {other.get('not judged', 0)} |",
        f"| crashed | {mine.get('crashed', 0)} | {other.get('crashed', 0)} |",
        f"| did not end | {mine.get('did not end', 0)} | {other.get('did not end', 0)} |",
    ]


def _line(row: Row) -> str:
    mine, other = row["ours"], row["torch_pruning"]
    ratio = row["memory_prune"] / row["memory_forward"] if row["memory_prune"] and row["memory_forward"] else None
    cells = [
        row["name"],
        f"{mine['params'] / 1e6:.2f} M" if "params" in mine else "",
        mine["outcome"],
        _number(mine, "share", "{:.3f}"),
        _number(mine, "max_error", "{:.0e}"),
        _number(mine, "trace_s", "{:.2f}"),
        _number(mine, "prune_s", "{:.2f}"),
        _number(mine, "verified_s", "{:.2f}"),
        f"{ratio:.1f}" if ratio is not None and row["memory_forward"] > _LARGE else "",
        mine.get("judged", ""),
        _trip(row) if mine["outcome"] == "verified" else "",
        other["outcome"],
        _number(other, "share", "{:.3f}"),
        _number(other, "prune_s", "{:.2f}"),
    ]
    return f"| {' | '.join(cells)} |"


def _number(row: Row, key: str, form: str) -> str:
    return form.format(row[key]) if row.get(key) is not None else ""


def _trip(row: Row) -> str:
    said = str(row["ours"].get("round_trip", "not tried"))
    return said if said in ("once", "twice") else "no: " + said


def _quartiles(values: list[float]) -> list[float]:
    if len(values) < 2:
        return [round(v, 3) for v in values] * 3
    return [round(v, 3) for v in statistics.quantiles(values, n=4, method="inclusive")]


def _quartile_text(values: list[float]) -> str:
    return f"median {values[1]:.2f} (quartiles {values[0]:.2f} to {values[2]:.2f})" if values else "nothing to compare"


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(found.items(), key=lambda item: -item[1]))
