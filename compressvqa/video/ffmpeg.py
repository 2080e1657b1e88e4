"""The one ffmpeg that everything is encoded and measured with: the static binary of the imageio-ffmpeg package."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import imageio_ffmpeg

from compressvqa.errors import DataError

# No single call here works on more than a few seconds of small video.
TIMEOUT = 600


@functools.cache
def binary() -> str:
    """Path of the ffmpeg binary.

    Raises:
        DataError: imageio-ffmpeg has none for this machine.
    """
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        hint = "install imageio-ffmpeg from a wheel, or set IMAGEIO_FFMPEG_EXE"
        raise DataError("no ffmpeg binary was found", hint=hint) from error


def run(arguments: list[str], *, folder: Path, stdin: bytes | None = None) -> None:
    """Runs ffmpeg inside `folder`, where it finds and leaves its files by plain names.

    Raises:
        DataError: ffmpeg failed; the message is its own last line.
    """
    command = [binary(), "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *arguments]
    if stdin is not None:
        command.remove("-nostdin")
    try:
        done = subprocess.run(command, cwd=folder, input=stdin, capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise DataError(f"ffmpeg did not end within {TIMEOUT} seconds", where=folder) from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise DataError(f"ffmpeg failed ({done.returncode}): {lines[-1].strip() if lines else 'it said nothing'}")


def feed(arguments: list[str], chunks: Iterable[bytes], *, folder: Path) -> None:
    """Runs ffmpeg inside `folder` and writes to its standard input as it reads; nothing of it is held.

    Raises:
        DataError: ffmpeg failed; the message is its own last line.
    """
    command = [binary(), "-hide_banner", "-loglevel", "error", "-y", *arguments]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
        assert process.stdin is not None
        try:
            for chunk in chunks:
                process.stdin.write(chunk)
            process.stdin.close()
        except BrokenPipeError:  # it ended of itself: its own words follow
            pass
        except BaseException:
            process.kill()
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
        if process.returncode:
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").strip().splitlines()
            last = lines[-1].strip() if lines else "it said nothing"
            raise DataError(f"ffmpeg failed ({process.returncode}): {last}")


def _listed(what: str) -> frozenset[str]:
    """Second column of ``ffmpeg -encoders`` or ``-filters``: the names."""
    command = [binary(), "-hide_banner", f"-{what}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    rows = (line.split() for line in done.stdout.splitlines())
    return frozenset(row[1] for row in rows if len(row) > 1)


@functools.cache
def encoders() -> frozenset[str]:
    """Names of the encoders that this ffmpeg has."""
    return _listed("encoders")


@functools.cache
def version() -> str:
    """The version of this ffmpeg, as it says itself."""
    done = subprocess.run([binary(), "-version"], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.partition(" version ")[2].partition(" ")[0]


@functools.cache
def filters() -> frozenset[str]:
    """Names of the filters that this ffmpeg has."""
    return _listed("filters")


def require(*, encoder: str | None = None, filter: str | None = None) -> None:
    """Refuses to go on without an encoder or a filter.

    Raises:
        DataError: this ffmpeg lacks it.
    """
    hint = "use the ffmpeg of the imageio-ffmpeg package (unset IMAGEIO_FFMPEG_EXE)"
    if encoder is not None and encoder not in encoders():
        raise DataError(f"ffmpeg lacks the encoder {encoder}", where=binary(), hint=hint)
    if filter is not None and filter not in filters():
        raise DataError(f"ffmpeg lacks the filter {filter}", where=binary(), hint=hint)
