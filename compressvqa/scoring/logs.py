"""Scores written down as libvmaf's logs are, so that tools made for those read ours: JSON, CSV and XML."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from compressvqa.errors import DataError
from compressvqa.files import finite, write_text
from compressvqa.scoring.pooling import pool_by
from compressvqa.scoring.result import SCHEMA, Score, Subject, file_names, subjects, title


def to_json(scores: Sequence[Score]) -> str:
    """`Score.to_dict` as strict JSON, a figure that is not defined as null.

    Several files are a list under "scores". Several metrics of a file share its ``frames``, ``parts`` and
    ``pooled_metrics``; "models" holds the facts of each, and "score", "raw_score", "pool", "meaning" and "notes" are by
    metric. "raw_score" is what a network gave, where a scale lies between it and the score; null elsewhere.
    """
    logs = [_log(some) for some in _by_file(scores)]
    value: Any = logs[0] if len(logs) == 1 else {"schema": SCHEMA, "scores": logs}
    return json.dumps(finite(value), indent=2, ensure_ascii=False) + "\n"


def _by_file(scores: Sequence[Score]) -> list[list[Score]]:
    """Scores of one distorted file (held against one reference) together, in the order of the files."""
    held: dict[Subject, list[Score]] = {}
    for score, subject in zip(scores, subjects(scores), strict=True):
        held.setdefault(subject, []).append(score)
    return list(held.values())


def _log(scores: Sequence[Score]) -> dict[str, Any]:
    """One file's log."""
    logs = {score.name: score.to_dict() for score in scores}
    first = logs[scores[0].name]
    if len(scores) == 1:
        return first
    merged: dict[str, Any] = {key: first[key] for key in ("schema", "version", "reference", "distorted", "differences")}
    # A no-reference metric has nothing to say of the reference.
    full = [log for log in logs.values() if log["reference"] is not None]
    if full:
        merged |= {key: full[0][key] for key in ("reference", "differences")}
    merged["models"] = {name: log["model"] for name, log in logs.items()}
    merged["settings"] = {name: log["settings"] for name, log in logs.items()}
    for key in ("frames", "parts"):
        if any(key in log for log in logs.values()):
            merged[key] = _merged([row for log in logs.values() for row in log.get(key, [])])
    merged["pooled_metrics"] = {name: log["pooled_metrics"][name] for name, log in logs.items()}
    return merged | {
        key: {name: log[key] for name, log in logs.items()}
        for key in ("pool", "score", "raw_score", "meaning", "notes")
    }


def _merged(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the same frames become one."""
    held: dict[tuple[int, int], dict[str, Any]] = {}
    for row in rows:
        known = held.setdefault((row["frameNum"], row["lastFrameNum"]), {**row, "metrics": {}})
        known["metrics"] |= row["metrics"]
        if "raw" in row:
            known["raw"] = known.get("raw", {}) | row["raw"]
    return [held[key] for key in sorted(held)]


def to_csv(scores: Sequence[Score]) -> str:
    """A line a segment, under its first frame, and a comma at each line's end, as libvmaf writes it.

    The column bears the metric's name; the columns of several files bear theirs, and of both both. Where stretches
    were asked for (`Score.per`) there is a line for each, and a column for each pooling. This form has no place for
    what a score means: see `to_summary`.
    """
    files, metrics = file_names(scores), list(dict.fromkeys(score.name for score in scores))
    pools = (scores[0].pools or ("mean",)) if scores[0].per is not None else ("mean",)
    of = subjects(scores)
    columns = [(score, pool) for score in scores for pool in pools]
    names = []
    for place, (score, pool) in enumerate(columns):
        words = [files[of[place // len(pools)]]] if len(files) > 1 else []
        words += [score.name] if len(metrics) > 1 or len(files) == 1 else []
        names.append(_plain(" ".join(words + ([title(pool)] if len(pools) > 1 else []))))
    rows: dict[int, list[str]] = {}
    for place, (score, pool) in enumerate(columns):
        for part in score.parts:
            value = pool_by(pool, part.scores)
            rows.setdefault(part.first_frame, [""] * len(columns))[place] = "" if value is None else f"{value:.6f}"
    lines = [["Frame", *names], *([str(frame), *values] for frame, values in sorted(rows.items()))]
    return "".join(",".join(line) + ",\n" for line in lines)


def to_summary(scores: Sequence[Score]) -> str:
    """CSV with a line a file and metric: the score, how it was pooled, direction, range, what identical files get."""
    files, more = file_names(scores), list(dict.fromkeys(name for score in scores for name in score.pooled))
    columns = ["file", "metric", "score", "pool", "direction", "lowest", "highest", "identical_files", "unit", *more]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for score, subject in zip(scores, subjects(scores), strict=True):
        low, high = score.model.get("score_range") or (None, None)
        known = score.model.get("identical_files") if score.identical is None else f"{score.identical:.6f}"
        row = {"file": files[subject], "metric": score.name, "pool": score.pooling, "lowest": low}
        row |= {"score": _six(score.score), "direction": score.model.get("direction"), "highest": high}
        row |= {"identical_files": known, "unit": score.model.get("unit")}
        writer.writerow(row | {name: _six(value) for name, value in score.pooled.items()})
    return text.getvalue()


def _six(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.6f}"


def to_xml(scores: Sequence[Score]) -> str:
    """libvmaf's XML log of one file; direction, range and what identical files get stand beside the pooled figures.

    Raises:
        DataError: several files, for which that form has no place.
    """
    if len(_by_file(scores)) > 1:
        raise DataError("an XML log holds one distorted file", hint="--json or --csv for several")
    names = {score.name: _xml_name(score.name) for score in scores}
    log = _log(scores)
    shown = log["distorted"]
    lines = [f"<VMAF version={quoteattr(str(log['version']))}>"]
    lines.append(f'  <params qualityWidth="{shown["width"]}" qualityHeight="{shown["height"]}" />')
    lines.append("  <frames>")
    for frame in log["frames"]:
        values = " ".join(f'{names[name]}="{value:.6f}"' for name, value in frame["metrics"].items())
        lines.append(f'    <frame frameNum="{frame["frameNum"]}" {values} />')
    lines += ["  </frames>", *_xml_parts(log, names), "  <pooled_metrics>"]
    for score in scores:
        pooled = {key: _six(value) for key, value in score.pooled.items() if value is not None}
        said = {"score": _six(score.score), "pool": score.pooling, "meaning": score.meaning}
        said |= {"note": "; ".join(score.remarks)} if score.remarks else {}
        words = " ".join(f"{key}={quoteattr(value)}" for key, value in (pooled | said).items())
        lines.append(f"    <metric name={quoteattr(names[score.name])} {words} />")
    return "\n".join([*lines, "  </pooled_metrics>", "</VMAF>"]) + "\n"


def _xml_parts(log: dict[str, Any], names: dict[str, str]) -> list[str]:
    """The stretches that were asked for; readers of libvmaf's logs pass over them."""
    if "parts" not in log:
        return []
    lines = ["  <parts>"]
    for part in log["parts"]:
        lines.append(f'    <part frameNum="{part["frameNum"]}" lastFrameNum="{part["lastFrameNum"]}">')
        for name, pooled in part["metrics"].items():
            words = " ".join(f'{key}="{_six(value)}"' for key, value in pooled.items() if value is not None)
            lines.append(f"      <metric name={quoteattr(names[name])} {words} />")
        lines.append("    </part>")
    return [*lines, "  </parts>"]


def write_scores(scores: Sequence[Score], path: str | Path) -> Path:
    """Writes a log in the form of its suffix, whole or not at all.

    Raises:
        DataError: another suffix than .json, .csv or .xml.
    """
    path = Path(path)
    forms: dict[str, Callable[[Sequence[Score]], str]] = {".json": to_json, ".csv": to_csv, ".xml": to_xml}
    write_text(path, forms[check_suffix(path)](scores))
    return path


def check_suffix(path: Path) -> str:
    """The suffix that says the form of a log.

    Raises:
        DataError: another one than .json, .csv or .xml.
    """
    suffix = path.suffix.lower()
    if suffix not in (".json", ".csv", ".xml"):
        raise DataError("scores are written as .json, .csv or .xml", where=path)
    return suffix


def _plain(name: str) -> str:
    """A column's name without what would begin another column."""
    return name.replace(",", "_").replace("\n", " ").replace('"', "'")


def _xml_name(name: str) -> str:
    """An attribute's name out of a scorer's."""
    safe = "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in name)
    return safe if safe[:1].isalpha() or safe[:1] == "_" else f"_{safe}"
