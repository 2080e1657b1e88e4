"""A file's frames, counted by decoding them: how many, when each is shown, where they are damaged, what to know."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compressvqa.errors import DataError
from compressvqa.video import matroska
from compressvqa.video.container import describe_streams, open_video
from compressvqa.video.decode import SILENT, Walk
from compressvqa.video.info import Damage

# A promise that is missed by no more is rounding.
SLACK_SECONDS, SLACK = 0.5, 0.02
# The share of frames that last equally long in a video of one frame rate, a few holes apart.
PACE = 0.9
# Bytes of a transport packet (plain, with a time stamp, with error correction), and where its sync byte stands.
TRANSPORT_PACKETS = ((188, 0), (192, 4), (204, 0))
SYNC = 0x47


@dataclass(frozen=True, eq=False)
class Survey:
    """What decoding a whole stream tells.

    Args:
        frames: frames that are whole, up to the first that is not.
        times: (frames,), the moment of each in seconds, in order of display; None if the file does not say.
        damage: the first frame that is not whole, None where all are.
        notes: what a user should know of the file.
    """

    frames: int
    times: npt.NDArray[np.float64] | None
    damage: Damage | None
    notes: tuple[str, ...]

    @classmethod
    def of_walk(cls, walk: Walk, stamps: list[Any], damage: Damage | None, notes: tuple[str, ...]) -> Survey:
        """What a walk to the end of a stream found, whose frames are shown at `stamps`, in any order."""
        frames = walk.frames if damage is None else damage.frame
        times = None if None in stamps or not stamps else np.sort(np.asarray(stamps, np.float64))[:frames]
        return cls(frames, times, damage, notes)

    @property
    def varies(self) -> bool:
        """Whether the time between frames varies. A tenth of it is the container's rounding, not the camera's."""
        return not self._usual().all()

    @property
    def rate(self) -> Fraction | None:
        """Frames a second by the time stamps, None where too few frames come at one pace to tell."""
        usual = self._usual()
        if self.times is None or len(usual) < 4 or usual.mean() < PACE:
            return None
        seconds = float(np.diff(self.times)[usual].mean())
        return None if seconds <= 0 else Fraction(1 / seconds).limit_denominator(1001)

    def _usual(self) -> npt.NDArray[np.bool_]:
        """(frames - 1,), whether each frame lasts as long as most do."""
        if self.times is None or len(self.times) < 2:
            return np.ones(0, bool)
        steps = np.diff(self.times)
        usual = float(np.median(steps))
        return np.asarray(np.abs(steps - usual) <= max(0.0011, 0.1 * usual))


def survey(path: Path, wanted: int | None = None) -> Survey:
    """Decodes a whole stream once, and once more, with one thread, where anything is odd about it.

    Args:
        path: a local file.
        wanted: which of its video streams, as `compressvqa.video.container.choose` takes it.

    Raises:
        DataError: no video, or no such stream.
    """
    key = _key(path, wanted)
    if key not in _known():
        _keep(key, _survey(path, wanted))
    return _known()[key]


def is_known(path: Path, wanted: int | None) -> bool:
    """Whether this process has read the stream to its end before."""
    return _key(path, wanted) in _known()


def same(one: Survey, other: Survey) -> bool:
    """Whether two surveys say the same."""
    alike = (one.frames, one.damage, one.notes) == (other.frames, other.damage, other.notes)
    if one.times is None or other.times is None:
        return alike and one.times is other.times
    return alike and np.array_equal(one.times, other.times)


_Key = tuple[Path, int | None, int, int]
_MOST_KNOWN = 1024


@functools.cache
def _known() -> dict[_Key, Survey]:
    """The surveys of this process. No global: what a function reads of those belongs to the digest of its code."""
    return {}


def _key(path: Path, wanted: int | None) -> _Key:
    """A file by its name, size and time: one that was written anew is looked at anew."""
    state = path.stat()
    return path, wanted, state.st_size, state.st_mtime_ns


def _keep(key: _Key, found: Survey) -> None:
    known = _known()
    while len(known) >= _MOST_KNOWN:
        known.pop(next(iter(known)), None)
    known[key] = found


def _survey(path: Path, wanted: int | None) -> Survey:
    walk, stamps = _walked(path, wanted, threads=0, strict=True)
    if walk.odd:
        walk, stamps = _walked(path, wanted, threads=1, strict=False)
    damage, patched = walk.damage, None
    if damage is None and (walk.frames != walk.packets or walk.gaps or walk.lost):
        damage, patched = _patched_over(path, wanted)
    fault = matroska.first_fault(path)
    if fault is not None:
        whole = min(walk.frames, max(0, sum(0 <= place < fault.byte for place in walk.places) - walk.lost))
        if damage is None or whole < damage.frame:
            damage = Damage(whole, _said(fault, whole))
    notes = [*stream_notes(path, wanted, walk, damage is None), *([] if patched is None else [patched])]
    return Survey.of_walk(walk, stamps, damage, tuple(notes))


def _said(fault: matroska.Fault, frame: int) -> str:
    if fault.cut:
        return f"is cut off at frame {frame}: the file ends inside an element that begins at byte {fault.byte}"
    return f"is damaged at frame {frame}: from byte {fault.byte} on it does not make sense"


def _walked(path: Path, wanted: int | None, *, threads: int, strict: bool) -> tuple[Walk, list[float | None]]:
    walk = Walk(path, wanted, threads=threads, strict=strict)
    stamps = [_moment(frame) for frame in walk]
    return walk, _in_order(walk, stamps)


def _moment(frame: Any) -> float | None:
    return None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)


def _in_order(walk: Walk, stamps: list[float | None]) -> list[float | None]:
    return walk.order if walk.ordered and len(walk.order) == walk.frames else stamps


def _patched_over(path: Path, wanted: int | None) -> tuple[Damage | None, str | None]:
    """An error that the decoder reports and hides: damage where the end of the file is missing, else a note."""
    with open_video(path, wanted) as (_, stream):
        if stream.codec_context.codec.canonical_name not in SILENT:
            return None, None
    walk = Walk(path, wanted, threads=1, strict=True)
    for _ in walk:
        pass
    if walk.damage is None:
        return None, None
    number = walk.damage.frame
    if walk.at_end:
        return Damage(number, f"is cut off at frame {number}: its last packet is not whole"), None
    return None, f"frame {number} has an error that the decoder patches over; later frames may show it too"


def stream_notes(path: Path, wanted: int | None, walk: Walk, whole: bool) -> Iterator[str]:
    """What a user should know of a stream that was walked to its end; `whole`: and found whole."""
    with open_video(path, wanted) as (container, stream):
        others = describe_streams(container, stream, path)
        if others is not None:
            yield others
        if walk.lost:
            yield f"{_count(walk.lost, 'packet')} at its beginning build on what is not in it and give no frame"
        if walk.gaps:
            yield f"the transport stream lacks packets, or was joined, at frame {', '.join(map(str, walk.gaps[:5]))}"
        if container.format.name == "mpegts" and _ends_inside_a_packet(path):
            yield "it ends inside a transport packet: its last frame may not be whole"
        if walk.hidden:
            yield f"an edit list hides {_count(walk.hidden, 'frame')}, which no player shows; not compared"
        if not whole:
            return  # then the error says enough
        if stream.frames > walk.hidden + walk.frames:
            repeated = f" ({walk.empty} are empty: the one before is shown longer)" if walk.empty else ""
            yield f"the header says {_count(stream.frames, 'frame')}; {walk.frames} are there and decode{repeated}"
        elif container.duration and walk.reached is not None:
            stated = container.duration / 1e6
            # Pieces that begin late state where they end, or how long they are.
            if stated - walk.reached > max(SLACK_SECONDS, SLACK * stated):
                yield f"the header says {stated:.1f} seconds; {max(0.0, walk.reached):.1f} are there and decode"


def _ends_inside_a_packet(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(512)
    for length, at in TRANSPORT_PACKETS:
        if len(head) > at + 2 * length and {head[at], head[at + length], head[at + 2 * length]} == {SYNC}:
            return path.stat().st_size % length != 0
    return False


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def frames_of(
    path: Path, wanted: int | None = None, threads: int = 0, opened: Callable[[Any], None] | None = None
) -> Iterator[Any]:
    """PyAV's frames of a file's video, in order of display.

    Args:
        path: a local file.
        wanted: which of its video streams, as `compressvqa.video.container.choose` takes it.
        threads: decoder threads, 0: as many as the decoder likes.
        opened: called with the stream once the file is open; what it raises ends the reading.

    Raises:
        DataError: no video; or, after the frames before it, a frame that is damaged or cut off.
    """
    walk = Walk(path, wanted, threads=threads, strict=True, opened=opened)
    key, stamps = _key(path, wanted), list[float | None]()
    for frame in walk:
        stamps.append(_moment(frame))
        yield frame
    if walk.frames and not walk.odd and matroska.first_fault(path) is None:
        # Whoever has read a sound file to its end has surveyed it.
        found = Survey.of_walk(walk, _in_order(walk, stamps), None, tuple(stream_notes(path, wanted, walk, True)))
        if key == _key(path, wanted):
            _keep(key, found)
    else:
        found = survey(path, wanted)
        if walk.frames < found.frames:
            again = Walk(path, wanted, threads=1, strict=False)
            yield from itertools.islice(again, walk.frames, found.frames)
        if found.damage is not None:
            raise found.damage.error(path)
        if found.frames == 0:
            raise DataError("holds not one frame that decodes", where=path)
