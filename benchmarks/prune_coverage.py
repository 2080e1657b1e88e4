"""Which networks can be pruned to half of their work, and whether the result is right, beside torch-pruning.

Claim: of more than 400 networks (timm, torchvision with its video networks, pyiqa, transformers, ours, most of them
also as siamese full-reference scorers, and the ways in which people write scorers, one network each) none comes out
silently wrong, at least 97 % are pruned as asked, and the rest is refused in one clear line; trace and pruning of
the libraries' networks take no longer than torch-pruning's (median; the patterns, of some thousand parameters, take
longer, and the table says by how much), and the proof at most four times as long as the pruning (median).

Run with ``python benchmarks/prune_coverage.py``. Each measurement has its own process and a time limit; rows are kept
in ``runs/coverage/rows.jsonl`` as they come, so an interrupted run goes on, and ``--shard 1/2`` beside ``--shard 2/2``
share the work. ``--only PATTERN`` and ``--families`` measure a part, ``--again`` anew; ``--rescore`` makes the tables
of the rows there are. A whole run writes ``benchmarks/results/prune_coverage.{json,md}`` and exits with an error if
the claim does not hold. ``--quick`` prunes each network once, says how it fared, and keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import warnings
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pruning_coverage import tables
from pruning_coverage.case import Case
from pruning_coverage.measure import apart, measure
from pruning_coverage.networks import cases
from pruning_coverage.ours import Row, attempt

from compressvqa.errors import MissingExtraError
from compressvqa.models import create_model

HERE = Path(__file__).parent
ROWS = HERE.parent / "runs" / "coverage" / "rows.jsonl"
RESULTS = HERE / "results"


def main() -> None:
    """Measures what is missing, prints the table, writes the results and fails if the claim does not hold."""
    arguments = _arguments()
    torch.set_num_threads(1)  # the measuring processes are forked, and threads don't survive that
    warnings.simplefilter("ignore")
    wanted = cases(arguments.only, arguments.families)
    if arguments.quick:
        return _look(wanted, arguments)
    rows = _rows()
    if not arguments.rescore:
        _import_all()
        part, parts = (int(n) for n in arguments.shard.split("/"))
        for case in wanted[part - 1 :: parts]:
            if arguments.again or case.name not in rows:
                row = measure(case, threads=arguments.threads, limit=arguments.limit, with_memory=arguments.memory)
                _keep(row)
                print(_progress(row), flush=True)
        rows = _rows()  # with those of other processes
    measured = [rows[case.name] for case in wanted if case.name in rows]
    if not measured:
        raise SystemExit(f"no network matches {arguments.only!r}, or none was measured")
    found, about = tables.summary(measured), _machine(measured)
    if missing := len(wanted) - len(measured):
        about += f" {missing} more were not measured."
    page = tables.document(measured, found, about)
    print(page)
    whole = (arguments.only, arguments.families) == ("*", "*") and len(measured) == len(wanted)
    if whole or arguments.write:
        RESULTS.mkdir(exist_ok=True)
        report = {"machine": about, "summary": found, "rows": measured}
        (RESULTS / "prune_coverage.json").write_text(json.dumps(report, indent=1) + "\n")
        (RESULTS / "prune_coverage.md").write_text(page)
        if said := tables.failures(found):
            raise SystemExit(f"the claim does not hold: {'; '.join(said)}")
    return None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", default="*", metavar="PATTERN", help="networks whose name holds or matches this")
    parser.add_argument("--families", default="*", metavar="PATTERNS", help="families, with commas between")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=600, help="processor seconds for each measurement")
    parser.add_argument(
        "--memory", action="store_true", help="measure peak memory too, which takes about as long again"
    )
    parser.add_argument("--shard", default="1/1", metavar="K/N", help="measure every Nth network, from the Kth on")
    parser.add_argument("--again", action="store_true", help="measure anew what was measured before")
    parser.add_argument("--rescore", action="store_true", help="measure nothing, make the tables anew")
    parser.add_argument("--write", action="store_true", help="write the results although some networks are missing")
    parser.add_argument("--quick", action="store_true", help="prune once, judge, print a line for each network")
    parser.add_argument("--log", type=Path, metavar="FILE", help="with --quick: JSON lines are added to this file")
    parser.add_argument("--traceback", action="store_true", help="with --quick: what crashes prints all of it")
    return parser.parse_args()


def _look(wanted: list[Case], arguments: argparse.Namespace) -> None:
    """Prints a line for each network as it comes, and how many fared how."""
    counts: Counter[str] = Counter()
    for case in wanted:
        row = apart(lambda case=case: attempt(case, loud=arguments.traceback).row, 1, arguments.limit)
        counts[row["outcome"]] += 1
        if arguments.log is not None:
            with arguments.log.open("a") as file:
                file.write(json.dumps({"name": case.name, "family": case.family, **row}) + "\n")
        share = f" {row['share']:.2f}" if "share" in row else ""
        print(f"{case.name:40} {row['outcome']}{share} {row.get('said', '')}".rstrip(), flush=True)
    print(dict(counts))


def _rows() -> dict[str, Row]:
    """Rows of earlier runs by name; a half-written last line is left out."""
    found: dict[str, Row] = {}
    for line in ROWS.read_text().splitlines() if ROWS.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[row["name"]] = row
    return found


def _keep(row: Row) -> None:
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    with ROWS.open("a") as file:
        file.write(json.dumps(row) + "\n")


def _import_all() -> None:
    """Imports the libraries once, before anything is measured or forked."""
    logging.disable(logging.WARNING)
    for name in ("timm/resnet10t", "torchvision/alexnet", "pyiqa/cnniqa"):
        try:
            create_model(name)
        except MissingExtraError as error:
            print(f"{name.partition('/')[0]} is left out: {error}")


def _progress(row: Row) -> str:
    mine, other = row["ours"], row["torch_pruning"]
    facts: list[Any] = [mine.get("said", ""), mine.get("round_trip", "")]
    said = " ".join(str(f)[:160] for f in facts if f)
    return f"{row['name']}: {mine['outcome']} {said} | torch-pruning {other['outcome']} {other.get('said', '')[:100]}"


def _machine(rows: list[Row]) -> str:
    names = ("torch", "timm", "torchvision", "transformers", "torch-pruning", "pyiqa")
    packages = ", ".join(f"{p} {_version(p)}" for p in names)
    threads = sorted({row["threads"] for row in rows})
    return f"{platform.machine()}, {', '.join(map(str, threads))} thread(s), {packages}."


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
