"""Scores that other programs wrote: logs as libvmaf writes them (JSON, CSV, XML), a JSON number, or any text."""

from __future__ import annotations

import ast
import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from compressvqa.errors import DataError
from compressvqa.labels import key_in_log
from compressvqa.scoring.scorer import Course, Segment
from compressvqa.untrusted import parse_json

# Of a dictionary as Python prints it, which Python's own parser reads; that one is made for code, not for strangers.
LONGEST_PRINTED, MOST_BRACKETS = 1 << 20, 100_000
LOGS = (".json", ".csv", ".xml")
# No second attempt inside a run of digits, and no end inside it: time grows with the text and not with its square.
_NUMBER = re.compile(
    r"(?<!\d)[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|\b(?:nan|inf|infinity)\b)(?![\w.])", re.IGNORECASE
)
# Texts of JSON, also one that is not closed, and numbers as C prints them where JSON has none.
_NOT_JSON = re.compile(
    r'"(?:[^"\\]|\\[\s\S])*(?:"|\Z)|[-+]?\b(?:nan\b(?:\([^)\n]{0,40}\))?|inf(?:inity)?\b)', re.IGNORECASE
)
# A frame's entries that are no scores, and names of a log's parts that hold none.
_PLACES = ("frameNum", "lastFrameNum", "Frame", "frame", "n")


def read_scores(text: str, name: str, *, where: str) -> Course:
    """The score that a program wrote: a log as libvmaf writes it, a JSON number, or the last number of a text.

    Args:
        text: what was written.
        name: which score of a log is meant, in any spelling of `compressvqa.labels`; where it holds one only, that one.
        where: what to name in an error.

    Raises:
        DataError: there is no number in it, the last one is not finite, a log is cut off, or does not hold the score.

    >>> read_scores("frames: 60, score = 71.5", "mine", where="a.mp4").score
    71.5
    """
    text = text.lstrip("\ufeff \t\r\n")
    # A log after lines of talk is a log still: its last number is not its score.
    start = re.search(r"^[{\[]", text, re.MULTILINE)
    if start is not None or text[:1] == "<" or re.match(r"frame\s*[,;]", text, re.IGNORECASE):
        return read_log(text if start is None else text[start.start() :], name, where=where)
    numbers = _NUMBER.findall(text)
    if not numbers:
        raise DataError(f"{name} gave no number: {text.strip()[:80]!r}", where=where)
    return Course(_finite(numbers[-1], name, where), (), {})


def read_log(text: str, name: str, *, where: str) -> Course:
    """The score of a log: JSON, CSV or XML as libvmaf writes them, told apart by how they begin.

    A file's score is the log's own mean, else the mean over its frames. Numbers that are not finite do no harm in
    scores that are not asked for.

    Args:
        text: the whole log.
        name: which score is meant, as in `read_scores`.
        where: what to name in an error.

    Raises:
        DataError: it is empty, cut off or damaged, does not hold the score, or a frame of it has none.
    """
    text = text.lstrip("\ufeff \t\r\n")
    if not text:
        raise DataError("the log is empty", where=where)
    if text[:1] == "<":
        return _from_xml(text, name, where)
    if text[:1] in "{[" or _is_number(text):
        return _from_json(text, name, where)
    return _from_csv(text, name, where)


# --- JSON ---------------------------------------------------------------------------------------------------------


def _from_json(text: str, name: str, where: str) -> Course:
    found = _parsed(text, where)
    if isinstance(found, dict) and isinstance(found.get("scores"), list):
        found = _one_of(found["scores"], name, where)
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        return Course(_finite(found, name, where), (), {})
    if not isinstance(found, dict):
        raise DataError("is no log of scores", where=where)
    listed = found.get("frames")
    frames = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    rows = [(row, row["metrics"] if isinstance(row.get("metrics"), dict) else row) for row in frames]
    means = _means(found)
    known = list(dict.fromkeys([*means, *(key for _, row in rows[:1] for key in row if key not in _PLACES)]))
    key = key_in_log(name, known)
    if (key is None and not rows and not means) or (key is None and "score" in found and not _named(found)):
        key, means = "score", {"score": found.get("score")}
    if key is None:
        raise _lacks(name, known, where)
    segments = _segments(
        [(row.get("frameNum", place), row.get("lastFrameNum"), values.get(key)) for place, (row, values) in
         enumerate(rows) if key in values],
        name, where,
    )  # fmt: skip
    return _course(means.get(key), segments, name, where)


def _parsed(text: str, where: str) -> Any:
    def plain(found: re.Match[str]) -> str:
        word = found[0]
        return word if word.startswith('"') else "NaN" if "nan" in word.lower() else f"{word[0].strip('iI+')}Infinity"

    try:
        return parse_json(_NOT_JSON.sub(plain, text), where, strict=False, constants=True)
    except DataError as error:
        found = _printed(text)
        if found is not None:
            return found
        raise DataError(f"the log is cut off or damaged ({error.what})", where=error.where) from error


def _printed(text: str) -> Any:
    """What Python prints of a dictionary, such as the tools of libvmaf do; None where it is none, or a deep one."""
    if len(text) > LONGEST_PRINTED or text.count("[") + text.count("{") + text.count("(") > MOST_BRACKETS:
        return None
    try:
        # Once through JSON: keys become texts, and what JSON has no form for is a fault.
        return json.loads(json.dumps(ast.literal_eval(text.strip())))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def _means(log: Mapping[str, Any]) -> dict[str, Any]:
    """Means over the frames that a log gives itself: of libvmaf, of its Python tools, and a plain {name: number}."""
    pooled = log.get("pooled_metrics")
    if isinstance(pooled, dict):
        return {key: value.get("mean") for key, value in pooled.items() if isinstance(value, dict)}
    aggregate = log["aggregate"] if isinstance(log.get("aggregate"), dict) else log
    numbers = {key: value for key, value in aggregate.items() if isinstance(value, float) and key != "score"}
    return numbers if aggregate is not log or "frames" not in log else {
        key: value for key, value in numbers.items() if key.endswith(" score")
    }  # fmt: skip


def _named(log: Mapping[str, Any]) -> bool:
    """Whether a log of ours says which metric its score is of."""
    return isinstance(log.get("model"), dict) and "name" in log["model"]


def _one_of(logs: Sequence[Any], name: str, where: str) -> Any:
    """The log of one score, out of a file of ours that holds several."""
    named = {str(log["model"]["name"]): log for log in logs if isinstance(log, dict) and _named(log)}
    if len(named) < len(logs):
        raise DataError(f"holds {len(logs)} scores, and which one is meant can't be told", where=where)
    key = key_in_log(name, named)
    if key is None:
        raise _lacks(name, list(named), where)
    return named[key]


# --- CSV and XML --------------------------------------------------------------------------------------------------


def _from_csv(text: str, name: str, where: str) -> Course:
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    try:
        header, *rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)) or [[]]
    except csv.Error as error:
        raise DataError(f"the log is damaged ({error})", where=where) from error
    columns = [cell.strip() for cell in header]
    place = next((place for place, column in enumerate(columns) if column.casefold() == "frame"), None)
    known = [column for column in columns if column and column.casefold() != "frame"]
    if place is None:
        raise DataError("is no log of scores: it has no column Frame", where=where)
    key = key_in_log(name, known)
    if key is None:
        raise _lacks(name, known, where)
    column, parts = columns.index(key), []
    for line, row in enumerate(rows, 2):
        if not any(cell.strip() for cell in row):
            continue
        # libvmaf ends every line with a comma: in a line without, the last number may be cut off, too.
        if len(row) < len(columns):
            raise DataError("the log is cut off", where=f"{where}:{line}")
        parts.append((row[place], None, row[column].replace(",", ".") if delimiter != "," else row[column]))
    return _course(None, _segments(parts, name, where), name, where)


def _from_xml(text: str, name: str, where: str) -> Course:
    if re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise DataError("a log with a document type is not read", where=where)
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"the log is cut off or damaged ({error})", where=where) from error
    frames = [dict(frame.attrib) for frame in root.iter("frame")]
    means: dict[str, Any] = {
        str(metric.get("name")): metric.get("mean") for metric in root.iter("metric") if metric.get("name")
    }
    for aggregate in root.iter("aggregate"):
        means |= {key: value for key, value in aggregate.attrib.items() if key.endswith("_score")}
    known = list(dict.fromkeys([*means, *(key for row in frames[:1] for key in row if key not in _PLACES)]))
    key = key_in_log(name, known)
    if key is None:
        raise _lacks(name, known, where)
    parts = [(row.get("frameNum", place), None, row[key]) for place, row in enumerate(frames) if key in row]
    return _course(means.get(key), _segments(parts, name, where), name, where)


# --- numbers ------------------------------------------------------------------------------------------------------


def _segments(rows: Sequence[tuple[Any, Any, Any]], name: str, where: str) -> tuple[Segment, ...]:
    """(first frame, last frame or None, score) as segments, each frame once."""
    found: list[Segment] = []
    seen: set[int] = set()
    for first, last, value in rows:
        try:
            start = int(first)
            end = start if last is None else int(last)
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(f"the log is damaged: {str(first)[:40]!r} is no frame", where=where) from error
        if start in seen:
            raise DataError(f"the log gives frame {start} twice", where=where)
        seen.add(start)
        found.append(Segment(start, end, _finite(value, f"frame {start} of {name}", where)))
    return tuple(found)


def _course(mean: Any, segments: tuple[Segment, ...], name: str, where: str) -> Course:
    if mean is not None and _is_number(str(mean)) and math.isfinite(float(str(mean))):
        return Course(float(str(mean)), segments, {})
    if not segments:
        raise DataError(f"the log holds no number of {name}", where=where)
    return Course(math.fsum(part.score for part in segments) / len(segments), segments, {})


def _finite(value: Any, name: str, where: str) -> float:
    text = str(value)  # also of a whole number that no float can hold
    number = float(text) if not isinstance(value, bool) and _is_number(text) else math.nan
    if not math.isfinite(number):
        raise DataError(f"{name} is {str(value)[:40]}, which is no score", where=where)
    return number


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _lacks(name: str, known: Sequence[str], where: str) -> DataError:
    return DataError(f"the log holds no score {name!r}", where=where, hint=", ".join(known) or None)
