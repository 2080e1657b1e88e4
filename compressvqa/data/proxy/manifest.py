"""The files that describe a finished proxy set: its manifest, and all labels and facts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compressvqa.data.proxy.made import Made
from compressvqa.data.proxy.order import agreement
from compressvqa.data.proxy.references import AUTO_SIDE
from compressvqa.errors import DataError
from compressvqa.files import finite, write_json
from compressvqa.labels import LABELS as NAMES
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.opinions.manifest_file import read_manifest, write_manifest
from compressvqa.video.vmaf import LABELS, V1_MIN_SIDE

MANIFEST, FACTS = "manifest.csv", "proxy.json"


def write_set(
    folder: Path, name: str, label: str, made: Mapping[str, Made], settings: dict[str, Any], notes: Sequence[str]
) -> Manifest:
    """Writes manifest, sidecar and facts of what was made; files that would stay the same are not touched.

    Args:
        folder: the set's folder.
        name: the set's name.
        label: one of `compressvqa.video.vmaf.LABELS`; items that lack it are left out and counted in the notes.
        made: what became of each clip, by its short name.
        settings: what the set was asked to be.
        notes: more to be said of it.

    Raises:
        DataError: no item has the label.
    """
    entries = [entry for clip, result in made.items() for entry in _entries(clip, result)]
    items = tuple(
        Item(entry["distorted"], entry["labels"][label], reference=entry["reference"], content=entry["content"],
             ladder=entry["ladder"], rung=entry["rung"])
        for entry in entries
        if entry["labels"][label] is not None
    )  # fmt: skip
    if not items:
        raise DataError(f"no reference has the label {label}", where=folder,
                        hint=f"version 1 of VMAF needs {V1_MIN_SIDE} pixels a side")  # fmt: skip
    order = _order(entries)
    references = {clip: r.reference for clip, r in made.items() if r.encodes and r.reference is not None}
    title, scale = NAMES[label].title, NAMES[label].score_range
    lack = len(entries) - len(items)
    said = (
        *_notes(label, made, order[label], entries, settings["excerpt"]),
        *([f"{lack} encodes of references below {V1_MIN_SIDE} pixels a side have no {title}"] if lack else []),
        *notes,
    )
    manifest = Manifest(name, folder, items, "proxy", title, True, scale, said)
    facts = settings | {
        "name": name,
        "label": label,
        "ffmpeg": sorted({entry["ffmpeg"] for entry in entries}),
        "order": order,
        "ladders": _ladders(entries),
        "bytes": {
            "references": sum(reference.bytes for reference in references.values()),
            "distorted": sum(entry["bytes"] for entry in entries),
        },
        "references": {
            clip: reference.facts() | {"content": made[clip].content} for clip, reference in references.items()
        },
        "skipped": [{"content": clip.content, "reason": clip.skipped} for clip in made.values() if clip.skipped],
        "items": entries,
    }
    # The facts go first: a folder with a manifest and without them is taken for someone else's data set.
    if _changed(folder / FACTS, facts):
        write_json(folder / FACTS, facts)
    _write(manifest)
    return manifest


def _entries(clip: str, result: Made) -> list[dict[str, Any]]:
    """Facts of each encode of a clip with its ladder and its place there."""
    encodes = result.encodes or {}
    series: dict[str, list[int]] = {}
    ladders = {}
    for file, encode in encodes.items():
        ladders[file] = f"{clip}/{encode.codec}" + ("" if encode.scale == 1 else f"-s{encode.scale:g}")
        series.setdefault(ladders[file], []).append(encode.quality)
    return [
        {
            "distorted": f"distorted/{clip}/{file}",
            "reference": f"references/{clip}.mkv",
            "content": clip,
            "ladder": ladders[file],
            "rung": sorted(series[ladders[file]]).index(encode.quality),
        }
        | encode.facts()
        for file, encode in encodes.items()
    ]


def _series(entries: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The entries of each ladder, the best rung first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in sorted(entries, key=lambda entry: int(entry["rung"])):
        found.setdefault(entry["ladder"], []).append(entry)
    return found


def _order(entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each label, and for the length of the files, how often it orders rungs as the ladder does."""
    ladders = _series(entries).values()
    found = {}
    for label in LABELS:
        values = [
            [entry["labels"][label] for entry in rungs if entry["labels"][label] is not None] for rungs in ladders
        ]
        found[label] = agreement(values).facts()
    return found | {"bytes": agreement([[entry["bytes"] for entry in rungs] for rungs in ladders]).facts()}


def _ladders(entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each codec and size the rungs with the spread of every label over the clips."""
    kinds: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for entry in entries:
        kind = entry["ladder"].rpartition("/")[2]
        kinds.setdefault(kind, {}).setdefault(int(entry["quality"]), []).append(entry)
    return {
        kind: {
            str(quality): {label: _spread([row["labels"][label] for row in rows]) for label in LABELS}
            for quality, rows in sorted(rungs.items())
        }
        for kind, rungs in kinds.items()
    }


def _spread(values: list[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"lowest": min(known), "mean": sum(known) / len(known), "highest": max(known)}


def _notes(
    label: str, made: Mapping[str, Made], order: dict[str, Any], entries: list[dict[str, Any]], excerpt: dict[str, Any]
) -> list[str]:
    """What a reader of results on this set should know."""
    title = NAMES[label].title
    version = ", ".join(sorted({entry["ffmpeg"] for entry in entries}))
    wanted = excerpt["downscale"]
    where = "the middle" if excerpt["start"] is None else f"frame {excerpt['start']} on"
    smaller = f"a whole factor up to 4 that leaves {AUTO_SIDE} pixels" if wanted == "auto" else f"{wanted}"
    notes = [
        f"proxy ground truth: the score is {title} (libvmaf in ffmpeg {version}, mean over all frames), not a MOS",
        f"references are up to {excerpt['frames']} frames from {where} of each clip, downscaled by {smaller} "
        "(mean over squares), limited range, lossless",
        "a ladder is one clip, codec and size; larger CRF or QP is worse, by construction; across ladders only the "
        "score tells",
        f"{title} itself puts {order['neighbours_right']} of {order['neighbours']} neighbouring rungs, and "
        f"{order['pairs_right']} of {order['pairs']} pairs of a ladder, in the ladder's order",
    ]
    if any(entry["scale"] != 1 for entry in entries):
        notes.append(
            "rungs named -s are stored at their own smaller size; VMAF was measured after bicubic scaling to the "
            "reference's size, and a metric must be given them scaled likewise"
        )
    if any(entry["codec"] == "vvc" for entry in entries):
        notes.append("vvc codes 10 bit, whatever the reference has")
    said: dict[str, list[str]] = {}
    for clip, result in made.items():
        for note in result.reference.notes if result.encodes and result.reference else ():
            said.setdefault(note, []).append(clip)
    notes += [f"{note}: {', '.join(clips)}" for note, clips in said.items()]
    notes += [f"clip skipped: {result.content}: {result.skipped}" for result in made.values() if result.skipped]
    return notes + [note for result in made.values() for note in result.notes]


def _changed(path: Path, value: Any) -> bool:
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(finite(value), default=str)))
    except (OSError, ValueError):
        return True


def _write(manifest: Manifest) -> None:
    """Writes table and sidecar where they would say something else."""
    table = manifest.folder / MANIFEST
    try:
        if read_manifest(table) == manifest:
            return
    except DataError:
        pass
    # Never a table beside facts that mean another label, even if the process dies here.
    table.unlink(missing_ok=True)
    write_manifest(manifest, table)
