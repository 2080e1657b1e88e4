"""Where reference patches come from: video files, or photographs under a virtual camera.

A source gives short clips of square patches, brought to one form: planar 4:2:0, limited range, 8 bit or (from anything
deeper) 10 bit. Places are drawn from the content's name, so that the same file gives the same patches everywhere.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from compressvqa.data import virtual_camera
from compressvqa.data.filming import PLAIN, Camera, film
from compressvqa.errors import DataError
from compressvqa.fingerprint import file_digest
from compressvqa.plurals import count_are
from compressvqa.video.frames import SUBSAMPLING, Colour, Planes, Samples
from compressvqa.video.raw import RawFormat
from compressvqa.video.read import probe, read_frames

# Mean absolute difference of neighbouring luma samples, in 8-bit codes: below it a patch is called flat.
FLAT = 2.0
# Below this one there is nothing that a codec could damage.
EMPTY = 0.3
# A step between two frames that is this many times the usual one (and this large, in 8-bit codes) is a scene cut.
CUT_RATIO, CUT_CODES = 5.0, 8.0
# Moments looked at for each patch, and places looked at in each moment.
MOMENTS, PLACES = 3, 8
# "auto" downscales as long as the short side keeps this many patch sides: room to choose a place.
AUTO_ROOM, AUTO_FACTORS = 1.25, (4, 3, 2, 1)


@dataclass(frozen=True)
class Cutting:
    """How patches are cut.

    Args:
        patches: how many from each source.
        frames: frames of a patch.
        size: width and height of a patch, even.
        downscale: whole factor by which the video is made smaller first, or "auto".
        source_frames: only so many frames from a file's beginning are looked at.
        seed: another seed gives other places.
    """

    patches: int
    frames: int = 12
    size: int = 256
    downscale: int | Literal["auto"] = 1
    source_frames: int = 1500
    seed: int = 0


@dataclass(frozen=True)
class Reference:
    """One reference patch.

    Args:
        samples: (frames, samples of a frame): planar 4:2:0 as in a .yuv file, limited range.
        colour: bit depth and matrix of the samples.
        start: number of its first frame in the source.
        top: row of its first line, after downscaling.
        left: its first column, after downscaling.
        downscale: factor by which the source was made smaller.
    """

    samples: Samples
    colour: Colour
    start: int
    top: int
    left: int
    downscale: int


class Source(Protocol):
    """Something that reference patches are cut from."""

    @property
    def content(self) -> str:
        """Name of what is seen; sources of one content never stand on both sides of a split."""

    @property
    def identity(self) -> dict[str, Any]:
        """What the patches depend on besides `Cutting`: when it changes, they are cut again."""

    def cut(self, cutting: Cutting) -> list[Reference]:
        """At least one patch.

        Raises:
            DataError: the source can't be read or gives no patch; the message says why.
        """


@dataclass(frozen=True)
class PhotographSource:
    """A photograph under the virtual camera: each patch is one take.

    Args:
        content: its name, or the file name of a built-in one.
        path: its file; None for a built-in one.
        camera: what happens in takes beside the camera's own move.
        takes: how many there are, whatever the cutting says; None: as many as it wants patches.
    """

    content: str
    path: Path | None = None
    camera: Camera = PLAIN
    takes: int | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """Name and content of the photograph, version and settings of the camera."""
        what: dict[str, Any] = {"photograph": self.content, "camera": virtual_camera.VERSION}
        if self.path is not None:
            what["digest"] = file_digest(self.path)
        if self.takes is not None:
            what["takes"] = self.takes
        return what if self.camera == PLAIN else what | {"settings": asdict(self.camera)}

    def cut(self, cutting: Cutting) -> list[Reference]:
        """One patch for each take."""
        if self.path is None:
            photograph = virtual_camera.load_photograph(self.content)
        else:
            photograph = virtual_camera.open_photograph(self.path, cutting.size)
        found = []
        for number in range(cutting.patches if self.takes is None else self.takes):
            # The seed shifts the takes in whole rounds of moves.
            take = number + len(virtual_camera.MOVES) * 1000 * cutting.seed
            filmed = film(photograph, self.content, take, frames=cutting.frames, size=cutting.size, camera=self.camera)
            frames = list(filmed)
            found.append(Reference(np.stack([_flat(frame) for frame in frames]), frames[0].colour, take, 0, 0, 1))
        return found


@dataclass(frozen=True)
class FileSource:
    """A video file."""

    content: str
    path: Path
    raw: RawFormat | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """Name and content of the file, and the format of a headerless one."""
        raw = None if self.raw is None else {name: str(value) for name, value in asdict(self.raw).items()}
        return {"file": self.content, "digest": file_digest(self.path), "raw": raw}

    def cut(self, cutting: Cutting) -> list[Reference]:
        """Patches from moments spread over the file, which is read once."""
        info = probe(self.path, raw=self.raw, count=True)
        if info.transfer != "sdr":
            raise DataError(f"HDR video ({info.transfer.upper()}): VMAF is for SDR", where=self.path)
        factor = _factor(info.height, info.width, cutting)
        total = min(info.frames or 0, cutting.source_frames)
        if total < cutting.frames:
            raise DataError(f"{count_are(total, 'frame')} fewer than the {cutting.frames} of a patch", where=self.path)
        seed = hashlib.sha256(f"{cutting.seed}/{self.content}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(seed[:8], "little"))
        moments = _moments(total - cutting.frames + 1, cutting.patches, rng)
        picks = _Picks(cutting, factor, rng)
        window: deque[Planes] = deque(maxlen=cutting.frames)
        ends = {start + cutting.frames - 1: (segment, start) for segment, start in moments}
        for number, planes in enumerate(read_frames(self.path, stop=max(ends) + 1, raw=self.raw)):
            window.append(planes)
            if number in ends:
                picks.look(*ends[number], list(window))
        if not picks.found:
            raise DataError("no patch: every moment looked at is flat or holds a scene cut", where=self.path)
        return [picks.found[segment] for segment in sorted(picks.found)]


def _factor(height: int, width: int, cutting: Cutting) -> int:
    side, size = min(height, width), cutting.size
    if cutting.downscale == "auto":
        factor = next((f for f in AUTO_FACTORS if side / f >= AUTO_ROOM * size), 1)
    else:
        factor = cutting.downscale
    if side // factor < size:
        smaller = f" downscaled by {factor}" if factor > 1 else ""
        raise DataError(f"a frame of {width}x{height}{smaller} is smaller than a patch of {size}x{size}")
    return factor


def _moments(starts: int, patches: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """(segment, start) of the windows to look at: the file is cut into as many segments as patches are wanted."""
    edges = np.linspace(0, starts, patches + 1).astype(int)
    moments: dict[int, int] = {}
    for segment, (low, high) in enumerate(itertools.pairwise(edges)):
        for start in np.sort(rng.integers(low, max(high, low + 1), MOMENTS)):
            moments.setdefault(int(min(start, starts - 1)), segment)
    return [(segment, start) for start, segment in sorted(moments.items())]


class _Picks:
    """Chooses for each segment the first patch that is textured and whole, or the best of those seen."""

    def __init__(self, cutting: Cutting, factor: int, rng: np.random.Generator) -> None:
        self.cutting, self.factor, self.rng = cutting, factor, rng
        self.found: dict[int, Reference] = {}
        self._activity: dict[int, float] = {}

    def look(self, segment: int, start: int, window: list[Planes]) -> None:
        if self._activity.get(segment, 0.0) >= FLAT or is_cut(window):
            return
        top, left, activity = self._place(window[len(window) // 2])
        if activity >= EMPTY and activity > self._activity.get(segment, 0.0):
            f, size = self.factor, self.cutting.size
            boxes = [to_420(frame.crop(top * f, left * f, size * f, size * f), f) for frame in window]
            samples = np.stack([_flat(box) for box in boxes])
            self.found[segment] = Reference(samples, boxes[0].colour, start, top, left, f)
            self._activity[segment] = activity

    def _place(self, frame: Planes) -> tuple[int, int, float]:
        """A place (after downscaling) and its activity: the first of some that is not flat, or the least flat one."""
        f, size = self.factor, self.cutting.size
        H, W = (side // f for side in frame.size)
        best = (0, 0, -1.0)
        for _ in range(PLACES):
            top, left = (2 * int(self.rng.integers(0, (side - size) // 2 + 1)) for side in (H, W))
            luma = frame.y[top * f : (top + size) * f : f, left * f : (left + size) * f : f]
            activity = spatial_activity(luma, frame.colour.bitdepth)
            best = max(best, (top, left, activity), key=lambda place: place[2])
            if activity >= FLAT:
                break
        return best


def spatial_activity(luma: Samples, bitdepth: int) -> float:
    """Mean absolute difference of neighbouring luma samples, (H, W), in 8-bit codes."""
    y = luma.astype(np.float32) / 2 ** (bitdepth - 8)
    return float(np.abs(np.diff(y, axis=0)).mean() + np.abs(np.diff(y, axis=1)).mean()) / 2


def is_cut(window: Sequence[Planes]) -> bool:
    """Whether the scene changes inside a run of frames: one step is far larger than the usual one."""
    if len(window) < 3:
        return False
    scale = 2 ** (window[0].colour.bitdepth - 8)
    H, W = (side // 8 * 8 for side in window[0].size)
    # Means over 8x8 squares change little with motion, and much with the scene.
    small = np.stack([_area(frame.y[:H, :W], 8, 8) for frame in window]) / scale
    steps = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2))
    return bool(steps.max() > max(CUT_CODES, CUT_RATIO * float(np.median(steps))))


def to_420(planes: Planes, factor: int = 1) -> Planes:
    """A picture as 4:2:0, limited range, 8 or 10 bit, made smaller by a whole factor (mean over each square).

    Sizes must be multiples of ``2 * factor``.
    """
    colour = planes.colour
    depth = 8 if colour.bitdepth <= 8 else 10
    target = Colour(depth, colour.matrix, False)
    y = _recode(_area(planes.y, factor, factor), colour, target, luma=True)
    if planes.u is None or planes.v is None:
        grey = np.full((y.shape[0] // 2, y.shape[1] // 2), 128 << (depth - 8), y.dtype)
        return Planes(y, grey, grey, "420", target)
    sv, sh = SUBSAMPLING[planes.chroma]
    u, v = (
        _recode(_area(plane, 2 * factor // sv, 2 * factor // sh), colour, target, luma=False)
        for plane in (planes.u, planes.v)
    )
    return Planes(y, u, v, "420", target)


def _area(plane: Samples, rows: int, columns: int) -> Samples:
    if rows == columns == 1:
        return plane
    H, W = plane.shape
    squares: Samples = plane.reshape(H // rows, rows, W // columns, columns)
    means: Samples = squares.mean(axis=(1, 3), dtype=np.float32)
    return means


def _recode(samples: Samples, colour: Colour, target: Colour, *, luma: bool) -> Samples:
    """Codes of one bit depth and range as codes of another (limited) one."""
    kind = np.uint8 if target.bitdepth == 8 else np.uint16
    if colour == target and samples.dtype.kind == "u":
        return samples.astype(kind, copy=False)
    step, wanted = 2.0 ** (colour.bitdepth - 8), 2.0 ** (target.bitdepth - 8)
    zero, span = (16.0, 219.0) if luma else (128.0, 224.0)
    if colour.full_range:
        values = (samples - (0.0 if luma else 128 * step)) / (256 * step - 1)
    else:
        values = (samples - zero * step) / (span * step)
    codes: Samples = np.rint(values * (span * wanted) + zero * wanted)
    return np.clip(codes, 0, 256 * wanted - 1).astype(kind)


def _flat(planes: Planes) -> Samples:
    assert planes.u is not None and planes.v is not None
    return np.concatenate([planes.y.ravel(), planes.u.ravel(), planes.v.ravel()])
