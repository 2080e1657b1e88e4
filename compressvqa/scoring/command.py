"""Any outside program as a scorer: a command with places for the files, and a number in what it prints or writes."""

from __future__ import annotations

import os
import shlex
import string
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from compressvqa.errors import DataError
from compressvqa.progress import Progress
from compressvqa.scoring.find import stated
from compressvqa.scoring.foreign_logs import read_scores
from compressvqa.scoring.program import program_identity
from compressvqa.scoring.scorer import Course, Facts, Scorer
from compressvqa.video.align import blocks
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.compare import Sight, look
from compressvqa.video.frames import Planes
from compressvqa.video.raw import write_y4m
from compressvqa.video.sequence import is_sequence
from compressvqa.video.treat import AS_STORED

TIMEOUT = 24 * 3600  # seconds: such programs can be slow, but must end
# Differences that the pairing mends: a program that opens the files itself would see them unmended.
CHANGED = ("frame size", "frame rate", "variable frame rate", "frame count", "alignment")
PLACES = ("reference", "distorted", "reference_y4m", "distorted_y4m", "output")


class CommandScorer(Scorer):
    """Runs a command for each distorted file; no shell sees it.

    ``{reference}`` and ``{distorted}`` stand for the files' paths. ``{reference_y4m}`` and ``{distorted_y4m}`` stand
    for uncompressed copies that are already in step (scaled, held, cut as the pairing says), for programs that want raw
    video, both in one form (chroma, bit depth, matrix, range). ``{output}`` is a file for the program to write its
    result to; without it, what it prints is read. Either is a log as libvmaf writes it (JSON, CSV, XML), a JSON
    number or any text: then its last number counts.

    Args:
        name: what the score is called, and its name inside a log that holds several.
        template: the command.
        higher_is_better: direction of the number; None: nobody knows, or the name says it ("lpips").
        mode: "FR" or "NR".

    Raises:
        DataError: a place that does not exist, or none for the distorted file.
    """

    def __init__(self, name: str, template: str, *, higher_is_better: bool | None = None, mode: str = "FR") -> None:
        try:
            self.words = shlex.split(template)
            used = {field for word in self.words for _, field, _, _ in string.Formatter().parse(word) if field}
        except ValueError as error:
            raise DataError(f"the command of {name} is not well formed ({error})", where=template) from error
        unknown = sorted(used - set(PLACES))
        if unknown:
            hint = ", ".join(f"{{{place}}}" for place in PLACES)
            raise DataError(f"the command of {name} has no place {{{unknown[0]}}}", where=template, hint=hint)
        if not self.words or not used & {"distorted", "distorted_y4m"}:
            raise DataError(f"the command of {name} does not say where the distorted file goes", where=template,
                            hint="{distorted}")  # fmt: skip
        self.used, self.name = used, name
        self.words = [_located(word, program=place == 0) for place, word in enumerate(self.words)]
        # The name, too: it says which score of a log is read.
        identity = f"command:{mode}:{name}:{template}"
        self.facts = (
            Facts(name, identity, "NR" if mode == "NR" else "FR", source=template, **stated(name, higher_is_better)),
        )

    def state(self) -> Any:
        """The program as it is now: the content of its files and the version that it answers."""
        return program_identity(self.words)

    def score(
        self, reference: Clip | None, distorted: Sequence[Clip], pairing: Pairing, progress: Progress | None = None
    ) -> list[dict[str, Course]]:
        """As `Scorer.score`."""
        if reference is None and self.used & {"reference", "reference_y4m"}:
            raise DataError(f"{self.name} compares with a reference, and there is none")
        found = []
        for number, clip in enumerate(distorted):
            sight = look(reference, clip, pairing)
            self._check(sight, pairing, clip)
            with tempfile.TemporaryDirectory(prefix="compressvqa-") as place:
                found.append({self.name: self._run(reference, clip, sight, pairing, Path(place))})
            if progress is not None:
                progress(number + 1, len(distorted))
        return found

    def _check(self, sight: Sight, pairing: Pairing, clip: Clip) -> None:
        """A program that reads the files itself knows nothing of what the pairing asks for."""
        if "distorted_y4m" in self.used:
            return
        if clip.stream is not None or is_sequence(clip.path):
            what = "that pictures are one video" if clip.stream is None else f"that stream {clip.stream} is meant"
            raise DataError(f"the command of {self.name} reads the file itself and does not know {what}",
                            where=clip.path, hint="{reference_y4m} and {distorted_y4m}")  # fmt: skip
        if pairing.frames or pairing.skip_reference or pairing.skip_distorted:
            raise DataError(f"the command of {self.name} reads whole files and can't leave frames out", where=clip.path,
                            hint="{reference_y4m} and {distorted_y4m}")  # fmt: skip
        if sight.treatments != (AS_STORED, AS_STORED):
            raise DataError(f"the command of {self.name} reads the files as they are stored", where=clip.path,
                            hint="{reference_y4m} and {distorted_y4m} are brought together first")  # fmt: skip
        changed = [one for one in sight.differences if one.what in CHANGED]
        if changed:
            raise DataError(f"{self.name} would see files that differ ({changed[0]})", where=clip.path,
                            hint="{reference_y4m} and {distorted_y4m} are brought together first")  # fmt: skip

    def _run(self, reference: Clip | None, clip: Clip, sight: Sight, pairing: Pairing, place: Path) -> Course:
        values = {"reference": "" if reference is None else str(reference.path.absolute())}
        values |= {"distorted": str(clip.path.absolute()), "output": str(place / "output")}
        values |= {f"{side}_y4m": str(place / f"{side}.y4m") for side in ("reference", "distorted")}
        if self.used & {"reference_y4m", "distorted_y4m"}:
            for side in ("reference", "distorted"):
                if f"{side}_y4m" in self.used:
                    write_y4m(place / f"{side}.y4m", _frames(side, reference, clip, sight, pairing), _rate(sight))
        words = [word.format(**values) for word in self.words]
        try:
            done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=TIMEOUT,
                                  stdin=subprocess.DEVNULL, check=False, cwd=place)  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DataError(f"the command of {self.name} can't be run ({error})", where=words[0]) from error
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise DataError(f"the command of {self.name} failed ({done.returncode}): {said[-1] if said else ''}",
                            where=clip.path)  # fmt: skip
        text = done.stdout
        if "output" in self.used:
            try:
                text = (place / "output").read_text(errors="replace")
            except OSError as error:
                raise DataError(f"the command of {self.name} wrote no {{output}}", where=clip.path) from error
        return read_scores(text, self.name, where=str(clip.path))


def _located(word: str, *, program: bool) -> str:
    """A word of the command with the path of a file beside the user made absolute: commands run in another folder."""
    start, equals, path = "", "", word
    if not program and not _is_path(path):
        start, equals, path = word.partition("=")
    if "{" in word or not _is_path(path):
        return word
    return f"{start}{equals}{Path(path).absolute()}"


def _is_path(word: str) -> bool:
    """Whether a word is the path of something that is there, and no plain word that happens to be a file's name."""
    try:
        return bool(Path(word).suffix or os.sep in word) and Path(word).exists()
    except (OSError, ValueError):
        return False


def _frames(side: str, reference: Clip | None, clip: Clip, sight: Sight, pairing: Pairing) -> Iterator[Planes]:
    bring = None if sight.form is None else sight.form.bring()
    for group in blocks(reference, [clip], [sight], pairing, block=12):
        frames = group.distorted[0]
        shown = frames if side == "distorted" else (group.reference or [])[: len(frames)]
        yield from shown if bring is None else map(bring, shown)


def _rate(sight: Sight) -> Any:
    from fractions import Fraction

    return (sight.reference or sight.distorted).frame_rate or Fraction(25)
