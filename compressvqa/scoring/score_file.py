"""Scores that were taken elsewhere: a table of them, or a folder of logs, as a scorer."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

from compressvqa.errors import DataError
from compressvqa.progress import Progress
from compressvqa.scoring.command import read_scores
from compressvqa.scoring.find import stated
from compressvqa.scoring.scorer import Course, Facts, Scorer
from compressvqa.video.clip import Clip, Pairing

FILE_COLUMNS = ("dist", "distorted", "dist_name", "dis", "file", "filename", "name", "path", "video", "image")
LOGS = (".json", ".csv")


class ScoreFile(Scorer):
    """Hands out scores that are already there.

    Args:
        name: what the score is called; the column of a table, unless that has a column "score".
        place: a CSV table with a column for the distorted file (`dist`, `file`, ...) and one for the score; a JSON
            object {file: score}; or a folder with one log a distorted file, named after it (``a.mp4.json`` or
            ``a.json``), as libvmaf or this package writes it.
        higher_is_better: direction of the scores; None: nobody knows, or the name says it ("lpips").

    Raises:
        DataError: the place can't be read or holds no scores.
    """

    reads_files = False

    def __init__(self, name: str, place: Path, *, higher_is_better: bool | None = None) -> None:
        self.name, self.place = name, place
        if place.is_dir():
            self.logs = {path.name: path for path in sorted(place.iterdir()) if path.suffix in LOGS}
            self.scores: dict[str, float] = {}
            parts = [f"{log}{path.stat().st_size}{path.stat().st_mtime_ns}" for log, path in self.logs.items()]
            content = "".join(parts).encode()
        else:
            self.logs = {}
            try:
                content = place.read_bytes()
                self.scores = _table(content.decode("utf-8-sig"), name, place)
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"scores of {name} can't be read ({error})", where=place) from error
        if not self.scores and not self.logs:
            raise DataError(f"holds no scores of {name}", where=place)
        identity = hashlib.sha256(content).hexdigest()[:24]
        scale = stated(name, higher_is_better)
        self.facts = (Facts(name, f"file:{identity}", "NR", source=str(place), **scale),)

    def score(
        self, reference: Clip | None, distorted: Sequence[Clip], pairing: Pairing, progress: Progress | None = None
    ) -> list[dict[str, Course]]:
        """As `Scorer.score`; the files themselves are not read."""
        del reference, pairing, progress
        return [{self.name: self._find(clip.path)} for clip in distorted]

    def _find(self, path: Path) -> Course:
        if self.logs:
            for name in (f"{path.name}.json", f"{path.stem}.json", f"{path.name}.csv", f"{path.stem}.csv"):
                if name in self.logs:
                    return read_scores(self.logs[name].read_text(errors="replace"), self.name, where=name)
            raise DataError(f"no log of {path.name}", where=self.place)
        # The longest end of the path that the table knows: folders tell files of equal names apart.
        parts = path.absolute().parts
        for first in range(len(parts)):
            name = "/".join(parts[first:])
            if name in self.scores:
                return Course(self.scores[name], (), {})
        same = [name for name in self.scores if Path(name).stem == path.stem]
        if len(same) == 1:
            return Course(self.scores[same[0]], (), {})
        what = f"{len(same)} scores fit {path.name}" if same else f"no score of {path.name}"
        raise DataError(what, where=self.place)


def _table(text: str, name: str, place: Path) -> dict[str, float]:
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
            return {str(file).replace("\\", "/"): _number(value, str(file), place) for file, value in found.items()}
        except ValueError as error:
            raise DataError(f"is no JSON ({error})", where=place) from error
    rows = list(csv.DictReader(io.StringIO(text)))
    columns = list(rows[0]) if rows else []
    file = next((column for column in FILE_COLUMNS if column in columns), None)
    score = name if name in columns else "score" if "score" in columns else None
    if file is None or score is None:
        lacks = "a column for the distorted file (dist)" if file is None else f"a column {name!r} or 'score'"
        raise DataError(f"lacks {lacks}", where=place, hint=f"it has {', '.join(columns)}")
    scores: dict[str, float] = {}
    for line, row in enumerate(rows, 2):
        key = row[file].replace("\\", "/")
        if key in scores:
            raise DataError(f"{key} stands there twice", where=f"{place}:{line}")
        scores[key] = _number(row[score], f"line {line}", place)
    return scores


def _number(value: object, what: str, place: Path) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{what}: {value!r} is no score", where=place)
    return number
