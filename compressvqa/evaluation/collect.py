"""Taking the scores of a data set: from the cache where they are, else in passes that share a reference."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from compressvqa.errors import CompressVQAError, DataError
from compressvqa.evaluation.cache import ScoreCache, StoreError
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.plurals import count
from compressvqa.progress import Progress
from compressvqa.scoring.identity import identity
from compressvqa.scoring.pooling import pooled_score
from compressvqa.scoring.scorer import Course, Scorer
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.sequence import is_sequence

log = logging.getLogger(__name__)
# Distorted files that are decoded side by side: each holds a decoder and a block of pictures.
SIDE_BY_SIDE = 4


@dataclass
class Scores:
    """The scores of one data set.

    Args:
        by_model: {score's name: {item: score}}. By the item and not by its file: one distorted file may be there beside
            two references, or read as two formats.
        faults: {item: what was wrong}; such an item counts for no model.
        pool: how the score of a file comes from its frames, see `compressvqa.scoring.parse_pools`; None: as each
            scorer does it.
    """

    by_model: dict[str, dict[Item, float]] = field(default_factory=dict)
    faults: dict[Item, str] = field(default_factory=dict)
    pool: str | None = None

    def take(self, name: str, item: Item, course: Course, *, strict: bool = False) -> None:
        """Takes the score of an item; one that can't be pooled is a fault of the item.

        Raises:
            DataError: the scorer gives one number a file; or (strict) it can't be pooled.
        """
        try:
            value = pooled_score(course, self.pool, metric=name, where=item.distorted)
        except DataError as error:
            if strict or not course.segments:  # no item of it can be pooled: a mistake in what was asked for
                raise
            self.faults[item] = str(error)
            log.debug("left out %s: %s", item.distorted, error)
            return
        self.by_model[name][item] = value


def collect(
    scorers: Sequence[Scorer],
    manifest: Manifest,
    items: Sequence[Item],
    pairing: Pairing,
    cache: ScoreCache,
    *,
    strict: bool = False,
    pool: str | None = None,
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
        pool: how the score of a file comes from its frames, see `Scores`. What is kept are the frames' scores, so
            another pooling scores nothing anew.
        progress: called with (scores taken, scores in all).

    Raises:
        DataError: (strict) an item can't be scored; or no item can.
    """
    found = Scores(pool=pool)
    fitting = [scorer for scorer in scorers if scorer.facts[0].mode == "NR" or not manifest.no_reference]
    total = len(items) * sum(len(scorer.facts) for scorer in fitting)
    done = 0
    for scorer in fitting:
        for facts in scorer.facts:
            found.by_model.setdefault(facts.name, {})
        kept = _Kept(scorer, manifest, pairing, cache)
        scorer.expect((_path(manifest, i.distorted), i.distorted, _path(manifest, i.reference)) for i in items)
        for group in _groups(manifest, items):
            # A file that failed once fails for all: it is not tried again by the next scorer.
            wanted = [item for item in group if item not in found.faults]
            for item in wanted if scorer.reads_files else []:
                for name, course in kept.find(item).items():
                    found.take(name, item, course, strict=strict)
            missing = [item for item in wanted if item not in found.faults and not _has_all(scorer, item, found)]
            for some in _batches(manifest, missing):
                _take(scorer, manifest, some, pairing, kept, found, strict)
            done += len(group) * len(scorer.facts)
            if progress is not None:
                progress(done, total)
    for alike in by_reason(found.faults):
        more = f" (and {len(alike) - 1} more like it)" if len(alike) > 1 else ""
        log.warning("%s: left out %s: %s%s", manifest.name, alike[0].distorted, found.faults[alike[0]], more)
    if items and fitting and all(item in found.faults for item in items):
        first, reason = next(iter(found.faults.items()))
        raise DataError(
            f"none of {count(len(items), 'item')} can be scored ({first.distorted}: {reason})", where=manifest.name
        )
    return found


def by_reason(faults: Mapping[Item, str]) -> list[list[Item]]:
    """Items that were left out for one reason together: what differs in names and numbers only is one reason."""
    found: dict[str, list[Item]] = {}
    for item, fault in faults.items():
        names = [re.escape(name) for name in (item.distorted, item.reference) if name]
        names = [rf"\S*{name}|{name.rsplit('/', 1)[-1]}" for name in names]
        reason = re.sub(r"\d+(\.\d+)?", "0", re.sub("|".join(names), "", fault))
        found.setdefault(reason, []).append(item)
    return list(found.values())


def _groups(manifest: Manifest, items: Sequence[Item]) -> Iterator[list[Item]]:
    """Items of one reference together, in the order in which references first appear."""
    order = {item.reference: place for place, item in reversed(list(enumerate(items)))}
    by_reference = sorted(items, key=lambda item: order[item.reference])
    for _, group in itertools.groupby(by_reference, key=lambda item: item.reference):
        yield list(group)


def passes(manifest: Manifest, items: Sequence[Item]) -> list[list[Item]]:
    """Items that one pass over their reference scores: what can be done apart without decoding a reference twice as
    often as one process does."""
    return [some for group in _groups(manifest, items) for some in _batches(manifest, group)]


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


def _path(manifest: Manifest, name: str | None) -> Any:
    return None if name is None else manifest.folder / name


def _has_all(scorer: Scorer, item: Item, found: Scores) -> bool:
    return all(item in found.by_model[facts.name] for facts in scorer.facts)


class _Kept:
    """The kept scores of one scorer on one data set."""

    def __init__(self, scorer: Scorer, manifest: Manifest, pairing: Pairing, cache: ScoreCache) -> None:
        self.manifest, self.pairing, self.cache = manifest, pairing, cache
        # As the scorer is now: its weights, its code or its program may have changed since it was made.
        self.facts = {
            facts.name: replace(facts, identity=identity(scorer, facts) if scorer.reads_files else facts.identity)
            for facts in scorer.facts
        }

    def find(self, item: Item) -> dict[str, Course]:
        """{score's name: its course} of what is kept of an item."""
        found = {}
        for name, facts in self.facts.items():
            try:
                course = self.cache.get(
                    facts, self.manifest.reference(item), self.manifest.distorted(item), self.pairing
                )
            except StoreError:
                raise
            except DataError:  # a file that is not there: said when it is scored
                return {}
            if course is not None:
                found[name] = course
        return found

    def keys(self, item: Item) -> dict[str, str]:
        """{score's name: what it will be kept under}, before it is taken."""
        try:
            clips = self.manifest.reference(item), self.manifest.distorted(item)
            return {name: self.cache.key(facts, *clips, self.pairing) for name, facts in self.facts.items()}
        except StoreError:
            raise
        except DataError:
            return {}

    def keep(self, item: Item, courses: Mapping[str, Course], keys: Mapping[str, str]) -> None:
        """Keeps the scores of an item.

        Raises:
            DataError: a file was written while it was scored.
        """
        clips = self.manifest.reference(item), self.manifest.distorted(item)
        for name, facts in self.facts.items():
            self.cache.put(facts, *clips, self.pairing, courses[name], before=keys.get(name))


def _take(
    scorer: Scorer,
    manifest: Manifest,
    items: Sequence[Item],
    pairing: Pairing,
    kept: _Kept,
    found: Scores,
    strict: bool,
) -> None:
    """Scores a few items of one reference in one pass; where that fails, one by one, so that one fault costs one."""
    try:
        clips = [manifest.distorted(item) for item in items]
        reference = manifest.reference(items[0])
        keys = [kept.keys(item) for item in items] if scorer.reads_files else []
        courses = scorer.score(reference, clips, pairing)
        for item, key, course in zip(items, keys, courses, strict=bool(keys)):
            kept.keep(item, course, key)
    except StoreError:
        raise
    except CompressVQAError as error:
        if len(items) > 1:
            for item in items:
                _take(scorer, manifest, [item], pairing, kept, found, strict)
        elif strict:
            raise
        else:
            found.faults[items[0]] = str(error)
            log.debug("left out %s: %s", items[0].distorted, error)
        return
    for item, course in zip(items, courses, strict=True):
        notes = [note for facts in scorer.facts for note in course[facts.name].settings.get("notes", ())]
        for note in dict.fromkeys(notes):
            log.warning("%s: %s", item.distorted, note)
        for facts in scorer.facts:
            found.take(facts.name, item, course[facts.name], strict=strict)


def check_files(manifest: Manifest, items: Sequence[Item]) -> None:
    """Refuses a data set of which nothing is there, before anything is scored.

    Raises:
        DataError: no file of it exists.
    """
    clips: list[Clip] = [manifest.distorted(item) for item in items]
    if clips and not any(clip.path.is_file() or is_sequence(clip.path) for clip in clips):
        raise DataError(f"not one of its {len(clips)} distorted files is there", where=manifest.folder,
                        hint=f"the first would be {clips[0].path}")  # fmt: skip
