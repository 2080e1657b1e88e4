"""RankDVQA's score of a block by native code: the same network, folded, rounded, and compiled for this processor."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compressvqa.deploy.native.build import library
from compressvqa.deploy.native.fold import fold
from compressvqa.deploy.native.pack import Precision, Ranges, packed
from compressvqa.deploy.native.planes import Picture, pictures_of
from compressvqa.errors import DataError
from compressvqa.models.rankdvqa import SMALLEST_SIDE, RankDVQA
from compressvqa.video.frames import Planes

STRIP = 64  # rows of the picture that all frames go forward by before windows are compared: what fits the caches best
PARTS = 32


class Kernel:
    """A RankDVQA of any widths, in native code.

    ``score(reference, distorted)`` is the score of one block, as ``model(reference, distorted)`` gives it for the same
    frames as RGB; a block may be shorter than the network's 12 frames. ``features(reference)`` keeps the work on a
    reference for several distorted blocks. One core works on a block; other threads may call at the same time, and each
    has its own memory.

    Args:
        model: its weights are read once; later changes of it are not seen.
        precision: "float32" is exact but for rounding; "int16" has an extractor of 16-bit numbers; "mixed" its first
            three stages only, the rest of 8 bits; "int8" has 8 bits in all but the very first layer. All but "float32"
            compare features of 8 bits.
        ranges: what the extractor's layers put out, as `calibrate` finds it; None: found on built-in pictures.
            "float32" needs none.
        instructions: a name of `build.SETS`; None: the best that this processor has.
        strip: rows of the picture that all frames go forward by in turn.

    Raises:
        WeightsError: it has layers that native code does not know.
        NativeUnavailableError: it can't be compiled here.
    """

    def __init__(
        self,
        model: RankDVQA,
        *,
        precision: Precision = "mixed",
        ranges: Sequence[tuple[Ranges, Ranges]] | None = None,
        instructions: str | None = None,
        strip: int = STRIP,
    ) -> None:
        from compressvqa.deploy.native.calibration import calibrate

        folded = fold(model)
        if precision == "float32":  # nothing is rounded
            ranges = []
        elif ranges is None:
            ranges = calibrate(model)
        self.precision, self.frames, self.strip = precision, folded.frames, strip
        self._library = _open(library(instructions))
        self.instructions = self._library.native_lanes().decode()
        words = packed(folded, precision, list(ranges))
        self._network = self._library.native_network(words.ctypes.data, len(words))
        if not self._network:
            raise AssertionError("pack.py and rankdvqa.cpp disagree on the order of a network's words")
        self._idle: dict[tuple[int, int], list[int]] = {}
        self._lock = threading.Lock()

    def score(self, reference: Sequence[Planes], distorted: Sequence[Planes]) -> float:
        """The raw score of one block.

        Args:
            reference: frames of one size, at most `frames`.
            distorted: as many frames of the same size; bit depth, chroma and colour may be others.

        Raises:
            DataError: the two do not fit each other, are too long, or too small.
        """
        r_pictures, r_kept = self._pictures(reference)
        d_pictures, d_kept = self._pictures(distorted)
        size = reference[0].size
        if size != distorted[0].size or len(reference) != len(distorted):
            raise DataError("blocks of reference and distorted frames differ in size or number")
        with self._session(size) as session:
            found = self._library.native_score(session, r_pictures, d_pictures, len(reference))
        del r_kept, d_kept  # held until here: the pictures point into them
        return float(found)

    def features(self, reference: Sequence[Planes]) -> Features:
        """What a reference block's features are, for `score_kept`."""
        pictures, kept = self._pictures(reference)
        size = reference[0].size
        with self._session(size) as session:
            made = self._library.native_features(session, pictures, len(reference))
        del kept
        return Features(self._library, made, size, len(reference))

    def score_kept(self, features: Features, distorted: Sequence[Planes]) -> float:
        """As `score`, with what `features` gave for the reference block."""
        pictures, kept = self._pictures(distorted)
        if features.size != distorted[0].size or features.frames != len(distorted):
            raise DataError("blocks of reference and distorted frames differ in size or number")
        with self._session(features.size) as session:
            found = self._library.native_score_kept(session, features.address, pictures, len(distorted))
        del kept
        return float(found)

    def parts(self, reference: Sequence[Planes], distorted: Sequence[Planes]) -> dict[str, float]:
        """Seconds that each part of one `score` takes, in the order of the work."""
        r_pictures, r_kept = self._pictures(reference)
        d_pictures, d_kept = self._pictures(distorted)
        spent = (ctypes.c_double * PARTS)()
        with self._session(reference[0].size) as session:
            self._library.native_clock(session, 1, spent)
            self._library.native_score(session, r_pictures, d_pictures, len(reference))
            self._library.native_clock(session, 0, spent)
        del r_kept, d_kept
        names = ["RGB"] + [f"stage {k + 1}, convolution {j}" for k in range(7) for j in (1, 2)] + [""]
        names += [f"scale {k + 1}, {what}" for k in range(8) for what in ("conv_in", "attention, MLP, head")]
        return {name: value for name, value in zip(names, spent, strict=True) if value}

    def peak(self) -> dict[str, float]:
        """What one core does at most, in 10^9 multiplications with addition a second, by kind of number."""
        return {name: self._library.native_peak(kind) for kind, name in enumerate(("float32", "int16", "int8"))}

    def _pictures(self, frames: Sequence[Planes]) -> tuple[ctypes.Array[Picture], list[Any]]:
        made = pictures_of(frames)
        if len(frames) > self.frames:
            raise DataError(f"a block of {len(frames)} frames is longer than {self.frames}")
        height, width = frames[0].size
        if min(height, width) < SMALLEST_SIDE:
            raise DataError(f"frames of {width}x{height} are too small: {SMALLEST_SIDE} pixels a side at least")
        return made

    @contextmanager
    def _session(self, size: tuple[int, int]) -> Iterator[int]:
        """The memory that scoring a size needs, for this thread alone; that of other sizes is given back."""
        height, width = size
        with self._lock:
            idle = self._idle.get(size)
            if idle is None:
                self._free_idle()
                idle = self._idle[size] = []
            session = idle.pop() if idle else self._library.native_session(self._network, height, width, self.strip)
        try:
            yield session
        finally:
            with self._lock:
                if self._idle.get(size) is idle:
                    idle.append(session)
                else:
                    self._library.native_session_free(session)

    def _free_idle(self) -> None:
        for sessions in self._idle.values():
            for session in sessions:
                self._library.native_session_free(session)
        self._idle = {}

    def __del__(self) -> None:
        if getattr(self, "_network", None) and hasattr(self, "_idle"):
            self._free_idle()
            self._library.native_network_free(self._network)
            self._network = None


class Features:
    """Features of a reference block, in native memory that lives as long as this."""

    def __init__(self, library: Any, address: int, size: tuple[int, int], frames: int) -> None:
        self._library, self.address, self.size, self.frames = library, address, size, frames

    def __del__(self) -> None:
        if self.address:
            self._library.native_features_free(self.address)
            self.address = 0


def _open(path: Path) -> Any:
    found = ctypes.CDLL(str(path))
    pointer, whole, real = ctypes.c_void_p, ctypes.c_int, ctypes.c_double
    clip = ctypes.POINTER(Picture)
    for name, result, arguments in (
        ("native_lanes", ctypes.c_char_p, []),
        ("native_picture_bytes", whole, []),
        ("native_network", pointer, [pointer, ctypes.c_int64]),
        ("native_network_free", None, [pointer]),
        ("native_session", pointer, [pointer, whole, whole, whole]),
        ("native_session_free", None, [pointer]),
        ("native_score", real, [pointer, clip, clip, whole]),
        ("native_features", pointer, [pointer, clip, whole]),
        ("native_features_free", None, [pointer]),
        ("native_score_kept", real, [pointer, pointer, clip, whole]),
        ("native_peak", real, [whole]),
        ("native_clock", None, [pointer, whole, ctypes.POINTER(real)]),
    ):
        call = getattr(found, name)
        call.restype, call.argtypes = result, arguments
    if found.native_picture_bytes() != ctypes.sizeof(Picture):
        raise AssertionError("planes.py and rankdvqa.cpp disagree on what a picture is")
    return found
