"""Scores that were taken before: kept by what the files hold and what the scorer is, so that nothing is scored twice.

A score is found again when a file was renamed or moved, and not found when a file, a weight, a line of code, a program
or a setting changed. The store is SQLite: each score is written whole or not at all, whatever happens to the process.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compressvqa.errors import CompressVQAError, DataError
from compressvqa.evaluation.digests import Digests
from compressvqa.files import check_writable
from compressvqa.scoring.scorer import Course, Facts, Segment
from compressvqa.untrusted import parse_json
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.sequence import files_of

log = logging.getLogger(__name__)
# Changes with the form of keys and of what is kept. What scores depend on is in the keys.
VERSION = 2
STORE = "scores.sqlite"


def default_folder() -> Path:
    """Where scores are kept: $COMPRESSVQA_CACHE, else the user's cache folder."""
    named = os.environ.get("COMPRESSVQA_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "compressvqa"


class StoreError(DataError):
    """The store itself can't be read or written; no fault of a file that is scored."""


class ScoreCache:
    """Scores by content.

    Args:
        folder: made where it is missing; several processes may share it.

    Raises:
        StoreError: the folder can't be written, or its store is damaged; from every method.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()
        try:
            check_writable(self.folder / STORE)  # before an item is scored, not after
        except CompressVQAError as error:
            raise StoreError(f"scores {error.what}", where=self.folder, hint="--cache FOLDER") from error
        with self._errors():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._store = sqlite3.connect(self.folder / STORE, timeout=60)
            with self._store:
                self._store.execute("CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, course TEXT NOT NULL)")
            self._digests = Digests(self._store)

    def key(self, facts: Facts, reference: Clip | None, distorted: Clip, pairing: Pairing) -> str:
        """What a score is kept under.

        Args:
            facts: of the score, its `identity` as `compressvqa.scoring.identity.identity` gives it.
            reference: the reference; a score of mode "NR" does not hang on it.
            distorted: the distorted file.
            pairing: how they are brought together.

        Raises:
            DataError: a file can't be read.
        """
        left = None if reference is None or facts.mode == "NR" else self._clip(reference)
        # Not the name: what a score is called in a table changes nothing about it.
        parts = [VERSION, facts.identity, left, self._clip(distorted), asdict(pairing)]
        return _sha256(json.dumps(parts, sort_keys=True, default=str))

    def get(self, facts: Facts, reference: Clip | None, distorted: Clip, pairing: Pairing) -> Course | None:
        """The course of a score that was taken before, or None; one that is damaged is none."""
        key = self.key(facts, reference, distorted, pairing)
        with self._errors():
            row = self._store.execute("SELECT course FROM scores WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        check, _, text = str(row[0]).partition(" ")
        if check != _sha256(key + text):
            log.warning("a kept score of %s is damaged and is taken again", distorted.path)
            return None
        course = _course(text)
        if course is None:
            log.warning("a kept score of %s is none that can be read, and is taken again", distorted.path)
        return course

    def put(
        self, facts: Facts, reference: Clip | None, distorted: Clip, pairing: Pairing, course: Course,
        *, before: str | None = None,
    ) -> None:  # fmt: skip
        """Keeps a score.

        Args:
            facts: as for `key`.
            reference: likewise.
            distorted: likewise.
            pairing: likewise.
            course: the score.
            before: the key as it was before the score was taken.

        Raises:
            DataError: a file was written while it was scored, so that nobody knows what the score is of.
        """
        kept = {
            "score": course.score,
            "segments": [_plain(part) for part in course.segments],
            "settings": dict(course.settings),
        }
        kept |= {} if course.raw is None else {"raw": course.raw}
        key, text = self.key(facts, reference, distorted, pairing), json.dumps(kept)
        if before is not None and before != key:
            raise DataError("it or its reference was written while it was scored", where=distorted.path)
        with self._errors(), self._store:
            self._store.execute("INSERT OR REPLACE INTO scores VALUES (?, ?)", (key, f"{_sha256(key + text)} {text}"))

    def rows(self) -> list[tuple[str, str]]:
        """All that is kept, as `take` takes it into another store: (key, checked text)."""
        with self._errors():
            return [(str(key), str(text)) for key, text in self._store.execute("SELECT key, course FROM scores")]

    def take(self, rows: Iterable[Sequence[str]]) -> None:
        """Takes scores that another store kept; what is here stays. One that is damaged is found out by `get`."""
        with self._errors(), self._store:
            self._store.executemany("INSERT OR IGNORE INTO scores VALUES (?, ?)", [tuple(row) for row in rows])

    def close(self) -> None:
        """Ends the connection."""
        self._store.close()

    def digest(self, path: Path) -> str:
        """SHA-256 of a file's content.

        Raises:
            DataError: it can't be read.
        """
        with self._errors():
            return self._digests.of(path)

    def _clip(self, clip: Clip) -> list[Any]:
        read_as = {name: value for name, value in asdict(clip).items() if name != "path"}
        return [*(self.digest(file) for file in files_of(clip.path)), read_as]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """One line for whatever goes wrong with the store."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            hint = "--cache FOLDER"
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                hint = f"it is damaged: delete {self.folder / STORE}, or --cache FOLDER"
            raise StoreError(f"scores can't be kept here ({error})", where=self.folder, hint=hint) from error


def _course(text: str) -> Course | None:
    """A score as `put` writes it; None where the store holds something else."""
    try:
        kept = parse_json(text, "scores.sqlite")
        segments = tuple(Segment(*part) for part in kept["segments"])
        course = Course(kept["score"], segments, dict(kept["settings"]), kept.get("raw"))
        frames = [number for part in segments for number in (part.first_frame, part.last_frame)]
        scores = [course.score, *(part.score for part in segments), course.raw, *(part.raw for part in segments)]
        sound = all(type(number) is int for number in frames)
        sound = sound and all(
            type(score) in (int, float) and math.isfinite(score) for score in scores if score is not None
        )
    except (DataError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return course if sound and course.score is not None else None


def _plain(part: Segment) -> list[float]:
    plain = [part.first_frame, part.last_frame, part.score]
    return plain if part.raw is None else [*plain, part.raw]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
