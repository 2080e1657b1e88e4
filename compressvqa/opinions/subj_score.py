"""The ``subj_score.json`` of DVQA and RankDVQA: lists of references, distorted files and scores for each split.

``{"train" or "test": {"ref": [...], "dis": [...], "mos": [...], "fps": [...], "width": [...], "height": [...]}}``, all
lists of one length, the videos headerless 4:2:0. RankDVQA keeps references in ``ORIG/`` and distorted files in
``TEST/`` beside the JSON file and takes one bit depth a data set from its command line; DVQA keeps all in one folder,
8 bit. "mos" is the better the higher in the files that they published (LIVE and CSIQ are turned round: 100 - DMOS).

Beside the splits we read, and nobody else writes: ``name, label, higher_is_better, scale, bitdepth, pixel_format``.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from compressvqa.errors import DataError
from compressvqa.opinions import cells
from compressvqa.opinions.columns import nearest
from compressvqa.opinions.lookup import Lookup
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.opinions.manifest_file import read_json
from compressvqa.opinions.raw_depth import depth_by_length

LISTS = ("ref", "dis", "mos", "fps", "width", "height", "std")
FACTS = ("name", "label", "higher_is_better", "scale", "bitdepth", "pixel_format")
REFERENCES = ("ORIG", "ORIG_MP4", "ref", "reference", "references", "reference_sequences")
DISTORTED = ("TEST", "TEST_MP4", "HEVC", "dis", "dist", "distorted", "distorted_sequences")


def is_subj_score(content: Any) -> bool:
    """Whether the content of a JSON file has this form."""
    return isinstance(content, dict) and any(isinstance(part, dict) and "dis" in part for part in content.values())


def read_subj_score(path: Path, folder: Path | None = None, *, bitdepth: int | None = None) -> Manifest:
    """A ``subj_score.json`` as a manifest.

    Args:
        path: the JSON file.
        folder: where the videos are; None: beside the file.
        bitdepth: of headerless files whose name and length leave it open; None: 8.

    Raises:
        DataError: no such form, lists of different lengths, a value that is not what it must be.
    """
    folder = path.parent if folder is None else folder
    content = read_json(path)
    if not is_subj_score(content):
        raise DataError(
            "is no subj_score.json", where=path, hint='{"test": {"ref": [...], "dis": [...], "mos": [...]}}'
        )
    facts = {key: value for key, value in content.items() if not isinstance(value, dict)}
    for key in facts:
        if key not in FACTS:
            raise DataError(
                f"unknown key {cells.short(key)}", where=path, hint=nearest(key, FACTS, 0.5) or ", ".join(FACTS)
            )
    lookup, notes, items = Lookup(folder), [], []
    guesses: set[str] = set()
    for split, part in content.items():
        if isinstance(part, dict) and part:
            items += _split(path, split, part, lookup, _Raw(facts.get("bitdepth", bitdepth), facts), guesses)
    if not items:
        raise DataError("holds no item", where=path)
    notes += sorted(guesses)
    higher = facts.get("higher_is_better", True)
    if "higher_is_better" not in facts:
        notes.append("subj_score.json does not say the direction of its scores: higher is taken for better")
    scale = facts.get("scale")
    if not isinstance(higher, bool) or not (scale is None or (isinstance(scale, list) and len(scale) == 2)):
        raise DataError("'higher_is_better' must be true or false, 'scale' two numbers", where=path)
    name, label = str(facts.get("name", path.parent.name or path.stem)), str(facts.get("label", "MOS"))
    ends = None if scale is None else (float(scale[0]), float(scale[1]))
    return Manifest(name, folder, tuple(items), label=label, higher_is_better=higher, scale=ends, notes=tuple(notes))


class _Raw:
    """What headerless files hold, as far as the file says it for all of them."""

    def __init__(self, bitdepth: Any, facts: dict[str, Any]) -> None:
        self.bitdepth = None if bitdepth is None else cells.bit_depth(str(bitdepth))
        self.chroma = cells.pixel_format(str(facts.get("pixel_format", "420")))[0]


def _split(path: Path, split: str, part: dict[str, Any], lookup: Lookup, raw: _Raw, guesses: set[str]) -> list[Item]:
    where = f"{path}: {cells.short(split)}"
    count = len(part.get("dis", ()))
    for name, values in part.items():
        if name not in LISTS:
            guesses.add(f"lists of {path.name} that are not used: {name}")
            continue
        if not isinstance(values, list) or len(values) != count:
            length = len(values) if isinstance(values, list) else "no list"
            raise DataError(f"list {cells.short(name)} has {length} entries, 'dis' has {count}", where=where)
    if "mos" not in part:
        raise DataError("has no list 'mos'", where=where)
    items = []
    for number in range(count):
        row = {name: part[name][number] for name in LISTS if name in part}
        try:
            items.append(_item(row, split, lookup, raw, guesses))
        except DataError:
            raise
        except ValueError as error:
            raise DataError(f"entry {number}: {error}", where=where) from error
    return items


def _item(row: dict[str, Any], split: str, lookup: Lookup, raw: _Raw, guesses: set[str]) -> Item:
    for name in ("dis", "ref"):
        if name in row and not isinstance(row[name], str):
            raise ValueError(f"{name!r} must be a file name, not {cells.short(str(row[name]))}")
    distorted = cells.inside(lookup.find(cells.inside(row["dis"]), DISTORTED))
    reference = cells.inside(lookup.find(cells.inside(row["ref"]), REFERENCES)) if row.get("ref") else None
    width, height = (cells.integer(str(row[side])) or None if side in row else None for side in ("width", "height"))
    depth = raw.bitdepth
    if width and height and distorted.lower().endswith((".yuv", ".raw")):
        said = cells.said_depth(distorted) or depth_by_length(lookup.folder / distorted, width, height, raw.chroma)
        if said is None and depth is None:
            guesses.add("bit depth of some headerless files is not said anywhere: 8 is taken")
        depth = said or depth
    return Item(
        distorted, cells.number(str(row["mos"])), reference,
        std=None if row.get("std") is None else cells.number(str(row["std"])),
        content=None if reference is None else Path(reference).stem, fps=_rate(row.get("fps"), row),
        width=width, height=height, pixel_format=raw.chroma, bitdepth=depth or 8, split=split,
    )  # fmt: skip


def _rate(value: Any, row: dict[str, Any]) -> Fraction | None:
    """The frame rate. The lists hold whole numbers, 24 for 23.976; a file name that says more wins. 0: not known."""
    if value is None or cells.number(str(value)) <= 0:
        return cells.said_rate(row["dis"]) or cells.said_rate(str(row.get("ref", "")))
    rate = cells.frame_rate(str(value))
    said = cells.said_rate(row["dis"])
    return said if said is not None and abs(said - rate) < 1 else rate
