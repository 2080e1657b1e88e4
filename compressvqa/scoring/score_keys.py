"""Which entry of a table of scores, or which log of a folder, belongs to which file."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from compressvqa.errors import DataError
from compressvqa.video.folders import VIDEO_SUFFIXES
from compressvqa.video.pictures import SUFFIXES as PICTURE_SUFFIXES

_MEDIA = VIDEO_SUFFIXES | PICTURE_SUFFIXES | {".raw"}
Parts = tuple[str, ...]


def as_key(text: str) -> str:
    """A path of a table in one spelling: forward slashes, no ``./`` and no ``a/../``.

    >>> as_key(r"hrc1\\clip.mp4"), as_key("./hrc1//clip.mp4"), as_key(r"C:\\data\\clip.mp4")
    ('hrc1/clip.mp4', 'hrc1/clip.mp4', 'C:/data/clip.mp4')
    """
    return posixpath.normpath(text.strip().replace("\\", "/"))


class Keys:
    """Names of a table or of a folder's logs.

    A relative name belongs to a file whose path ends in it, folders included: ``hrc1/clip.mp4`` never stands for
    ``hrc2/clip.mp4``. An absolute one belongs to that very file, or to one of another place with the same folder and
    name, and with all of the path that the data set itself knows. Where nothing fits to the letter, case does not
    count, then not what the suffix of a video is.

    Args:
        names: as `as_key` gives them.
        where: the table or folder, for errors.
    """

    def __init__(self, names: Iterable[str], where: Path) -> None:
        self.names, self.where = list(names), where
        self._inside: dict[str, int] = {}
        self._taken: dict[str, dict[str, str]] = {}  # {name: {file: as what it fits}}

    def expect(self, files: Iterable[tuple[Path, str]]) -> None:
        """Says which files there are, so that a name that fits several is known to say nothing.

        Args:
            files: (path, path within its data set).
        """
        self._inside = {str(path.absolute()): len(PurePosixPath(inside).parts) for path, inside in files}
        self._taken = {}
        for file in self._inside:
            for name, _ in self._fitting(file):
                self._taken.setdefault(name, {})[file] = name

    def find(self, path: Path) -> str:
        """The name that belongs to a file.

        Raises:
            DataError: none does, or it is not clear which, or the name fits several files.
        """
        file = str(path.absolute())
        fitting = self._fitting(file)
        if len(fitting) != 1:
            if not fitting:
                raise DataError(self._none(path), where=self.where)
            shown = ", ".join(name for name, _ in fitting[:3])
            raise DataError(f"{len(fitting)} scores fit {path.name} ({shown})", where=self.where)
        name, level = fitting[0]
        # A file that fits to the letter has a better right than one of the same name with another suffix.
        rivals = [other for other in self._taken.get(name, {}) if other != file and self._fits(name, other) <= level]
        if rivals:
            what = f"{name!r} fits {_below(file, rivals[0])} and {_below(rivals[0], file)}"
            raise DataError(what, where=self.where, hint="names with their folders")
        return name

    def _fitting(self, file: str) -> list[tuple[str, int]]:
        """(name, how exactly it fits: 0 is best) of the names that fit a file best."""
        found: list[tuple[int, int, str]] = []
        parts = _parts(file)
        for name in self.names:
            if _stem(_parts(name)[-1]).casefold() == _stem(parts[-1]).casefold():
                level = self._fits(name, file)
                if level < len(_LEVELS):
                    found.append((level, -_common(_parts(name), parts, _LEVELS[level]), name))
        best = min(((level, shared) for level, shared, _ in found), default=None)
        return [(name, level) for level, shared, name in found if (level, shared) == best]

    def _fits(self, name: str, file: str) -> int:
        """The first of `_LEVELS` at which a name fits a file; their number where it does not."""
        wanted, parts = _parts(name), _parts(file)
        for level, alike in enumerate(_LEVELS):
            shared = _common(wanted, parts, alike)
            absolute = name.startswith("/") or re.match(r"[A-Za-z]:/", name) is not None
            least = max(2, self._inside.get(file, 1)) if absolute else len(wanted)
            if shared == len(wanted) or (absolute and shared >= least):
                return level
        return len(_LEVELS)

    def _none(self, path: Path) -> str:
        """Why a file has no name here."""
        same = [name for name in self.names if _stem(_parts(name)[-1]).casefold() == _stem(path.name).casefold()]
        if len(same) > 1:
            return f"{len(same)} scores fit {path.name} by its name, and none by its folder ({', '.join(same[:3])})"
        return f"no score of {path.name}" + (f"; {same[0]} is in another folder" if same else "")


def _parts(path: str) -> Parts:
    return tuple(part for part in path.replace("\\", "/").split("/") if part)


def _stem(name: str) -> str:
    """A file's name without the suffix of a video or picture.

    >>> _stem("clip_1.5.mp4"), _stem("clip_1.5")
    ('clip_1.5', 'clip_1.5')
    """
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in _MEDIA else name


def _exactly(one: str, other: str, last: bool) -> bool:
    return one == other


def _without_case(one: str, other: str, last: bool) -> bool:
    return one.casefold() == other.casefold()


def _without_suffix(one: str, other: str, last: bool) -> bool:
    return (_stem(one) if last else one).casefold() == (_stem(other) if last else other).casefold()


_Alike = Callable[[str, str, bool], bool]
_LEVELS: Sequence[_Alike] = (_exactly, _without_case, _without_suffix)


def _common(one: Parts, other: Parts, alike: _Alike) -> int:
    """How many parts two paths share at their ends."""
    shared = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if not alike(left, right, shared == 0):
            break
        shared += 1
    return shared


def _below(file: str, other: str) -> str:
    """A file's path without the folders that it shares with another."""
    ours, theirs = _parts(file), _parts(other)
    same = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), 0)
    return "/".join(ours[same:])
