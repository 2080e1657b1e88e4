"""Pictures in numbered files, or a folder of them, read as one video."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from compressvqa.errors import DataError
from compressvqa.untrusted import is_folder
from compressvqa.video.folders import VIDEO_SUFFIXES
from compressvqa.video.frames import Planes
from compressvqa.video.info import VideoInfo
from compressvqa.video.pictures import is_picture, probe_picture, read_picture

# A number in a file name, as printf and ffmpeg write it: %d, %04d.
MOST_DIGITS = 30
PLACE = re.compile(r"%(?:0(\d+))?d")


@dataclass(frozen=True)
class PictureSequence:
    """The files of one video, in order.

    Args:
        path: the folder, or the path with a place for a number, as it was given.
        files: the pictures.
    """

    path: Path
    files: tuple[Path, ...]


def is_sequence(path: Path) -> bool:
    """Whether a path names several files: a folder, or a name with a place for a number (and no file of that name)."""
    return is_folder(path) or (PLACE.search(path.name) is not None and not path.exists())


def find_sequence(path: Path) -> PictureSequence:
    """The pictures of a folder, or those that fit a name such as ``frame_%04d.png``, by their numbers.

    Numbers may begin anywhere and have leading zeros or none.

    Raises:
        DataError: no pictures, several series or formats of them, or a number that is missing or there twice.
    """
    numbered = _of_folder(path) if path.is_dir() else _of_pattern(path)
    numbers = sorted(numbered)
    for before, after in itertools.pairwise(numbers):
        if after != before + 1:
            missing = str(before + 1) if after == before + 2 else f"{before + 1} to {after - 1}"
            what = f"picture {missing} is missing: {numbered[before].name} is followed by {numbered[after].name}"
            raise DataError(what, where=path)
    return PictureSequence(path, tuple(numbered[number] for number in numbers))


def probe_sequence(path: Path, frame_rate: Fraction | None = None) -> VideoInfo:
    """Facts of a sequence, every picture's header read.

    Args:
        path: the folder or pattern.
        frame_rate: frames a second, if known.

    Raises:
        DataError: as `find_sequence`, or a picture that can't be read or differs from the first.
    """
    files = find_sequence(path).files
    first = probe_picture(files[0])
    grey = first.chroma == "400"
    for file in files[1:]:
        other = probe_picture(file)
        grey = grey and other.chroma == "400"
        for name, a, b in (
            ("pixels", f"{first.width}x{first.height}", f"{other.width}x{other.height}"),
            ("bit", first.colour.bitdepth, other.colour.bitdepth),
            ("format", first.codec, other.codec),
        ):
            if a != b:
                raise DataError(f"{file.name} has {b} {name}, {files[0].name} has {a}: not one video", where=path)
    # Some programs store a grey frame of a colour video as a grey picture.
    return replace(first, path=path, chroma="400" if grey else "444", frames=len(files), frame_rate=frame_rate)


def read_sequence(path: Path, start: int = 0) -> Iterator[Planes]:
    """The pictures of a sequence from number `start` on (counted from 0), one at a time.

    Raises:
        DataError: as `find_sequence`, or a picture that is damaged or of another size.
    """
    files = find_sequence(path).files
    size: tuple[int, int] | None = None
    for number, file in enumerate(files[start:], start):
        planes = read_picture(file)
        size = size or planes.size
        if planes.size != size:
            raise DataError(f"the frame size changes at frame {number} ({file.name})", where=path)
        yield planes


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that a video is stored in: itself, or the pictures of a sequence.

    Raises:
        DataError: as `find_sequence`.
    """
    return find_sequence(path).files if is_sequence(path) else (path,)


def state_of(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of change of the files that a video is stored in: what was worked out of them is kept by it.

    Raises:
        DataError: as `find_sequence`.
        OSError: a file that is not there.
    """
    return tuple((str(file), state.st_size, state.st_mtime_ns) for file in files_of(path) for state in [file.stat()])


def _of_folder(folder: Path) -> dict[int, Path]:
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    videos = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    pictures = [file for file in files if is_picture(file)]
    if videos:
        and_pictures = f" and {_counted(pictures, 'picture')}" if pictures else ""
        raise DataError(f"is a folder of {_counted(videos, 'video')}{and_pictures}, not one video", where=folder,
                        hint=f"name one file: {videos[0].name}; `compressvqa evaluate` judges folders")  # fmt: skip
    if not pictures:
        raise DataError("is a folder without pictures, not a video", where=folder)
    kinds = sorted({file.suffix.lower() for file in pictures})
    if len(kinds) > 1:
        counts = ", ".join(f"{sum(file.suffix.lower() == kind for file in pictures)} {kind}" for kind in kinds)
        raise DataError(f"mixes formats of pictures ({counts}): not one video", where=folder,
                        hint=f"name one series: {folder.name}/frame_%04d{kinds[0]}")  # fmt: skip
    return _numbered(folder, pictures)


def _numbered(folder: Path, pictures: list[Path]) -> dict[int, Path]:
    """Pictures by the one number in which their names differ."""
    names = [re.split(r"(\d+)", file.stem) for file in pictures]
    without = [file.name for file, name in zip(pictures, names, strict=True) if len(name) < 2]
    if without:
        raise DataError(f"{without[0]} has no number in its name: not a frame of a video", where=folder)
    texts = sorted({"#".join(name[::2]) for name in names})
    if len(texts) > 1:
        raise DataError(f"holds several series of pictures ({', '.join(texts[:3])}), not one video", where=folder,
                        hint=f"name one: {folder.name}/{texts[0].replace('#', '%d')}{pictures[0].suffix}")  # fmt: skip
    varying = [place for place in range(1, len(names[0]), 2) if len({name[place] for name in names}) > 1]
    if len(varying) > 1:
        raise DataError(f"{len(varying)} numbers differ in the names of its pictures: not one video", where=folder)
    place = varying[0] if varying else len(names[0]) - 2
    return _by_number(folder, [(int(name[place]), file) for name, file in zip(names, pictures, strict=True)])


def _of_pattern(path: Path) -> dict[int, Path]:
    places = list(PLACE.finditer(path.name))
    if len(places) > 1:
        raise DataError("a name has one place for a number", where=path, hint="frame_%04d.png")
    folder = path.parent
    if not folder.is_dir():
        raise DataError("no such folder", where=folder)
    width = int(places[0][1] or 1)
    if width > MOST_DIGITS:
        raise DataError(f"asks for numbers of {width} digits", where=path, hint="frame_%04d.png")
    before, after = (re.escape(text.replace("%%", "%")) for text in PLACE.split(path.name)[::2])
    fits = re.compile(rf"{before}(\d{{{width},}}){after}")
    found = [(match, file) for file in folder.iterdir() if (match := fits.fullmatch(file.name)) and file.is_file()]
    exact = [(int(match[1]), file) for match, file in found if width == 1 or match[1] == f"{int(match[1]):0{width}d}"]
    if not exact:
        raise DataError("no file fits this name", where=path, hint=_near(folder, path))
    if not is_picture(path):
        raise DataError(f"numbered files ending in {path.suffix or 'nothing'} are not read", where=path,
                        hint="pictures: .png, .jpg, .tif, .bmp, ...")  # fmt: skip
    return _by_number(path, exact)


def _near(folder: Path, path: Path) -> str | None:
    """A picture of the folder that may have been meant."""
    kind = path.suffix.lower()
    other = next((file.name for file in sorted(folder.iterdir()) if file.suffix.lower() == kind), None)
    return None if other is None else f"the folder has {other}"


def _by_number(where: Path, numbered: list[tuple[int, Path]]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for number, file in sorted(numbered):
        if number in found:
            raise DataError(f"{found[number].name} and {file.name} have one number", where=where)
        found[number] = file
    return found


def _counted(files: list[Path], what: str) -> str:
    return f"{len(files)} {what}{'' if len(files) == 1 else 's'}"
