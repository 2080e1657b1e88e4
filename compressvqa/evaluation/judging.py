"""One data set judged: figures of every model on it, the F-test between them, and what a reader should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from compressvqa.errors import DataError
from compressvqa.evaluation.collect import Scores as Collected
from compressvqa.evaluation.collect import by_reason
from compressvqa.labels import VMAF_MODELS, canonical_label, same_label
from compressvqa.metrics import f_test_matrix, f_test_table, judge
from compressvqa.metrics.agreement import agreement
from compressvqa.metrics.krasula import pair_rule
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.plurals import count
from compressvqa.results import Dataset, ItemScore, Result, Scores
from compressvqa.scoring.scorer import Facts

ALPHA = 0.05
NAMED = 3  # items that are named for each reason to leave some out; evaluation.json and left_out.csv name all
# From here on down a metric is taken to run against its direction, where there are so many items.
AGAINST, FEW = -0.7, 5
# Six VMAF points are about one just-noticeable difference.
VMAF_GAP = 6.0


@dataclass(frozen=True)
class Judging:
    """How data sets are judged, see `compressvqa.evaluate`."""

    baseline: str
    teacher: str | None = None
    gap: float | None = None
    resamples: int = 2000
    by_content: bool = False
    seed: int = 0
    typed: Mapping[str, str] = field(default_factory=dict)
    """{title of a model: what was typed for it}."""


@dataclass(frozen=True)
class Judged:
    """What was found on one data set.

    Args:
        dataset: its facts.
        results: figures of each model that could score it.
        scores: of the items, for each of these models.
        wins: {model: 1 better than the baseline, -1 worse, 0 no difference shown}; None where there is no F-test.
    """

    dataset: Dataset
    results: tuple[Result, ...]
    scores: tuple[Scores, ...]
    wins: Mapping[str, int] | None


def judge_dataset(
    manifest: Manifest, items: Sequence[Item], found: Collected, facts: Sequence[Facts], how: Judging
) -> Judged:
    """Judges every model on one data set, all on the same items.

    Args:
        manifest: the data set.
        items: those of its items that were asked for.
        found: their scores, and those that could not be scored.
        facts: of the scores, in the order of the table.
        how: settings.
    """
    items = [item for item in items if item not in found.faults]
    raw = {
        fact.name: [found.by_model[fact.name][item] for item in items]
        for fact in facts
        if fact.name in found.by_model  # else a full-reference model on a data set without references
    }
    gap = how.gap
    if gap is None and manifest.kind == "proxy" and (canonical_label(manifest.label) or "") in VMAF_MODELS:
        gap = VMAF_GAP
    columns = {name: [getattr(item, name) for item in items] for name in ("std", "ratings", "ci")}
    ladders = [None if i.ladder is None or i.rung is None else (f"{i.scene}/{i.ladder}", i.rung) for i in items]
    figures = {
        fact.name: judge(
            raw[fact.name],
            [item.mos for item in items],
            higher_is_better=(fact.higher_is_better, manifest.higher_is_better),
            std=columns["std"],
            ratings=columns["ratings"],
            ci=columns["ci"],
            contents=[item.scene for item in items] if how.by_content else None,
            ladders=ladders if any(ladders) else None,
            gap=gap,
            resamples=how.resamples,
            seed=how.seed,
        )
        for fact in facts
        if fact.name in raw
    }
    wins, said = _f_test(raw, items, how.baseline)
    rule = pair_rule(std=columns["std"], ratings=columns["ratings"], ci=columns["ci"], gap=gap)
    notes = [
        *manifest.notes,
        *([f"scores of files are pooled over their frames by {found.pool}"] if found.pool else []),
        *_left_out(found.faults),
        *_unsaid(facts),
        *_against(figures, manifest),
        *([f"pairs of items count as different by: {rule}"] if rule is not None else []),
        f"an outlier's error exceeds {_outlier_rule(columns)}",
        *said,
    ]
    teacher = figures.get(how.teacher or "", {}).get("srocc")
    results = tuple(
        Result(
            model=name,
            dataset=manifest.name,
            **row,
            retention=row["srocc"] / teacher if teacher and row["srocc"] is not None else None,
            **_agreement(name, raw, facts, how.teacher),
        )
        for name, row in figures.items()
    )
    same = [name for name in raw if same_label(how.typed.get(name, name), manifest.label)]
    return Judged(_dataset(manifest, items, found, notes, same), results, _scores(manifest, items, raw), wins)


def _dataset(
    manifest: Manifest, items: Sequence[Item], found: Collected, notes: Sequence[str], same: Sequence[str]
) -> Dataset:
    return Dataset(
        name=manifest.name,
        kind=manifest.kind,
        label=manifest.label,
        higher_is_better=manifest.higher_is_better,
        n=len(items),
        references=len({item.scene for item in items}),
        left_out=len(found.faults),
        faults={_named(item, found.faults): fault for item, fault in found.faults.items()},
        notes=tuple(notes),
        label_models=tuple(same),
    )


def _scores(manifest: Manifest, items: Sequence[Item], raw: Mapping[str, Sequence[float]]) -> tuple[Scores, ...]:
    return tuple(
        Scores(
            model=name,
            dataset=manifest.name,
            items=tuple(
                ItemScore(
                    distorted=item.distorted,
                    reference=item.reference,
                    content=item.scene,
                    ladder=item.ladder,
                    score=value,
                    mos=item.mos,
                    std=item.std,
                )
                for item, value in zip(items, values, strict=True)
            ),
        )
        for name, values in raw.items()
    )


def _unsaid(facts: Sequence[Facts]) -> list[str]:
    """Scores whose direction nobody stated: one that runs the other way looks like one that is always wrong."""
    names = [fact.name for fact in facts if not fact.direction_known]
    if not names:
        return []
    return [f"nobody said the direction of {', '.join(names)}: higher is taken as better (else --lower-is-better NAME)"]


def _named(item: Item, among: Mapping[Item, str]) -> str:
    """What an item is called: its distorted file, and its reference where that file is there beside several."""
    twice = any(other != item and other.distorted == item.distorted for other in among)
    return f"{item.distorted} beside {item.reference}" if twice else item.distorted


def _left_out(faults: Mapping[Item, str]) -> list[str]:
    """What was left out and why, a line a reason; evaluation.json and left_out.csv name all."""
    lines = []
    for items in by_reason(faults):
        first, reason = items[0], faults[items[0]]
        if len(items) == 1:
            lines.append(f"left out {first.distorted}: {reason}")
        else:
            others = ", ".join(item.distorted for item in items[1:NAMED])
            more = ", ..." if len(items) > NAMED else ""
            lines.append(
                f"left out {count(len(items), 'item')}, the first {first.distorted}: {reason} (also {others}{more})"
            )
    return lines


def _against(figures: Mapping[str, Mapping[str, Any]], manifest: Manifest) -> list[str]:
    """Scores that run against their direction: more likely the direction is wrong than the metric so bad."""
    known = {name: row["srocc"] for name, row in figures.items() if row["srocc"] is not None and row["n"] >= FEW}
    against = {name: value for name, value in known.items() if value <= AGAINST}
    if len(against) > 1 and len(against) == len(known):
        direction = "higher" if manifest.higher_is_better else "lower"
        return [f"all metrics run against {manifest.label}: is it right that {direction} {manifest.label} is better? "
                "(higher_is_better in the manifest)"]  # fmt: skip
    return [
        f"the scores of {name} correlate at {value:.2f} with {manifest.label}: is their direction right? "
        f"(--lower-is-better {name} turns those of --scores and --command)"
        for name, value in against.items()
    ]


def _outlier_rule(columns: Mapping[str, Sequence[float | None]]) -> str:
    """How `judge` calls outliers, in words."""
    if None not in columns["std"]:
        return "twice the standard deviation of its ratings"
    if None not in columns["ci"]:
        return "its 95 % confidence interval (ITU-T P.1401)"
    return "twice the standard deviation of all errors"


def _f_test(
    raw: Mapping[str, list[float]], items: Sequence[Item], baseline: str
) -> tuple[Mapping[str, int] | None, list[str]]:
    """Who beats the baseline, and what to say of the test."""
    if baseline not in raw:
        return None, []
    mos = [item.mos for item in items]
    try:
        wins = f_test_matrix(raw, mos, baseline, ALPHA)
        odd = f_test_table(raw, mos, ALPHA).not_normal
    except DataError as error:  # a few items only
        return None, [f"no F-test: {error}"]
    said = f"residuals are not normal, so that the F-test is not to be trusted: {', '.join(odd)}"
    return wins, [said] if odd else []


def _agreement(
    name: str, raw: Mapping[str, Sequence[float]], facts: Sequence[Facts], teacher: str | None
) -> dict[str, Any]:
    """How near a network's raw scores are to the teacher's; nothing for metrics that are no networks."""
    networks = {fact.name: fact.higher_is_better for fact in facts if fact.params}
    # Scores that run the other way are another scale: there is nothing to stand in for.
    alike = teacher in networks and networks.get(name) == networks[teacher]
    if teacher is None or name == teacher or not alike or teacher not in raw or len(raw[name]) < 2:
        return {}
    found = agreement(raw[name], raw[teacher])
    return {"agreement_srocc": found.srocc, "agreement_plcc": found.plcc, "agreement_mae": found.mae}
