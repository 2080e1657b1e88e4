"""Thousands of random networks: each is pruned right, or refused by name.

Claim: of networks drawn from a grammar of about sixty hard patterns (tests/pruning/grammar.py) none is pruned wrong.
Every pruned network, and what is left of it after a second pruning, equals a naive reference
(tests/pruning/reference.py: slots set to zero in a float64 copy, no code shared with the verifier) within 1e-5 of the
output's largest value, on other inputs and another batch size than it was traced with; its layers are as wide as its
plan says; the original stays the same to the bit; and every third network meets a target of MACs.

Run with ``python benchmarks/random_networks.py --count 3000 --seed 0``; it writes
``benchmarks/results/random_networks.{json,md}`` and fails if the claim does not hold. One network again:
``--seed 1234 --only``.
"""

from __future__ import annotations

import argparse
import collections
import json
import platform
import random
import re
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from pruning.exam import Outcome, examine
from pruning.grammar import PRODUCTIONS, RandomNet, build

RESULTS = Path(__file__).parent / "results"


def asked_of(seed: int) -> dict[str, Any]:
    """What a seed's network is asked for."""
    draw = random.Random(~seed)
    how: dict[str, Any] = {
        "importance": draw.choice(["random", "l1", "l2"]),
        "attention": draw.choice(["auto", "heads", "width"]),
        "scope": draw.choice(["local", "local", "global"]),
    }
    if seed % 3 == 0:
        return how | {"target_macs": draw.choice([0.5, 0.7, 0.9])}
    return how | {"ratios": draw.choice([0.25, 0.5, 0.75]), "round_to": draw.choice([1, 1, 2])}


def fared(seed: int) -> tuple[RandomNet, Outcome]:
    """The network of a seed and what became of it."""
    net, asked = build(seed), asked_of(seed)
    outcome = examine(net, seed, **asked)
    if outcome.pruned is not None and "target_macs" in asked:
        before, after = outcome.pruned.plan.macs
        assert after <= asked["target_macs"] * before, (
            f"target_macs={asked['target_macs']} missed: {after / before:.3f}"
        )
    return net, outcome


def in_general(reason: str) -> str:
    """A reason without what belongs to one network: paths, places and numbers."""
    reason = reason.partition("(try:")[0].split(";")[0]
    reason = re.sub(r"\([\w.]+:\d+\)|'\[[^']*'", "", reason)
    reason = re.sub(r"\b(steps\.\d+[\w.]*|stem|head|compare)(#\d+)?\b:?", "", reason)
    reason = re.sub(r"\b\d+(\.\d+)?(e[+-]?\d+)?\b", "N", reason)
    return " ".join(reason.split())


def survey(first: int, count: int) -> dict[str, Any]:
    """Figures over the networks of `count` seeds from `first` on."""
    tally: collections.Counter[str] = collections.Counter()
    refused: collections.Counter[str] = collections.Counter()
    kept: collections.Counter[str] = collections.Counter()
    taken_back: collections.Counter[str] = collections.Counter()
    productions: collections.Counter[str] = collections.Counter()
    failures, worst, start = {}, 0.0, time.perf_counter()
    for seed in range(first, first + count):
        try:
            net, outcome = fared(seed)
        except Exception as error:  # whatever it is: the network is named, and the next one is tried
            failures[seed] = f"{type(error).__name__}: {error}".splitlines()[0]
            print(f"seed {seed}: {failures[seed]}", flush=True)
            continue
        productions.update(net.kinds)
        if outcome.pruned is None:
            tally["refused"] += 1
            refused[in_general(outcome.refusal or "")] += 1
            continue
        tally["pruned"] += 1
        worst = max(worst, outcome.error or 0.0)
        kept.update({in_general(why) for why in outcome.pruned.plan.frozen.values()})
        tally["taken back"] += bool(outcome.taken_back)
        taken_back.update({in_general(note) for note in outcome.taken_back})
    return {
        "first_seed": first,
        "count": count,
        "pruned": tally["pruned"],
        "refused": tally["refused"],
        "failed": failures,
        "worst_error": worst,
        "refused_because": dict(refused.most_common()),
        "kept_a_group_because": dict(kept.most_common()),
        "verifier_took_back": tally["taken back"],
        "verifier_took_back_because": dict(taken_back.most_common()),
        "productions": {name: productions[name] for name in sorted(PRODUCTIONS)},
        "seconds": round(time.perf_counter() - start, 1),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


def table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = [
        "| networks | pruned right | refused by name | wrong or crashed | largest error |",
        "|---|---|---|---|---|",
    ]
    lines.append(
        f"| {report['count']:,} | {report['pruned']:,} | {report['refused']:,} | {len(report['failed'])} "
        f"| {report['worst_error']:.1e} |"
    )
    uses = report["productions"].values()
    lines += [
        "",
        f"Seeds from {report['first_seed']} on; {len(uses)} productions, each used {min(uses)} to {max(uses)} times; "
        "every pruned network was pruned a second time. Error: against a naive zeroed float64 copy, of the output's "
        f"largest value. {report['seconds']:.0f} s with {report['threads']} threads, torch {report['torch']}.",
    ]
    for title, key in (
        ("refused", "refused_because"),
        ("pruned, with a group kept whole (networks)", "kept_a_group_because"),
        ("the verifier took a group back (networks)", "verifier_took_back_because"),
    ):
        lines += ["", f"| {title} | networks |", "|---|---|"]
        lines += [f"| {why} | {count} |" for why, count in list(report[key].items())[:15]]
    lines += ["", *(f"- seed {seed}: {why}" for seed, why in report["failed"].items())]
    return "\n".join(lines).rstrip()


def main() -> None:
    """Runs, prints the table, writes the results, and fails if a network was pruned wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--only", action="store_true", help="only this seed's network, with the whole traceback")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.only:
        net = build(arguments.seed)
        print(net, net.form, asked_of(arguments.seed))
        try:
            print(fared(arguments.seed)[1])
        except Exception:
            traceback.print_exc()
            raise SystemExit(1) from None
        return
    report = survey(arguments.seed, arguments.count)
    print(table(report))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "random_networks.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / "random_networks.md").write_text(table(report) + "\n")
    if report["failed"]:
        raise SystemExit(f"{len(report['failed'])} networks were pruned wrong")


if __name__ == "__main__":
    main()
