"""Building a set of patches: every source through every rung, in parallel, resumable at any moment.

The work of one source is one shard. A shard is written under a temporary name and renamed when it is whole, its JSON
last; a build that was killed begins again with the sources that have no JSON. Sources that can't be used are skipped
and named.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compressvqa.data import ladder
from compressvqa.data.ladder import AnyRung, Distorted
from compressvqa.data.patches import FORMAT, INDEX, PatchSet
from compressvqa.data.shared import apart_in, working_in
from compressvqa.data.sources import Cutting, Reference, Source
from compressvqa.errors import DataError
from compressvqa.files import write_json
from compressvqa.plurals import count
from compressvqa.progress import Progress
from compressvqa.video.raw import RawFormat

log = logging.getLogger(__name__)
# Names of what a build writes.
SHARD = re.compile(r"(?!index-[0-9a-f]{12}\.json)[\w.+-]+-[0-9a-f]{12}\.(npy|json)")


def build(
    sources: Sequence[Source],
    folder: Path,
    cutting: Cutting,
    rungs: Sequence[AnyRung],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PatchSet:
    """Cuts, encodes, measures and stores patches of all sources; returns at once if that was done before.

    Args:
        sources: what to cut from; contents must differ.
        folder: where the shards lie.
        cutting: how to cut.
        rungs: how to distort.
        workers: encoders that run at a time; None: one for each core.
        progress: called with (patches done, patches in all) as the work goes on.

    Raises:
        DataError: there is no source, none of them can be used, or ffmpeg lacks what it takes.
    """
    if not sources:
        raise DataError("no video to build patches from", where=folder)
    if len({rung.name for rung in rungs}) < len(rungs):
        raise DataError("the ladder names a rung twice", where=folder)
    usable, lacking = ladder.usable(list(rungs))
    for rung in usable:
        rung.coded_size(cutting.size, cutting.size)
    names = _named(sources, folder, cutting, usable)
    notes = [f"codec {codec} left out: this ffmpeg has no encoder for it" for codec in lacking]
    wanted = {"format": FORMAT, "frames": cutting.frames, "size": cutting.size, "names": sorted(names)}
    index = _index_name(wanted)
    if not _finished(folder / index, wanted):
        with working_in(folder) as work:
            if not _finished(folder / index, wanted):  # another run may just have made it
                _Build(folder, work, cutting, usable, workers or os.cpu_count() or 1, progress).run(names)
                _finish(folder, index, wanted, notes)
    found = PatchSet(folder, index)
    if progress is not None:
        progress(len(found), len(found))
    return found


def pieces(
    sources: Sequence[Source], folder: Path, cutting: Cutting, rungs: Sequence[AnyRung], *, workers: int | None = None
) -> dict[str, Callable[[], None]]:
    """What `build` does for each source, apart: {name of its shard: makes the shard}.

    Each can run in another process, on another machine that sees the folder, beside all others. `build` then finds the
    shards and writes the index.

    Args:
        sources: as for `build`.
        folder: likewise.
        cutting: likewise.
        rungs: likewise.
        workers: encoders that a piece runs at a time; None: as many as the process has threads.
    """
    usable, _ = ladder.usable(list(rungs))
    return {
        name: functools.partial(_piece, name, source, folder, cutting, usable, workers)
        for name, source in _named(sources, folder, cutting, usable).items()
    }


def _piece(
    name: str, source: Source, folder: Path, cutting: Cutting, rungs: list[AnyRung], workers: int | None
) -> None:
    if not (folder / f"{name}.json").exists():
        with apart_in(folder, name) as work:
            _Build(folder, work, cutting, rungs, workers or torch.get_num_threads(), None).run({name: source})


def _named(sources: Sequence[Source], folder: Path, cutting: Cutting, rungs: Sequence[AnyRung]) -> dict[str, Source]:
    """Sources by the names of their shards.

    Raises:
        DataError: contents don't differ.
    """
    if len({source.content for source in sources}) < len(sources):
        raise DataError("two sources have the same content name", where=folder, hint="rename one of the files")
    return {_shard_name(source, cutting, rungs): source for source in sources}


def _index_name(wanted: dict[str, Any]) -> str:
    """The index of a set of settings: sets that share a folder, and perhaps shards, have one each."""
    return f"index-{hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:12]}.json"


def _shard_name(source: Source, cutting: Cutting, rungs: Sequence[AnyRung]) -> str:
    """A name that changes with everything that the shard depends on."""
    settings = [FORMAT, source.identity, asdict(cutting), [rung.facts() for rung in rungs]]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9.+]+', '_', source.content)[:48]}-{digest}"


def _finished(file: Path, wanted: dict[str, Any]) -> bool:
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
        return bool(all(index.get(key) == value for key, value in wanted.items()))
    except (OSError, ValueError):
        return False


def _finish(folder: Path, index: str, wanted: dict[str, Any], notes: list[str]) -> None:
    """Writes the index over all shards. Those of other settings stay: a run that shares the folder may need them."""
    shards, skipped = [], []
    for name in wanted["names"]:
        facts = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        if facts["skipped"] is not None:
            skipped.append({"source": facts["content"], "reason": facts["skipped"]})
        else:
            shards.append(name)
            notes += facts["notes"]
    if not shards:
        shown = "; ".join(f"{entry['source']}: {entry['reason']}" for entry in skipped[:3])
        for name in wanted["names"]:  # so that the next build looks at them again
            (folder / f"{name}.json").unlink()
        raise DataError(f"none of {len(skipped)} sources can be used ({shown})", where=folder)
    facts = wanted | {"shards": shards, "skipped": skipped, "notes": notes}
    write_json(folder / INDEX, facts)  # what was built last, for whoever opens the folder by hand
    write_json(folder / index, facts)  # after it: once this is there, nothing is built or written again
    others = [p for p in folder.iterdir() if SHARD.fullmatch(p.name) and p.stem not in wanted["names"]]
    if others:
        size = sum(path.stat().st_size for path in others)
        log.info("%s: %s (%.0f MB) of other settings stay there", folder, count(len(others), "file"), size / 1e6)


class _Build:
    """One run over the sources. Sources are read by a few threads, their rungs go through a pool of encoders."""

    def __init__(
        self, folder: Path, work: Path, cutting: Cutting, rungs: list[AnyRung], workers: int, progress: Progress | None
    ) -> None:
        self.folder, self.work, self.cutting, self.rungs = folder, work, cutting, rungs
        self.workers, self.progress = workers, progress
        self._lock = threading.Lock()
        self._done = self._total = 0

    def run(self, names: dict[str, Source]) -> None:
        missing = {name: source for name, source in names.items() if not (self.folder / f"{name}.json").exists()}
        each = self.cutting.patches * len(self.rungs)
        self._total, self._done = each * len(names), each * (len(names) - len(missing))
        self._tell(0)
        encoders = ThreadPoolExecutor(self.workers, thread_name_prefix="encode")
        readers = ThreadPoolExecutor(min(self.workers, 4), thread_name_prefix="read")
        try:
            jobs = [readers.submit(self._shard, name, source, encoders) for name, source in missing.items()]
            done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            for job in done:
                job.result()
        except OSError as error:
            hint = "free some space, then run it again: finished sources are kept"
            what = f"patches can't be written ({error.strerror or error})"
            raise DataError(what, where=self.folder, hint=hint) from error
        finally:
            # Also when the user presses Ctrl-C: what has not begun is dropped, running encoders end within a second.
            readers.shutdown(wait=False, cancel_futures=True)
            encoders.shutdown(wait=True, cancel_futures=True)
            readers.shutdown(wait=True)

    def _tell(self, more: int) -> None:
        with self._lock:
            self._done += more
            if self.progress is not None:
                self.progress(self._done, self._total)

    def _shard(self, name: str, source: Source, encoders: ThreadPoolExecutor) -> None:
        began = time.monotonic()
        try:
            references = source.cut(self.cutting)
        except DataError as error:
            reason = error.what if error.hint is None else f"{error.what} ({error.hint})"
            log.warning("skipped %s: %s", source.content, reason)
            self._put(name, {"content": source.content, "skipped": reason})
            self._tell(self.cutting.patches * len(self.rungs))
            return
        with tempfile.TemporaryDirectory(dir=self.work) as place:
            made = self._distort(references, Path(place), encoders)
            facts = self._store(name, source, references, made)
        self._put(name, facts)
        log.debug("%s took %.1f s", name, time.monotonic() - began)
        self._tell((self.cutting.patches - len(references)) * len(self.rungs))

    def _put(self, name: str, facts: dict[str, Any]) -> None:
        """The shard's JSON, its last file. Written apart: who tidies the folder must not take it for a dead one's."""
        temporary = self.work / f"{name}.json"
        write_json(temporary, facts)
        temporary.replace(self.folder / temporary.name)

    def _distort(
        self, references: list[Reference], place: Path, encoders: ThreadPoolExecutor
    ) -> list[tuple[int, AnyRung, Distorted | DataError]]:
        jobs: list[tuple[int, AnyRung, Future[Distorted | DataError]]] = []
        for number, reference in enumerate(references):
            path = place / f"{number}.yuv"
            path.write_bytes(reference.samples.astype(reference.samples.dtype.newbyteorder("<"), copy=False).tobytes())
            raw = RawFormat(self.cutting.size, self.cutting.size, "420", reference.colour.bitdepth)
            jobs += [(number, rung, encoders.submit(self._rung, path, raw, rung)) for rung in self.rungs]
        return [(number, rung, job.result()) for number, rung, job in jobs]

    def _rung(self, path: Path, raw: RawFormat, rung: AnyRung) -> Distorted | DataError:
        try:
            return ladder.distort(path, raw, rung)
        except DataError as error:  # one encoder that fails on one patch must not cost the others
            return error
        finally:
            self._tell(1)

    def _store(
        self,
        name: str,
        source: Source,
        references: list[Reference],
        made: list[tuple[int, AnyRung, Distorted | DataError]],
    ) -> dict[str, Any]:
        good = [(number, rung, result) for number, rung, result in made if isinstance(result, Distorted)]
        notes = [f"{source.content}, patch {number}: {bad}" for number, _, bad in made if isinstance(bad, DataError)]
        for note in notes:
            log.warning("left out %s", note)
        if not good:
            return {"content": source.content, "skipped": f"no rung of the ladder worked: {notes[0]}"}
        rows = [reference.samples for reference in references] + [result.samples for _, _, result in good]
        temporary = self.work / f"{name}.npy"
        # Not mapped into memory: a full disk would kill the process there, and is an error here.
        with temporary.open("wb") as file:
            header = {"descr": rows[0].dtype.str, "fortran_order": False, "shape": (len(rows), *rows[0].shape)}
            np.lib.format.write_array_header_1_0(file, header)
            for samples in rows:
                file.write(samples.astype(rows[0].dtype, copy=False).tobytes())
        temporary.replace(self.folder / temporary.name)
        return {
            "content": source.content,
            "skipped": None,
            "notes": notes,
            "colour": asdict(references[0].colour),
            "references": [
                {"start": r.start, "top": r.top, "left": r.left, "downscale": r.downscale} for r in references
            ],
            "distorted": [
                {"reference": number, **rung.facts(), "bytes": result.bytes, "labels": result.labels}
                for number, rung, result in good
            ],
        }
