"""Reading any common video file frame by frame, with flat memory.

Compressed files are decoded by PyAV; headerless .yuv and Y4M by `compressvqa.video.raw`; a still picture is a video of
one frame. Only local files are opened:
no URL, no protocol, no playlist that could point elsewhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import torch
from av.video.reformatter import ColorRange, Colorspace
from torch import Tensor

from compressvqa.errors import DataError
from compressvqa.video import pictures
from compressvqa.video.frames import Chroma, Colour, Matrix, Planes
from compressvqa.video.info import VideoInfo, check_size, default_matrix
from compressvqa.video.raw import RawFormat, is_y4m, probe_raw, probe_y4m, read_raw, read_y4m
from compressvqa.video.reformat import planar_name, planes_of

RAW_SUFFIXES = frozenset({".yuv", ".raw"})
# Demuxers that read one local file and nothing else; playlists (hls, dash, concat) and image lists are left out.
DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,nut,gif,ivf,obu,"
    "h264,hevc,vvc,av1,m4v"
)
# AVColorSpace and AVColorTransferCharacteristic, as ITU-T H.273 numbers them.
MATRICES: dict[int, Matrix] = {1: "bt709", 5: "bt601", 6: "bt601", 4: "bt601", 9: "bt2020", 10: "bt2020"}
PQ, HLG = 16, 18
# Depths that a frame is handed on in; 9 and 14 bit are stored in the next larger one.
DEPTHS = (8, 10, 12, 16)


def probe(path: str | Path, *, raw: RawFormat | None = None, count: bool = False) -> VideoInfo:
    """Facts of a video file.

    Args:
        path: a local file.
        raw: what a headerless .yuv file holds; not used for other files.
        count: read the whole file (without decoding it) to count its frames and to see whether their rate varies.

    Raises:
        DataError: missing, not a video, too large, or (with `count`) cut off.
    """
    path = _local(path)
    if path.suffix.lower() in RAW_SUFFIXES:
        return probe_raw(path, _needs_format(path, raw))
    if is_y4m(path):
        return probe_y4m(path)
    if pictures.is_picture(path):
        return pictures.probe_picture(path)
    with _open(path) as container:
        info = _counted(path, container, _info(path, container)) if count else _info(path, container)
    return replace(info, rotation=_rotation(path))


def read_frames(
    path: str | Path, *, start: int = 0, stop: int | None = None, raw: RawFormat | None = None, threads: int = 0
) -> Iterator[Planes]:
    """Frames `start` up to (not including) `stop`, one at a time, as they are stored (bit depth and chroma kept).

    Args:
        path: a local file.
        start: number of the first frame, counted from 0 in the order of display.
        stop: number of the frame to end before; None: the end of the file.
        raw: what a headerless .yuv file holds.
        threads: decoder threads, 0: as many as the decoder likes.

    Raises:
        DataError: missing, not a video, damaged, cut off, or its frame size changes.
    """
    path = _local(path)
    if path.suffix.lower() in RAW_SUFFIXES:
        frames, start, stop = read_raw(path, _needs_format(path, raw), start), 0, None if stop is None else stop - start
    elif is_y4m(path):
        frames = read_y4m(path)
    elif pictures.is_picture(path):
        frames = iter([pictures.read_picture(path)])
    else:
        frames = _decode(path, threads)
    yield from itertools.islice(frames, start, stop)


def read_clip(
    path: str | Path,
    *,
    start: int = 0,
    frames: int = 12,
    box: tuple[int, int, int, int] | None = None,
    raw: RawFormat | None = None,
) -> Tensor:
    """A run of frames as RGB.

    Args:
        path: a local file.
        start: number of the first frame.
        frames: how many.
        box: (top, left, height, width) of the part to read; None: the whole picture.
        raw: what a headerless .yuv file holds.

    Returns:
        (frames, 3, H, W), float32 in [0, 1].

    Raises:
        DataError: as `read_frames`, or fewer frames than asked for, or a box outside the picture.
    """
    clip = []
    for planes in read_frames(path, start=start, stop=start + frames, raw=raw):
        clip.append((planes if box is None else planes.crop(*box)).to_rgb())
    if len(clip) < frames:
        raise DataError(f"has {start + len(clip)} frames, {start + frames} were asked for", where=path)
    return torch.stack(clip)


# --- PyAV -------------------------------------------------------------------------------------------------------


def _local(path: str | Path) -> Path:
    path = Path(path)
    if path.is_dir():
        raise DataError("is a folder, not a video file", where=path)
    if not path.is_file():
        raise DataError("no such file", where=path)
    if path.stat().st_size == 0:
        raise DataError("the file is empty", where=path)
    return path


def _needs_format(path: Path, raw: RawFormat | None) -> RawFormat:
    if raw is None:
        raise DataError("a headerless .yuv file does not say what it holds", where=path,
                        hint="give its width, height, pixel format and bit depth")  # fmt: skip
    return raw


def _open(path: Path) -> Any:
    options = {"protocol_whitelist": "file", "format_whitelist": DEMUXERS}
    try:
        # The prefix keeps a name with a colon from being taken as a protocol.
        container = av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise DataError(f"is not a video that can be read ({_reason(error)})", where=path) from error
    if not container.streams.video:
        container.close()
        raise DataError("holds no video", where=path)
    return container


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()


def _info(path: Path, container: Any) -> VideoInfo:
    stream = container.streams.video[0]
    context = stream.codec_context
    if context is None or context.format is None or not context.width:
        raise DataError("the header does not tell the picture's size or format", where=path)
    check_size(context.width, context.height, path)
    chroma, bitdepth = _layout(context.format)
    transfer = int(context.color_trc)
    return VideoInfo(
        path=path,
        codec=context.codec.canonical_name,
        width=context.width,
        height=context.height,
        chroma=chroma,
        colour=Colour(bitdepth, *_meaning(context)),
        frame_rate=stream.average_rate or stream.guessed_rate,
        frames=stream.frames or None,
        transfer="pq" if transfer == PQ else "hlg" if transfer == HLG else "sdr",
        matrix_stated=int(getattr(context, "colorspace", 2)) in MATRICES or context.format.is_rgb,
    )


def _rotation(path: Path) -> int:
    """The first frame's rotation; phones store turned pictures with a note how to turn them back."""
    with _open(path) as container:
        try:
            return int(next(container.decode(video=0)).rotation)
        except (av.error.FFmpegError, StopIteration) as error:
            raise DataError("holds not one frame that decodes", where=path) from error


def _meaning(context: Any) -> tuple[Matrix, bool]:
    """Matrix and range that a decoder context or a frame states; a file that does not say gets the usual default."""
    space = getattr(context, "colorspace", None)
    matrix = MATRICES.get(int(space)) if space is not None else None
    full = int(context.color_range) == int(ColorRange.JPEG) or context.format.name.startswith("yuvj")
    return matrix or default_matrix(context.height), full


def _layout(pixel_format: Any) -> tuple[Chroma, int]:
    """Chroma and bit depth of the planar format that stands for `pixel_format` without loss."""
    name, parts = pixel_format.name, pixel_format.components
    bits = max(part.bits for part in parts)
    depth = next((depth for depth in DEPTHS if depth >= bits), 16)
    if name.startswith(("gray", "mono")):
        return "400", depth
    if pixel_format.is_rgb or name.startswith("pal"):
        return "444", depth
    chroma = parts[1]
    halves = (1 if chroma.height == parts[0].height else 2, 1 if chroma.width == parts[0].width else 2)
    # 4:4:0 and 4:1:1 have no counterpart here: they are spread to 4:4:4.
    kinds: dict[tuple[int, int], Chroma] = {(2, 2): "420", (1, 2): "422"}
    return kinds.get(halves, "444") if name[:6] not in ("yuv410", "yuv411") else "444", depth


def _decode(path: Path, threads: int) -> Iterator[Planes]:
    with _open(path) as container:
        info = _info(path, container)
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        ends: list[Fraction] = []
        number = 0
        try:
            for packet in container.demux():
                _note_end(packet, ends)
                if packet.stream is not stream:
                    continue
                if packet.is_corrupt:
                    raise DataError(f"is cut off or damaged after frame {number}", where=path)
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise DataError(f"frame {number} is damaged: the file is cut off or broken", where=path)
                    if (frame.width, frame.height) != (info.width, info.height):
                        raise DataError(f"the frame size changes at frame {number}, from {info.width}x{info.height} "
                                        f"to {frame.width}x{frame.height}", where=path)  # fmt: skip
                    yield _planes(frame)
                    number += 1
        except (av.error.FFmpegError, EOFError) as error:
            raise DataError(f"does not decode at frame {number} ({_reason(error)})", where=path) from error
        if number == 0:
            raise DataError("holds not one frame that decodes", where=path)
        _refuse_cut(path, container, stream, number, ends)


def _note_end(packet: Any, ends: list[Fraction]) -> None:
    """Keeps in ``ends[0]`` the latest moment that any stream of the file reaches."""
    if packet.pts is not None and packet.time_base is not None:
        end = (packet.pts + (packet.duration or 0)) * packet.time_base
        ends[:] = [max(end, *ends)] if ends else [end]


def _refuse_cut(path: Path, container: Any, stream: Any, number: int, ends: list[Fraction]) -> None:
    """A file that ends well before its header says was cut off; AVI counts a few frames that are not there."""
    if stream.frames and number < 0.97 * stream.frames - 2:
        raise DataError(f"is cut off: {number} of {stream.frames} frames are there", where=path)
    if container.duration and ends:
        duration = container.duration / av.time_base
        reached = float(ends[0]) - (container.start_time or 0) / av.time_base
        if duration - reached > max(0.2, 0.02 * duration):
            raise DataError(f"is cut off: {reached:.1f} of {duration:.1f} seconds are there", where=path)


def _counted(path: Path, container: Any, info: VideoInfo) -> VideoInfo:
    stream = container.streams.video[0]
    times: list[int] = []
    ends: list[Fraction] = []
    number = 0
    try:
        for packet in container.demux():
            _note_end(packet, ends)
            if packet.stream is not stream or packet.size == 0 or packet.is_discard:
                continue
            if packet.is_corrupt:
                raise DataError(f"is cut off or damaged after frame {number}", where=path)
            number += 1
            if packet.pts is not None:
                times.append(packet.pts)
    except av.error.FFmpegError as error:
        raise DataError(f"is damaged after frame {number} ({_reason(error)})", where=path) from error
    _refuse_cut(path, container, stream, number, ends)
    steps = np.diff(np.sort(np.asarray(times, dtype=np.int64)))
    # One tick of rounding is the container's, not the camera's.
    varies = bool(len(steps) and steps.max() - steps.min() > max(1, 0.1 * float(np.median(steps))))
    return replace(info, frames=number, variable_rate=varies)


def _planes(frame: Any) -> Planes:
    chroma, depth = _layout(frame.format)
    matrix, full = _meaning(frame)
    if frame.format.name.replace("yuvj", "yuv") != planar_name(chroma, depth):
        frame, matrix, full, depth = _to_planar(frame, chroma, depth, matrix, full)
    return planes_of(frame, chroma, Colour(depth, matrix, full))


def _to_planar(frame: Any, chroma: Chroma, depth: int, matrix: Matrix, full: bool) -> tuple[Any, Matrix, bool, int]:
    """Packed, semi-planar and RGB pictures as planes. RGB goes through 16 bit full range, which keeps its 8 bits."""
    if not (frame.format.is_rgb or frame.format.name.startswith("pal")):
        return frame.reformat(format=planar_name(chroma, depth)), matrix, full, depth
    planar = frame.reformat(
        format="yuv444p16le", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.JPEG,
    )  # fmt: skip
    return planar, "bt709", True, 16
