"""Scores that were taken elsewhere: a table of them, or a folder of logs, as a scorer."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from compressvqa.errors import DataError
from compressvqa.fingerprint import content_digest
from compressvqa.opinions.table import read_text
from compressvqa.progress import Progress
from compressvqa.scoring.find import stated
from compressvqa.scoring.foreign_logs import LOGS, read_log
from compressvqa.scoring.foreign_table import Rows, read_score_table
from compressvqa.scoring.score_keys import Keys
from compressvqa.scoring.scorer import Course, Facts, Scorer
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.read import probe


class ScoreFile(Scorer):
    """Hands out scores that are already there.

    Args:
        name: what the score is called; the column of a table in any spelling, unless that has a column "score".
        place: a table, see `read_score_table`; or a folder with one log a distorted file, below it in the folders of
            the data set and named after the file (``a.mp4.json`` or ``a.json``), as libvmaf or this package writes
            it: JSON, CSV or XML.
        higher_is_better: direction of the scores; None: nobody knows, or the name says it ("lpips").

    Raises:
        DataError: the place can't be read or holds no scores.
    """

    reads_files = False

    def __init__(self, name: str, place: Path, *, higher_is_better: bool | None = None) -> None:
        self.name, self.place = name, place
        self.logs = _logs(place) if place.is_dir() else {}
        self.scores: Rows = {}
        try:
            if not place.is_dir():
                self.scores = read_score_table(place, name)
            identity = content_digest(place)[:24]
        except DataError as error:
            if error.where == str(place) and error.what in ("no such file", "is not UTF-8 text"):
                raise DataError(f"scores of {name} can't be read ({error.what})", where=place) from error
            raise
        if not self.scores and not self.logs:
            raise DataError(f"holds no scores of {name}", where=place)
        self._keys = Keys(self.logs or self.scores, place)
        self._references: dict[str, set[str]] = {}
        name_too = hashlib.sha256(name.encode()).hexdigest()[:8]
        scale = stated(name, higher_is_better)
        self.facts = (Facts(name, f"file:{identity}{name_too}", "NR", source=str(place), **scale),)

    def expect(self, files: Iterable[tuple[Path, str, Path | None]]) -> None:
        """As `Scorer.expect`: a score that fits two files, or two references of one file, says nothing of either."""
        files = list(files)
        self._keys.expect((path, inside) for path, inside, _ in files)
        self._references = {}
        for path, _, reference in files:
            self._references.setdefault(str(path.absolute()), set()).add(str(reference))

    def score(
        self, reference: Clip | None, distorted: Sequence[Clip], pairing: Pairing, progress: Progress | None = None
    ) -> list[dict[str, Course]]:
        """As `Scorer.score`; the files themselves are not read, but for the number of frames where they are there."""
        del progress
        return [{self.name: self._find(reference, clip, pairing)} for clip in distorted]

    def _find(self, reference: Clip | None, clip: Clip, pairing: Pairing) -> Course:
        name = self._keys.find(clip.path)
        several = len(self._references.get(str(clip.path.absolute()), ())) > 1
        if self.logs:
            if several:
                raise DataError(f"the log of {clip.path.name} does not say beside which reference", where=self.place)
            log = self.logs[name]
            course = read_log(read_text(log), self.name, where=log.relative_to(self.place).as_posix())
            _check_length(course, clip, pairing, log)
            return course
        rows = self.scores[name]
        if len(rows) > 1 or several:
            if reference is None or "" in rows:
                what = f"{clip.path.name} is there beside several references, and the table does not say which"
                raise DataError(what, where=self.place, hint="a column ref")
            return Course(rows[Keys(rows, self.place).find(reference.path)], (), {})
        return Course(next(iter(rows.values())), (), {})


def _logs(folder: Path) -> dict[str, Path]:
    """{path of the file that a log is named after, below the folder: log}; JSON before CSV before XML."""
    found: dict[str, Path] = {}
    for suffix in LOGS:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() == suffix and path.is_file() and not path.name.startswith("."):
                found.setdefault(path.relative_to(folder).with_name(path.stem).as_posix(), path)
    return found


def _check_length(course: Course, clip: Clip, pairing: Pairing, log: Path) -> None:
    """A log of another length is another file's, or that of a measurement that was stopped."""
    if not course.segments or not clip.path.is_file():
        return
    try:
        frames = probe(clip).frames
    except DataError:
        return
    if frames is None:
        return
    wanted = frames - pairing.skip_distorted
    wanted = wanted if pairing.frames is None else min(wanted, pairing.frames)
    starts = [part.first_frame for part in course.segments]
    # Some frames may be left out evenly, and players differ about the last one.
    step = max([2, *(after - before for before, after in itertools.pairwise(starts))])
    measured = max(part.last_frame for part in course.segments) + 1
    if measured < wanted - step or (pairing.frames is None and measured > frames + step):
        what = f"the log ends after {measured} frames, {clip.path.name} has {wanted}"
        raise DataError(what, where=log, hint="--frames, where only so many were measured")
