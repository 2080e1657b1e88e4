"""Doing one unit, wherever that is."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compressvqa.errors import DataError
from compressvqa.executors.results import Results
from compressvqa.executors.unit import Outcome, Unit, Work
from compressvqa.user_code import import_code, imported


def done(work: Work, unit: Unit, results: Results) -> object:
    """The kept result of a unit, or the work's, which is kept."""
    kept = results.get(unit.name)  # another share of the work, or an earlier try, may have done it meanwhile
    if kept is not None:
        return kept[0]
    results.keep(unit.name, work(**unit.arguments))
    again = results.get(unit.name)  # as the next run will read it: a tuple is a list by then
    if again is None:
        raise DataError("a result was kept and is not there", where=results.path(unit.name))
    return again[0]


def kept_of(units: Sequence[Unit], results: Results) -> tuple[list[Outcome], list[Unit]]:
    """Units whose results are kept, with them; and the others."""
    held: list[Outcome] = []
    todo: list[Unit] = []
    for unit in units:
        kept = results.get(unit.name)
        if kept is None:
            todo.append(unit)
        else:
            held.append((unit, kept[0]))
    return held, todo


@dataclass(frozen=True)
class Surroundings:
    """What makes another process like the one that the user started.

    Args:
        folder: where relative paths begin.
        code: of the user's own, as `compressvqa.user_code.imported` gives it.
    """

    folder: str
    code: tuple[str, ...]

    @classmethod
    def here(cls) -> Surroundings:
        """Those of this process."""
        return cls(str(Path.cwd()), imported())

    def enter(self, threads: int) -> None:
        """Brings this process into them.

        Args:
            threads: of its numerical libraries.

        Raises:
            DataError: this machine does not see the folder.
        """
        os.environ["OMP_NUM_THREADS"] = str(threads)  # read where PyTorch is loaded, which units may not need
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise DataError(f"{socket.gethostname()} does not see the folder", where=self.folder,
                            hint="a folder that all machines share") from error  # fmt: skip
        for one in self.code:
            if one not in imported():
                import_code(one)
