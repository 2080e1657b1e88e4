"""An evaluation looked at again: within contents, and whether small networks differ from their teacher.

    compressvqa data proxy CLIPS --out SET --frames 48
    compressvqa evaluate rankdvqa rankdvqa-mini rankdvqa-nano rankdvqa-pico psnr SET --by-content --out JUDGED
    python benchmarks/beside_teacher.py JUDGED

For each data set of the evaluation and each model: SROCC with the evaluation's interval; the mean over contents of the
SROCC within a content, its interval from resampling each content's items; and the difference of the SROCC to the first
model's, with intervals from resampling items, and whole contents, the two models on the same draws. Prints a table,
writes ``benchmarks/results/beside_teacher.{md,json}``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from compressvqa.files import write_json, write_text
from compressvqa.results import Evaluation

RESULTS = Path(__file__).parent / "results"
RESAMPLES = 2000
Values = np.ndarray
LEGEND = (
    "SROCC: of the raw scores over all items, in square brackets the evaluation's 95 % interval. Within a content: the "
    "mean over contents, its interval from resampling each content's items; and the lowest content. Difference: of the "
    "SROCC to the first model's, with its 95 % interval where items are drawn, and where whole contents are drawn, "
    "which is the more honest of the two."
)


def srocc(scores: Values, mos: Values) -> float:
    """Spearman's correlation, nan where nothing varies."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.corrcoef(rankdata(scores), rankdata(mos))[0, 1])


def within(contents: Values, scores: Values, mos: Values) -> dict[str, Any]:
    """The mean over contents of the SROCC, its 95 % interval, and the SROCC of each content."""
    places = _places(contents)
    each = {name: srocc(scores[rows], mos[rows]) for name, rows in places.items()}
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        chosen = (rng.choice(rows, len(rows)) for rows in places.values())
        drawn.append(np.mean([srocc(scores[rows], mos[rows]) for rows in chosen]))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return {"srocc": float(np.mean(list(each.values()))), "low": float(low), "high": float(high), "contents": each}


def difference(contents: Values, scores: Values, others: Values, mos: Values) -> dict[str, Any]:
    """How far one model's SROCC is above another's, with 95 % intervals: items drawn, and whole contents drawn."""
    places = list(_places(contents).values())
    rng = np.random.default_rng(0)

    def interval(draw: Any) -> list[float]:
        drawn = []
        for _ in range(RESAMPLES):
            rows = draw()
            drawn.append(srocc(scores[rows], mos[rows]) - srocc(others[rows], mos[rows]))
        return [float(end) for end in np.nanquantile(drawn, [0.025, 0.975])]

    return {
        "srocc": srocc(scores, mos) - srocc(others, mos),
        "items": interval(lambda: rng.integers(0, len(mos), len(mos))),
        "contents": interval(lambda: np.concatenate([places[k] for k in rng.integers(0, len(places), len(places))])),
    }


def _places(contents: Values) -> dict[str, Values]:
    return {str(name): np.flatnonzero(contents == name) for name in np.unique(contents)}


def figures(found: Evaluation, dataset: str) -> list[dict[str, Any]]:
    """A row a model."""
    rows: list[dict[str, Any]] = []
    first: Values | None = None
    for model in found.models:
        items = found.items(model.name, dataset)
        contents = np.array([item.content for item in items])
        scores, mos = (np.array([getattr(item, key) for item in items], dtype=float) for key in ("score", "mos"))
        whole = {key: value for key, value in found.row(model.name, dataset).items()
                 if key.startswith(("srocc", "krocc", "plcc", "rmse"))}  # fmt: skip
        row = {"model": model.name, "n": len(items), **whole, "within": within(contents, scores, mos)}
        if first is None:
            first = scores
        else:
            row["difference"] = difference(contents, scores, first, mos)
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The lines of the table, in markdown."""
    lines = [
        "| | SROCC | of the first | within a content | lowest | PLCC | difference | items drawn | contents drawn |",
        "|---|" + "---:|" * 8,
    ]
    for row in rows:
        inner, apart = row["within"], row.get("difference")
        cells = [
            cell(row["srocc"], row["srocc_low"], row["srocc_high"]), f"{100 * row['srocc'] / rows[0]['srocc']:.1f} %",
            cell(inner["srocc"], inner["low"], inner["high"]), f"{min(inner['contents'].values()):.3f}",
            f"{row['plcc']:.3f}",
            *(["-"] * 3 if apart is None else
              [f"{apart['srocc']:+.4f}", *("[{:+.4f}, {:+.4f}]".format(*apart[key]) for key in ("items", "contents"))]),
        ]  # fmt: skip
        lines.append(f"| {row['model']} | {' | '.join(cells)} |")
    return lines


def cell(value: float, low: float | None, high: float | None) -> str:
    """A figure with its interval, where it has one."""
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Reads, counts, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path, help="folder that `compressvqa evaluate --out` wrote")
    parser.add_argument("--name", default="beside_teacher", help="of the files of results")
    choice = parser.parse_args()
    found = Evaluation.read(choice.evaluation)
    sets = {dataset.name: figures(found, dataset.name) for dataset in found.datasets}
    lines = ["# Small networks beside their teacher", ""]
    for dataset in found.datasets:
        items = found.items(found.models[0].name, dataset.name)
        count = f"{len(items)} items of {len({item.content for item in items})} contents"
        label = f"{dataset.label}, a proxy and no human scores" if dataset.is_proxy else dataset.label
        lines += [f"## {dataset.name}", "", f"{count}; label: {label}.", "", *table(sets[dataset.name]), ""]
    machine = found.environment.get("processor", "")
    text = "\n".join([*lines, LEGEND, "", f"{machine}.", ""])
    print(text)
    write_text(RESULTS / f"{choice.name}.md", text)
    write_json(RESULTS / f"{choice.name}.json", {"sets": sets, "machine": machine})


if __name__ == "__main__":
    main()
