"""The two parts of a data set of scored files: what is trained on, and what is held out. They share no content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

from compressvqa.errors import DataError
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.video.folders import split_contents
from compressvqa.video.sequence import is_sequence

Part = Literal["train", "validation"]
BY_COLUMN = "split"
HELD_OUT = ("validation", "val", "valid", "test")  # what a manifest may call the part that is not trained on


class Side(NamedTuple):
    """A data set, and those of its items that belong to a part."""

    manifest: Manifest
    items: list[Item]


def read_parts(source: str | Manifest, validation: float | str, seed: int) -> dict[Part, Side]:
    """Reads a data set and says which of its items are for training and which are held out.

    Args:
        source: path of a manifest, `NAME:FOLDER` of a known data set, or one that was read.
        validation: share of the contents to hold out; "split": what the manifest says; or another data set.
        seed: of the split by share.

    Raises:
        DataError: no such data set, its split does not say, or a content is on both sides.
    """
    manifest = _read(source)
    if isinstance(validation, str) and validation != BY_COLUMN:
        held = _read(validation)
        _refuse_shared(_files(manifest) & _files(held))
        return {"train": Side(manifest, list(manifest.items)), "validation": Side(held, list(held.items))}
    sides = _by_column(manifest) if isinstance(validation, str) else _by_share(manifest, validation, seed)
    _refuse_shared({item.scene for item in sides[0]} & {item.scene for item in sides[1]})
    return {"train": Side(manifest, sides[0]), "validation": Side(manifest, sides[1])}


def check_share(validation: float | str) -> None:
    """Refuses a share that leaves one side empty.

    Raises:
        ValueError: it is not between 0 and 1.
    """
    if isinstance(validation, float) and not 0 < validation < 1:
        raise ValueError(f"validation: a share of {validation} leaves one side empty; use 0.1 to 0.5")


def check_parts(sides: Mapping[Part, Side], *, references: bool = False) -> None:
    """Looks whether the parts can be learnt from and judged on, and whether their files are there; opens none.

    Args:
        sides: from `read_parts`.
        references: refuse a data set without any.

    Raises:
        DataError: a file that is missing, a part of less than two items, or no references.
    """
    for part, (manifest, items) in sides.items():
        if len(items) < 2:
            raise DataError(f"{len(items)} items in the part {part!r}: nothing can be ranked", where=manifest.folder)
        if references and manifest.no_reference:
            raise DataError("the data set has no references", where=manifest.folder, hint="data.reference=false")
        for item in items:
            for clip in (manifest.distorted(item), manifest.reference(item)):
                if clip is not None and not clip.path.exists() and not is_sequence(clip.path):
                    raise DataError("no such file", where=clip.path)


def _by_column(manifest: Manifest) -> tuple[list[Item], list[Item]]:
    train = [item for item in manifest.items if item.split == "train"]
    held = [item for item in manifest.items if item.split in HELD_OUT]
    if not train or not held:
        found = ", ".join(sorted({repr(item.split) for item in manifest.items}))
        raise DataError(
            f"the manifest's split does not say what is for training and what for validation: it holds {found}",
            where=manifest.folder,
            hint=f"'train' and one of {', '.join(map(repr, HELD_OUT))}, or `validation: 0.2`",
        )
    return train, held


def _by_share(manifest: Manifest, share: float, seed: int) -> tuple[list[Item], list[Item]]:
    names = split_contents([item.scene for item in manifest.items], share, seed)
    train, held = ([item for item in manifest.items if item.scene in side] for side in names)
    return train, held


def _read(source: str | Manifest) -> Manifest:
    # Imported late, as the readers of the published layouts are many and a training needs one.
    from compressvqa.opinions import read_dataset

    manifest = source if isinstance(source, Manifest) else read_dataset(source)
    if not manifest.no_reference and any(item.reference is None for item in manifest.items):
        raise DataError("some items have a reference and some have none", where=manifest.folder)
    return replace(manifest, items=tuple(sorted(manifest.items, key=lambda item: item.distorted)))


def _files(manifest: Manifest) -> set[str]:
    """By what two data sets would share a content: their references, or where there is none the videos themselves."""
    return {str((manifest.folder / (item.reference or item.distorted)).resolve()) for item in manifest.items}


def _refuse_shared(shared: set[str]) -> None:
    if shared:
        raise DataError(f"{len(shared)} contents are in training and in validation", where=min(shared))
