"""Judging models on data sets: scores, statistics, significance, complexity, in one table."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from compressvqa.environment import environment
from compressvqa.errors import DataError
from compressvqa.evaluation.cache import ScoreCache
from compressvqa.evaluation.collect import check_files, collect
from compressvqa.evaluation.cost import costs
from compressvqa.evaluation.judging import ALPHA, Judged, Judging, judge_dataset
from compressvqa.evaluation.pictures import pictures_of
from compressvqa.evaluation.titles import titles as titles_of
from compressvqa.metrics.intervals import check_resamples
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.progress import Progress
from compressvqa.report import write_evaluation_report
from compressvqa.results import Confidence, Evaluation, Picture, Significance
from compressvqa.scoring import NetworkScorer, find_scorers
from compressvqa.scoring.find import canonical
from compressvqa.scoring.pooling import one_pool
from compressvqa.scoring.scorer import Facts, Scorer
from compressvqa.scoring.tiles import MAX_PIXELS
from compressvqa.video.clip import Pairing

MOST_PICTURED = 2  # networks whose best and worst clips are kept as pictures


def evaluate(
    models: Sequence[str | Path | Scorer],
    datasets: Sequence[str | Path | Manifest],
    *,
    titles: Mapping[str, str] | None = None,
    split: str | None = None,
    teacher: str | None = None,
    baseline: str | None = None,
    pairing: Pairing | None = None,
    pool: str | None = None,
    gap: float | None = None,
    latency: bool = False,
    strict: bool = False,
    cache: Path | None = None,
    resamples: int = 2000,
    by_content: bool = False,
    seed: int = 0,
    pictures: bool = False,
    max_pixels: int | None = MAX_PIXELS,
    device: str = "auto",
    runtime: str = "auto",
    allow_random_weights: bool = False,
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
        pool: how the score of a file comes from its frames: "p5" or another percentile, "mean", "harmonic", "min",
            "max", "median"; by default as each model does it, mostly by the mean.
        gap: difference of scores from which two items differ, for data sets that give neither deviations nor
            intervals; 6 for VMAF where not given.
        latency: also measure each network's time on 12 frames of 256x256, in turn.
        strict: stop at the first item that can't be scored.
        cache: folder of kept scores; the user's cache folder if not given.
        resamples: for the confidence intervals.
        by_content: resample whole contents, not items: wider and more honest where contents are few.
        seed: of the resamples.
        pictures: also keep a frame of the clips that stand out for the first two networks: the lowest score, the
            highest, and those furthest from the label.
        max_pixels: see `compressvqa.score`.
        device: "auto", "cpu" or "cuda".
        runtime: see `compressvqa.score`; scores are kept apart by what was asked for.
        allow_random_weights: also judge networks that were never trained, to compare with.
        progress: called with (scores taken, scores in all) of each data set.

    Raises:
        DataError: no item of a data set can be scored, two models would have one title, or 1 to 99 resamples.
        RegistryError: unknown model or data set.
    """
    if isinstance(models, str) or isinstance(datasets, str):
        raise DataError("models and data sets are lists", hint="evaluate(['psnr'], ['FOLDER'])")
    if not datasets:
        raise DataError("there is no data set to evaluate on")
    if resamples:
        check_resamples(resamples)  # before hours of scoring, not after
    pool = None if pool is None else one_pool(pool)
    typed = [canonical(str(model)) for model in models if not isinstance(model, Scorer)]
    named = titles_of(typed, {canonical(name): title for name, title in (titles or {}).items()})
    scorers = [model for model in models if isinstance(model, Scorer)]
    scorers += find_scorers(
        typed, titles=named, max_pixels=max_pixels, device=device, runtime=runtime,
        allow_random_weights=allow_random_weights,
    )  # fmt: skip
    facts = _facts_of(models, scorers, named)
    names = [fact.name for fact in facts]
    teacher, baseline = _one_of(names, teacher, "teacher"), _one_of(names, baseline, "baseline")
    baseline = baseline or teacher or names[0]
    costed = costs(scorers, facts, latency=latency)
    manifests = _apart([_read(dataset) for dataset in datasets])
    kept = ScoreCache(cache)
    how = Judging(baseline, teacher, gap, resamples, by_content, seed, {title: name for name, title in named.items()})
    judged: list[Judged] = []
    shown: list[Picture] = []
    try:
        for manifest in manifests:
            items = _part(manifest, split)
            if any(scorer.reads_files for scorer in scorers):
                check_files(manifest, items)
            found = collect(
                scorers, manifest, items, pairing or Pairing(), kept, strict=strict, pool=pool, progress=progress
            )
            judged.append(judge_dataset(manifest, items, found, facts, how))
            if pictures:
                shown += _pictures(scorers, manifest, judged[-1], pairing or Pairing())
    finally:
        kept.close()
    return Evaluation(
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        environment=environment(),
        settings={"split": split, "seed": seed, "pool": pool, "pairing": asdict(pairing or Pairing())},
        teacher=teacher,
        confidence=_confidence(resamples, by_content),
        datasets=tuple(one.dataset for one in judged),
        models=costed,
        results=tuple(result for one in judged for result in one.results),
        significance=Significance(
            baseline=baseline,
            alpha=ALPHA,
            matrix={one.dataset.name: one.wins for one in judged if one.wins is not None},
        ),
        scores=tuple(part for one in judged for part in one.scores),
        pictures=tuple(shown),
    )


def _one_of(names: Sequence[str], name: str | None, word: str) -> str | None:
    """The title of the model that is meant by a title, or by what was typed."""
    if name is None or name in names:
        return name
    if (title := canonical(name)) not in names:
        raise DataError(f"the {word} {title!r} is none of the models", hint=", ".join(names))
    return title


def _confidence(resamples: int, by_content: bool) -> Confidence:
    drawn = "contents" if by_content else "items"
    method = f"BCa bootstrap (percentile where that is not defined) over {drawn}, the fit not repeated"
    return Confidence(level=0.95, method=method, samples=resamples)


def _facts_of(
    models: Sequence[str | Path | Scorer], scorers: Sequence[Scorer], named: Mapping[str, str]
) -> list[Facts]:
    """What is known of every score, in the order in which the models were given."""
    wanted = [
        name
        for model in models
        for name in ([fact.name for fact in model.facts] if isinstance(model, Scorer) else [_named(model, named)])
    ]
    return _in_order([fact for scorer in scorers for fact in scorer.facts], wanted)


def _pictures(scorers: Sequence[Scorer], manifest: Manifest, judged: Judged, pairing: Pairing) -> list[Picture]:
    """Clips of a data set that stand out for the first networks that were judged on it."""
    networks = [scorer for scorer in scorers if isinstance(scorer, NetworkScorer)]
    found: list[Picture] = []
    for scorer in networks[:MOST_PICTURED]:
        of = scorer.facts[0].name
        results = [one for one in judged.results if one.model == of]
        scores = [one for one in judged.scores if one.model == of]
        if results and scores:
            found += pictures_of(scorer, manifest, judged.dataset, results[0], scores[0], pairing)
    return found


def _named(model: str | Path, titles: Mapping[str, str]) -> str:
    name = canonical(str(model))
    return titles.get(name, name)


def _in_order(facts: Sequence[Facts], wanted: Sequence[str]) -> list[Facts]:
    """Facts in the order in which models were given; scores that share a pass would stand together otherwise."""
    place = {name: number for number, name in enumerate(wanted)}
    ordered = sorted(facts, key=lambda fact: place.get(fact.name, len(place)))
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


def items_of(dataset: str | Path | Manifest, split: str | None) -> tuple[Manifest, list[Item]]:
    """A data set as `evaluate` reads it, and those of its items that it scores.

    Raises:
        DataError: there is none, or it has no such part.
    """
    manifest = _read(dataset)
    return manifest, _part(manifest, split)


def _apart(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Data sets under names of their own: of two folders of one name, the folders that they are in tell them apart.

    Raises:
        DataError: two are called alike, wherever they are.
    """
    names = [manifest.name for manifest in manifests]
    found: list[Manifest] = []
    for manifest in manifests:
        folder = manifest.folder.resolve()
        is_named_so = manifest.name == folder.name and names.count(manifest.name) > 1
        name = f"{folder.parent.name}/{folder.name}" if is_named_so else manifest.name
        if name in [other.name for other in found]:
            raise DataError(f"two data sets are called {name!r}", hint="NAME=FOLDER gives a name")
        found.append(replace(manifest, name=name))
    return found


def _part(manifest: Manifest, split: str | None) -> list[Item]:
    if split is None:
        return list(manifest.items)
    items = [item for item in manifest.items if item.split == split]
    if not items:
        known = sorted({item.split for item in manifest.items if item.split is not None})
        raise DataError(f"{manifest.name} has no part {split!r}", hint=", ".join(known) or "it is not split")
    return items


def write_evaluation(found: Evaluation, folder: str | Path) -> list[Path]:
    """Writes evaluation.json, scores.csv and the report (figures, tables, page); returns the paths."""
    return [*found.write(folder), *write_evaluation_report(found, Path(folder))]
