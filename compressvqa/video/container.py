"""Opening a video file, and which of its video streams is the video.

Only local files are opened: no URL, no protocol, no playlist that could point elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.error
import av.logging
from av.stream import Disposition

from compressvqa.errors import DataError

# Demuxers that read one local file and nothing else; playlists (hls, dash, concat) and image lists are left out.
DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,nut,gif,apng,ivf,obu,"
    "h264,hevc,vvc,av1,m4v"
)
# Codecs of still pictures: a stream of one such picture beside a video is its cover.
STILL_CODECS = frozenset({"mjpeg", "png", "bmp", "gif", "webp", "tiff", "jpeg2000", "jpegxl"})
MOST_BOXES = 1000  # that are walked, at the top of a file; those that encoders write have a few
ONE_STREAM = "one video stream, number 0; --stream-ref and --stream-dist choose of one file"
NOT_ALONE = Disposition.dependent | Disposition.visual_impaired | Disposition.hearing_impaired


@contextmanager
def open_video(path: Path, wanted: int | None = None) -> Iterator[tuple[Any, Any]]:
    """A file and the video stream to read, for as long as the context lasts.

    Args:
        path: a local file.
        wanted: number of the stream among the file's video streams, counted from 0; None: as `choose` does.

    Raises:
        DataError: no video that can be read, or no such stream.
    """
    with open_container(path) as container:
        yield container, choose(container, wanted, path)


@contextmanager
def open_container(path: Path) -> Iterator[Any]:
    """A file that holds at least one video stream.

    Raises:
        DataError: it does not.
    """
    options = {"protocol_whitelist": "file", "format_whitelist": DEMUXERS}
    _hush()
    try:
        # The prefix keeps a name with a colon from being taken as a protocol.
        container = av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        why = "its index, the moov box, is missing: it was not written to its end" if _lacks_index(path) else None
        if why is None and isinstance(error, ValueError):  # what FFmpeg says of a demuxer that is not allowed
            why = "of no format that is read"
        raise DataError(f"is not a video that can be read ({why or reason(error)})", where=path) from error
    with container:
        if not container.streams.video:
            held = "sound only" if container.streams.audio else "nothing that can be shown"
            raise DataError(f"holds no video, {held}", where=path)
        yield container


def _hush() -> None:
    """Lets FFmpeg keep its messages to itself, as PyAV does unless it is told otherwise.

    Where messages go to Python, a decoder's thread that has one waits for the interpreter, and the interpreter, letting
    the decoder go, waits for that thread: for ever. torchvision 0.25 turns them on when it is imported.
    """
    if av.logging.get_level() is not None:
        av.logging.set_level(None)


def _lacks_index(path: Path) -> bool:
    """Whether a file begins as MP4 does and has no box that says where its frames are."""
    length = path.stat().st_size
    with path.open("rb") as file:
        place = 0
        names: list[bytes] = []
        while place + 8 <= length and len(names) < MOST_BOXES:
            file.seek(place)
            head = file.read(16)
            size, name = int.from_bytes(head[:4], "big"), head[4:8]
            size = int.from_bytes(head[8:], "big") if size == 1 else size or length
            names.append(name)
            if names[0] != b"ftyp" or size < 8:
                return False
            place += size
    return bool(names) and b"moov" not in names


def reason(error: Exception) -> str:
    """What a library says of its error, in lower case."""
    return str(getattr(error, "strerror", None) or error).lower()


def choose(container: Any, wanted: int | None, path: Path) -> Any:
    """The video stream that a player would show: no cover picture, the default one, the largest, the first.

    Args:
        container: an open file.
        wanted: the number of the stream among the video streams, from 0, if the user names it.
        path: the file, for errors and for a second look at it.

    Raises:
        DataError: there is no stream `wanted`, or nothing but cover pictures.
    """
    videos = container.streams.video
    if wanted is not None:
        if not 0 <= wanted < len(videos):
            held = ONE_STREAM if len(videos) == 1 else f"{len(videos)} video streams, from 0 on"
            raise DataError(f"there is no video stream {wanted}", where=path, hint=f"the file has {held}")
        return videos[wanted]
    shown = [number for number, stream in enumerate(videos) if not _is_attached(stream)]
    if not shown:
        raise DataError("holds no video, only a cover picture", where=path, hint="stream 0, if the picture is meant")
    if len(shown) > 1:
        moving = [number for number in shown if not _is_one_picture(path, number, videos[number])]
        shown = moving or shown
    return videos[max(shown, key=lambda number: (*_rank(videos[number]), -number))]


def _rank(stream: Any) -> tuple[bool, bool, bool, int]:
    context = stream.codec_context
    pixels = 0 if context is None else context.width * context.height
    disposition = stream.disposition
    return pixels > 0, not disposition & NOT_ALONE, bool(disposition & Disposition.default), pixels


def _is_attached(stream: Any) -> bool:
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def _is_one_picture(path: Path, number: int, stream: Any) -> bool:
    """Whether a stream is one still picture. Not every container counts its frames: then two packets are asked for."""
    if stream.codec_context is None or stream.codec_context.codec.canonical_name not in STILL_CODECS:
        return False
    if stream.frames:
        return bool(stream.frames == 1)
    with open_container(path) as container:
        packets = 0
        for packet in container.demux(container.streams.video[number]):
            packets += packet.size > 0
            if packets > 1:
                return False
    return True


def describe_streams(container: Any, taken: Any, path: Path) -> str | None:
    """A note on a file with several video streams: which one is read, and what the others are; None if it has one."""
    videos = container.streams.video
    if len(videos) < 2:
        return None
    number = next(number for number, stream in enumerate(videos) if stream is taken)
    others = [f"{n} ({_title(path, n, stream)})" for n, stream in enumerate(videos) if stream is not taken]
    verb = "is" if len(others) == 1 else "are"
    read = f"{number} ({_title(path, number, taken)}) is read, {', '.join(others)} {verb} not"
    return f"it holds {len(videos)} video streams: {read} (--stream chooses)"


def _title(path: Path, number: int, stream: Any) -> str:
    context = stream.codec_context
    if context is None:
        return "of an unknown codec"
    cover = ", a cover picture" if _is_attached(stream) else ""
    cover = cover or (", one picture" if _is_one_picture(path, number, stream) else "")
    return f"{context.codec.canonical_name} {context.width}x{context.height}{cover}"
