"""Scoring many files: a unit is a reference with a few of its distorted files."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from compressvqa.executors import Unit
from compressvqa.scoring import Score, find_scorers, score_all
from compressvqa.scoring.identity import identity
from compressvqa.scoring.scorer import Scorer
from compressvqa.scoring.stored_score import from_plain, to_plain
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.sandbox import sandboxed
from compressvqa.video.sequence import state_of

SIDE_BY_SIDE = 4  # distorted files of a unit; they share one decoding of the reference


def score_units(
    files: Iterable[tuple[Clip | None, Sequence[Clip]]],
    names: Sequence[str],
    scorers: Sequence[Scorer],
    *,
    settings: Mapping[str, Any],
    pairing: Pairing,
    pools: Sequence[str] = (),
    per: str | None = None,
    identical: bool = False,
    sandbox: bool = False,
) -> list[Unit]:
    """The units of a scoring, in order.

    A unit is named by its files (path, size, time of change), the scorers with their weights and code, and how files
    are brought together.

    Args:
        files: references, each with its distorted files.
        names: of the scorers, as `find_scorers` takes them.
        scorers: what it gave for them.
        settings: of `find_scorers`.
        pairing: see `score_all`, likewise the rest.
        pools: how frames become one score.
        per: stretches to pool.
        identical: whether the reference is also scored against itself.
        sandbox: decode in confined processes.

    Raises:
        DataError: a numbered sequence that is none.
        OSError: a file is missing.
    """
    who = [identity(scorer, facts) for scorer in scorers for facts in scorer.facts]
    how = {"pairing": asdict(pairing), "pools": list(pools), "per": per, "identical": identical}
    units = []
    for reference, distorted in files:
        for first in range(0, len(distorted), SIDE_BY_SIDE):
            some = list(distorted[first : first + SIDE_BY_SIDE])
            facts = {
                "work": "score", "scorers": who, **how,
                "files": [None if reference is None else clip_facts(reference), *map(clip_facts, some)],
            }  # fmt: skip
            arguments = {
                "reference": reference, "distorted": some, "names": list(names), "settings": dict(settings),
                "pairing": pairing, "pools": list(pools), "per": per, "identical": identical, "sandbox": sandbox,
            }  # fmt: skip
            units.append(Unit.named(facts, arguments, str(some[0].path)))
    return units


def clip_facts(clip: Clip) -> list[Any]:
    """What a file is told by without being read: path, size and time of change of its files, and how it is read.

    Raises:
        DataError: a numbered sequence that is none.
        OSError: a file is missing.
    """
    read_as = {name: value for name, value in asdict(clip).items() if name != "path"}
    return [str(clip.path), [list(state) for state in state_of(clip.path)], repr(sorted(read_as.items()))]


def score_files(
    reference: Clip | None,
    distorted: Sequence[Clip],
    names: Sequence[str],
    settings: Mapping[str, Any],
    pairing: Pairing,
    pools: Sequence[str],
    per: str | None,
    identical: bool,
    sandbox: bool,
) -> list[dict[str, Any]]:
    """Scores some files of one reference; what `score_all` gives, as plain values."""
    scorers = scorers_of(names, settings)
    with sandboxed(sandbox):
        found = score_all(reference, distorted, scorers, pools=pools, per=per, identical=identical, pairing=pairing)
    return [to_plain(score) for score in found]


def scorers_of(
    names: Sequence[str], settings: Mapping[str, Any], titles: Mapping[str, str] | None = None
) -> list[Scorer]:
    """The scorers of some names, as `find_scorers` gives them; made once a process and not once a unit."""
    return _scorers(tuple(names), tuple(sorted(settings.items())), tuple(sorted((titles or {}).items())))


@functools.lru_cache(maxsize=1)
def _scorers(
    names: tuple[str, ...], settings: tuple[tuple[str, Any], ...], titles: tuple[tuple[str, str], ...]
) -> list[Scorer]:
    return find_scorers(names, titles=dict(titles), **dict(settings))


def scores_of(units: Sequence[Unit], results: Mapping[str, Any]) -> list[Score]:
    """The scores of all units, in their order.

    Args:
        units: as `score_units` gives them.
        results: {name of a unit: what `score_files` returned}.
    """
    return [from_plain(held) for unit in units for held in results[unit.name]]
