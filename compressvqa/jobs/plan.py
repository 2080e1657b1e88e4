"""What a library will take: from what a few of its files take here and now."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compressvqa.data.ladder import Rung
from compressvqa.data.proxy import build_proxy_set
from compressvqa.errors import DataError
from compressvqa.jobs.scores import scorers_of
from compressvqa.progress import Progress
from compressvqa.scoring import score_all
from compressvqa.video import probe, read_frames
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.folders import list_videos

try:
    import resource
except ImportError:  # Windows
    COUNTS_CHILDREN = False
else:
    COUNTS_CHILDREN = True

LOOKED_AT = 4  # times as many files as are tried tell how many bytes are written
FIRST_STEP = Rung("x264", 30)
WARM = 12  # frames that are worked through before a measurement: a first call loads and compiles


@dataclass(frozen=True)
class File:
    """One video of the library.

    Args:
        path: the file.
        pixels: of a frame.
        frames: how many there are.
        seconds: its length; 0 where it says no frame rate.
        bytes: its size.
    """

    path: Path
    pixels: int
    frames: int
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Work:
    """What one kind of work takes for the whole library.

    Args:
        name: "decode", "score: MODEL", "proxy set".
        cpu_seconds: of one core like those of this machine.
        largest: CPU seconds of the dearest piece: no number of workers is quicker.
        bytes: that it writes.
        measured_on: how many files were tried.
    """

    name: str
    cpu_seconds: float
    largest: float
    bytes: int
    measured_on: int

    def hours(self, workers: int) -> float:
        """Wall time on so many cores like those of this machine, in hours; reading over a network is not in it."""
        return max(self.cpu_seconds / workers, self.largest) / 3600


def survey(places: Sequence[Path], progress: Progress | None = None) -> list[File]:
    """Size and length of every video of some folders or files, told by what is in them.

    Raises:
        DataError: there is none, or none that can be read.
    """
    paths = [path for place in places for _, path in list_videos(place)]
    found, wrong = [], ""
    for done, path in enumerate(paths, 1):
        try:
            info = probe(Clip(path), count=True)
        except DataError as error:  # left out of the work too
            wrong = str(error)
            continue
        frames = info.frames or 0
        seconds = float(frames / info.frame_rate) if info.frame_rate else 0.0
        found.append(File(path, info.width * info.height, frames, seconds, path.stat().st_size))
        if progress is not None:
            progress(done, len(paths))
    if not found:
        raise DataError(f"no video can be read ({wrong})" if wrong else "no video", where=places[0])
    return found


def sample(files: Sequence[File], count: int) -> list[File]:
    """Files that stand for the others: evenly over all frames in the order of sizes, of each size at most one."""
    longest = {file.pixels: file for file in sorted(_evenly(files, count), key=lambda file: file.frames)}  # says most
    return [longest[pixels] for pixels in sorted(longest)]


def _evenly(files: Sequence[File], count: int) -> list[File]:
    """At most so many files, evenly over all frames in the order of sizes."""
    ordered = sorted(files, key=lambda file: (file.pixels, file.frames, str(file.path)))
    total, seen, chosen = sum(file.frames for file in ordered), 0, []
    wanted = [(2 * number + 1) * total / (2 * count) for number in range(count)]
    for file in ordered:
        before, seen = seen, seen + file.frames
        if any(before <= place < seen for place in wanted):
            chosen.append(file)
    return chosen


def plan(
    files: Sequence[File],
    models: Sequence[str],
    *,
    proxy: int | None = None,
    trials: int = 3,
    frames: int = 48,
    progress: Progress | None = None,
) -> list[Work]:
    """What decoding, scoring and a proxy set of the library take.

    Each is tried on a few files with the very functions that do it, and grows with pixels times frames; of files of
    other sizes than those tried, the cost of a pixel is that of the nearest size. What is tried takes the threads that
    this process has.

    Args:
        files: the library.
        models: networks and metrics; each file is scored against one of its size.
        proxy: frames of each clip of a proxy set, by the default ladder; None: none is planned.
        trials: how many files are tried, at most.
        frames: so many frames of each are tried.
        progress: called with (trials done, trials in all).

    Raises:
        DataError: a file that is tried can't be read or scored.
    """
    tried = sample(files, trials)
    total, done = len(tried) * (1 + len(models) + (proxy is not None)), 0

    def tell() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    found = [_frame_work("decode", files, tried, _decode, frames, tell)]
    for model in models:
        scorers = scorers_of([model], {})

        def score(file: File, count: int, scorers: Sequence[object] = scorers) -> None:
            clip = Clip(file.path)
            score_all(clip, [clip], scorers, pairing=Pairing(frames=count))  # type: ignore[arg-type]

        found.append(_frame_work(f"score: {model}", files, tried, score, frames, tell))
    if proxy is not None:
        found.append(_proxy_work(files, tried, proxy, tell))
    return found


def _decode(file: File, count: int) -> None:
    for number, _ in enumerate(read_frames(Clip(file.path)), 1):
        if number >= count:
            return


def _frame_work(
    name: str,
    files: Sequence[File],
    tried: Sequence[File],
    work: Callable[[File, int], None],
    frames: int,
    tell: Callable[[], None],
) -> Work:
    """Work that is so much for each file and so much for each pixel of a frame: measured at two lengths."""
    each: dict[int, tuple[float, float]] = {}
    for file in tried:
        long = min(frames, file.frames)
        short = min(WARM, long)
        work(file, short)
        first, whole = _cpu(lambda file=file, n=short: work(file, n)), _cpu(lambda file=file, n=long: work(file, n))  # type: ignore[misc]
        slope = max(whole - first, 0.0) / (long - short) if long > short else whole / long
        each[file.pixels] = (max(whole - slope * long, 0.0), slope / file.pixels)
        tell()
    costs = []
    for file in files:
        fixed, pixel = each[_nearest(each, file.pixels)]
        costs.append(fixed + pixel * file.pixels * file.frames)
    return Work(name, sum(costs), max(costs), 0, len(tried))


def _proxy_work(files: Sequence[File], tried: Sequence[File], frames: int, tell: Callable[[], None]) -> Work:
    """Work that is so much for each frame, by its size; bytes hang on what is seen, so more files tell them."""
    each: dict[int, float] = {}
    written, first = 0.0, 0.0  # of the files that are tried: a frame of a whole set, and of its first step
    looked = {file.path: _bytes_of_a_frame(file, frames) for file in [*tried, *_evenly(files, LOOKED_AT * len(tried))]}
    for file in tried:
        with tempfile.TemporaryDirectory() as place:
            each[file.pixels] = _cpu(lambda: build_proxy_set([file.path], place, frames=frames))  # noqa: B023  (at once)
            each[file.pixels] /= min(frames, file.frames)
            written += _bytes_in(Path(place)) / min(frames, file.frames)
        first += looked[file.path]
        tell()
    of_a_pixel = _by_size([(file, looked[file.path] / file.pixels) for file in files if file.path in looked])
    costs, size = [], 0.0
    for file in files:
        length = min(frames, file.frames)
        costs.append(each[_nearest(each, file.pixels)] * length)
        known = looked.get(file.path) or of_a_pixel[_nearest(of_a_pixel, file.pixels)] * file.pixels
        size += known * length * written / first
    return Work("proxy set", sum(costs), max(costs), round(size), len(tried))


def _bytes_of_a_frame(file: File, frames: int) -> float:
    """Of the reference and one encode: a small part of a set, which grows with what is seen as all of it does."""
    with tempfile.TemporaryDirectory() as place:
        build_proxy_set([file.path], place, frames=frames, ladder=[FIRST_STEP])
        return _bytes_in(Path(place)) / min(frames, file.frames)


def _bytes_in(place: Path) -> int:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def _by_size(figures: Sequence[tuple[File, float]]) -> dict[int, float]:
    """The mean of the files of each size."""
    groups: dict[int, list[float]] = {}
    for file, figure in figures:
        groups.setdefault(file.pixels, []).append(figure)
    return {pixels: sum(group) / len(group) for pixels, group in groups.items()}


def _nearest(known: Mapping[int, object], pixels: int) -> int:
    return min(known, key=lambda size: abs(size - pixels))


def _cpu(work: Callable[[], object]) -> float:
    """CPU seconds of a call, those of programs that it started included."""
    before = _spent()
    work()
    return _spent() - before


def _spent() -> float:
    """CPU seconds so far. Not os.times: it counts in hundredths, and a short clip is decoded in less."""
    if not COUNTS_CHILDREN:
        return time.process_time()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
