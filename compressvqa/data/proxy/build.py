"""Building a proxy set: every clip's reference through every rung, in parallel, resumable at any moment.

What is made lies beside a JSON of the same name that holds its facts and a digest of all that it depends on. A file
whose JSON has the wanted digest is kept; everything else is made again, under a temporary name, and renamed when it is
whole. So a build that was killed goes on where it was, and one with other settings makes only what they change.
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
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch

from compressvqa.data import ladder as ladders
from compressvqa.data.ladder import CODECS, Rung
from compressvqa.data.proxy.encodes import Encode, file_name, store_encode
from compressvqa.data.proxy.made import Made
from compressvqa.data.proxy.manifest import FACTS, MANIFEST, write_set
from compressvqa.data.proxy.references import Excerpt, Reference, store_reference, unpack
from compressvqa.data.shared import apart_in, remove_dead_work, working_in
from compressvqa.data.sources import FileSource
from compressvqa.errors import DataError
from compressvqa.files import write_json
from compressvqa.opinions.manifest import Manifest
from compressvqa.progress import Progress
from compressvqa.video.clip import Clip
from compressvqa.video.folders import list_videos
from compressvqa.video.vmaf import LABELS

log = logging.getLogger(__name__)
# Changes with the way references and encodes are made.
FORMAT = "compressvqa proxy 1"

# VMAF 0.6.1 of these falls from about 92 to about 36 on small pictures, for every codec.
DEFAULT_LADDER: tuple[Rung, ...] = (
    *(Rung("x264", quality) for quality in (24, 30, 36, 42)),
    *(Rung("x265", quality) for quality in (26, 32, 38, 44)),
    *(Rung("svt-av1", quality) for quality in (36, 50, 58, 63)),
    *(Rung("vp9", quality) for quality in (36, 47, 56, 63)),
    *(Rung("vvc", quality) for quality in (28, 34, 40, 46)),
    *(Rung("x264", quality, 0.5) for quality in (20, 30)),
    *(Rung("svt-av1", quality, 0.5) for quality in (32, 52)),
)


def build_proxy_set(
    sources: str | Path | Sequence[str | Path | Clip],
    folder: str | Path,
    *,
    ladder: Sequence[Rung] = DEFAULT_LADDER,
    frames: int = 60,
    start: int | None = None,
    downscale: int | Literal["auto"] = "auto",
    label: str = "vmaf_v0.6.1",
    name: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Makes an evaluation set where no human scores exist: real encodes of clips, and VMAF of each.

    Two things are known of such a set: along a ladder (one clip, one codec, one size) the order of the rungs, and
    across all of it what VMAF says. Neither is a MOS, and the manifest says so (``kind="proxy"``).

    The folder then holds ``references/NAME.mkv`` (FFV1, lossless), ``distorted/NAME/RUNG.mkv`` (as coded; a scaled rung
    has its own, smaller size), ``manifest.csv`` and ``manifest.json``, and ``proxy.json`` with all labels and facts.
    A finished set returns at once; a killed build goes on; other settings make only what they change.

    Args:
        sources: a folder of videos (with its subfolders), or a list of files; a headerless one as a `Clip`.
        folder: where the set lies.
        ladder: how each clip is distorted.
        frames: frames of each reference, at least 2; a shorter clip gives all it has.
        start: number of the first frame in each clip; None: from the middle.
        downscale: whole factor by which references are made smaller than their clip, to hide what its own codec did;
            "auto": up to 4, as long as the short side keeps 256 pixels.
        label: what becomes the score: "vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_v1.0.16_3d0h" or "psnr_y".
        name: name of the set; None: that of the folder.
        workers: encoders that run at a time, one thread each; None: one for each core.
        progress: called with (encodes done, encodes in all) as the work goes on.

    Raises:
        DataError: no clip can be used (each that can't is otherwise skipped and named in the notes), a setting is out
            of range, ffmpeg lacks what it takes, or the folder holds another data set.
    """
    folder = Path(folder)
    excerpt = Excerpt(frames, start, downscale)
    if label not in LABELS:
        raise DataError(f"unknown label {label!r}", hint=", ".join(LABELS))
    if len({rung.name for rung in ladder}) < len(ladder):
        raise DataError("the ladder names a rung twice", where=folder)
    rungs, lacking = ladders.usable(list(ladder))
    if (folder / MANIFEST).exists() and not (folder / FACTS).exists():
        raise DataError("holds a data set that is not a proxy set", where=folder, hint="another folder")
    clips = _named(_clips(sources, folder))
    with working_in(folder) as work:
        for place in (*folder.glob("references"), *folder.glob("distorted/*")):
            remove_dead_work(place)
        build = _Build(folder, work, excerpt, rungs, workers or os.cpu_count() or 1, progress)
        made = build.run(clips)
        _remove_others(folder, build.wanted, {name for name, clip in made.items() if clip.skipped})
    settings = {"format": FORMAT, "excerpt": asdict(excerpt), "ladder": [rung.name for rung in ladder]}
    notes = [f"codec {codec} left out: this ffmpeg has no encoder for it" for codec in lacking]
    return write_set(folder, name or folder.resolve().name, label, made, settings, notes)


def proxy_pieces(
    sources: str | Path | Sequence[str | Path | Clip],
    folder: str | Path,
    *,
    ladder: Sequence[Rung] = DEFAULT_LADDER,
    frames: int = 60,
    start: int | None = None,
    downscale: int | Literal["auto"] = "auto",
    workers: int | None = None,
) -> dict[str, Callable[[], None]]:
    """What `build_proxy_set` does for each clip, apart: {a name that changes with clip and settings: makes its files}.

    Each can run in another process, on another machine that sees the folder. `build_proxy_set` then finds the files and
    writes what describes them.

    Args:
        sources: as for `build_proxy_set`, likewise the rest.
        folder: likewise.
        ladder: likewise.
        frames: likewise.
        start: likewise.
        downscale: likewise.
        workers: encoders that a piece runs at a time; None: as many as the process has threads.
    """
    folder, excerpt = Path(folder), Excerpt(frames, start, downscale)
    rungs, _ = ladders.usable(list(ladder))
    settings = [asdict(excerpt), [asdict(rung) for rung in rungs]]
    return {
        f"{name}-{_digest(_identity(clip), *settings)}": functools.partial(
            _piece, folder, name, (content, clip), excerpt, rungs, workers
        )
        for name, (content, clip) in _named(_clips(sources, folder)).items()
    }


def _identity(clip: Clip) -> Any:
    # One that is not there is skipped and named when its turn comes.
    return FileSource(clip.path.name, clip.path, clip.raw).identity if clip.path.is_file() else None


def _piece(
    folder: Path, name: str, clip: tuple[str, Clip], excerpt: Excerpt, rungs: list[Rung], workers: int | None
) -> None:
    with apart_in(folder, name) as work:
        _Build(folder, work, excerpt, rungs, workers or torch.get_num_threads(), None).make({name: clip})


def _clips(sources: str | Path | Sequence[str | Path | Clip], folder: Path) -> list[tuple[str, Clip]]:
    """(content, clip) of every source; a set that lies among its sources is not taken for one."""
    if isinstance(sources, (str, Path)):
        inside = folder.resolve()
        found = [(content, path) for content, path in list_videos(sources) if inside not in path.resolve().parents]
        clips = [(content, Clip(path)) for content, path in found]
    else:
        given = [source if isinstance(source, Clip) else Clip(Path(source)) for source in sources]
        clips = [(clip.path.name, clip) for clip in given]
    if not clips:
        raise DataError("no video to build a proxy set from", where=folder)
    return clips


def _named(clips: list[tuple[str, Clip]]) -> dict[str, tuple[str, Clip]]:
    """A short name for each clip that is a file name everywhere: the file's own, longer where two are alike."""
    short = [_slug(Path(content).stem) for content, _ in clips]
    alike = {name.lower() for name in short if sum(other.lower() == name.lower() for other in short) > 1}
    names = {}
    for name, (content, clip) in zip(short, clips, strict=True):
        if name.lower() in alike:
            digest = hashlib.sha256(f"{content}/{clip.path.absolute()}".encode()).hexdigest()[:6]
            name = f"{_slug(content)}-{digest}"  # noqa: PLW2901
        names[name] = (content, clip)
    if len(names) < len(clips):
        raise DataError("a clip is named twice", where=clips[0][1].path.parent)
    return names


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9+-]+", "_", text).strip("_-")[:48] or "clip"


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps([FORMAT, *parts], sort_keys=True, default=str).encode()).hexdigest()[:24]


def _kept(stored: Path, digest: str) -> dict[str, Any] | None:
    """Facts of a stored file that has the wanted digest and is whole, else None."""
    try:
        facts = json.loads(_facts_path(stored).read_text(encoding="utf-8"))
        if facts["digest"] != digest:
            return None
        if stored.stat().st_size != facts["facts"]["bytes"]:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(facts)


def _facts_path(stored: Path) -> Path:
    return stored.with_name(f"{stored.name}.json")


def _keep(temporary: Path, stored: Path, digest: str, facts: dict[str, Any]) -> None:
    """Facts first: if the process dies between the two steps, the missing file says that it must be made again."""
    described = _facts_path(temporary)
    write_json(described, {"format": FORMAT, "digest": digest, "facts": facts})
    stored.unlink(missing_ok=True)
    described.replace(_facts_path(stored))
    temporary.replace(stored)


def _remove_others(folder: Path, wanted: set[Path], spared: set[str]) -> None:
    """Removes files of other settings, and those only that a JSON of ours describes.

    A clip that can't be read for the moment is spared: what was made of it may be of use the next time.
    """
    for path in [*folder.glob("references/*.json"), *folder.glob("distorted/*/*.json")]:
        stored = path.with_name(path.name.removesuffix(".json"))
        if stored in wanted or stored.stem in spared or stored.parent.name in spared:
            continue
        try:
            ours = json.loads(path.read_text(encoding="utf-8"))["format"] == FORMAT
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if ours:
            stored.unlink(missing_ok=True)
            path.unlink()
    for place in folder.glob("distorted/*"):
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()


class _Build:
    """One run over the clips. Clips are read by a few threads, their rungs go through a pool of encoders."""

    def __init__(
        self,
        folder: Path,
        work: Path,
        excerpt: Excerpt,
        rungs: list[Rung],
        workers: int,
        progress: Progress | None,
    ) -> None:
        self.folder, self.work, self.excerpt, self.rungs = folder, work, excerpt, rungs
        self.workers, self.progress = workers, progress
        self.wanted: set[Path] = set()
        self._lock = threading.Lock()
        self._done = self._total = 0

    def run(self, clips: dict[str, tuple[str, Clip]]) -> dict[str, Made]:
        """What became of each clip, by its short name.

        Raises:
            DataError: none can be used, or the disk is full.
        """
        made = self.make(clips)
        if not any(result.encodes for result in made.values()):
            reasons = "; ".join(f"{result.content}: {result.skipped}" for result in [*made.values()][:3])
            raise DataError(f"none of {len(made)} clips can be used ({reasons})", where=self.folder)
        return made

    def make(self, clips: dict[str, tuple[str, Clip]]) -> dict[str, Made]:
        """The same where it may be that none can be used.

        Raises:
            DataError: the disk is full.
        """
        self._total = len(clips) * len(self.rungs)
        self._tell(0)
        encoders = ThreadPoolExecutor(self.workers, thread_name_prefix="encode")
        readers = ThreadPoolExecutor(min(self.workers, 4), thread_name_prefix="read")
        try:
            jobs = {name: readers.submit(self._clip, name, *clip, encoders) for name, clip in clips.items()}
            wait(jobs.values(), return_when=FIRST_EXCEPTION)
            made = {name: job.result() for name, job in jobs.items() if job.done()}
        except OSError as error:
            hint = "free some space, then run it again: finished files are kept"
            what = f"the set can't be written ({error.strerror or error})"
            raise DataError(what, where=self.folder, hint=hint) from error
        finally:
            # Also when the user presses Ctrl-C: what has not begun is dropped, running encoders end soon.
            readers.shutdown(wait=False, cancel_futures=True)
            encoders.shutdown(wait=True, cancel_futures=True)
            readers.shutdown(wait=True)
        return made

    def _tell(self, more: int) -> None:
        with self._lock:
            self._done += more
            if self.progress is not None:
                self.progress(self._done, self._total)

    def _clip(self, name: str, content: str, clip: Clip, encoders: ThreadPoolExecutor) -> Made:
        stored = self.folder / "references" / f"{name}.mkv"
        try:
            digest, reference = self._reference(stored, clip)
        except DataError as error:
            reason = error.what if error.hint is None else f"{error.what} ({error.hint})"
            log.warning("skipped %s: %s", content, reason)
            self._tell(len(self.rungs))
            return Made(content, skipped=reason)
        self.wanted.add(stored)
        return self._encodes(name, Made(content, reference=reference), stored, digest, encoders)

    def _reference(self, stored: Path, clip: Clip) -> tuple[str, Reference]:
        """The reference, and a digest of its pixels and format; made if it is not there.

        Raises:
            DataError: the clip can't be used.
        """
        if not clip.path.is_file():
            raise DataError("no such file", where=clip.path)
        digest = _digest(FileSource(clip.path.name, clip.path, clip.raw).identity, asdict(self.excerpt))
        kept = _kept(stored, digest)
        if kept is None:
            with tempfile.TemporaryDirectory(dir=self.work) as place:
                temporary = Path(place) / stored.name
                reference = store_reference(clip, self.excerpt, temporary)
                stored.parent.mkdir(exist_ok=True)
                _keep(temporary, stored, digest, reference.facts())
        else:
            reference = Reference.of(kept["facts"])
        return _digest(reference.sha256, asdict(reference.raw), reference.frames), reference

    def _encodes(self, name: str, made: Made, stored: Path, digest: str, encoders: ThreadPoolExecutor) -> Made:
        reference = made.reference
        assert reference is not None
        found: dict[str, Encode | DataError] = {}
        missing: dict[str, tuple[Rung, Path, str]] = {}
        for rung in self.rungs:
            path = self.folder / "distorted" / name / file_name(rung)
            # The encoder's own options are part of it: other presets are other encodes.
            wanted = _digest(digest, asdict(rung), CODECS[rung.codec].options(rung.quality), file_name(rung))
            kept = _kept(path, wanted)
            self.wanted.add(path)
            if kept is None:
                missing[path.name] = (rung, path, wanted)
            else:
                found[path.name] = Encode(**kept["facts"])
        self._tell(len(found))
        if missing:
            with tempfile.TemporaryDirectory(dir=self.work) as place:
                samples = Path(place) / "reference.yuv"
                if unpack(stored, reference.raw, samples) != (reference.frames, reference.sha256):
                    hint = "delete it and build again"
                    raise DataError("the stored reference was changed or is damaged", where=stored, hint=hint)
                jobs = {key: encoders.submit(self._encode, samples, reference, *job) for key, job in missing.items()}
                found |= {key: job.result() for key, job in jobs.items()}
        order = [file_name(rung) for rung in self.rungs]
        made.encodes = {key: result for key in order if isinstance(result := found[key], Encode)}
        made.notes = tuple(f"{name}: left out {bad}" for key in order if isinstance(bad := found[key], DataError))
        if not made.encodes:
            made.skipped = f"no rung of the ladder worked: {made.notes[0]}"
        return made

    def _encode(self, samples: Path, reference: Reference, rung: Rung, stored: Path, digest: str) -> Encode | DataError:
        temporary = samples.with_name(stored.name)
        try:
            encode = store_encode(samples, reference, rung, temporary)
        except DataError as error:  # one encoder that fails on one clip must not cost the others
            log.warning("left out %s/%s", stored.parent.name, error)
            return error
        finally:
            self._tell(1)
        stored.parent.mkdir(parents=True, exist_ok=True)
        _keep(temporary, stored, digest, encode.facts())
        return encode
