"""Rows of measurements -> summary, table and claim."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Any

from pruning_coverage.ours import NEAR, NEAR_SMALL, SMALL, TARGET, Row
from pruning_coverage.peer import RATIO

WRONG = ("silently wrong", "broken", "left traces")
RIGHT = ("right", "right, kept whole", "right, little went", "right, too much went")
_MANY = 1_000_000  # parameters of a network that is no pattern of a few layers
_LARGE = 20 * 2**20  # bytes of a forward pass with its weights from which on a ratio of memories means something
_HOW = f"""How it was counted.

- The judge (`benchmarks/pruning_coverage/judging/`) shares no code with the pruner. All weights get values of their own
  before the pruning; afterwards it finds in the original what is left, sets the rest to zero, and compares both: on the
  inputs given, others of the same size, another size, other batches, and on every branch, entry point and mode that a
  pattern has; in 64 bits before it says "wrong". Equal means to 1e-5 of how far the output moves between inputs. Its
  one convention: layer, group and RMS norms (and weights that are standardised) take their statistics over the channels
  that were kept. It also compares the network given, to the bit, with what it was, and everybody's random numbers.
- Where a judge can't tell, because an output hardly moves at random initialisation, pruning and judgement are done once
  more with the statistics of a batch in the batch normalisations, as a trained network has them (`values.settle`);
  torch-pruning is judged at random initialisation only.
- Pruned as asked: right, and within {NEAR:.0%} of the target ({NEAR_SMALL:.0%} for networks of under {SMALL:,}
  parameters); a pattern whose few layers can't meet it is asked for half of its channels instead. "kept whole": the
  layers that a pattern is about stayed as they were, and others gave what was asked.
- Refused as it should: handed something that is no plain network, in one line that says what (family "doors").
- torch-pruning has no target in MACs: MagnitudePruner, L1, ratio {RATIO} (about half of the work), the layers whose
  channels the network returns ignored, `num_heads` given for modules with a `qkv`.
- Share: multiply-accumulates after / before, as the plan has them; torch-pruning's by torch's FlopCounterMode.
- Seconds: of one processor, the least of up to three runs, in a process of its own. "trace" is our trace with its
  groups, "prune" is trace, plan and surgery without the proof, "all" is with it. Ours leaves the network as it was and
  looks for widths that meet the target; torch-pruning prunes in place by a ratio. A network without seconds was timed
  by ticks of 4 milliseconds, which is too coarse for it.
- Memory: rise of the peak resident size over the loaded network, in a process that does nothing else and returns freed
  memory at once; for networks whose forward pass with weights takes more than {_LARGE // 2**20} MiB.
- Saved: written by `save`, read by `load`, state and outputs equal to the bit; "twice": after a second pruning too."""


def done(row: Row) -> bool:
    """Pruned as asked, and right."""
    mine = row["ours"]
    met = mine.get("share", 1) < TARGET * (1 + NEAR)
    return mine["outcome"] == "right" or (mine["outcome"] == "right, kept whole" and met)


def summary(rows: list[Row]) -> dict[str, Any]:
    """The figures that stand above the table."""
    prunable = [r for r in rows if not r["expected"]]
    both = [r for r in rows if "prune_s" in r["ours"] and r["torch_pruning"].get("prune_s", 0) > 0]
    large = [r for r in rows if (r.get("memory_forward") or 0) > _LARGE]
    ours = [r["ours"] for r in rows]
    return {
        "networks": len(rows),
        "to_be_pruned": len(prunable),
        "ours": dict(Counter(m["outcome"] for m in ours)),
        "pruned": sum(map(done, prunable)),
        "not_pruned": [r["name"] for r in prunable if not done(r)],
        "wrong": [r["name"] for r in rows if r["ours"]["outcome"] in WRONG],
        "crashed": [r["name"] for r in rows if r["ours"]["outcome"] in ("crashed", "did not end")],
        "settled": sum("statistics" in r["ours"] for r in rows),
        "not_judged": [r["name"] for r in rows if r["ours"]["outcome"] == "not judged"],
        "unclear": [
            r["name"]
            for r in rows
            if r["ours"]["outcome"] == "refused" and ("\n" in r["ours"]["said"] or r["expected"])
        ],
        "families": {
            f: _family([r for r in rows if r["family"] == f]) for f in dict.fromkeys(r["family"] for r in rows)
        },
        "round_trip": dict(Counter(_trip(r) for r in rows if r["ours"]["outcome"] in RIGHT)),
        "torch_pruning": dict(Counter(r["torch_pruning"]["outcome"] for r in rows)),
        "time_ratio": _time_ratio(both),
        "time_ratio_right": _time_ratio([r for r in both if r["torch_pruning"]["outcome"] == "right"]),
        "time_ratio_libraries": _time_ratio([r for r in both if r["family"] in ("timm", "torchvision", "siamese")]),
        "time_ratio_large": _time_ratio([r for r in both if r["ours"].get("params", 0) >= _MANY]),
        "time_ratio_copied": _time_ratio([r for r in both if "copy_s" in r["torch_pruning"]], copied=True),
        "proof_ratio": _quartiles([_proof_ratio(m) for m in ours if "prune_s" in m]),
        "proof_ratio_one": _quartiles([_proof_ratio(m) for m in ours if "prune_s" in m and not _tried_again(m)]),
        "proof_ratio_worst": max(
            ((_proof_ratio(m), r["name"]) for r in rows if "prune_s" in (m := r["ours"])), default=()
        ),
        "memory_ratio": _quartiles([r["memory_prune"] / r["memory_forward"] for r in large if r["memory_prune"]]),
        "memory_ratio_verified": _quartiles(
            [r["memory_verify"] / r["memory_forward"] for r in large if r["memory_verify"]]
        ),
    }


def _time_ratio(rows: list[Row], *, copied: bool = False) -> list[float]:
    """Quartiles of our trace and prune over torch-pruning's build and step, with or without the copy that it needs."""
    return _quartiles([r["ours"]["prune_s"] / _peer_seconds(r["torch_pruning"], copied) for r in rows])


def _peer_seconds(other: Row, copied: bool) -> float:
    return float(other["prune_s"] + (other["copy_s"] if copied else 0))


def _proof_ratio(mine: Row) -> float:
    return max(0.0, mine["verified_s"] - mine["prune_s"]) / float(mine["prune_s"])


def _tried_again(mine: Row) -> bool:
    """Whether a proof failed, so that the groups at fault were looked for and the pruning was done again."""
    return any("kept whole after all" in note for note in mine.get("notes", ()))


def _family(rows: list[Row]) -> dict[str, int]:
    outcomes = Counter(r["ours"]["outcome"] for r in rows)
    return {"networks": len(rows), "pruned": sum(map(done, rows)), **outcomes}


def failures(found: dict[str, Any]) -> list[str]:
    """What of the claim does not hold."""
    said = [f"{what}: {', '.join(found[what])}" for what in ("wrong", "crashed", "unclear") if found[what]]
    if found["pruned"] < 0.97 * found["to_be_pruned"]:
        said.append(
            f"{found['pruned']} of {found['to_be_pruned']} pruned to within {NEAR:.0%} of the target, under 97 %"
        )
    if found["time_ratio_libraries"] and found["time_ratio_libraries"][1] > 1:
        longer = found["time_ratio_libraries"][1]
        said.append(f"trace and prune take {longer:.2f} times as long as torch-pruning (libraries' networks, median)")
    if found["proof_ratio"] and found["proof_ratio"][1] > 4:
        said.append(f"the proof takes {found['proof_ratio'][1]:.1f} times as long as the pruning (median)")
    return said


def document(rows: list[Row], found: dict[str, Any], machine: str) -> str:
    """The page: summary, families, what was not pruned, and the table."""
    trouble = [r for r in rows if not done(r) and r["ours"]["outcome"] != "refused as it should"]
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
        f"- Judged with the statistics of a batch: {found['settled']}.",
        f"- Pruned as asked: {found['pruned']} of {found['to_be_pruned']} that are to be pruned"
        f" ({found['pruned'] / max(1, found['to_be_pruned']):.1%}).",
        f"- Saved and loaded to the bit: {_counts(found['round_trip'])} (twice: also after a second pruning).",
        f"- Seconds, our trace and prune / torch-pruning's build and step: {_quartile_text(found['time_ratio'])};"
        f" networks of timm and torchvision, alone and siamese: {_quartile_text(found['time_ratio_libraries'])};"
        f" where torch-pruning is right: {_quartile_text(found['time_ratio_right'])};"
        f" networks of at least {_MANY:,} parameters: {_quartile_text(found['time_ratio_large'])};"
        f" with the copy that it needs to leave the network as it was: {_quartile_text(found['time_ratio_copied'])}.",
        f"- Seconds, the proof / trace and prune: {_quartile_text(found['proof_ratio'])};"
        f" where the first plan was right: {_quartile_text(found['proof_ratio_one'])}"
        f"{_worst_text(found['proof_ratio_worst'])}.",
        f"- Peak memory, trace and prune / one forward pass with weights: {_quartile_text(found['memory_ratio'])};"
        f" with the proof: {_quartile_text(found['memory_ratio_verified'])}.",
        "",
        "| family | networks | pruned as asked | right | silently wrong, broken or traces left | refused as it should "
        "| refused | crashed or no end | not judged |",
        "|---|---|---|---|---|---|---|---|---|",
        *[_family_line(name, counts) for name, counts in found["families"].items()],
        "",
        _HOW,
        "",
        "## Not pruned as asked, and why",
        "",
        *[f"- {r['name']}: {r['ours']['outcome']}{_share(r['ours'])}: {r['ours'].get('said', '')}" for r in trouble],
        "",
        "## Every network",
        "",
        "| network | parameters | ours | share | error | trace s | prune s | all s | memory | calls | saved "
        "| torch-pruning | share | s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *[_line(row) for row in rows],
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
    mine, other = Counter(found["ours"]), Counter(found["torch_pruning"])
    rows = {
        "pruned and right": ([mine[o] for o in RIGHT], [other["right"]]),
        "silently wrong": ([mine["silently wrong"]], [other["silently wrong"]]),
        "broken (does not run, or other shapes)": ([mine["broken"]], [other["broken"]]),
        "right, but the network given was changed": ([mine["left traces"]], []),
        "refused as it should, in one line": ([mine["refused as it should"]], []),
        "refused or raised": ([mine["refused"]], [other["raised"]]),
        "nothing removed": ([mine["nothing removed"]], [other["nothing removed"]]),
        "not judged": ([mine["not judged"]], [other["not judged"]]),
        "crashed": ([mine["crashed"]], [other["crashed"]]),
        "did not end": ([mine["did not end"]], [other["did not end"]]),
    }
    return [f"| {name} | {sum(a)} | {sum(b) if b else ''} |" for name, (a, b) in rows.items()]


def _family_line(name: str, counts: dict[str, int]) -> str:
    count = Counter(counts)
    cells = [
        count["networks"],
        count["pruned"],
        sum(count[o] for o in RIGHT),
        sum(count[o] for o in WRONG),
        count["refused as it should"],
        count["refused"] + count["nothing removed"],
        count["crashed"] + count["did not end"],
        count["not judged"],
    ]
    return f"| {name} | {' | '.join(map(str, cells))} |"


def _line(row: Row) -> str:
    mine, other = row["ours"], row["torch_pruning"]
    memory = (row.get("memory_prune"), row.get("memory_forward"))
    cells = [
        row["name"],
        f"{mine['params'] / 1e6:.2f} M" if "params" in mine else "",
        mine["outcome"],
        _number(mine, "share", "{:.3f}"),
        _number(mine, "max_error", "{:.0e}"),
        _number(mine, "trace_s", "{:.2f}"),
        _number(mine, "prune_s", "{:.2f}"),
        _number(mine, "verified_s", "{:.2f}"),
        f"{memory[0] / memory[1]:.1f}" if memory[0] and memory[1] and memory[1] > _LARGE else "",
        _number(mine, "calls", "{}"),
        _trip(row) if mine["outcome"] in RIGHT else "",
        other["outcome"],
        _number(other, "share", "{:.3f}"),
        _number(other, "prune_s", "{:.2f}"),
    ]
    return f"| {' | '.join(cells)} |"


def _share(mine: Row) -> str:
    return f" (share {mine['share']:.2f})" if "share" in mine else ""


def _number(row: Row, key: str, form: str) -> str:
    return form.format(row[key]) if row.get(key) is not None else ""


def _trip(row: Row) -> str:
    said = str(row["ours"].get("round_trip", "not tried"))
    if said.startswith("not tried"):
        return "not tried"
    return said if said in ("once", "twice") else "no: " + said


def _quartiles(values: list[float]) -> list[float]:
    if len(values) < 2:
        return [round(v, 3) for v in values] * 3
    return [round(v, 3) for v in statistics.quantiles(values, n=4, method="inclusive")]


def _quartile_text(values: list[float]) -> str:
    return f"median {values[1]:.2f} (quartiles {values[0]:.2f} to {values[2]:.2f})" if values else "not measured"


def _worst_text(worst: Any) -> str:
    return f"; worst {worst[0]:.0f} ({worst[1]})" if worst else ""


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(found.items(), key=lambda item: -item[1]))
