"""Reading any common video file frame by frame, with flat memory.

Compressed files are decoded by PyAV; headerless .yuv and Y4M by `compressvqa.video.raw`; a still picture is a video of
one frame, a folder of numbered ones a video of many.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
import torch
from torch import Tensor

from compressvqa.errors import DataError
from compressvqa.untrusted import local_file
from compressvqa.video import animation, pictures, sandbox
from compressvqa.video.clip import Clip
from compressvqa.video.container import ONE_STREAM, open_video, reason
from compressvqa.video.frames import Colour, Planes
from compressvqa.video.info import ONE_MATRIX, VideoInfo, check_size
from compressvqa.video.jumps import jumped
from compressvqa.video.matrices import TITLES
from compressvqa.video.packets import packets_of
from compressvqa.video.pixel_formats import check_format, gamut, has_alpha, is_rgb, layout, meaning, planes_of_frame
from compressvqa.video.playlists import playlist_of
from compressvqa.video.posture import posture_of
from compressvqa.video.promises import promised, read_in_parts
from compressvqa.video.raw import RawFormat, is_y4m, probe_raw, probe_y4m, read_raw, read_y4m
from compressvqa.video.sequence import is_sequence, probe_sequence, read_sequence
from compressvqa.video.survey import Survey, frames_of, survey

RAW_SUFFIXES = frozenset({".yuv", ".raw"})
# AVColorTransferCharacteristic, as ITU-T H.273 numbers it.
PQ, HLG = 16, 18
# Frames that tell whether a video is interlaced.
FIRST_FRAMES = 3
# A stated frame rate that the frames' times differ from by a larger share is no rounding.
OTHER_RATE = 0.1


def probe(
    file: str | Path | Clip,
    *,
    raw: RawFormat | None = None,
    count: bool = False,
    stream: int | None = None,
    whole: bool = True,
) -> VideoInfo:
    """Facts of a video file.

    Args:
        file: a local file, or a `Clip`, which brings `raw` and `stream` along.
        raw: what a headerless .yuv file holds; not used for other files.
        count: decode the whole file to count its frames and to see when each is shown (of Y4M, .yuv and pictures, which
            are not encoded, the frames are counted anyway).
        stream: which of several video streams, from 0; None: the one that a player would show.
        whole: where frames are counted, refuse a file that is damaged or cut off; else `VideoInfo.damage` says so.

    Raises:
        DataError: missing, not a video, no such stream, too large, or (where it is counted) damaged or cut off.
    """
    clip = _clip(file, raw, stream)
    info = sandbox.ask_info(clip, count=count) if sandbox.is_on() else _probe(clip, count)
    if whole and info.damage is not None:
        raise info.damage.error(info.path)
    return info


def _probe(clip: Clip, count: bool) -> VideoInfo:
    if is_sequence(clip.path):
        _one_stream(clip)
        return probe_sequence(clip.path, clip.frame_rate)
    path = _local(clip.path)
    if path.suffix.lower() in RAW_SUFFIXES:
        _one_stream(clip)
        info = probe_raw(path, _needs_format(path, clip.raw))
        return replace(info, frame_rate=info.frame_rate or clip.frame_rate)
    if is_y4m(path):
        _one_stream(clip)
        return probe_y4m(path)
    if animation.is_pillows(path):
        _one_stream(clip)
        return animation.probe_webp(path) if animation.is_animated_webp(path) else pictures.probe_picture(path)
    with open_video(path, clip.stream) as (container, stream):
        info = _info(path, stream)
        first = _first_frames(container, stream)
        if first:
            info = _as_decoded(info, first[0])
        shown = posture_of(first, stream)
        notes = ("which field of its pictures is first is not known: the top one is taken",) if shown.guessed else ()
        info = replace(info, rotation=shown.rotation, mirrored=shown.mirrored, scan=shown.scan,
                       pixel_aspect=shown.pixel_aspect, notes=info.notes + notes)  # fmt: skip
        if not count:
            if not first:
                raise DataError("holds not one frame that decodes", where=path)
            return info
    found = promised(path, clip.stream) or survey(path, clip.stream)
    if found.frames == 0:
        raise DataError(found.damage.what if found.damage else "holds not one frame that decodes", where=path)
    return replace(info, frames=found.frames, times=found.times,
                   notes=info.notes + tuple(found.notes),
                   damage=found.damage, variable_rate=found.varies, frame_rate=_rate(info, found))  # fmt: skip


def read_frames(
    file: str | Path | Clip,
    *,
    start: int = 0,
    stop: int | None = None,
    raw: RawFormat | None = None,
    threads: int = 0,
    stream: int | None = None,
) -> Iterator[Planes]:
    """Frames `start` up to (not including) `stop`, one at a time, as they are stored (bit depth and chroma kept).

    Args:
        file: a local file, or a `Clip`, which brings `raw` and `stream` along.
        start: number of the first frame, counted from 0 in the order of display.
        stop: number of the frame to end before; None: the end of the file.
        raw: what a headerless .yuv file holds.
        threads: decoder threads, 0: as many as the decoder likes.
        stream: which of several video streams, from 0; None: the one that a player would show.

    Raises:
        DataError: missing, not a video, no such stream; after the frames before it, a frame that is damaged or cut
            off, or of another size.
    """
    clip = _clip(file, raw, stream)
    if sandbox.is_on():
        yield from sandbox.ask_frames(clip, start=start, stop=stop, threads=threads)
        return
    if is_sequence(clip.path):
        yield from itertools.islice(read_sequence(clip.path, start), None if stop is None else max(0, stop - start))
        return
    path = _local(clip.path)
    if path.suffix.lower() in RAW_SUFFIXES:
        frames = read_raw(path, _needs_format(path, clip.raw), start)
        start, stop = 0, None if stop is None else stop - start
    elif is_y4m(path):
        frames = read_y4m(path, start)
        start, stop = 0, None if stop is None else stop - start
    elif animation.is_pillows(path):
        moving = animation.is_animated_webp(path)
        frames = animation.read_webp(path) if moving else iter([pictures.read_picture(path)])
    else:
        frames = _decoded(path, clip.stream, threads)
    yield from itertools.islice(frames, start, stop)


def read_runs(file: Clip, runs: Sequence[range], *, threads: int = 0) -> Iterator[Planes]:
    """Frames of some runs, one after the other; what lies between is not decoded where it need not be.

    Args:
        file: a local file, of which `is_read_in_parts` says that it can be read so; its frames are trusted to be whole
            where they are not read.
        runs: numbers of frames, rising, in the order of display.
        threads: decoder threads, 0: as many as the decoder likes.

    Raises:
        DataError: as `read_frames`, or one of these frames can't be had without what is before it.
    """
    packets = None if _has_places(file.path) else packets_of(_local(file.path), file.stream)
    if packets is None:
        for run in runs:
            yield from read_frames(file, start=run.start, stop=run.stop, threads=threads)
        return
    numbers = [number for run in runs for number in run]
    yield from _as_planes(file.path, lambda opened: jumped(file.path, file.stream, packets, numbers, threads=threads,
                                                           opened=opened))  # fmt: skip


def is_read_in_parts(file: Clip) -> bool:
    """Whether `read_runs` is less work than reading the whole file; then `believed` does not check it as a whole."""
    if sandbox.is_on():
        return False
    return _has_places(file.path) or read_in_parts(file.path, file.stream)


def _has_places(path: Path) -> bool:
    """Whether it is known where in a file each frame lies."""
    if is_sequence(path):
        return True
    if not path.is_file():
        return False
    return path.suffix.lower() in RAW_SUFFIXES or (is_y4m(path) and probe_y4m(path).frames is not None)


def _decoded(path: Path, stream: int | None, threads: int) -> Iterator[Planes]:
    return _as_planes(path, lambda opened: frames_of(path, stream, threads, opened=opened))


def _as_planes(path: Path, decode: Callable[[Callable[[Any], None]], Iterator[Any]]) -> Iterator[Planes]:
    facts: list[VideoInfo] = []
    # Facts are read where the file is opened to decode it, and refuse what is too large: opening decodes some frames.
    for frame in decode(lambda chosen: facts.append(_info(path, chosen))):
        planes = planes_of_frame(frame, path)
        info = facts[0]
        if info.codec in ONE_MATRIX and not info.rgb:
            planes = replace(planes, colour=replace(planes.colour, matrix=info.colour.matrix))
        yield planes


def _clip(file: str | Path | Clip, raw: RawFormat | None, stream: int | None) -> Clip:
    return file if isinstance(file, Clip) else Clip(Path(file), raw, stream)


def read_clip(
    file: str | Path | Clip,
    *,
    start: int = 0,
    frames: int = 12,
    box: tuple[int, int, int, int] | None = None,
    raw: RawFormat | None = None,
    stream: int | None = None,
) -> Tensor:
    """A run of frames as RGB.

    Args:
        file: a local file, or a `Clip`.
        start: number of the first frame.
        frames: how many.
        box: (top, left, height, width) of the part to read; None: the whole picture.
        raw: what a headerless .yuv file holds.
        stream: as for `read_frames`.

    Returns:
        (frames, 3, H, W), float32 in [0, 1].

    Raises:
        DataError: as `read_frames`, or fewer frames than asked for, or a box outside the picture.
    """
    clip = []
    for planes in read_frames(file, start=start, stop=start + frames, raw=raw, stream=stream):
        clip.append((planes if box is None else planes.crop(*box)).to_rgb())
    if len(clip) < frames:
        where = file.path if isinstance(file, Clip) else file
        raise DataError(f"has {start + len(clip)} frames, {start + frames} were asked for", where=where)
    return torch.stack(clip)


# --- PyAV -------------------------------------------------------------------------------------------------------


def _local(path: Path) -> Path:
    local_file(path)
    try:
        if path.stat().st_size == 0:
            raise DataError("the file is empty", where=path)
        kind = None if path.suffix.lower() in RAW_SUFFIXES else playlist_of(path)
    except OSError as error:
        raise DataError(f"can't be read ({reason(error)})", where=path) from error
    if kind is not None:
        raise DataError(f"is a playlist ({kind}), which names other files and holds no picture", where=path,
                        hint="the video itself, as one file")  # fmt: skip
    return path


def _one_stream(clip: Clip) -> None:
    if clip.stream:
        raise DataError(f"there is no video stream {clip.stream}", where=clip.path,
                        hint=f"the file has {ONE_STREAM}")  # fmt: skip


def _needs_format(path: Path, raw: RawFormat | None) -> RawFormat:
    if raw is None:
        raise DataError("a headerless .yuv file does not say what it holds", where=path,
                        hint="give its width, height, pixel format and bit depth")  # fmt: skip
    return raw


def _info(path: Path, stream: Any) -> VideoInfo:
    context = stream.codec_context
    if context is None or context.format is None or not context.width:
        raise DataError("the header does not tell the picture's size or format", where=path)
    check_size(context.width, context.height, path)
    check_format(context.format, path)
    chroma, bitdepth = layout(context.format)
    matrix, full, stated = meaning(context, context.height, path)
    if context.codec.canonical_name in ONE_MATRIX and matrix == "bt601":
        stated = False
    transfer = int(context.color_trc)
    return VideoInfo(
        path=path,
        codec=context.codec.canonical_name,
        width=context.width,
        height=context.height,
        chroma=chroma,
        colour=Colour(bitdepth, matrix, full),
        frame_rate=stream.average_rate or stream.guessed_rate,
        frames=stream.frames or None,
        transfer="pq" if transfer == PQ else "hlg" if transfer == HLG else "sdr",
        matrix_stated=stated,
        rgb=is_rgb(context.format),
        alpha=has_alpha(context.format),
        gamut=gamut(context),
    )


def _first_frames(container: Any, stream: Any) -> list[Any]:
    """The first frames, which say what a header does not: rotation, fields, and their own colours."""
    found: list[Any] = []
    with contextlib.suppress(av.error.FFmpegError, EOFError):
        for frame in itertools.islice(container.decode(stream), FIRST_FRAMES):
            found.append(frame)
    return found


def _as_decoded(info: VideoInfo, frame: Any) -> VideoInfo:
    """The facts with colours as the pictures state them: where a container says otherwise, decoders go by these."""
    check_format(frame.format, info.path)
    chroma, bitdepth = layout(frame.format)
    matrix, full, stated = meaning(frame, info.height, info.path)
    held, notes = info.colour, info.notes
    if info.codec in ONE_MATRIX:
        matrix, stated = held.matrix, info.matrix_stated
    if info.matrix_stated and stated and matrix != held.matrix:
        notes += (f"its container says {TITLES[held.matrix]} and its pictures {TITLES[matrix]}: these are believed",)
    if full != held.full_range:
        kinds = {True: "full range", False: "limited range"}
        notes += (f"its container says {kinds[held.full_range]} and its pictures {kinds[full]}: these are believed",)
    return replace(
        info, chroma=chroma, colour=Colour(bitdepth, matrix, full), matrix_stated=stated, notes=notes,
        rgb=is_rgb(frame.format), alpha=has_alpha(frame.format),
    )  # fmt: skip


def _rate(info: VideoInfo, found: Survey) -> Fraction | None:
    """The stated frame rate, where the frames' times do not say that it is another (AVI counts empty frames)."""
    rate = found.rate
    if rate is None or (info.frame_rate is not None and abs(float(rate / info.frame_rate) - 1) <= OTHER_RATE):
        return info.frame_rate
    return rate
