"""A video on standard input, kept in a temporary file: it is looked at before it is scored, and a pipe is read once."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from compressvqa.errors import CompressVQAError, DataError
from compressvqa.video.clip import Clip
from compressvqa.video.raw import MAGIC

STANDARD_INPUT = Path("-")


@contextmanager
def kept(
    reference: Clip | None, distorted: Sequence[Clip], source: BinaryIO | None = None
) -> Iterator[tuple[Clip | None, list[Clip]]]:
    """Clips of which the one named ``-`` is what comes on standard input, for as long as the context lasts.

    A Y4M stream is expected; a headerless one where the clip says what it holds, and any other video that can be read
    from a file, are taken too. The temporary folder (``TMPDIR``) must have room for all of it.

    Args:
        reference: the reference of a scoring.
        distorted: its distorted files.
        source: what to read instead of standard input.

    Raises:
        DataError: two clips are named so, nothing comes, or there is no room.
    """
    named = [clip for clip in (reference, *distorted) if clip is not None and clip.path == STANDARD_INPUT]
    if not named:
        yield reference, list(distorted)
        return
    if len(named) > 1:
        raise DataError("only one file can come on standard input", where="-", hint="name the others")
    with tempfile.TemporaryDirectory(prefix="compressvqa-") as folder:
        path = Path(folder) / "standard-input"
        _store(path, sys.stdin.buffer if source is None else source)
        with path.open("rb") as file:
            suffix = ".y4m" if file.read(len(MAGIC)) == MAGIC else "" if named[0].raw is None else ".yuv"
        path = path.rename(path.with_suffix(suffix))
        stored = replace(named[0], path=path)
        try:
            yield (
                (stored if reference is named[0] else reference),
                [stored if clip is named[0] else clip for clip in distorted],
            )
        except CompressVQAError as error:
            if error.where is not None:
                error.where = error.where.replace(str(path), "standard input")
            raise


def _store(path: Path, source: BinaryIO) -> None:
    if source.isatty():
        raise DataError("is a terminal: nothing comes from it", where="standard input",
                        hint="ffmpeg -i FILE -f yuv4mpegpipe - | compressvqa score - DISTORTED")  # fmt: skip
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    except OSError as error:
        raise DataError(f"can't be kept ({error.strerror or error})", where="standard input",
                        hint="TMPDIR names a folder with more room") from error  # fmt: skip
    if path.stat().st_size == 0:
        raise DataError("is empty: nothing came", where="standard input")
