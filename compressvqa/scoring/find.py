"""Which scorer is meant by what a user types."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from torch import nn

from compressvqa.errors import DataError, RegistryError
from compressvqa.labels import LABELS, canonical_label
from compressvqa.models.named import MAKE, find_network
from compressvqa.models.shipped import not_shipped, shipped
from compressvqa.registry import Entry, models, scorers
from compressvqa.scoring.network import DEFAULT, NetworkScorer
from compressvqa.scoring.scorer import Facts, Scale, Scorer
from compressvqa.scoring.tiles import MAX_PIXELS


def canonical(name: str) -> str:
    """The registered name of a metric in another spelling ("vmaf", "MS-SSIM"); any other name as it is."""
    if name in scorers or name in models or name in shipped() or Path(name).exists():
        return name
    known = canonical_label(name)
    return known if known is not None and known in scorers else name


def other_spellings() -> dict[str, str]:
    """{another tool's name of a metric: our name}, the names that are no mere change of case or dashes."""
    known = [label for label in LABELS.values() if label.name in scorers]
    found = {text: label.name for label in known for text in label.also if " " not in text}
    return {text: name for text, name in found.items() if text not in scorers}


def stated(name: str, higher_is_better: bool | None) -> dict[str, Any]:
    """How a score that was taken elsewhere is to be read, as arguments of `Facts`.

    Its direction is what the user says; else that of the metric of this name; else it is not known, and said so.
    """
    known = canonical_label(name) or name
    scale: Scale | None = scorers[known].facts.get("scale") if known in scorers else None
    if higher_is_better is not None and (scale is None or scale.higher_is_better != higher_is_better):
        scale = Scale(higher_is_better=higher_is_better)
    scale = scale or Scale(direction_known=False)
    return scale.fields() | {"pooling": "as it was given"}


def find_scorers(
    names: Sequence[str | Path | nn.Module],
    *,
    titles: Mapping[str, str] | None = None,
    max_pixels: int | None = MAX_PIXELS,
    device: str = "auto",
    runtime: str = "auto",
    allow_random_weights: bool = False,
    sampled: int | None = None,
) -> list[Scorer]:
    """The scorers for some names; names that one pass can serve share a scorer.

    A name is a registered scorer ("vmaf_v0.6.1", "psnr", "lpips") or another tool's name of one ("vmaf"),
    "pyiqa/NAME", the folder of a saved network or of a run, a network whose weights ship
    (``list_models(pretrained=True)``), or NAME=FILE: a registered network or scorer with a file of weights.

    Args:
        names: what is wanted.
        titles: what the score of a name is called; by default as the scorer calls it.
        max_pixels: see `score`.
        device: "auto", "cpu" or "cuda".
        runtime: what runs networks, see `score`.
        allow_random_weights: also take networks that were never trained.
        sampled: a seed: networks score only a sample of each file, see `score`.

    Raises:
        DataError: `sampled`, and what has this name is no network.
        RegistryError: nothing has this name.
        WeightsError: a network without weights, or with random ones.
    """
    settings = {
        "max_pixels": max_pixels,
        "device": device,
        "runtime": runtime,
        "allow_random_weights": allow_random_weights,
        "sampled": sampled,
    }
    found: list[Scorer] = []
    together: dict[object, list[str]] = {}
    named: dict[str, str] = {}
    for name in names:
        entry = _entry(name)
        if sampled is not None and (entry is not None or str(name).startswith("pyiqa/")):
            raise DataError(f"{name} is no network: only networks score a sample of a file", hint="without --sampled")
        if entry is not None and entry.facts.get("one_pass"):
            together.setdefault(entry.value, []).append(entry.name)
            named[entry.name] = (titles or {}).get(str(name), entry.name)
        else:
            scorer = _one(name, entry, settings)
            title = (titles or {}).get(str(name), scorer.facts[0].name)
            scorer.facts = (replace(scorer.facts[0], name=title),)
            found.append(scorer)
    for make, wanted in together.items():
        scorer = cast(Any, make)(list(dict.fromkeys(wanted)))
        scorer.facts = tuple(replace(fact, name=named[fact.name]) for fact in scorer.facts)
        found.append(scorer)
    return found


def is_network(name: str) -> bool:
    """Whether what a user typed is meant for a network, and not for a metric; nothing is made or read."""
    known = canonical(name.partition("=")[0])
    return not (known in scorers or name.startswith("pyiqa/"))


def _entry(name: str | Path | nn.Module) -> Entry | None:
    known = canonical(name) if isinstance(name, str) else name
    return scorers[known] if isinstance(known, str) and known in scorers else None


def _one(name: str | Path | nn.Module, entry: Entry | None, settings: dict[str, Any]) -> Scorer:
    if isinstance(name, nn.Module):
        return NetworkScorer(name, **settings)
    if entry is not None:
        return cast(Scorer, entry.value())
    text = str(name)
    if text.startswith("pyiqa/"):
        from compressvqa.scoring.image_metrics import pyiqa_scorer

        return pyiqa_scorer(text.removeprefix("pyiqa/"))
    kind, equals, file = text.partition("=")
    if equals and kind in scorers:
        if not scorers[kind].facts.get("takes_file"):
            raise RegistryError(f"{kind} takes no file", where=text, hint=kind)
        return cast(Scorer, scorers[kind].value(Path(file)))
    return _network(text, settings)


def _network(text: str, settings: dict[str, Any]) -> NetworkScorer:
    """A network by its name, as NAME=WEIGHTS, or by its folder."""
    if text == DEFAULT and text not in shipped() and not Path(text).exists():  # in a version without weights
        raise not_shipped(text, MAKE)
    found = find_network(text, random=settings["allow_random_weights"], others=[*scorers, *other_spellings()])
    return NetworkScorer(found.network, name=found.name, source=found.source, **settings)


def listed(pattern: str = "*") -> list[dict[str, Any]]:
    """The metrics whose names match a shell pattern, without making them: nothing is fetched.

    Args:
        pattern: "pyiqa/*" stands for those of pyiqa, which are listed only where they are asked for.

    Returns:
        For each {name, mode, direction, score_range, unit, identical_files, meaning, note, summary}.

    Raises:
        RegistryError: no metric matches.
        MissingExtraError: pyiqa is asked for and not installed.
    """
    found: list[tuple[str, str | None, Scale | None, str]]
    if pattern.startswith("pyiqa/"):
        from compressvqa.scoring.image_metrics import pyiqa_listed

        found = [(name, mode, scale, "") for name, mode, scale in pyiqa_listed(pattern)]
    else:
        entries = [scorers[name] for name in scorers.names(canonical(pattern))]
        found = [(one.name, one.facts.get("mode"), one.facts.get("scale"), _summary(one)) for one in entries]
    if not found:
        near = difflib.get_close_matches(pattern, [*scorers, *other_spellings()], n=3, cutoff=0.5)
        raise RegistryError(f"no metric matches {pattern!r}", hint=", ".join(near) or ", ".join(scorers))
    return [
        {"name": name, "mode": mode, "summary": summary, **_read_as(scale, mode)}
        for name, mode, scale, summary in found
    ]


def _summary(entry: Entry) -> str:
    return str(entry.facts.get("summary") or entry.summary)


def _read_as(scale: Scale | None, mode: str | None) -> dict[str, Any]:
    """How a metric is to be read; one that says it only when it is made (a fitted one) gets no answer here."""
    if scale is None:
        keys = ("direction", "score_range", "unit", "identical_files")
        return {**dict.fromkeys(keys), "meaning": "as its file or its code says", "note": None}
    return {
        "direction": scale.direction,
        "score_range": None if scale.score_range is None else list(scale.score_range),
        "unit": scale.unit,
        "identical_files": scale.identical or None,
        "meaning": Facts("", "", **scale.fields(), mode="NR" if mode == "NR" else "FR").meaning,
        "note": scale.note or None,
    }
