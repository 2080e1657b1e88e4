"""Frames kept on disk as bytes, so that a training does not decode, and what is cut out of them.

A file is one array of uint8 RGB that any numpy reads and that is mapped into memory, not loaded: a crop reads its own
rows only. Files are written under a temporary name and renamed when whole, so a killed preparation goes on with those
that are missing. A file's name is a digest of everything that its pixels depend on.

Eight bits are kept of every source: rounding moves a value by at most 1/510, which takes the two lowest bits of 10-bit
video (networks that are scored this way were trained on 8-bit frames) and nothing of an 8-bit picture.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from compressvqa.data.shared import apart_in, working_in
from compressvqa.errors import DataError
from compressvqa.files import replacing
from compressvqa.fingerprint import file_digest
from compressvqa.plurals import count
from compressvqa.progress import Progress

log = logging.getLogger(__name__)
Bytes = npt.NDArray[np.uint8]
# Changes with the layout of the files, or with how a frame becomes bytes.
FORMAT = 1


def digest(*facts: Any) -> str:
    """16 hexadecimal digits that change with any of the facts (plain values)."""
    return hashlib.sha256(json.dumps([FORMAT, *facts], sort_keys=True, default=str).encode()).hexdigest()[:16]


def contents(folder: Path, files: Sequence[str]) -> list[str]:
    """Digests of kept files by what they hold: what the content of a part is told by, whenever it was written."""
    return [file_digest(folder / file) for file in files]


def stamp(path: Path) -> list[int]:
    """Size and time of change of a file: both equal is taken for equal content, as hashing a data set takes hours.

    Raises:
        DataError: there is no such file.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise DataError("no such file", where=path) from error
    return [state.st_size, state.st_mtime_ns]


def with_short_side(frames: Tensor, side: int | None) -> Tensor:
    """Pictures (..., 3, H, W) in [0, 1] whose short side is `side` pixels, bicubic with antialiasing; None: as is.

    >>> tuple(with_short_side(torch.zeros(1, 3, 90, 160), 45).shape)
    (1, 3, 45, 80)
    """
    height, width = frames.shape[-2:]
    short = min(height, width)
    if side is None or short == side:
        return frames
    size = max(side, round(height * side / short)), max(side, round(width * side / short))
    flat = frames.reshape(-1, *frames.shape[-3:])
    scaled = functional.interpolate(flat, size, mode="bicubic", antialias=True, align_corners=False)
    return scaled.clamp_(0, 1).reshape(*frames.shape[:-2], *size)


def to_bytes(frames: Tensor) -> Bytes:
    """Values in [0, 1] as bytes, rounded to the nearest."""
    rounded: Bytes = frames.mul(255).round_().to(torch.uint8).numpy()
    return rounded


def to_values(pixels: Bytes) -> Tensor:
    """Bytes as float32 in [0, 1]."""
    return torch.from_numpy(pixels.astype(np.float32, order="C")).div_(255)


def keep(
    folder: Path,
    makers: Mapping[str, Callable[[], Bytes]],
    prefix: str,
    progress: Progress | None,
    *,
    skip: bool = False,
) -> dict[str, str]:
    """Makes the files that are missing, some at a time; those of other settings stay, since runs may share a folder.

    Args:
        folder: where the files lie.
        makers: {file name: what makes its array}; a name begins with `prefix`.
        prefix: of the names of this kind of file.
        progress: called with (files done, files in all).
        skip: go on where a maker raises a DataError.

    Returns:
        {file name: why it could not be made}.

    Raises:
        DataError: what a maker raises, or the folder can't be written.
    """
    try:
        if all((folder / name).exists() for name in makers):
            return _make(folder, makers, progress, skip)
        with working_in(folder):
            skipped = _make(folder, makers, progress, skip)
        others = [path for path in folder.glob(f"{prefix}*.npy") if path.name not in makers]
        if others:
            size = sum(path.stat().st_size for path in others)
            log.info("%s: %s (%.0f MB) of other settings stay there", folder, count(len(others), "file"), size / 1e6)
    except OSError as error:
        hint = "free some space, then run it again: finished files are kept"
        raise DataError(f"frames can't be written ({error.strerror or error})", where=folder, hint=hint) from error
    return skipped


def pieces(
    folder: Path, makers: Mapping[str, Callable[[], Bytes]], *, skip: bool = False
) -> dict[str, Callable[[], None]]:
    """What `keep` does, a file at a time, for processes and machines that share the folder: {file name: makes it}.

    Args:
        folder: as for `keep`.
        makers: likewise; each can be sent to another process.
        skip: pass over a maker that raises a DataError; `keep` then says why.
    """
    return {name: functools.partial(_piece, folder, name, make, skip) for name, make in makers.items()}


def _piece(folder: Path, name: str, make: Callable[[], Bytes], skip: bool) -> None:
    if (folder / name).exists():
        return
    try:
        with apart_in(folder, name) as work:
            _write(work / name, folder / name, make)
    except DataError:
        if not skip:
            raise
    except OSError as error:
        hint = "free some space, then run it again: finished files are kept"
        raise DataError(f"frames can't be written ({error.strerror or error})", where=folder, hint=hint) from error


def _write(temporary: Path, stored: Path, make: Callable[[], Bytes]) -> None:
    pixels = make()
    with temporary.open("wb") as file:
        np.save(file, pixels)
    temporary.replace(stored)


def _make(
    folder: Path, makers: Mapping[str, Callable[[], Bytes]], progress: Progress | None, skip: bool
) -> dict[str, str]:
    missing = {name: make for name, make in makers.items() if not (folder / name).exists()}
    done, skipped = len(makers) - len(missing), {}

    def write(name: str, make: Callable[[], Bytes]) -> str | None:
        try:
            pixels = make()
        except DataError as error:
            if not skip:
                raise
            return error.what if error.hint is None else f"{error.what} ({error.hint})"
        with replacing(folder / name) as temporary, temporary.open("wb") as file:
            np.save(file, pixels)
        return None

    if progress is not None:
        progress(done, len(makers))
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="keep")
    try:
        jobs = {pool.submit(write, name, make): name for name, make in missing.items()}
        for job in as_completed(jobs):
            reason = job.result()
            if reason is not None:
                skipped[jobs[job]] = reason
            done += 1
            if progress is not None:
                progress(done, len(makers))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)  # also when the user presses Ctrl-C
    return skipped


def kept(path: Path) -> Bytes:
    """A file of `keep`, mapped into memory.

    Raises:
        DataError: it is gone or damaged.
    """
    try:
        pixels: Bytes = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"can't be read: {error}", where=path, hint="delete it and prepare the data again") from error
    return pixels


def frame_numbers(length: int, frames: int, samples: int, sampling: Literal["spread", "block"]) -> list[list[int]]:
    """Numbers of the frames of each sample of a clip.

    "spread" takes one frame of each of `frames` equal parts of the clip, as InternVideo2 does: its middle, where there
    is one sample, else as many moments of it as samples. "block" takes consecutive frames; the blocks are the middles
    of as many parts of the clip as there are samples. Both repeat frames of a clip that is too short.

    >>> frame_numbers(16, 4, 1, "spread"), frame_numbers(16, 4, 2, "spread")
    ([[2, 6, 10, 14]], [[1, 5, 9, 13], [3, 7, 11, 15]])
    >>> frame_numbers(16, 4, 1, "block"), frame_numbers(3, 4, 1, "block"), frame_numbers(1, 2, 1, "spread")
    ([[6, 7, 8, 9]], [[0, 1, 2, 2]], [[0, 0]])
    """
    if sampling == "spread":
        return [
            [(2 * (samples * n + s) + 1) * length // (2 * samples * frames) for n in range(frames)]
            for s in range(samples)
        ]
    starts = max(0, length - frames) + 1  # places where a block may begin
    firsts = [(2 * s + 1) * starts // (2 * samples) for s in range(samples)]
    return [[min(first + n, length - 1) for n in range(frames)] for first in firsts]


class Cut(NamedTuple):
    """A rectangle of a picture, in pixels, and whether it is mirrored left to right.

    >>> str(Cut(16, 32, 224, 224, True))
    '224x224+32+16m'
    """

    top: int
    left: int
    height: int
    width: int
    mirrored: bool = False

    def __str__(self) -> str:
        return f"{self.width}x{self.height}+{self.left}+{self.top}" + "m" * self.mirrored

    def of(self, pixels: Bytes) -> Bytes:
        """The part of (..., H, W)."""
        part = pixels[..., self.top : self.top + self.height, self.left : self.left + self.width]
        return part[..., ::-1] if self.mirrored else part


def random_cut(name: str, variant: int, side: int | None, size: tuple[int, int], *, flip: bool) -> Cut:
    """A square of `side` pixels (None: the whole picture) at a place that name and variant fix, perhaps mirrored.

    >>> random_cut("a", 0, None, (90, 160), flip=False)
    Cut(top=0, left=0, height=90, width=160, mirrored=False)
    >>> random_cut("a", 1, 64, (90, 160), flip=True) == random_cut("a", 1, 64, (90, 160), flip=True)
    True
    """
    height, width = size
    drawn = hashlib.sha256(f"{name}/{variant}".encode()).digest()
    mirrored = flip and bool(drawn[16] & 1)
    if side is None:
        return Cut(0, 0, height, width, mirrored)
    top, left = (int.from_bytes(part, "little") for part in (drawn[:8], drawn[8:16]))
    return Cut(top % (height - side + 1), left % (width - side + 1), side, side, mirrored)


def middle_cut(side: int | None, size: tuple[int, int]) -> Cut:
    """The square of `side` pixels in the middle; None: the whole picture."""
    height, width = size
    if side is None:
        return Cut(0, 0, height, width)
    return Cut((height - side) // 2, (width - side) // 2, side, side)


def in_turn(count: int, batch: int, step: int, seed: int) -> list[int]:
    """Which of `count` things the batch of a step shows: each once, in random order, before any comes again.

    >>> sorted(in_turn(6, 3, 0, seed=1) + in_turn(6, 3, 1, seed=1))
    [0, 1, 2, 3, 4, 5]
    """
    places = range(step * batch, (step + 1) * batch)
    orders = {turn: np.random.default_rng((seed, turn)).permutation(count) for turn in {p // count for p in places}}
    return [int(orders[place // count][place % count]) for place in places]
