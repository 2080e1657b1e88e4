"""Faults put into the pruner on purpose: does `prune` notice what it does wrong?

Claim: of at least 200 faults in rules, folds, slots, surgery and liveness that make a wrong network, at least 99 % are
caught by `prune` itself: it refuses, or keeps the groups at fault. Whether a result is wrong is decided without groups
or labels: the kept channels are found again by the values of the weights, everything else is set to zero, and both
networks are run in float64 on inputs that the pruner never saw (tests/pruning/faults.py). The faults are tried on
random networks of the grammar (tests/pruning/grammar.py) and on those of the zoo without normalisations over channels.

Run with ``python benchmarks/mutation_exam.py --count 400``; it writes ``benchmarks/results/mutation_exam.{json,md}``
and fails if the claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from pruning.faults import Outcome, grammar_sitting, without_statistics, zoo_sitting

RESULTS = Path(__file__).parent / "results"
_ENDINGS = ("harmless", "refused", "kept", "uncaught")


def sittings(first: int, count: int) -> list[tuple[str, Outcome]]:
    """What became of `count` faults, half of them on random networks, half on the zoo."""
    zoo, found = without_statistics(), []
    for seed in range(first, first + count):
        if seed % 2:
            name, outcome = f"grammar, seed {seed}", grammar_sitting(seed)
        else:
            kind = zoo[seed // 2 % len(zoo)]
            name, outcome = f"{kind.__name__}, seed {seed}", zoo_sitting(kind, seed)
        found.append((name, outcome))
        if outcome.ending == "uncaught":
            print(f"uncaught: {name}: {outcome.fault.what} ({outcome.said})", flush=True)
    return found


def summary(found: list[tuple[str, Outcome]]) -> dict[str, Any]:
    """Figures, and the faults that were not caught."""
    rooms: dict[str, Counter[str]] = {}
    for _, outcome in found:
        rooms.setdefault(outcome.fault.room, Counter())[outcome.ending] += 1
    wrong = [o for _, o in found if o.counts]
    caught = sum(o.ending != "uncaught" for o in wrong)
    return {
        "faults": len(found),
        "wrong": len(wrong),
        "caught": caught,
        "share": caught / max(len(wrong), 1),
        "rooms": {room: {e: counts[e] for e in _ENDINGS} for room, counts in sorted(rooms.items())},
        "uncaught": [f"{name}: {o.fault.what} ({o.said})" for name, o in found if o.ending == "uncaught"],
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def page(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = [
        f"{report['wrong']} of {report['faults']} faults make a wrong network; {report['caught']} of these "
        f"({report['share']:.1%}) are caught by `prune`: refused, or the groups at fault kept whole. "
        f"{report['machine']}, torch {report['torch']}.",
        "",
        "| fault in | harmless | refused | kept whole | uncaught |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {room} | {' | '.join(str(n[e]) for e in _ENDINGS)} |" for room, n in report["rooms"].items()]
    lines += ["", *(f"- uncaught: {said}" for said in report["uncaught"])]
    return "\n".join(lines).rstrip()


def main() -> None:
    """Sits the exam, prints the table, writes the results, and fails if too much went unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    report = summary(sittings(arguments.seed, arguments.count))
    print(page(report))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "mutation_exam.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / "mutation_exam.md").write_text(page(report) + "\n")
    if report["wrong"] < 200 or report["share"] < 0.99:
        raise SystemExit(f"the claim does not hold: {report['caught']} of {report['wrong']} faults were caught")


if __name__ == "__main__":
    main()
