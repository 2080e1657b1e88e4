"""What a file's packets promise of its frames, so that who reads a file to its end need not decode it twice.

A comparison asks before its first frame how many frames there are, when each is shown, and whether all are whole. Only
decoding tells (`compressvqa.video.survey`), and decoding is half of what a small network's score costs. So a scoring
believes, to begin with, what the packets of well-known formats say, which are read and not decoded. What it has decoded
by its end is a survey: where that says anything else than the packets did, the scoring is done once more, by surveys.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av.error

from compressvqa.errors import CompressVQAError
from compressvqa.video import sandbox
from compressvqa.video.packets import packets_of
from compressvqa.video.survey import Survey, is_known, same, stream_notes, survey


@functools.cache
def _here() -> threading.local:
    """This thread's `promises`. No global: what a function reads of those belongs to the digest of its code."""
    return threading.local()


class Promises:
    """What was believed, of which files.

    Attributes:
        believed: {(file, stream): what its packets promise; None where they promise nothing}.
        in_parts: those of which only parts are decoded: nothing will tell whether their promises hold elsewhere.
    """

    def __init__(self) -> None:
        self.believed: dict[tuple[Path, int | None], Survey | None] = {}
        self.in_parts: set[tuple[Path, int | None]] = set()

    def __bool__(self) -> bool:
        """Whether anything was believed."""
        return bool(self.in_parts) or any(self.believed.values())

    def kept(self) -> bool:
        """Whether decoding says the same of every file; files that were not read to their end are decoded for it."""
        try:
            return all(
                one is None or file in self.in_parts or same(one, survey(*file)) for file, one in self.believed.items()
            )
        except (CompressVQAError, OSError):
            return False


@contextmanager
def believed() -> Iterator[Promises]:
    """Within, in this thread, `promised` answers; what it has answered is checked by `Promises.kept`."""
    here = _here()
    before, here.promises = getattr(here, "promises", None), Promises()
    try:
        yield here.promises
    finally:
        here.promises = before


def promised(path: Path, wanted: int | None) -> Survey | None:
    """What the packets of a file promise; None where nothing is believed, only decoding can tell, or it has told.

    Args:
        path: a local file.
        wanted: which of its video streams.
    """
    promises: Promises | None = getattr(_here(), "promises", None)
    if promises is None or sandbox.is_on() or not path.is_file():
        return None
    if (path, wanted) not in promises.believed:
        try:
            promises.believed[path, wanted] = None if is_known(path, wanted) else _said(path, wanted)
        except (CompressVQAError, av.error.FFmpegError, OSError, EOFError):
            promises.believed[path, wanted] = None
    return promises.believed[path, wanted]


def _said(path: Path, wanted: int | None) -> Survey | None:
    found = packets_of(path, wanted)
    if found is None:
        return None
    return Survey.of_walk(found.walk, list(found.seconds), None, tuple(stream_notes(path, wanted, found.walk, True)))


def read_in_parts(path: Path, wanted: int | None) -> bool:
    """Whether some frames of a file can be had without decoding it whole; if so, it is not checked by `Promises.kept`.

    Within `believed` only: where reading parts fails, the scoring that is done once more reads files whole.

    Args:
        path: a local file.
        wanted: which of its video streams.
    """
    promises: Promises | None = getattr(_here(), "promises", None)
    if promises is None or sandbox.is_on() or not path.is_file():
        return False
    try:
        found = packets_of(path, wanted)
    except (CompressVQAError, av.error.FFmpegError, OSError, EOFError):
        return False
    # What is shown before the first packet's own frame could not be entered.
    if found is None or 0 not in found.entries or found.numbers[0] != 0:
        return False
    promises.in_parts.add((path, wanted))
    return True
