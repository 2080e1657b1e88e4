"""Finding the videos of a folder, and splitting contents into training and validation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from compressvqa.errors import DataError
from compressvqa.video.pictures import SUFFIXES as PICTURE_SUFFIXES

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".3gp", ".264", ".265", ".266", ".apng", ".asf", ".avi", ".flv", ".gif", ".h264", ".h265", ".hevc", ".ivf", ".m2ts",
    ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".obu", ".ogv", ".ts", ".vvc", ".webm",
    ".wmv", ".y4m", ".yuv",
})
# fmt: on

# What programs write before a file is whole: clip.part.mp4, or clip.mp4 beside clip.mp4.aria2.
UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".incomplete", ".filepart", ".!qb",
              ".!ut", ".aria2", ".opdownload", ".unconfirmed")  # fmt: skip
# Folders that systems put among people's files.
NOT_THEIRS = frozenset({"__macosx", "@eadir", "lost+found", "$recycle.bin", "system volume information"})


def is_passed_over(path: Path, folder: Path) -> bool:
    """Whether a file of a folder is none that its owner means: hidden, not finished, or put there by the system.

    >>> [is_passed_over(Path("clips", name), Path("clips")) for name in ("a.mp4", "._a.mp4", ".x/a.mp4", "a.part.mp4")]
    [False, True, True, True]
    """
    parts = path.relative_to(folder).parts
    if any(part.startswith((".", "~")) or part.casefold() in NOT_THEIRS for part in parts):
        return True
    if Path(path.stem).suffix.casefold() in UNFINISHED or path.suffix.casefold() in UNFINISHED:
        return True
    return any(path.with_name(path.name + mark).exists() for mark in UNFINISHED)


def list_videos(place: str | Path) -> list[tuple[str, Path]]:
    """Video files of a folder and its subfolders (told by their suffix, sorted), or one file.

    Hidden files and folders are passed over, and so are files that another program has not finished.

    Returns:
        (content, path) of each; the content is the path below the folder, with forward slashes.

    Raises:
        DataError: the place does not exist, or holds no video.
    """
    return _listed(Path(place), VIDEO_SUFFIXES, "video", "", "files ending in .mp4, .mkv, .mov, .webm, .y4m, ...")


def list_media(place: str | Path) -> list[tuple[str, Path]]:
    """Video files and photographs of a folder and its subfolders, or one file; otherwise as `list_videos`.

    Raises:
        DataError: the place does not exist, or holds neither.
    """
    hint = "files ending in .mp4, .mkv, .mov, .webm, .y4m, ..., or .png, .jpg, ..."
    return _listed(Path(place), VIDEO_SUFFIXES | PICTURE_SUFFIXES, "video", " and no photograph", hint)


def _listed(place: Path, suffixes: frozenset[str], what: str, more: str, hint: str) -> list[tuple[str, Path]]:
    if place.is_file():
        return [(place.name, place)]
    if not place.is_dir():
        raise DataError(f"no such folder or file of {what}s", where=place)
    found = [
        (path.relative_to(place).as_posix(), path)
        for path in sorted(place.rglob("*"))
        if path.suffix.lower() in suffixes and path.is_file() and not is_passed_over(path, place)
    ]
    if not found:
        raise DataError(f"holds no {what}{more}", where=place, hint=hint)
    return found


def split_contents(contents: Sequence[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Splits contents into training and validation. Sides depend on names and seed.

    Args:
        contents: names; equal names are one content and stay together.
        share: part of the contents that goes to validation, in (0, 1); at least one content stays on either side.
        seed: another seed gives another split.

    Returns:
        (training, validation), each sorted.

    Raises:
        DataError: fewer than two contents.

    >>> split_contents(["a", "b", "c", "d"], 0.25, seed=0)
    (['a', 'b', 'd'], ['c'])
    """
    names = sorted(set(contents))
    if len(names) < 2:
        raise DataError(f"{len(names)} content can't be split into training and validation", hint="more videos")
    drawn = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    count = min(len(names) - 1, max(1, round(share * len(names))))
    return sorted(drawn[count:]), sorted(drawn[:count])
