"""Finding the files of a data set: publishers, unpackers and users move them and change the case of their names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from compressvqa.errors import DataError

# What no data set means by its content.
HIDDEN = (".", "__MACOSX")


class Lookup:
    """The files below a folder, found by name.

    Args:
        folder: the folder of a data set; it is listed once, when a name is not where it was expected.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Paths of all files below the folder, with forward slashes, sorted."""
        return tuple(list_files(self.folder))

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for path in self.files:
            names.setdefault(path.rsplit("/", 1)[-1].casefold(), []).append(path)
        return names

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        stems: dict[str, list[str]] = {}
        for path in self.files:
            stems.setdefault(PurePosixPath(path).stem.casefold(), []).append(path)
        return stems

    def find(self, name: str, prefer: Sequence[str] = (), *, stem: bool = False) -> str:
        """Where a file is, as a path below the folder.

        It is looked for at `name`, then at `name` in each of the folders of `prefer`, then anywhere by its file name
        without regard to case; of several that place wins which shares most of its path with `name` or with `prefer`.

        Args:
            name: a path as the data set's lists give it.
            prefer: folders in which it is usually found, the first one is where it is said to be if it is nowhere.
            stem: the name has no suffix.

        Returns:
            The path; the expected one where no file is found, so that a later look says what is missing.

        Raises:
            DataError: several places are as good as each other.
        """
        name = name.strip("/")
        expected = [name, *(f"{place}/{name}" for place in prefer)]
        if not stem:
            for path in expected:
                # The lists come from others: a name that leads out of the folder is not followed.
                if ".." not in PurePosixPath(path).parts and (self.folder / path).is_file():
                    return path
        last = name.rsplit("/", 1)[-1].casefold()
        found = (self._by_stem if stem else self._by_name).get(last, [])
        if not found:
            return expected[1] if prefer else name.replace("../", "")
        best = sorted(found, key=lambda path: self._distance(path, name, prefer))
        if len(best) > 1 and self._distance(best[0], name, prefer) == self._distance(best[1], name, prefer):
            raise DataError(f"{name!r} is in two places: {best[0]} and {best[1]}", where=self.folder,
                            hint="keep one of them below the folder")  # fmt: skip
        return best[0]

    @staticmethod
    def _distance(path: str, name: str, prefer: Sequence[str]) -> tuple[int, int, int]:
        parts, wanted = path.casefold().split("/"), name.casefold().split("/")
        shared = 0
        while shared < min(len(parts), len(wanted)) and parts[-1 - shared] == wanted[-1 - shared]:
            shared += 1
        folders = [place.casefold() for place in prefer]
        rank = min((folders.index(part) for part in parts[:-1] if part in folders), default=len(folders))
        return rank, -shared, len(parts)

    def one_of(self, *names: str) -> Path | None:
        """The first of these files that is there: in the folder itself, or else anywhere below it."""
        for name in names:
            if (self.folder / name).is_file():
                return self.folder / name
        for name in names:
            if found := self._by_name.get(name.casefold()):
                return self.folder / min(found, key=lambda path: (path.count("/"), path))
        return None


def list_files(folder: Path) -> list[str]:
    """Paths of all files below a folder, with forward slashes, sorted; hidden ones are left out."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(HIDDEN)]
        below = Path(place).relative_to(folder).as_posix()
        prefix = "" if below == "." else f"{below}/"
        found += [prefix + name for name in files if not name.startswith(".")]
    return sorted(found)
