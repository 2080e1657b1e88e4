"""From what a user types to a data set: a file, a folder, ``NAME=FOLDER``, ``FILE=FOLDER``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from compressvqa.errors import DataError
from compressvqa.opinions.cells import short
from compressvqa.opinions.generic import GENERIC, MANIFESTS
from compressvqa.opinions.label_lines import is_label_lines, read_label_lines
from compressvqa.opinions.manifest import Manifest
from compressvqa.opinions.manifest_file import read_json, read_manifest
from compressvqa.opinions.subj_score import is_subj_score, read_subj_score
from compressvqa.opinions.table import read_text
from compressvqa.opinions.vmaf_dataset import is_vmaf_dataset, read_vmaf_dataset
from compressvqa.registry import mos_sets

Form = Literal["manifest", "subj-score", "labels", "vmaf"]
# Only the beginning of a file decides what it is.
LOOKED_AT = 1 << 16


@dataclass(frozen=True)
class _Named:
    name: str
    folder: Path | None


def read_dataset(text: str | Path) -> Manifest:
    """A data set, from what a user types.

    Args:
        text: one of

            - a manifest (.csv or .json), a ``subj_score.json``, a label file of FAST-VQA or a Python data set of VMAF,
              told apart by what they hold;
            - ``FILE=FOLDER``: such a file of another form than ours whose videos are in another folder;
            - ``NAME=`` any of the others, which is then called so;
            - ``NAME=FOLDER`` or ``NAME:FOLDER``: a named data set and its folder. Case, dashes and underscores of the
              name do not matter;
            - a folder that holds a manifest.csv, manifest.json or ``subj_score.json``, or is called like a named one.

    Raises:
        DataError: none of these, or a file that is not what it must be.
    """
    text = str(text)
    named = _named(text)
    if named is not None:
        if named.folder is None:
            raise DataError(f"where is the data set {named.name!r}?", where=text, hint=f"{named.name}=FOLDER")
        manifest: Manifest = mos_sets[named.name].value(named.folder)
        return manifest
    path = Path(text)
    if not _is(Path.exists, path) and "=" in text:
        name, _, rest = text.partition("=")
        if not _is(Path.is_file, Path(name)) and looks_like_dataset(rest):
            return replace(read_dataset(rest), name=name)
        file, _, folder = text.rpartition("=")
        return _read_beside(Path(file), Path(folder), text)
    if _is(Path.is_dir, path):
        return _read_folder(path)
    form = _form(path)
    if form is None:
        what = "is no data set" if _is(Path.exists, path) else "no such file, folder or data set"
        raise DataError(what, where=path, hint=f"a manifest (CSV or JSON), or NAME=FOLDER with {', '.join(mos_sets)}")
    return read_manifest(path) if form == "manifest" else _read_foreign(form, path, None)


def looks_like_dataset(text: str | Path) -> bool:
    """Whether what a user typed is meant for a data set, and not for a model.

    Names of data sets, tables (.csv and .tsv, also ones that are missing), and files and folders that hold one of the
    forms that `read_dataset` reads.
    """
    text = str(text)
    if _named(text) is not None:
        return True
    path = Path(text)
    if not _is(Path.exists, path) and "=" in text:
        name, _, rest = text.partition("=")
        if not _is(Path.is_file, Path(name)) and name and _is(Path.exists, Path(rest.rpartition("=")[2])):
            return looks_like_dataset(rest)
        file, _, folder = text.rpartition("=")
        path = Path(file)
        if not _is(Path.is_dir, Path(folder)) or _is(Path.is_dir, path):
            return False
    if _is(Path.is_dir, path):
        is_model = (path / "config.json").is_file()
        return _folder_file(path) is not None or (canonical(path.resolve().name) is not None and not is_model)
    try:
        return path.suffix.lower() in (".csv", ".tsv") or _form(path) is not None
    except DataError:
        return False  # JSON or text that does not parse is said better by whoever else wants it


def _is(question: Callable[[Path], bool], path: Path) -> bool:
    """A question about a file. What a user types may also be a command or a sentence, too long for a file's name."""
    try:
        return question(path)
    except (OSError, ValueError):
        return False


def canonical(name: str) -> str | None:
    """The registered name of a data set that `name` spells, without regard to case, dashes, underscores and spaces.

    >>> canonical("KADID10k")
    'kadid-10k'
    """
    folded = {_fold(known): known for known in mos_sets}
    return folded.get(_fold(name))


def _fold(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).casefold()


def _named(text: str) -> _Named | None:
    """NAME=FOLDER, NAME:FOLDER, or NAME alone where no file of that name is there."""
    for divider in ("=", ":"):
        name, found, folder = text.partition(divider)
        known = canonical(name) if found else None
        if known is not None:
            return _Named(known, Path(folder) if folder else None)
    known = canonical(text)
    return _Named(known, None) if known is not None and not _is(Path.exists, Path(text)) else None


def _read_beside(file: Path, folder: Path, text: str) -> Manifest:
    """FILE=FOLDER."""
    if not _is(Path.exists, file):
        name = text.partition("=")[0]
        raise DataError(f"{short(name)} is no data set and no file", hint=", ".join(mos_sets))
    if not _is(Path.is_dir, folder):
        raise DataError("no such folder", where=folder)
    form = _form(file)
    if form == "manifest":
        raise DataError("a manifest names its folder itself", where=file, hint='"folder" in the JSON file')
    if form is None:
        raise DataError("is no data set", where=file, hint=GENERIC)
    return _read_foreign(form, file, folder)


def _folder_file(folder: Path) -> Path | None:
    for name in MANIFESTS:
        if (folder / name).is_file():
            return folder / name
    found = sorted(folder.glob("*subj_score*.json"))
    return found[0] if len(found) == 1 else None


def _read_folder(folder: Path) -> Manifest:
    file = _folder_file(folder)
    named = canonical(folder.resolve().name)
    if named is not None and (file is None or file.name not in MANIFESTS):
        manifest: Manifest = mos_sets[named].value(folder)
        return manifest
    if file is None:
        hint = f"NAME={folder} with NAME one of {', '.join(mos_sets)}"
        raise DataError("holds no manifest.csv, manifest.json or subj_score.json", where=folder, hint=hint)
    manifest = read_manifest(file) if file.name in MANIFESTS else read_subj_score(file)
    # A file that has no name of its own is called like every other of its kind: the folder tells them apart.
    return replace(manifest, name=folder.resolve().name) if manifest.name == file.stem else manifest


def _form(path: Path) -> Form | None:
    """What a file is, by its suffix and content; None: no data set."""
    suffix = path.suffix.lower()
    if suffix == ".json" and _is(Path.is_file, path):
        content = read_json(path)
        if is_subj_score(content):
            return "subj-score"
        tables = any(path.with_suffix(table).is_file() for table in (".csv", ".tsv"))
        return "manifest" if isinstance(content, dict) and ("items" in content or tables) else None
    if suffix in (".py", ".txt") and _is(Path.is_file, path):
        text = read_text(path)
        if suffix == ".py":
            return "vmaf" if is_vmaf_dataset(text) else None
        return "labels" if is_label_lines(text[:LOOKED_AT]) else "manifest" if _has_header(text) else None
    if suffix in (".csv", ".tsv"):
        return "labels" if _is(Path.is_file, path) and is_label_lines(read_text(path)[:LOOKED_AT]) else "manifest"
    return None


def _has_header(text: str) -> bool:
    from compressvqa.opinions.columns import BY_NAME

    first = next((line for line in text.splitlines() if line.strip()), "")
    names = [name.strip().casefold() for name in re.split(r"[,;\t]", first)]
    return sum(name in BY_NAME for name in names) >= 2


def _read_foreign(form: Form, path: Path, folder: Path | None) -> Manifest:
    if form == "subj-score":
        return read_subj_score(path, folder)
    if form == "labels":
        return read_label_lines(path, folder)
    return read_vmaf_dataset(path, folder)
