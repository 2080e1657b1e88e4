"""Taking the scores of a data set: from the cache where they are, else in passes that share a reference."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from compressvqa.errors import CompressVQAError, DataError
from compressvqa.evaluation.cache import ScoreCache
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.progress import Progress
from compressvqa.scoring.scorer import Scorer
from compressvqa.video.clip import Clip, Pairing

log = logging.getLogger(__name__)
# Distorted files that are decoded side by side: each holds a decoder and a block of pictures.
SIDE_BY_SIDE = 4


@dataclass
class Scores:
    """The scores of one data set.

    Args:
        by_model: {score's name: {item's distorted path: score}}.
        faults: {item's distorted path: what was wrong}; such an item counts for no model.
    """

    by_model: dict[str, dict[str, float]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


def collect(
    scorers: Sequence[Scorer],
    manifest: Manifest,
    items: Sequence[Item],
    pairing: Pairing,
    cache: ScoreCache,
    *,
    strict: bool = False,
    progress: Progress | None = None,
) -> Scores:
    """Scores every item by every scorer that can.

    Each score is kept as soon as it is there: a process that was killed goes on where it was.

    Args:
        scorers: what scores.
        manifest: the data set.
        items: those of its items that are wanted.
        pairing: how files are brought together.
        cache: where scores are kept.
        strict: stop at the first item that can't be scored; else it is left out for every scorer, and named.
        progress: called with (scores taken, scores in all).

    Raises:
        DataError: (strict) an item can't be scored; or no item can.
    """
    found = Scores()
    fitting = [scorer for scorer in scorers if scorer.facts[0].mode == "NR" or not manifest.no_reference]
    total = len(items) * sum(len(scorer.facts) for scorer in fitting)
    done = 0
    for scorer in fitting:
        for facts in scorer.facts:
            found.by_model.setdefault(facts.name, {})
        for group in _groups(manifest, items):
            # A file that failed once fails for all: it is not tried again by the next scorer.
            wanted = [item for item in group if item.distorted not in found.faults]
            if scorer.reads_files:
                _from_cache(scorer, manifest, wanted, pairing, cache, found)
            missing = [item for item in wanted if not _has_all(scorer, item, found)]
            for some in _batches(manifest, missing):
                _take(scorer, manifest, some, pairing, cache, found, strict)
            done += len(group) * len(scorer.facts)
            if progress is not None:
                progress(done, total)
    if items and fitting and all(item.distorted in found.faults for item in items):
        what, reason = next(iter(found.faults.items()))
        raise DataError(f"none of {len(items)} items can be scored ({what}: {reason})", where=manifest.name)
    return found


def _groups(manifest: Manifest, items: Sequence[Item]) -> Iterator[list[Item]]:
    """Items of one reference together, in the order in which references first appear."""
    order = {item.reference: place for place, item in reversed(list(enumerate(items)))}
    by_reference = sorted(items, key=lambda item: order[item.reference])
    for _, group in itertools.groupby(by_reference, key=lambda item: item.reference):
        yield list(group)


def _batches(manifest: Manifest, items: Sequence[Item]) -> Iterator[list[Item]]:
    """A few items at a time whose reference is read as one and the same: a headerless one also in one format."""
    alike: dict[object, list[Item]] = {}
    for item in items:
        try:
            alike.setdefault(manifest.reference(item), []).append(item)
        except DataError:  # its own fault, which is told when it is scored
            alike[item] = [item]
    for same in alike.values():
        yield from (same[first : first + SIDE_BY_SIDE] for first in range(0, len(same), SIDE_BY_SIDE))


def _has_all(scorer: Scorer, item: Item, found: Scores) -> bool:
    return all(item.distorted in found.by_model[facts.name] for facts in scorer.facts)


def _from_cache(
    scorer: Scorer, manifest: Manifest, items: Sequence[Item], pairing: Pairing, cache: ScoreCache, found: Scores
) -> None:
    for item in items:
        try:
            reference, distorted = manifest.reference(item), manifest.distorted(item)
            for facts in scorer.facts:
                course = cache.get(facts, reference, distorted, pairing)
                if course is not None:
                    found.by_model[facts.name][item.distorted] = course.score
        except DataError:
            continue  # a file that is not there: said when it is scored


def _take(
    scorer: Scorer,
    manifest: Manifest,
    items: Sequence[Item],
    pairing: Pairing,
    cache: ScoreCache,
    found: Scores,
    strict: bool,
) -> None:
    """Scores a few items of one reference in one pass; where that fails, one by one, so that one fault costs one."""
    try:
        clips = [manifest.distorted(item) for item in items]
        reference = manifest.reference(items[0])
        courses = scorer.score(reference, clips, pairing)
    except CompressVQAError as error:
        if len(items) > 1:
            for item in items:
                _take(scorer, manifest, [item], pairing, cache, found, strict)
        elif strict:
            raise
        else:
            found.faults[items[0].distorted] = str(error)
            log.warning("left out %s: %s", items[0].distorted, error)
        return
    for item, clip, course in zip(items, clips, courses, strict=True):
        for facts in scorer.facts:
            if scorer.reads_files:
                cache.put(facts, reference, clip, pairing, course[facts.name])
            found.by_model[facts.name][item.distorted] = course[facts.name].score


def check_files(manifest: Manifest, items: Sequence[Item]) -> None:
    """Refuses a data set of which nothing is there, before anything is scored.

    Raises:
        DataError: no file of it exists.
    """
    clips: list[Clip] = [manifest.distorted(item) for item in items]
    if clips and not any(clip.path.is_file() for clip in clips):
        raise DataError(f"not one of its {len(clips)} distorted files is there", where=manifest.folder,
                        hint=f"the first would be {clips[0].path}")  # fmt: skip
