"""Which distorted file goes with which reference: files, folders of them, and tables of pairs."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from compressvqa.errors import DataError
from compressvqa.opinions.columns import DISTORTED, REFERENCE
from compressvqa.opinions.table import MAX_BYTES, Row, read_rows, read_text
from compressvqa.video.folders import VIDEO_SUFFIXES, list_videos
from compressvqa.video.piped import STANDARD_INPUT
from compressvqa.video.raw import MAGIC

TABLES = (".csv", ".tsv")
NEEDED = "score REFERENCE DISTORTED, or score -r FILE -d FILE"


@dataclass(frozen=True)
class Task:
    """A reference and its distorted files, which are scored together.

    Args:
        reference: None where nothing reads one.
        distorted: in their order.
    """

    reference: Path | None
    distorted: tuple[Path, ...]


def pairs_of(
    files: Sequence[Path],
    reference: Path | None = None,
    distorted: Sequence[Path] = (),
    *,
    needs_reference: bool = True,
    stream: BinaryIO | None = None,
) -> list[Task]:
    """What is scored against what.

    Args:
        files: as they were typed: the reference and then distorted files. A folder of videos among these stands for
            all of them; where the reference is one too, each video goes with the one of the same name, or whose name
            it begins with (``dog.mp4``: ``dog_crf30.mp4``). One table (.csv, .tsv, or "-" for standard input) stands
            for what its columns ``ref`` and ``dist`` name, see `read_pairs`.
        reference: the reference, where it was given by name.
        distorted: distorted files that were given by name.
        needs_reference: whether a metric reads the reference.
        stream: standard input, which a table may come from.

    Raises:
        DataError: files are missing, a file is named twice, a video has no reference, a table that is none.
    """
    rest = list(files)
    if len(rest) == 1 and reference is None and not distorted:
        table = _table(rest[0], stream, needs_reference)
        if table is not None:
            return _checked(table)
    if reference is None and needs_reference and len(rest) + len(distorted) > 1 and rest:
        reference = rest.pop(0)
    rest += distorted
    if not rest or (needs_reference and reference is None):
        needs = "two files" if needs_reference else "a file"
        raise DataError(f"score needs {needs}", hint=NEEDED)
    if reference is None or not is_folder_of_videos(reference):
        found = [one for path in rest for one in _videos(path) if one == path or not _same(one, reference)]
        return _checked([Task(reference, tuple(found))])
    return _checked([task for place in rest for task in _by_name(reference, place)])


def is_folder_of_videos(path: Path) -> bool:
    """Whether a path is a folder that holds videos, and so is not one video in numbered pictures."""
    return path.is_dir() and any(
        found.suffix.lower() in VIDEO_SUFFIXES and found.is_file() for found in path.rglob("*")
    )


def _videos(path: Path) -> list[Path]:
    return [found for _, found in list_videos(path)] if is_folder_of_videos(path) else [path]


def _same(file: Path, reference: Path | None) -> bool:
    """Whether a file of a folder is the reference, which is not scored against itself."""
    return reference is not None and file.resolve() == reference.resolve()


def _by_name(references: Path, place: Path) -> list[Task]:
    """The videos of a folder, each with its reference in another folder."""
    if references.resolve() == place.resolve():
        raise DataError("is the folder of the references and of the distorted files", where=place, hint=NEEDED)
    known = {Path(name).with_suffix("").as_posix(): path for name, path in list_videos(references)}
    held: dict[Path, list[Path]] = {}
    alone = []
    for name, path in list_videos(place):
        found = _reference_of(Path(name).with_suffix("").as_posix(), known)
        if found is None:
            alone.append(name)
        else:
            held.setdefault(found, []).append(path)
    if alone:
        more = f" and {len(alone) - 1} more have" if len(alone) > 1 else " has"
        one = "" if place.is_file() else alone[0]
        raise DataError(f"{one}{more} no reference of that name in {references}".strip(), where=place,
                        hint="a CSV with the columns ref,dist names the pairs")  # fmt: skip
    return [Task(reference, tuple(held[reference])) for reference in known.values() if reference in held]


def _reference_of(name: str, known: dict[str, Path]) -> Path | None:
    """The reference that a name is equal to, or begins with up to a sign that ends a word; the longest such."""
    if name in known:
        return known[name]
    # A folder for each reference, as encoders of ladders make them: dog/crf30.mp4.
    begins = [one for one in known if name.startswith(one) and re.match(r"[^0-9A-Za-z]", name[len(one) :])]
    if not begins:  # the references lie flat, the encodes in folders: x265/dog_crf30.mp4
        last = name.rpartition("/")[2]
        begins = [one for one in known if last == one]
        begins = begins or [
            one for one in known if last.startswith(one) and re.match(r"[^0-9A-Za-z]", last[len(one) :])
        ]
    return known[max(begins, key=len)] if begins else None


# --- Tables -----------------------------------------------------------------------------------------------------


def _table(path: Path, stream: BinaryIO | None, needs_reference: bool) -> list[Task] | None:
    """What a table names; None where the path is none."""
    if path == STANDARD_INPUT:
        if stream is None or (not needs_reference and _is_video(stream)):
            return None
        if stream.isatty():
            raise DataError("is a terminal: nothing comes from it", where="standard input",
                            hint=f"a table with the columns ref,dist; or {NEEDED}")  # fmt: skip
        data = stream.read(MAX_BYTES + 1)
        if data.startswith(MAGIC):
            raise DataError("is a video: score needs two files", where="standard input", hint="score REFERENCE -")
        return read_pairs(Path("standard input"), _decoded(data), Path(), needs_reference=needs_reference)
    if path.suffix.lower() not in TABLES:
        return None
    return read_pairs(path, read_text(path), path.parent, needs_reference=needs_reference)


def _is_video(stream: BinaryIO) -> bool:
    """Whether a Y4M stream comes; what is read stays in the stream, where that can be."""
    if not isinstance(stream, io.BufferedReader):
        return True
    head = stream.peek(len(MAGIC))[: 1 << 12]
    return head.startswith(MAGIC) or b"\0" in head


def _decoded(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise DataError(f"is larger than {MAX_BYTES >> 20} MiB: not a table of pairs", where="standard input")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("is neither a table of pairs in UTF-8 nor a Y4M stream", where="standard input",
                        hint=NEEDED) from error  # fmt: skip


def read_pairs(path: Path, text: str, folder: Path, *, needs_reference: bool = True) -> list[Task]:
    """The pairs of a table: commas, semicolons or tabs, a row a pair.

    The first row names the columns ``ref`` and ``dist`` (also ``reference`` and ``distorted``, ...); others say nothing
    here, so that a manifest of human scores is such a table too. A table of two columns needs no such row.

    Args:
        path: what it is called in errors.
        text: its text.
        folder: what relative paths are relative to.
        needs_reference: whether every row must name a reference.

    Raises:
        DataError: no pair, a row without a file, or a file that is not there; with the line.
    """
    first = text.lstrip("\r\n").split("\n", 1)[0]
    rows = list(read_rows(path, text, max(",;\t", key=first.count)))
    if not rows:
        raise DataError("holds no pairs", where=path, hint="ref,dist")
    names = [cell.strip().casefold() for cell in rows[0].cells]
    columns = [_column(names, ("ref", *REFERENCE)), _column(names, ("dist", *DISTORTED))]
    if columns[1] is None or (needs_reference and columns[0] is None):
        named = any(name in ("ref", *REFERENCE, "dist", *DISTORTED) for name in names)
        if named or len(rows[0].cells) != 2:
            lacks = "dist" if columns[1] is None else "ref"
            raise DataError(f"has no column {lacks!r}", where=f"{path}:{rows[0].line}", hint="ref,dist")
        columns = [0, 1]
    else:
        rows = rows[1:]
    held: dict[Path | None, list[Path]] = {}
    for row in rows:
        reference, distorted = (None if column is None else _file(row, column, path, folder) for column in columns)
        if distorted is None or (needs_reference and reference is None):
            raise DataError("a pair has two files", where=f"{path}:{row.line}", hint="ref,dist")
        held.setdefault(reference, []).append(distorted)
    if not held:
        raise DataError("holds no pairs", where=path)
    return [Task(reference, tuple(distorted)) for reference, distorted in held.items()]


def _column(names: Sequence[str], spellings: Sequence[str]) -> int | None:
    found = [names.index(spelling) for spelling in spellings if spelling in names]
    return found[0] if found else None


def _file(row: Row, column: int, path: Path, folder: Path) -> Path | None:
    cell = row.cells[column].strip() if column < len(row.cells) else ""
    if not cell:
        return None
    file = folder / cell
    if not file.exists() and "%" not in file.name:
        elsewhere = Path(cell).exists() and folder != Path()
        hint = f"paths are relative to the folder of the table, {folder}" if elsewhere else None
        raise DataError(f"no such file: {cell}", where=f"{path}:{row.line}", hint=hint)
    return file


def _checked(tasks: list[Task]) -> list[Task]:
    """No pair twice: a score is known by its files."""
    known: set[tuple[Path | None, Path]] = set()
    for task in tasks:
        reference = None if task.reference is None else task.reference.resolve()
        for file in task.distorted:
            pair = (reference, file.resolve())
            if pair in known and file != STANDARD_INPUT:
                beside = "" if reference is None else f" beside {task.reference}"
                raise DataError(f"is named twice{beside}", where=file)
            known.add(pair)
    return tasks
