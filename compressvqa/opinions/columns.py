"""The columns of a manifest: their names, other spellings of them, and how a cell becomes a value and back."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from compressvqa.opinions import cells
from compressvqa.opinions.manifest import Item


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        name: what it is called in the files that we write.
        field: the attribute of `Item` that it fills.
        parse: a cell that is not empty as a value; raises ValueError.
        aliases: other spellings, in lower case.
        is_text: whether the cell is text, and no number.
    """

    name: str
    field: str
    parse: Callable[[str], Any]
    aliases: tuple[str, ...] = ()
    is_text: bool = False


def _positive(text: str) -> int:
    return cells.integer(text, least=1)


def _not_negative(text: str) -> float:
    value = cells.number(text)
    if value < 0:
        raise ValueError(f"{text.strip()} is negative")
    return value


REFERENCE = ("reference", "ref_name", "ref_path", "ref_img", "ref_image", "ref_file", "ref_video", "reference_path",
             "reference_name", "hq_name", "hq_path")  # fmt: skip
DISTORTED = ("distorted", "dis", "dist_name", "dist_path", "dist_img", "dist_image", "dist_file", "dist_video",
             "dis_name", "dis_path", "distorted_path", "distorted_name", "img_name", "image_name", "image", "img",
             "img_path", "image_path", "file_name", "filename", "file", "video", "video_name", "video_path",
             "path")  # fmt: skip
SCORES = ("score", "dmos", "elo_score", "mos_score", "subjective_score", "groundtruth", "ground_truth")
# Scores that are the better the lower: what DMOS means where nothing else is said.
LOWER_IS_BETTER = ("dmos",)
# How scripts write a number that is not known.
UNKNOWN = ("nan", "na", "n/a", "none", "null", "-", "?")

COLUMNS = (
    Column("ref", "reference", cells.inside, REFERENCE, True),
    Column("dist", "distorted", cells.inside, DISTORTED, True),
    Column("mos", "mos", cells.number, SCORES),
    Column("std", "std", _not_negative, ("mos_std", "std_mos", "sd", "stdev", "stddev", "dmos_std", "groundtruth_std")),
    Column("ci", "ci", _not_negative, ("ci95", "ci_95", "mos_ci", "confidence_interval")),
    Column("n", "ratings", cells.integer, ("ratings", "n_ratings", "num_ratings", "votes", "c_total")),
    Column("fps", "fps", cells.frame_rate, ("frame_rate", "framerate", "frame rate", "dist_fps")),
    Column("ref_fps", "reference_fps", cells.frame_rate, ("reference_fps", "ref_frame_rate", "ref_framerate")),
    Column("width", "width", _positive, ("dist_width",)),
    Column("height", "height", _positive, ("dist_height",)),
    Column("pixel_format", "pixel_format", cells.pixel_format, ("pix_fmt", "yuv_fmt", "chroma", "pixelformat")),
    Column("bitdepth", "bitdepth", cells.bit_depth, ("bit_depth", "bit depth", "bits", "dist_bitdepth")),
    Column("ref_width", "reference_width", _positive, ("reference_width",)),
    Column("ref_height", "reference_height", _positive, ("reference_height",)),
    Column("ref_bitdepth", "reference_bitdepth", cells.bit_depth, ("reference_bitdepth", "ref_bit_depth")),
    Column("split", "split", str, ("set", "subset", "partition", "official_split"), True),
    Column("content", "content", str, ("scene", "content_name", "src"), True),
    Column("ladder", "ladder", str, (), True),
    Column("rung", "rung", cells.integer),
)
BY_NAME = {spelling: column for column in COLUMNS for spelling in (column.name, *column.aliases)}
BY_FIELD = {column.field: column for column in COLUMNS}


def nearest(name: str, known: Sequence[str], cutoff: float = 0.75) -> str | None:
    """The known name that a wrong one most likely stands for."""
    near = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=cutoff)
    return near[0] if near else None


def to_item(given: Mapping[Column, str], decimal_comma: bool = False) -> tuple[Item, None] | tuple[None, str]:
    """An item of the cells of one row.

    Returns:
        (item, None), or (None, what is wrong) with the column's name in it.
    """
    values: dict[str, Any] = {}
    for column, cell in given.items():
        known = column.is_text or column.name == "mos" or cell.strip().casefold() not in UNKNOWN
        if not cell.strip() or not known:
            continue
        comma = decimal_comma and not column.is_text and "." not in cell
        try:
            value = column.parse(cell.replace(",", ".") if comma else cell)
        except ValueError as error:
            return None, f"column {column.name!r}: {error}"
        values[column.field] = value
    for field in ("distorted", "mos"):
        if field not in values:
            return None, f"column {BY_FIELD[field].name!r} is empty"
    chroma = values.pop("pixel_format", None)
    if chroma is not None:
        values["pixel_format"], depth = chroma
        if depth is not None and values.setdefault("bitdepth", depth) != depth:
            return None, f"column 'pixel_format' says {depth} bit, column 'bitdepth' {values['bitdepth']}"
    return Item(**values), None


def to_cells(item: Item) -> dict[str, str]:
    """An item as text, column by column; "" for what is not known."""
    return {column.name: _text(getattr(item, column.field)) for column in COLUMNS}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < 1e15 and repr(value) != "-0.0"
        return str(int(value)) if whole else repr(value)
    if isinstance(value, Fraction):
        return str(value.numerator) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"
    return str(value)
