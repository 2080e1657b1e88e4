"""Where a network's scores can be relied on: broken orders, unseen encoders, unusual clips, and the same score again.

References are photographs under the virtual camera (built-in ones, or those of any folder) or videos, encoded by five
encoders, and by three that no recipe trains on. Under each condition (upscaled, 10 bit, dark, grainy, odd and tiny
sizes, 4:3, vertical, other rates, a cut, a still picture, black) every network scores whole files, as `compressvqa
score` does. Counted are neighbouring rungs of a ladder in the wrong order, identical clips and whatever is ahead of
them, SROCC with VMAF 0.6.1 (a proxy, not people), each encoder alone, and how far scores differ when the same files are
asked again, one by one, or with other numbers of threads. VMAF is held to the same orders.

    python benchmarks/robustness.py --network mini=runs/mini/model --network nano=runs/nano/model
    python benchmarks/robustness.py --network mine=FOLDER --sources PHOTOGRAPHS --sources VIDEOS --contents 12
    python benchmarks/robustness.py --network mine=FOLDER --conditions plain dark black

What training saw is read from the recipe of the run that a network lies in, or said by ``--seen NAME=x264,x265``. Goes
on where it was stopped. Prints tables, writes ``benchmarks/results/robustness.{md,json}``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robustness_parts import table
from robustness_parts.conditions import CONDITIONS, LADDERS, references
from robustness_parts.counts import judged
from robustness_parts.scores import Item, Scores, encoded, repeated, training_of

import compressvqa as cv
from compressvqa.environment import environment
from compressvqa.errors import CompressVQAError
from compressvqa.files import write_json, write_text

RESULTS = Path(__file__).parent / "results"


def of_vmaf(items: dict[str, list[Item]]) -> dict[str, Any]:
    """VMAF beside the networks: it has no identical clips here, and is its own label."""
    found = {}
    for name, listed in items.items():
        whole = {item.content: float("inf") for item in listed}
        found[name] = judged(listed, [item.label for item in listed], whole) | {"identical": None, "finite": True}
    counts = {name: {key: one[key] for key in ("wrong", "tied", "pairs")} for name, one in found.items()}
    return {"conditions": counts, **{key: sum(c[key] for c in counts.values()) for key in ("wrong", "tied", "pairs")}}


def of_network(folder: Path, items: dict[str, list[Item]], data: Path, seen: list[str] | None) -> dict[str, Any]:
    """Everything about one network."""
    network = cv.load(folder).eval()
    scores = Scores(network, data)
    found = {}
    for name, listed in items.items():
        found[name] = judged(listed, *scores.of(listed, data))
        print(f"{folder} {name}: {found[name]['wrong']} of {found[name]['pairs']} orders broken", flush=True)
    training = {"codecs": seen} if seen is not None else training_of(folder)
    first = next(iter(items.values()))
    ends = [end for one in found.values() for end in one["range"]]
    span = [min(ends), max(ends)]
    return {"conditions": found, "repeats": repeated(network, first), "training": training, "range": span}


def page(result: dict[str, Any]) -> str:
    """The page of results."""
    networks, machine, vmaf = result["networks"], result["environment"], result["vmaf"]
    totals = [(name, found["conditions"].values()) for name, found in networks.items()]
    counts = [(name, *(sum(c[key] for c in cells) for key in ("wrong", "tied"))) for name, cells in totals]
    counts.append(("VMAF 0.6.1", vmaf["wrong"], vmaf["tied"]))
    said = "; ".join(f"{name} {wrong}" + (f" (and {tied} tied)" if tied else "") for name, wrong, tied in counts)
    lines = [
        "# Where the scores can be relied on", "",
        f"Of {vmaf['pairs']} neighbouring rungs in the wrong order: {said}.", "",
        *table.conditions(result), "",
        "Each rung is held against the next worse one of its ladder. SROCC over the condition's encodes, a proxy and no"
        " opinion of people; - where nothing varies. A network without a reference scores the reference itself.", "",
        *table.codecs(result),
        "## The same score again", "", *table.repeats(result), "",
        "The largest difference between scores of the same files; threads: "
        + ", ".join(map(str, next(iter(networks.values()))["repeats"]["counts"])) + ".", "",
        "## Broken orders", "", *table.broken(result),
        f"{result['contents']} contents of {', '.join(result['sources'])}, {result['frames']} frames each;"
        f" {', '.join(LADDERS)}; {machine['system']}, {machine['processor']}, torch {machine['packages']['torch']}.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _pairs(given: Sequence[str], parser: argparse.ArgumentParser, what: str) -> dict[str, str]:
    found = dict(item.partition("=")[::2] for item in given)
    if not all(found) or not all(found.values()):
        parser.error(f"--{what} is NAME=VALUE")
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Encodes, scores, counts, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", default=[], metavar="NAME=FOLDER", help="a saved network")
    parser.add_argument(
        "--seen", action="append", default=[], metavar="NAME=CODEC,...", help="encoders it was trained on"
    )
    parser.add_argument("--sources", action="append", help="folder or file of photographs or videos, or `builtin`")
    parser.add_argument("--contents", type=int, default=6, help="how many contents at most")
    parser.add_argument("--frames", type=int, default=24, help="frames of each clip")
    parser.add_argument("--conditions", nargs="+", choices=[c.name for c in CONDITIONS], metavar="NAME",
                        default=[c.name for c in CONDITIONS], help="which, see the table")  # fmt: skip
    parser.add_argument("--data", type=Path, default=Path("runs/robustness"), help="where encodes and scores are kept")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the tables go")
    parser.add_argument("--name", default="robustness", help="of the files of results")
    options = parser.parse_args(arguments)
    networks = {name: Path(folder) for name, folder in _pairs(options.network, parser, "network").items()}
    seen = {name: codecs.split(",") for name, codecs in _pairs(options.seen, parser, "seen").items()}
    if not networks:
        parser.error("no network was given: --network NAME=FOLDER")
    places = options.sources or ["builtin"]
    chosen = [condition for condition in CONDITIONS if condition.name in options.conditions]
    try:
        for folder in networks.values():
            cv.load(folder)
        planes = references(places, options.contents, options.frames)
        items = {}
        for condition in chosen:
            place = (
                options.data / f"{condition.name.replace(' ', '-').replace(':', 'x')}-{len(planes)}x{options.frames}"
            )
            items[condition.name] = encoded(condition, planes, place)
        found = {name: of_network(folder, items, options.data, seen.get(name)) for name, folder in networks.items()}
    except CompressVQAError as error:
        parser.error(str(error))
    result = {
        "networks": found,
        "vmaf": of_vmaf(items),
        "conditions": {condition.name: condition.what for condition in chosen},
        "contents": len(planes),
        "frames": options.frames,
        "sources": [Path(place).name for place in places],
        "environment": environment(),
    }
    text = page(result)
    write_json(options.results / f"{options.name}.json", result)
    write_text(options.results / f"{options.name}.md", text)
    print(text)
    return result


if __name__ == "__main__":
    main()
