"""Whether the scores of a data set are plausible: their range, twins, deviations, direction, and what is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from compressvqa.opinions.findings import Finding, about
from compressvqa.opinions.manifest import Manifest
from compressvqa.opinions.published import facts_of
from compressvqa.plurals import count_are, count_have, verb


def score_findings(manifest: Manifest) -> Iterator[Finding]:
    """What there is to say of a data set's scores, without a look at its files."""
    for look in (_counts, _scores, _twins, _spread, _labels):
        yield from look(manifest)


def _counts(manifest: Manifest) -> Iterator[Finding]:
    """Numbers of items and references unlike the published ones."""
    facts = facts_of(manifest.name)
    if facts is None:
        return
    references = len({item.reference for item in manifest.items} - {None})
    for what, found, known in (
        ("items", len(manifest.items), facts.items), ("references", references, facts.references),
    ):  # fmt: skip
        if known is not None and found != known:
            yield about("count", f"{found} {what}, published are {known}")


def _scores(manifest: Manifest) -> Iterator[Finding]:
    """Scores outside the scale, or all alike."""
    items, scale = manifest.items, manifest.scale
    if scale is not None:
        outside = [f"{item.distorted} {item.mos:g}" for item in items if not scale[0] <= item.mos <= scale[1]]
        if outside:
            yield about(
                "scale",
                f"{count_are(len(outside), 'score')} outside {scale[0]:g} to {scale[1]:g}",
                outside,
                fault=True,
            )
    if len(items) > 1 and len({item.mos for item in items}) == 1:
        yield about("scores", f"all scores are {items[0].mos:g}", fault=True)


def _twins(manifest: Manifest) -> Iterator[Finding]:
    """Files that are scored more than once."""
    times = Counter((item.reference, item.distorted) for item in manifest.items)
    twice = [pair[1] for pair, number in times.items() if number > 1]
    if twice:
        yield about(
            "duplicate",
            f"{count_are(len(twice), 'file')} scored more than once",
            twice,
            fault=True,
        )
    hidden = [item.distorted for item in manifest.items if item.distorted == item.reference]
    if hidden:
        who = f"{count_are(len(hidden), 'item')} {verb(len(hidden), 'its', 'their')}"
        text = f"{who} own reference: no distance is left to measure"
        yield about("hidden-reference", text, hidden)


def _spread(manifest: Manifest) -> Iterator[Finding]:
    """Items without standard deviation, and mixed items."""
    without = [item.distorted for item in manifest.items if item.std is None]
    if without:
        who = "no item has" if len(without) == len(manifest.items) else f"{count_have(len(without), 'item')} not"
        yield about("std", f"{who} a standard deviation: no outlier ratio for them", count=len(without))
    lone = [item.distorted for item in manifest.items if item.reference is None]
    if 0 < len(lone) < len(manifest.items):
        yield about(
            "reference",
            f"{count_have(len(lone), 'item')} no reference, the others have one",
            lone,
        )


def _labels(manifest: Manifest) -> Iterator[Finding]:
    """A direction unlike what is published, or unlike what the scores are called."""
    facts = facts_of(manifest.name)
    lower, higher = "lower is better", "higher is better"
    said = higher if manifest.higher_is_better else lower
    if facts is not None and facts.label == manifest.label and facts.higher_is_better != manifest.higher_is_better:
        known = higher if facts.higher_is_better else lower
        yield about("direction", f"{said} here, {known} in the original files: were the scores turned round?")
    elif facts is None and manifest.label == "MOS" and not manifest.higher_is_better:
        yield about("direction", "lower is better, which is not usual for MOS")
    elif facts is None and manifest.label == "DMOS" and manifest.higher_is_better:
        yield about("direction", "higher is better, which is not usual for DMOS")
