"""The Python data sets of VMAF and its relatives: assignments that are read, never executed.

``ref_videos`` and ``dis_videos`` are lists of dictionaries (content_id, path, ...), or dictionaries of them by number.
The score of a distorted video is ``dmos``, ``mos`` or ``groundtruth`` (in this order, as VMAF reads it), ``score``, or
``os``, the ratings of single viewers as a list or by viewer. What VMAF calls dmos is the better the higher.

Understood are literals, names assigned before, ``+`` of texts and lists, ``os.path.join`` and calls of a function whose
name ends in "path" with texts; ``update``, ``extend`` and ``append`` of what was assigned. A prefix that is not known,
as the placeholder of a folder, is left away: files are found by the rest of their path. Loops and branches, and values
that would have to be worked out, are refused with their line.
"""

from __future__ import annotations

import ast
import math
import statistics
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from compressvqa.errors import DataError
from compressvqa.opinions import cells
from compressvqa.opinions.lookup import Lookup
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.opinions.subj_score import DISTORTED, REFERENCES
from compressvqa.opinions.table import read_text
from compressvqa.plurals import count, verb

SCORES = ("dmos", "mos", "groundtruth", "score")
NEEDED = ("ref_videos", "dis_videos")


@dataclass(frozen=True)
class _Unknown:
    """A value that can't be told without running the file."""

    line: int
    text: str


def is_vmaf_dataset(text: str) -> bool:
    """Whether a text is such a file."""
    return all(name in text for name in NEEDED)


def read_vmaf_dataset(
    path: Path, folder: Path | None = None, *, higher_is_better: bool | None = None, hidden_references: bool = False
) -> Manifest:
    """A Python data set of VMAF as a manifest.

    Args:
        path: the Python file.
        folder: where the videos are; None: beside the file.
        higher_is_better: direction of the scores; None: as VMAF takes them, higher is better.
        hidden_references: keep the items whose distorted file is the reference itself. They have no finite PSNR, and
            raise every correlation.

    Returns:
        The manifest. Scores from ratings ("os") are their plain mean, with the standard deviation of the ratings.

    Raises:
        DataError: no such file, a statement or value that would have to be run, a video without score or reference.
    """
    folder = path.parent if folder is None else folder
    try:
        names = _assignments(path)
    except RecursionError as error:
        raise DataError("is nested too deeply to be read", where=path) from error
    for needed in NEEDED:
        if needed not in names:
            raise DataError(f"has no {needed!r}", where=path)
    reader = _Reader(path, names, Lookup(folder))
    videos = reader.videos("dis_videos")
    references = {reader.content(video, key): video for key, video in reader.videos("ref_videos")}
    items, hidden, kinds = [], 0, set()
    for _, video in videos:
        item, kind = reader.item(video, references)
        kinds.add(kind)
        if item.distorted == item.reference and not hidden_references:
            hidden += 1
        else:
            items.append(item)
    if not items:
        raise DataError("holds no distorted video", where=path)
    notes = list(reader.notes)
    if hidden:
        notes.append(
            f"{count(hidden, 'item')} whose distorted file is the reference itself {verb(hidden, 'is', 'are')} left out"
        )
    if higher_is_better is None:
        notes.append("the file does not say the direction of its scores: higher is taken for better, as VMAF does")
    label = "MOS" if kinds & {"os", "mos"} else "DMOS"
    name = names.get("dataset_name")
    return Manifest(
        name if isinstance(name, str) else path.stem, folder, tuple(items), label=label,
        higher_is_better=higher_is_better is not False, notes=tuple(notes),
    )  # fmt: skip


# --- the Python in it -------------------------------------------------------------------------------------------


def _assignments(path: Path) -> dict[str, Any]:
    """What a file assigns, name by name."""
    try:
        tree = ast.parse(read_text(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        raise DataError("is no Python that can be read", where=path if line is None else f"{path}:{line}") from error
    names: dict[str, Any] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            value = _value(statement.value, names)
            for target in statement.targets:
                if not isinstance(target, ast.Name):
                    raise _refused(path, statement, "an assignment to a part of something")
                names[target.id] = value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            names[statement.target.id] = _value(statement.value, names)
        elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            before = names.get(statement.target.id, _Unknown(statement.lineno, statement.target.id))
            added = _value(statement.value, names)
            names[statement.target.id] = _sum(before, added, statement)
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a docstring
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            _mutate(path, statement.value, names)
        elif not isinstance(statement, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Pass)):
            raise _refused(path, statement, f"a statement ({type(statement).__name__.lower()})")
    return names


def _refused(path: Path, node: ast.AST, what: str) -> DataError:
    line = getattr(node, "lineno", 0)
    return DataError(f"{what} would have to be run; a data set is only read", where=f"{path}:{line}",
                     hint="write the lists out, or make a manifest (CSV)")  # fmt: skip


def _mutate(path: Path, call: ast.Call, names: dict[str, Any]) -> None:
    """``name.update(...)``, ``.extend(...)`` and ``.append(...)``."""
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and len(call.args) == 1:
        before, added = names.get(function.value.id), _value(call.args[0], names)
        if function.attr == "update" and isinstance(before, dict) and isinstance(added, dict):
            names[function.value.id] = {**before, **added}
            return
        if function.attr == "extend" and isinstance(before, list) and isinstance(added, list):
            names[function.value.id] = before + added
            return
        if function.attr == "append" and isinstance(before, list):
            names[function.value.id] = [*before, added]
            return
    raise _refused(path, call, f"the call {ast.unparse(call)[:60]!r}")


def _value(node: ast.expr, names: dict[str, Any]) -> Any:  # noqa: PLR0911  # one a kind of expression
    """The value of an expression, `_Unknown` where it would have to be run."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names.get(node.id, _Unknown(node.lineno, node.id))
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(part, names) for part in node.elts]
    if isinstance(node, ast.Dict):
        return _dictionary(node, names)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _value(node.operand, names)
        return -value if isinstance(value, (int, float)) else _Unknown(node.lineno, ast.unparse(node))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _sum(_value(node.left, names), _value(node.right, names), node)
    if isinstance(node, ast.Call):
        return _call(node, names)
    return _Unknown(node.lineno, ast.unparse(node)[:60])


def _dictionary(node: ast.Dict, names: dict[str, Any]) -> Any:
    entries = {}
    for key, value in zip(node.keys, node.values, strict=True):
        known = None if key is None else _value(key, names)
        if not isinstance(known, (str, int, float)):
            return _Unknown(node.lineno, ast.unparse(node)[:60])
        entries[known] = _value(value, names)
    return entries


def _sum(left: Any, right: Any, node: ast.stmt | ast.expr) -> Any:
    if isinstance(left, _Unknown) and isinstance(right, str):
        return right  # the rest of a path below a folder that is not known
    for kind in (str, list):
        if isinstance(left, kind) and isinstance(right, kind):
            return left + right  # type: ignore[operator]
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return left + right
    return _Unknown(node.lineno, ast.unparse(node)[:60])


def _call(node: ast.Call, names: dict[str, Any]) -> Any:
    """``os.path.join(...)`` and ``VmafConfig.resource_path("yuv", "x.yuv")``."""
    function = ast.unparse(node.func)
    if function == "float" and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
        return math.nan if str(node.args[0].value).lower() == "nan" else _Unknown(node.lineno, ast.unparse(node))
    if function in ("os.path.join", "path.join") or function.endswith("path"):
        parts = [_value(part, names) for part in node.args]
        while parts and isinstance(parts[0], _Unknown):
            parts = parts[1:]
        if parts and all(isinstance(part, str) for part in parts):
            return "/".join(part.rstrip("/") for part in parts)
    return _Unknown(node.lineno, ast.unparse(node)[:60])


# --- the videos in it -------------------------------------------------------------------------------------------


class _Reader:
    def __init__(self, path: Path, names: dict[str, Any], lookup: Lookup) -> None:
        self.path, self.names, self.lookup = path, names, lookup
        self.notes: dict[str, None] = {}

    def videos(self, name: str) -> list[tuple[Any, dict[str, Any]]]:
        value = self.names[name]
        self._known(value)
        pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value or ()))
        for number, video in pairs:
            self._known(video)
            if not isinstance(video, dict):
                raise DataError(f"{name}[{number}] is no dictionary", where=self.path)
        return pairs

    def item(self, video: dict[str, Any], references: dict[Any, dict[str, Any]]) -> tuple[Item, str]:
        content = self.content(video, None)
        if content not in references:
            raise DataError(
                f"content_id {cells.short(str(content))} of {cells.short(str(video.get('path')))} is not in ref_videos",
                where=self.path,
            )
        reference = references[content]
        distorted_path = self._path(video, DISTORTED)
        # A hidden reference is listed among the distorted videos, but lies where the references are.
        same = self._text(video, "path") == self._text(reference, "path")
        reference_path = self._path(reference, REFERENCES)
        try:
            mos, std, ratings, kind = self._score(video)
            said = str(self._fact("yuv_fmt", video, reference) or "notyuv")
            chroma, depth = cells.pixel_format("420" if said == "notyuv" else said)
            width, height = (self._size(side, video, reference) for side in ("width", "height"))
            ref_width, ref_height = (self._size(side, reference, {}) for side in ("width", "height"))
            name = self._fact("content_name", reference)
            item = Item(
                reference_path if same else distorted_path, mos, reference_path, std=std, ratings=ratings,
                content=name if isinstance(name, str) else None, fps=self._rate(video, reference, distorted_path),
                reference_fps=None, width=width, height=height, pixel_format=chroma,
                bitdepth=depth or cells.said_depth(distorted_path) or 8,
                reference_width=ref_width if ref_width != width else None,
                reference_height=ref_height if ref_height != height else None, split=self._split(video),
            )  # fmt: skip
        except DataError:
            raise
        except ValueError as error:
            raise DataError(f"{cells.short(str(video.get('path')))}: {error}", where=self.path) from error
        for side in ("quality_width", "quality_height"):
            if self._fact(side, video) not in (None, width, height):
                self.notes["quality_width and quality_height are not used: the size of the reference counts"] = None
        for key in ("crop_cmd", "pad_cmd", "start_frame", "end_frame"):
            if self._fact(key, video) is not None:
                self.notes[f"{key} of the file is not used: the whole pictures and clips are compared"] = None
        return item, kind

    def content(self, video: dict[str, Any], default: Any) -> Any:
        value = video.get("content_id", default)
        self._known(value)
        if not isinstance(value, (str, int, float, type(None))):
            raise DataError(f"content_id {cells.short(str(value))} is neither a number nor a text", where=self.path)
        return value

    def _known(self, value: Any) -> None:
        if isinstance(value, _Unknown):
            raise DataError(f"{value.text!r} would have to be run; a data set is only read",
                            where=f"{self.path}:{value.line}", hint="write it out")  # fmt: skip

    def _fact(self, key: str, *places: dict[str, Any]) -> Any:
        for place in (*places, self.names):
            if place.get(key) is not None and not isinstance(place[key], _Unknown):
                return place[key]
        return None

    def _size(self, key: str, video: dict[str, Any], other: dict[str, Any]) -> int | None:
        value = self._fact(key, video, other)
        return None if value is None else cells.integer(str(value), least=1)

    def _text(self, video: dict[str, Any], key: str) -> str:
        value = video.get(key)
        self._known(value)
        if not isinstance(value, str):
            raise DataError(f"a video without {key!r}", where=self.path)
        return value

    def _path(self, video: dict[str, Any], prefer: tuple[str, ...]) -> str:
        parts = [
            part for part in self._text(video, "path").replace("\\", "/").split("/") if part not in ("", ".", "..")
        ]
        # "[path to dataset]" and drive letters stand for a folder that is not known.
        while len(parts) > 1 and (parts[0].startswith("[") or parts[0].endswith(":")):
            parts = parts[1:]
        if not parts:
            raise DataError("a video with an empty path", where=self.path)
        try:
            found = self.lookup.find(cells.inside("/".join(parts)), prefer)
        except DataError:
            raise
        except ValueError as error:
            raise DataError(str(error), where=self.path) from error
        # The path of the authors' machine says nothing here: the file is expected by its last folder and name.
        return found if (self.lookup.folder / found).is_file() else "/".join(parts[-2:])

    def _score(self, video: dict[str, Any]) -> tuple[float, float | None, int | None, str]:
        for key in SCORES:
            if video.get(key) is not None:
                self._known(video[key])
                std = self._fact("groundtruth_std", video)
                return cells.number(str(video[key])), None if std is None else cells.number(str(std)), None, key
        if "os" not in video:
            raise ValueError(f"no score ({', '.join(SCORES)} or os)")
        ratings = _ratings(video["os"])
        if not ratings:
            raise ValueError("'os' holds no rating")
        std = statistics.stdev(ratings) if len(ratings) > 1 else None
        return statistics.fmean(ratings), std, len(ratings), "os"

    def _rate(self, video: dict[str, Any], reference: dict[str, Any], path: str) -> Fraction | None:
        value = self._fact("fps", video, reference)
        if value is not None:
            return cells.frame_rate(str(value))
        return cells.said_rate(path) or cells.said_rate(str(reference.get("path", "")))

    def _split(self, video: dict[str, Any]) -> str | None:
        value = self._fact("train_or_test", video)
        return value if isinstance(value, str) else None


def _ratings(value: Any) -> list[float]:
    """Single ratings, however they are nested: by viewer, by repetition; None and NaN stand for none."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [rating for part in value for rating in _ratings(part)]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{cells.short(str(value))} in 'os' is no rating")
    return [float(value)]
