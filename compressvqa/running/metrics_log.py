"""The figures of every training step of a run: lines of ``metrics.jsonl``, and the same as TensorBoard events."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from compressvqa.errors import CompressVQAError
from compressvqa.files import finite, write_text

log = logging.getLogger(__name__)
EVENTS = "events"


class MetricsLog:
    """Figures of the stages of a run, step by step.

    Args:
        folder: the run folder.
        stages: names of the run's stages; figures of others, which the recipe no longer has, are forgotten.

    Raises:
        CompressVQAError: the files can't be written; from every method.
    """

    def __init__(self, folder: Path, stages: Collection[str]) -> None:
        self.file, self._folder = folder / "metrics.jsonl", folder / EVENTS
        self._begun: set[str] = set()
        self._events: _Events | None = None
        self._keep(lambda row: row["stage"] in stages)

    def write(self, stage: str, step: int, figures: Mapping[str, float]) -> None:
        """Adds the figures of a finished step; steps that a resumed stage repeats replace the earlier ones."""
        if stage not in self._begun:
            self._begun.add(stage)
            self._keep(lambda row: row["stage"] != stage or row["step"] < step)
        row = {"stage": stage, "step": step, **finite(dict(figures))}
        try:
            with self.file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(row) + "\n")
            self._open().write(stage, step, figures)
        except OSError as error:
            raise CompressVQAError(f"can't be written ({error.strerror or error})", where=self.file) from error

    def forget(self, stage: str) -> None:
        """Drops the figures of a stage that starts over."""
        self._keep(lambda row: row["stage"] != stage)

    def rows(self) -> list[dict[str, Any]]:
        """All lines so far; one that a kill cut short is left out."""
        return self._read()[0]

    def close(self) -> None:
        """Closes the file of events."""
        if self._events is not None:
            self._events.close()
            self._events = None

    def _keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Writes both files anew where they hold rows that are not wanted."""
        rows, whole = self._read()
        kept = [row for row in rows if wanted(row)]
        if whole and len(kept) == len(rows):
            return
        try:
            write_text(self.file, "".join(json.dumps(row) + "\n" for row in kept))
            self.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            for row in kept:
                figures = {name: value for name, value in row.items() if name not in ("stage", "step")}
                self._open().write(row["stage"], row["step"], figures)
        except OSError as error:
            raise CompressVQAError(f"can't be written ({error.strerror or error})", where=self.file) from error

    def _read(self) -> tuple[list[dict[str, Any]], bool]:
        """The rows, and whether there is nothing else in the file."""
        if not self.file.exists():
            return [], True
        text = self.file.read_text(encoding="utf-8", errors="replace")
        rows, whole = [], text.endswith("\n") or not text
        for line in text.splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                whole = False
                log.warning("%s: a line cut short by a kill was dropped", self.file)
        return rows, whole

    def _open(self) -> _Events:
        if self._events is None:
            self._events = _Events(self._folder)
        return self._events


class _Events:
    """A file of TensorBoard events, whole after every step.

    Not `SummaryWriter`: its thread meets a full disk out of our sight, and prints what it thinks of it.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / name).open("wb", buffering=0)
        self._write([Event(wall_time=time.time(), file_version="brain.Event:2")])

    def write(self, stage: str, step: int, figures: Mapping[str, float | None]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from torch.utils.tensorboard.summary import scalar

        events = []
        for name, value in figures.items():
            if isinstance(value, (int, float)):
                summary = scalar(f"{stage}/{name}", value)  # type: ignore[no-untyped-call]
                events.append(Event(wall_time=time.time(), step=step, summary=summary))
        self._write(events)

    def _write(self, events: list[Any]) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        records = io.BytesIO()
        writer = RecordWriter(records)
        for event in events:
            writer.write(event.SerializeToString())
        self._file.write(records.getvalue())

    def close(self) -> None:
        self._file.close()
