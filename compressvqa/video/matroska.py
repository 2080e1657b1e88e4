"""Whether a Matroska or WebM file is whole: its elements, walked by their sizes.

ffmpeg's demuxer ends quietly where the bytes end or make no sense, as if the video ended there. The structure is that
of RFC 8794 (EBML) and RFC 9559 (Matroska); only the sizes of elements are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

EBML, SEGMENT, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
# Seek head, info, tracks, cues, chapters, attachments, tags; void and checksum may stand anywhere.
TOP_LEVEL = frozenset({0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1043A770, 0x1941A469, 0x1254C367})
ANYWHERE = frozenset({0xEC, 0xBF})
# Timestamp, simple block, block group, position, previous size, silent tracks, encrypted block.
IN_CLUSTER = frozenset({0xE7, 0xA3, 0xA0, 0xA7, 0xAB, 0x5854, 0xAF})
MOST_ELEMENTS = 2_000_000  # that are walked: two hours of video and sound have a tenth of that
LONGEST_HEADER = 12  # bytes of an element's name and size


@dataclass(frozen=True)
class Fault:
    """The first element of a file that is not whole or not known.

    Args:
        byte: where it stands.
        cut: whether the file ends before it does.
    """

    byte: int
    cut: bool


def first_fault(path: Path) -> Fault | None:
    """Where a file stops to be Matroska; None where it is whole.

    Elements of unknown size, as live streams write them, reach to the next one of their level. A file that does not
    begin as Matroska does is not judged.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        header = _element(file)
        if header is None or header[0] != EBML or header[1] is None:
            return None
        file.seek(header[1], 1)
        segment = _element(file)
        if segment is None or segment[0] != SEGMENT:
            return None
        stated = None if segment[1] is None else file.tell() + segment[1]
        fault = _walk(file, min(length, stated) if stated is not None else length)
        if fault is None and stated is not None and stated > length:
            fault = Fault(length, cut=True)
        return fault


def _walk(file: BinaryIO, end: int) -> Fault | None:
    """Walks the children of a segment, and those of its clusters as if they were of one level."""
    inside = file.tell()  # end of the cluster that is being walked
    walked = 0
    while (place := file.tell()) < end:
        walked += 1
        if walked > MOST_ELEMENTS:
            return None  # not judged any further
        element = _element(file)
        if element is None:
            return Fault(place, cut=end - place < LONGEST_HEADER)
        name, size = element
        if name == CLUSTER:
            inside = end if size is None else file.tell() + size
            continue
        known = name in ANYWHERE or name in (IN_CLUSTER if place < inside else TOP_LEVEL)
        if not known and name in TOP_LEVEL:  # a cluster of unknown size ends here
            known, inside = True, place
        if not known or size is None or file.tell() + size > end:
            return Fault(place, cut=known and size is not None)
        file.seek(size, 1)
    return Fault(end, cut=True) if inside > end else None


def _element(file: BinaryIO) -> tuple[int, int | None] | None:
    """Name and size of the element that begins here; the file then stands at its content."""
    name = _number(file, 4, keep_marker=True)
    size = _number(file, 8, keep_marker=False)
    if name is None or size is None:
        return None
    return name, None if size < 0 else size


def _number(file: BinaryIO, longest: int, *, keep_marker: bool) -> int | None:
    """A number of variable length: leading zero bits of its first byte tell how many bytes follow; -1: unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    rest = file.read(length - 1)
    if length > longest or len(rest) < length - 1:
        return None
    if keep_marker:
        return int.from_bytes(first + rest, "big")
    value = int.from_bytes(bytes([first[0] & (0xFF >> length)]) + rest, "big")
    return -1 if value == (1 << (7 * length)) - 1 else value
