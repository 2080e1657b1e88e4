"""Layouts that every named data set may also be in: our manifest, ``subj_score.json``, a Python data set of VMAF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from compressvqa.errors import DataError
from compressvqa.opinions.lookup import Lookup
from compressvqa.opinions.manifest import Manifest
from compressvqa.opinions.manifest_file import read_manifest
from compressvqa.opinions.subj_score import read_subj_score
from compressvqa.opinions.table import read_text
from compressvqa.opinions.vmaf_dataset import is_vmaf_dataset, read_vmaf_dataset

MANIFESTS = ("manifest.csv", "manifest.json")
GENERIC = "manifest.csv, manifest.json, subj_score.json or a Python data set of VMAF"


def read_layout(
    folder: Path,
    name: str,
    original: Callable[[Lookup], Manifest | None] | None = None,
    *,
    files: str = "",
    bitdepth: int | None = None,
    python_higher: bool | None = None,
) -> Manifest:
    """A data set from whichever of its layouts is there: a manifest first, then the original, then the foreign forms.

    Args:
        folder: the data set's folder.
        name: the name that the manifest gets.
        original: reads the layout that the data set was published in; None if its files are not there.
        files: what `original` looks for, for the message.
        bitdepth: of headerless files of the ``subj_score.json`` form.
        python_higher: direction of the scores of the Python form.

    Raises:
        DataError: the folder is missing, or none of the layouts is in it.
    """
    if not folder.is_dir():
        raise DataError("no such folder", where=folder)
    for manifest in MANIFESTS:
        if (folder / manifest).is_file():
            return read_manifest(folder / manifest)
    lookup = Lookup(folder)
    found = original(lookup) if original is not None else None
    if found is None:
        found = _foreign(folder, bitdepth, python_higher)
    if found is None:
        looked = f"{files}, {GENERIC}" if files else GENERIC
        raise DataError(f"holds none of the files that {name!r} is read from: {looked}", where=folder)
    return replace(found, name=name)


def _foreign(folder: Path, bitdepth: int | None, python_higher: bool | None) -> Manifest | None:
    for path in sorted(folder.glob("*subj_score*.json")):
        return read_subj_score(path, folder, bitdepth=bitdepth)
    found = [path for path in sorted(folder.glob("*.py")) if is_vmaf_dataset(read_text(path))]
    if len(found) > 1:
        # A list of raw ratings says more than its means do: it has the standard deviations.
        found = [path for path in found if "_raw" in path.stem] or found
    return read_vmaf_dataset(found[0], folder, higher_is_better=python_higher) if found else None
