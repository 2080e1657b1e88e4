"""Scores written down as libvmaf's logs are, so that tools made for those read ours: JSON, CSV and XML."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from compressvqa.errors import DataError
from compressvqa.files import finite, write_text
from compressvqa.scoring.result import SCHEMA, Score


def to_json(scores: Sequence[Score]) -> str:
    """`Score.to_dict` as strict JSON, a figure that is not defined as null; several files as a list under "scores"."""
    logs = [score.to_dict() for score in scores]
    value: Any = logs[0] if len(logs) == 1 else {"schema": SCHEMA, "scores": logs}
    return json.dumps(finite(value), indent=2, ensure_ascii=False) + "\n"


def to_csv(scores: Sequence[Score]) -> str:
    """A line a segment, under its first frame, and a comma at each line's end, as libvmaf writes it.

    The column bears the scorer's name; the columns of several files bear theirs.
    """
    names = [_plain(str(scores[0].model["name"]))]
    if len(scores) > 1:
        names = [_plain(score.distorted.path.name) for score in scores]
    rows: dict[int, list[str]] = {}
    for place, score in enumerate(scores):
        for part in score.per_segment:
            rows.setdefault(part.first_frame, [""] * len(scores))[place] = f"{part.score:.6f}"
    lines = [["Frame", *names], *([str(frame), *values] for frame, values in sorted(rows.items()))]
    return "".join(",".join(line) + ",\n" for line in lines)


def to_xml(scores: Sequence[Score]) -> str:
    """libvmaf's XML log of one file.

    Raises:
        DataError: several files, for which that form has no place.
    """
    if len(scores) > 1:
        raise DataError("an XML log holds one distorted file", hint="--json or --csv for several")
    (score,) = scores
    log = score.to_dict()
    name = _xml_name(score.model["name"])
    lines = [f"<VMAF version={quoteattr(str(log['version']))}>"]
    shown = log["distorted"]
    lines.append(f'  <params qualityWidth="{shown["width"]}" qualityHeight="{shown["height"]}" />')
    lines.append("  <frames>")
    lines += [
        f'    <frame frameNum="{frame["frameNum"]}" {name}="{part.score:.6f}" />'
        for frame, part in zip(log["frames"], score.per_segment, strict=True)
    ]
    pooled = " ".join(f'{key}="{value:.6f}"' for key, value in score.pooled.items() if value is not None)
    lines += ["  </frames>", "  <pooled_metrics>", f"    <metric name={quoteattr(name)} {pooled} />"]
    return "\n".join([*lines, "  </pooled_metrics>", "</VMAF>"]) + "\n"


def write_scores(scores: Sequence[Score], path: str | Path) -> Path:
    """Writes a log in the form of its suffix, whole or not at all.

    Raises:
        DataError: another suffix than .json, .csv or .xml.
    """
    path = Path(path)
    forms: dict[str, Callable[[Sequence[Score]], str]] = {".json": to_json, ".csv": to_csv, ".xml": to_xml}
    if path.suffix.lower() not in forms:
        raise DataError("scores are written as .json, .csv or .xml", where=path)
    write_text(path, forms[path.suffix.lower()](scores))
    return path


def _plain(name: str) -> str:
    """A column's name without what would begin another column."""
    return name.replace(",", "_").replace("\n", " ").replace('"', "'")


def _xml_name(name: str) -> str:
    """An attribute's name out of a scorer's."""
    safe = "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in name)
    return safe if safe[:1].isalpha() or safe[:1] == "_" else f"_{safe}"
