"""Sources of patches: the videos and photographs of folders, and the built-in ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

from compressvqa.data import virtual_camera
from compressvqa.data.filming import Camera
from compressvqa.data.sources import FileSource, PhotographSource
from compressvqa.errors import DataError
from compressvqa.fingerprint import file_digest
from compressvqa.video.folders import list_media
from compressvqa.video.pictures import is_picture
from compressvqa.video.raw import RawFormat

MediaSource: TypeAlias = FileSource | PhotographSource
Part: TypeAlias = Literal["train", "validation"]
BUILTIN = "builtin"


def media_sources(
    places: Sequence[str], *, part: Part | None, camera: Camera, takes: int | None, raw: RawFormat | None
) -> list[MediaSource]:
    """What lies in some places, contents told apart by name.

    Args:
        places: folders, files, or "builtin".
        part: which built-in photographs; None: all.
        camera: how photographs are filmed.
        takes: takes of each photograph; None: as many as patches are cut from a video.
        raw: what headerless .yuv files hold.

    Raises:
        DataError: a place does not exist or holds nothing, or two files are the same.
    """
    found: list[MediaSource] = []
    for place in places:
        if place == BUILTIN:
            parts: tuple[Part, ...] = ("train", "validation") if part is None else (part,)
            names = [name for side in parts for name in virtual_camera.photographs(side)]
            found += [PhotographSource(name, None, camera, takes) for name in names]
        else:
            found += [_file(content, path, camera, takes, raw) for content, path in list_media(place)]
    return _once(_told_apart(found))


def shared_files(one: Sequence[MediaSource], other: Sequence[MediaSource]) -> list[Path]:
    """Files of `other` that hold the same as a file of `one`, under whatever name."""
    known = {file_digest(source.path) for source in one if source.path is not None}
    return [source.path for source in other if source.path is not None and file_digest(source.path) in known]


def _file(content: str, path: Path, camera: Camera, takes: int | None, raw: RawFormat | None) -> MediaSource:
    if is_picture(path):
        return PhotographSource(content, path, camera, takes)
    return FileSource(content, path, raw if path.suffix.lower() == ".yuv" else None)


def _told_apart(sources: list[MediaSource]) -> list[MediaSource]:
    """Contents of equal names in several folders get the folder's name in front."""
    names = [source.content for source in sources]
    return [
        replace(source, content=f"{source.path.absolute().parent.name}/{source.content}")
        if source.path is not None and names.count(source.content) > 1
        else source
        for source in sources
    ]


def _once(sources: list[MediaSource]) -> list[MediaSource]:
    """Copies of a file are one content, or a split could put one of them on each side.

    Raises:
        DataError: two files are the same.
    """
    known: dict[str, Path] = {}
    for source in sources:
        if source.path is None:
            continue
        other = known.setdefault(file_digest(source.path), source.path)
        if other is not source.path:
            raise DataError(f"is the same file as {other}", where=source.path, hint="name each content once")
    return sources
