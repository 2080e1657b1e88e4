"""Scores that were taken before: kept by what the files hold and what the scorer is, so that nothing is scored twice.

A score is found again when a file was renamed or moved, and not found when a file, a weight or a setting changed. The
store is SQLite: each score is written whole or not at all, whatever happens to the process.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compressvqa.errors import DataError
from compressvqa.scoring.scorer import Course, Facts, Segment
from compressvqa.video.clip import Clip, Pairing

# Changes when equal files, scorer and pairing would give another score: a mend in how files are read or aligned.
VERSION = 1


def default_folder() -> Path:
    """Where scores are kept: $COMPRESSVQA_CACHE, else the user's cache folder."""
    named = os.environ.get("COMPRESSVQA_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "compressvqa"


class ScoreCache:
    """Scores by content.

    Args:
        folder: made where it is missing; several processes may share it.

    Raises:
        DataError: the folder can't be written, or its store is damaged.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._store = sqlite3.connect(self.folder / "scores.sqlite", timeout=60)
            with self._store:
                self._store.execute("CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, course TEXT NOT NULL)")
                self._store.execute(
                    "CREATE TABLE IF NOT EXISTS files "
                    "(path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, digest TEXT NOT NULL)"
                )
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"scores can't be kept here ({error})", where=self.folder, hint="--cache FOLDER") from error

    def get(self, facts: Facts, reference: Clip | None, distorted: Clip, pairing: Pairing) -> Course | None:
        """The course of a score that was taken before, or None."""
        key = self._key(facts, reference, distorted, pairing)
        row = self._store.execute("SELECT course FROM scores WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        kept = json.loads(row[0])
        return Course(kept["score"], tuple(Segment(*part) for part in kept["segments"]), kept["settings"])

    def put(self, facts: Facts, reference: Clip | None, distorted: Clip, pairing: Pairing, course: Course) -> None:
        """Keeps a score."""
        kept = {
            "score": course.score,
            "segments": [[part.first_frame, part.last_frame, part.score] for part in course.segments],
            "settings": dict(course.settings),
        }
        key = self._key(facts, reference, distorted, pairing)
        with self._store:
            self._store.execute("INSERT OR REPLACE INTO scores VALUES (?, ?)", (key, json.dumps(kept)))

    def close(self) -> None:
        """Ends the connection."""
        self._store.close()

    def _key(self, facts: Facts, reference: Clip | None, distorted: Clip, pairing: Pairing) -> str:
        left = None if reference is None or facts.mode == "NR" else self._clip(reference)
        # Not the name: what a score is called in a table changes nothing about it.
        parts = [VERSION, facts.identity, left, self._clip(distorted), asdict(pairing)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def _clip(self, clip: Clip) -> list[Any]:
        return [self.digest(clip.path), None if clip.raw is None else asdict(clip.raw)]

    def digest(self, path: Path) -> str:
        """SHA-256 of a file, read once as long as its size and time of change stay.

        Raises:
            DataError: it can't be read.
        """
        try:
            state = path.stat()
            name = str(path.resolve())
            row = self._store.execute(
                "SELECT digest FROM files WHERE path = ? AND size = ? AND changed = ?",
                (name, state.st_size, state.st_mtime_ns),
            ).fetchone()
            if row is not None:
                return str(row[0])
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        except OSError as error:
            raise DataError(f"can't be read ({error.strerror})", where=path) from error
        found = digest.hexdigest()
        with self._store:
            entry = (name, state.st_size, state.st_mtime_ns, found)
            self._store.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", entry)
        return found
