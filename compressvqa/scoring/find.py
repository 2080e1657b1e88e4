"""Which scorer is meant by what a user types."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from torch import nn

from compressvqa.errors import RegistryError
from compressvqa.models import create_model
from compressvqa.registry import Entry, models, scorers
from compressvqa.scoring.network import NetworkScorer, load_network
from compressvqa.scoring.scorer import Scorer
from compressvqa.scoring.tiles import MAX_PIXELS


def find_scorers(
    names: Sequence[str | Path | nn.Module],
    *,
    titles: Mapping[str, str] | None = None,
    max_pixels: int | None = MAX_PIXELS,
    device: str = "auto",
) -> list[Scorer]:
    """The scorers for some names; names that one pass can serve share a scorer.

    A name is a registered scorer ("vmaf_v0.6.1", "psnr", "lpips"), "pyiqa/NAME", the folder of a saved network or of a
    run, a network whose weights ship, or NAME=FILE: a registered network or scorer with a file of weights.

    Args:
        names: what is wanted.
        titles: what the score of a name is called; by default as the scorer calls it.
        max_pixels: see `score`.
        device: "auto", "cpu" or "cuda".

    Raises:
        RegistryError: nothing has this name.
        WeightsError: a network without weights.
    """
    found: list[Scorer] = []
    together: dict[object, list[str]] = {}
    for name in names:
        entry = _entry(name)
        if entry is not None and entry.facts.get("one_pass"):
            together.setdefault(entry.value, []).append(entry.name)
        else:
            scorer = _one(name, entry, {"max_pixels": max_pixels, "device": device})
            title = (titles or {}).get(str(name), scorer.facts[0].name)
            scorer.facts = (replace(scorer.facts[0], name=title),)
            found.append(scorer)
    for make, wanted in together.items():
        scorer = cast(Any, make)(list(dict.fromkeys(wanted)))
        scorer.facts = tuple(replace(fact, name=(titles or {}).get(fact.name, fact.name)) for fact in scorer.facts)
        found.append(scorer)
    return found


def _entry(name: str | Path | nn.Module) -> Entry | None:
    return scorers[name] if isinstance(name, str) and name in scorers else None


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
    if equals and kind in models:
        network = create_model(kind, weights=file)
        return NetworkScorer(network, source=file, **settings)
    if not Path(text).exists() and text not in models and Path(text).name == text and text != "rankdvqa-mini":
        near = difflib.get_close_matches(text, [*scorers, *models], n=3, cutoff=0.5)
        hint = ", ".join(near) or ", ".join([*scorers, *models])
        raise RegistryError(f"{text!r} is neither a model folder nor a network nor a metric", hint=hint)
    network, source = load_network(text)
    return NetworkScorer(network, source=source, **settings)
