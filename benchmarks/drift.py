"""How far a score moves with what should not move it: threads, other files beside it, the runtime, asking again.

Every shipped network scores some encodes of a proxy set (`compressvqa data proxy`) in PyTorch, with one thread, alone.
Then the same files are scored again, with two and with four threads, together with others of one reference, and by
every runtime. Drift is the largest difference of a score on the scale of 0 to 100, as a share of that range. Claim: at
most 1e-4, but for the runtime `native`, which works in whole numbers and states a tolerance of its own. A runtime that
can't run a network says why.

    python benchmarks/drift.py SET                   prints the table, writes benchmarks/results/drift.{json,md}
    python benchmarks/drift.py SET --items 12 --network rankdvqa-mini
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import compressvqa as cv
from compressvqa.environment import environment
from compressvqa.errors import CompressVQAError
from compressvqa.files import write_json, write_text
from compressvqa.scoring import score_several

RESULTS = Path(__file__).parent / "results"
MOST, SPAN = 1e-4, 100.0
WHOLE_NUMBERS = "native"
Pair = tuple[Path, list[Path]]  # a reference and its encodes


def pairs_of(folder: Path, items: int) -> list[Pair]:
    """Encodes of a set, drawn evenly over it, by their references."""
    listed = json.loads((folder / "proxy.json").read_text())["items"]
    drawn = listed[:: max(1, len(listed) // items)][:items]
    together: dict[Path, list[Path]] = {}
    for item in drawn:
        together.setdefault(folder / item["reference"], []).append(folder / item["distorted"])
    return list(together.items())


def scores(
    model: str, pairs: Sequence[Pair], *, together: bool = False, threads: int = 1, **settings: Any
) -> list[float]:
    """Scores of all encodes, in order."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = []
        for reference, encodes in pairs:
            for some in [encodes] if together else [[one] for one in encodes]:
                found += [one.score for one in score_several(reference, some, model=model, **settings)]
        return found
    finally:
        torch.set_num_threads(before)


def apart(one: Sequence[float], other: Sequence[float]) -> float:
    """The largest difference, as a share of the range."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) / SPAN


def drifts(model: str, pairs: Sequence[Pair]) -> dict[str, Any]:
    """{what was changed: drift, or why it can't be}."""
    base = scores(model, pairs, runtime="eager")
    arms: dict[str, Callable[[], list[float]]] = {
        "again": lambda: scores(model, pairs, runtime="eager"),
        "2 threads": lambda: scores(model, pairs, runtime="eager", threads=2),
        "4 threads": lambda: scores(model, pairs, runtime="eager", threads=4),
        "together": lambda: scores(model, pairs, runtime="eager", together=True),
    }
    for runtime in sorted(set(cv.registry.runtimes) - {"eager"}):
        arms[runtime] = lambda runtime=runtime: scores(model, pairs, runtime=runtime)  # type: ignore[misc]
    found: dict[str, Any] = {}
    for name, arm in arms.items():
        try:
            found[name] = apart(base, arm())
        except CompressVQAError as error:
            found[name] = str(error)
        print(f"{model} {name}: {found[name]}", flush=True)
    return found


def page(result: dict[str, Any]) -> str:
    """The page of results."""
    found, machine = result["networks"], result["environment"]
    columns = list(next(iter(found.values())))
    lines = ["# What moves a score that should not", "",
             "Largest difference on the scale, as a share of its range of 100.", "",
             "| network | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]  # fmt: skip
    for network, drift in found.items():
        cells = [f"{value:.1g}" if isinstance(value, float) else "-" for value in drift.values()]
        lines.append(f"| {network} | " + " | ".join(cells) + " |")
    over = [(n, c, v) for n, d in found.items() for c, v in d.items() if isinstance(v, float) and v > MOST]
    named = "; ".join(f"{network}, {column}: {value:.2g}" for network, column, value in over) or "none"
    lines += ["", f"Above {MOST:g}: {named}.", ""]
    lines += [f"- {n}, {c}: {v}" for n, d in found.items() for c, v in d.items() if not isinstance(v, float)]
    lines += ["", f"{result['items']} encodes of {result['references']} references, scored in PyTorch with one thread,"
              " each alone; together: all encodes of a reference in one call.",
              f"{machine['system']}, {machine['processor']}, torch {machine['packages']['torch']}.", ""]  # fmt: skip
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Scores, compares, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, help="a folder that `compressvqa data proxy` made")
    parser.add_argument("--network", action="append", help="shipped networks; by default all")
    parser.add_argument("--items", type=int, default=12, help="encodes")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    pairs = pairs_of(options.set, options.items)
    networks = options.network or cv.list_models(pretrained=True)
    result = {
        "networks": {name: drifts(name, pairs) for name in networks},
        "items": sum(len(encodes) for _, encodes in pairs),
        "references": len(pairs),
        "environment": environment(),
    }
    text = page(result)
    write_json(options.results / "drift.json", result)
    write_text(options.results / "drift.md", text)
    print(text)
    return result


if __name__ == "__main__":
    main()
