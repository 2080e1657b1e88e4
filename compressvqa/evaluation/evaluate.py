"""Judging models on data sets: scores, statistics, significance, complexity, in one table."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compressvqa.environment import environment
from compressvqa.errors import DataError
from compressvqa.evaluation.cache import ScoreCache
from compressvqa.evaluation.collect import Progress, Scores, check_files, collect
from compressvqa.evaluation.cost import costs
from compressvqa.evaluation.titles import titles as titles_of
from compressvqa.files import finite, write_json, write_text
from compressvqa.metrics import f_test_matrix, f_test_table, judge
from compressvqa.metrics.agreement import agreement
from compressvqa.metrics.krasula import pair_rule
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.scoring import find_scorers
from compressvqa.scoring.scorer import Facts, Scorer
from compressvqa.scoring.tiles import MAX_PIXELS
from compressvqa.video.clip import Pairing

SCHEMA = 1
ALPHA = 0.05
NAMED = 3  # items that are named where some are left out; the log names all
# Six VMAF points are about one just-noticeable difference.
VMAF_GAP = 6.0
AGREEMENT = ("agreement_srocc", "agreement_plcc", "agreement_mae")  # figures of a row


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Args:
        facts: plain values: datasets, models, results, significance, scores, environment; see docs/evaluation.md.
    """

    facts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As evaluation.json holds it."""
        found: dict[str, Any] = finite(self.facts)
        return found

    def write(self, folder: Path) -> list[Path]:
        """Writes evaluation.json, scores.csv and the report (figures, tables, page); returns what was written."""
        from compressvqa.report import write_evaluation_report

        found = self.to_dict()
        write_json(folder / "evaluation.json", found)
        write_text(folder / "scores.csv", self._scores_csv())
        return [folder / "evaluation.json", folder / "scores.csv", *write_evaluation_report(found, folder)]

    def _scores_csv(self) -> str:
        """A row an item of a data set, a column a model."""
        names = [model["name"] for model in self.facts["models"]]
        rows: dict[tuple[str, ...], dict[str, Any]] = {}
        for part in self.facts["scores"]:
            for item in part["items"]:
                row = rows.setdefault(
                    (part["dataset"], str(item["reference"]), item["distorted"]), {"dataset": part["dataset"], **item}
                )
                row[part["model"]] = item["score"]
        text = io.StringIO()
        columns = ["dataset", "content", "reference", "distorted", "mos", "std", *names]
        writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())
        return text.getvalue()

    def row(self, model: str, dataset: str) -> dict[str, Any]:
        """The figures of one model on one data set.

        Raises:
            DataError: there are none.
        """
        for row in self.facts["results"]:
            if (row["model"], row["dataset"]) == (model, dataset):
                found: dict[str, Any] = row
                return found
        raise DataError(f"{model} was not evaluated on {dataset}")


def evaluate(
    models: Sequence[str | Path | Scorer],
    datasets: Sequence[str | Path | Manifest],
    *,
    titles: Mapping[str, str] | None = None,
    split: str | None = None,
    teacher: str | None = None,
    baseline: str | None = None,
    pairing: Pairing | None = None,
    gap: float | None = None,
    latency: bool = False,
    strict: bool = False,
    cache: Path | None = None,
    resamples: int = 2000,
    by_content: bool = False,
    seed: int = 0,
    max_pixels: int | None = MAX_PIXELS,
    device: str = "auto",
    progress: Progress | None = None,
) -> Evaluation:
    """Judges models on data sets as the field does.

    Every item is scored once by every model and the score kept by the content of the files, so an evaluation that was
    stopped goes on, and a model or a data set more costs only itself. All models are judged on the same items: one
    that some model can't score is left out for all, and named.

    Args:
        models: names or folders, see `compressvqa.scoring.find_scorers`, or scorers.
        datasets: manifests, files of other forms, NAME=FOLDER for a data set in its published layout, see
            `compressvqa.opinions.read_dataset`.
        titles: what models are called in the tables, by what was typed.
        split: only items of this part of a data set.
        teacher: title of the model that retention refers to: SROCC over the teacher's. Where it is a network, the
            scores of the other networks are compared with its own too, item by item, as agreement.
        baseline: title of the model that the F-test compares with; the first model if not given.
        pairing: how distorted files are brought together with their references.
        gap: difference of scores from which two items differ, for data sets that give neither deviations nor
            intervals; 6 for VMAF where not given.
        latency: also measure each network's time on 12 frames of 256x256, in turn.
        strict: stop at the first item that can't be scored.
        cache: folder of kept scores; the user's cache folder if not given.
        resamples: for the confidence intervals.
        by_content: resample whole contents, not items: wider and more honest where contents are few.
        seed: of the resamples.
        max_pixels: see `compressvqa.score`.
        device: "auto", "cpu" or "cuda".
        progress: called with (scores taken, scores in all) of each data set.

    Raises:
        DataError: no item of a data set can be scored, or two models would have one title.
        RegistryError: unknown model or data set.
    """
    typed = [str(model) for model in models if not isinstance(model, Scorer)]
    named = titles_of(typed, titles)
    scorers = [model for model in models if isinstance(model, Scorer)]
    scorers += find_scorers(typed, titles=named, max_pixels=max_pixels, device=device)
    facts = _in_order([fact for scorer in scorers for fact in scorer.facts], [named.get(name, name) for name in typed])
    names = [fact.name for fact in facts]
    for word, name in (("teacher", teacher), ("baseline", baseline)):
        if name is not None and name not in names:
            raise DataError(f"the {word} {name!r} is none of the models", hint=", ".join(names))
    baseline = baseline or teacher or names[0]
    rows = costs(scorers, facts, latency=latency)
    kept = ScoreCache(cache)
    report: dict[str, Any] = {"datasets": [], "results": [], "matrix": {}, "scores": []}
    try:
        for dataset in datasets:
            manifest = _read(dataset)
            if manifest.name in [other["name"] for other in report["datasets"]]:
                raise DataError(f"two data sets are called {manifest.name!r}")
            items = _part(manifest, split)
            if any(scorer.reads_files for scorer in scorers):
                check_files(manifest, items)
            found = collect(scorers, manifest, items, pairing or Pairing(), kept, strict=strict, progress=progress)
            _judge(report, manifest, items, found, facts, baseline, gap, resamples, by_content, seed)
    finally:
        kept.close()
    _add_retention(report["results"], teacher)
    _add_agreement(report["results"], report["scores"], facts, teacher)
    return Evaluation(
        {
            "schema": SCHEMA,
            "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "environment": environment(),
            "settings": {"split": split, "seed": seed, "pairing": asdict(pairing or Pairing())},
            "teacher": teacher,
            "confidence": {
                "level": 0.95,
                "method": f"BCa bootstrap (percentile where that is not defined) over "
                f"{'contents' if by_content else 'items'}, the fit not repeated",
                "samples": resamples,
            },
            "datasets": report["datasets"],
            "models": rows,
            "results": report["results"],
            "significance": {"baseline": baseline, "alpha": ALPHA, "matrix": report["matrix"]},
            "scores": report["scores"],
        }
    )  # fmt: skip


def _in_order(facts: Sequence[Facts], wanted: Sequence[str]) -> list[Facts]:
    """Facts in the order in which models were typed; scores that share a pass would stand together otherwise."""
    place = {name: number for number, name in enumerate(wanted)}
    ordered = sorted(facts, key=lambda fact: place.get(fact.name, -1))
    names = [fact.name for fact in ordered]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"two models are called {twice[0]!r}", hint="--title MODEL=NAME")
    if not names:
        raise DataError("there is no model to evaluate")
    return ordered


def _read(dataset: str | Path | Manifest) -> Manifest:
    if isinstance(dataset, Manifest):
        return dataset
    from compressvqa.opinions import read_dataset

    return read_dataset(str(dataset))


def _part(manifest: Manifest, split: str | None) -> list[Item]:
    if split is None:
        return list(manifest.items)
    items = [item for item in manifest.items if item.split == split]
    if not items:
        known = sorted({item.split for item in manifest.items if item.split is not None})
        raise DataError(f"{manifest.name} has no part {split!r}", hint=", ".join(known) or "it is not split")
    return items


def _judge(
    report: dict[str, Any],
    manifest: Manifest,
    items: Sequence[Item],
    found: Scores,
    facts: Sequence[Facts],
    baseline: str,
    gap: float | None,
    resamples: int,
    by_content: bool,
    seed: int,
) -> None:
    """Adds the statistics of one data set."""
    items = [item for item in items if item not in found.faults]
    faults = [f"left out {item.distorted}: {fault}" for item, fault in found.faults.items()]
    rest = [f"left out {len(faults) - NAMED} more"] if len(faults) > NAMED else []
    notes = [*manifest.notes, *faults[:NAMED], *rest]
    report["datasets"].append(
        {
            "name": manifest.name,
            "kind": manifest.kind,
            "label": manifest.label,
            "higher_is_better": manifest.higher_is_better,
            "n": len(items),
            "references": len({item.scene for item in items}),
            "left_out": len(found.faults),
            "notes": notes,
        }
    )
    if gap is None and manifest.kind == "proxy" and manifest.label.startswith("VMAF"):
        gap = VMAF_GAP
    mos = [item.mos for item in items]
    ladders = [None if i.ladder is None or i.rung is None else (f"{i.scene}/{i.ladder}", i.rung) for i in items]
    columns = {name: [getattr(item, name) for item in items] for name in ("std", "ratings", "ci")}
    rule = pair_rule(std=columns["std"], ratings=columns["ratings"], ci=columns["ci"], gap=gap)
    if rule is not None:
        notes.append(f"pairs of items count as different by: {rule}")
    notes.append(f"an outlier's error exceeds {_outlier_rule(columns)}")
    judged: dict[str, list[float]] = {}
    for fact in facts:
        scores = found.by_model.get(fact.name)
        if scores is None:
            continue  # a full-reference model on a data set without references
        judged[fact.name] = [scores[item] for item in items]
        row = judge(
            judged[fact.name],
            mos,
            higher_is_better=(fact.higher_is_better, manifest.higher_is_better),
            std=columns["std"],
            ratings=columns["ratings"],
            ci=columns["ci"],
            contents=[item.scene for item in items] if by_content else None,
            ladders=ladders if any(ladders) else None,
            gap=gap,
            resamples=resamples,
            seed=seed,
        )
        report["results"].append({"model": fact.name, "dataset": manifest.name, **row, "retention": None})
        report["scores"].append(
            {
                "model": fact.name,
                "dataset": manifest.name,
                "items": [
                    {"distorted": item.distorted, "reference": item.reference, "content": item.scene,
                     "score": value, "mos": item.mos, "std": item.std}
                    for item, value in zip(items, judged[fact.name], strict=True)
                ],
            }
        )  # fmt: skip
    if baseline in judged:
        try:
            report["matrix"][manifest.name] = f_test_matrix(judged, mos, baseline, ALPHA)
            odd = f_test_table(judged, mos, ALPHA).not_normal
            if odd:
                notes.append(f"residuals are not normal, so that the F-test is not to be trusted: {', '.join(odd)}")
        except DataError as error:  # a few items only
            notes.append(f"no F-test: {error}")


def _outlier_rule(columns: Mapping[str, Sequence[float | None]]) -> str:
    """How `judge` calls outliers, in words."""
    if None not in columns["std"]:
        return "twice the standard deviation of its ratings"
    if None not in columns["ci"]:
        return "its 95 % confidence interval (ITU-T P.1401)"
    return "twice the standard deviation of all errors"


def _add_retention(results: Sequence[dict[str, Any]], teacher: str | None) -> None:
    for row in results:
        base = [other for other in results if (other["model"], other["dataset"]) == (teacher, row["dataset"])]
        if base and base[0]["srocc"] and row["srocc"] is not None:
            row["retention"] = row["srocc"] / base[0]["srocc"]


def _add_agreement(
    results: Sequence[dict[str, Any]], scores: Sequence[Mapping[str, Any]], facts: Sequence[Facts], teacher: str | None
) -> None:
    """How near each network's raw scores are to the teacher's; None for metrics that are no networks."""
    networks = {fact.name: fact.higher_is_better for fact in facts if fact.params}
    raw = {(part["model"], part["dataset"]): [item["score"] for item in part["items"]] for part in scores}
    for row in results:
        row.update(dict.fromkeys(AGREEMENT))
        own, theirs = raw[row["model"], row["dataset"]], raw.get((teacher, row["dataset"]))
        # Scores that run the other way are another scale: there is nothing to stand in for.
        like = teacher in networks and networks.get(row["model"]) == networks[teacher]
        if row["model"] != teacher and like and theirs is not None and len(own) > 1:
            found = agreement(own, theirs)
            row.update(zip(AGREEMENT, (found.srocc, found.plcc, found.mae), strict=True))
