"""Evaluating on data sets: a unit takes the scores of a few files of one reference; `evaluate` finds them kept."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from compressvqa.errors import DataError
from compressvqa.evaluation.cache import ScoreCache, StoreError
from compressvqa.evaluation.collect import collect, passes
from compressvqa.evaluation.evaluate import items_of
from compressvqa.evaluation.titles import titles as titles_of
from compressvqa.executors import Unit
from compressvqa.jobs.scores import clip_facts, scorers_of
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.scoring.find import canonical
from compressvqa.scoring.identity import identity
from compressvqa.scoring.scorer import Scorer
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.sandbox import sandboxed


def evaluation_units(
    models: Sequence[str | Scorer],
    datasets: Sequence[str],
    *,
    settings: Mapping[str, Any],
    titles: Mapping[str, str] | None = None,
    split: str | None = None,
    pairing: Pairing | None = None,
    sandbox: bool = False,
) -> list[Unit]:
    """The units of an evaluation: what is read of each data set, a few items at a time.

    A unit is named by its files (path, size, time of change), the scorers with their weights and code, and how files
    are brought together. The scores that it takes are kept by what the files hold, so a file that was written in
    between, whatever its time says, is scored again by `evaluate`.

    Args:
        models: names, as `find_scorers` takes them, or scorers.
        datasets: as `evaluate` takes them.
        settings: of `find_scorers`.
        titles: what models are called, by what was typed.
        split: only items of this part.
        pairing: how files are brought together.
        sandbox: decode in confined processes.

    Raises:
        DataError: no such data set.
    """
    names = [canonical(model) for model in models if isinstance(model, str)]
    named = titles_of(names, {canonical(name): title for name, title in (titles or {}).items()})
    others = [model for model in models if isinstance(model, Scorer) and model.reads_files]
    scorers = [*scorers_of(names, settings, named), *others]
    pairing = pairing or Pairing()
    who = [identity(scorer, facts) for scorer in scorers for facts in scorer.facts]
    units = []
    for dataset in datasets if scorers else ():
        manifest, items = items_of(dataset, split)
        for some in passes(manifest, items):
            facts = {"work": "evaluate", "scorers": who, "pairing": asdict(pairing), "files": _told(manifest, some)}
            arguments = {
                "manifest": replace(manifest, items=tuple(some)), "names": names, "titles": named, "others": others,
                "settings": dict(settings), "pairing": pairing, "sandbox": sandbox,
            }  # fmt: skip
            units.append(Unit.named(facts, arguments, some[0].distorted))
    return units


def _told(manifest: Manifest, items: Sequence[Item]) -> list[Any]:
    """What the files of items are told by; a missing one by its name, as what it would be is not known."""

    def told(item: Item, clip: Clip | None) -> Any:
        try:
            return None if clip is None else clip_facts(clip)
        except (OSError, DataError):
            return [item.distorted, item.reference]

    found: list[Any] = []
    for item in items:
        try:
            found.append([told(item, manifest.reference(item)), told(item, manifest.distorted(item))])
        except DataError:  # a headerless file of no size
            found.append([item.reference, item.distorted])
    return found


def take_scores(
    manifest: Manifest,
    names: Sequence[str],
    titles: Mapping[str, str],
    others: Sequence[Scorer],
    settings: Mapping[str, Any],
    pairing: Pairing,
    sandbox: bool,
) -> list[tuple[str, str]]:
    """Takes the scores of a data set's items, as `ScoreCache.rows` gives them.

    What can't be scored is left out: `evaluate` comes upon it again, and says why.
    """
    scorers = [*scorers_of(names, settings, titles), *others]
    with tempfile.TemporaryDirectory() as place, sandboxed(sandbox):
        cache = ScoreCache(Path(place))
        try:
            collect(scorers, manifest, manifest.items, pairing, cache)
        except StoreError:
            raise
        except DataError:  # no item of these can be scored
            pass
        rows = cache.rows()
        cache.close()
    return sorted(rows)


def gather(cache: Path | None, results: Iterable[Sequence[Sequence[str]]]) -> None:
    """Puts the scores of units where `evaluate` looks for them.

    Args:
        cache: folder of kept scores, None: the user's.
        results: what `take_scores` returned.

    Raises:
        StoreError: the folder can't be written.
    """
    store = ScoreCache(cache)
    try:
        for rows in results:
            store.take(rows)
    finally:
        store.close()
