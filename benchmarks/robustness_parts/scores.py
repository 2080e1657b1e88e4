"""Encodes of a condition, and what networks and VMAF say of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from compressvqa.data.proxy import build_proxy_set
from compressvqa.files import write_json
from compressvqa.fingerprint import weights_digest
from compressvqa.scoring import score_several
from compressvqa.video.frames import Planes
from robustness_parts.conditions import Condition, unseen_encoders, write

LABEL = "vmaf_v0.6.1"


@dataclass(frozen=True)
class Item:
    """One encode.

    Args:
        content: of which reference.
        codec: its encoder.
        quality: the encoder's number; larger is worse.
        label: VMAF 0.6.1.
        path: its file.
        reference: its reference's file.
    """

    content: str
    codec: str
    quality: int
    label: float
    path: Path
    reference: Path


def encoded(condition: Condition, planes: dict[str, Planes], folder: Path) -> list[Item]:
    """The condition's encodes, made where they are not there yet.

    Raises:
        DataError: nothing of it can be encoded.
    """
    sources = write(condition, planes, folder / "sources")
    with unseen_encoders():
        build_proxy_set(
            sources, folder / "set", ladder=condition.ladder, frames=10_000, start=0, downscale=1, workers=1
        )
    facts = json.loads((folder / "set" / "proxy.json").read_text())
    place = folder / "set"
    return [
        Item(entry["content"], entry["codec"], entry["quality"], entry["labels"][LABEL], place / entry["distorted"],
             place / entry["reference"])
        for entry in facts["items"]
    ]  # fmt: skip


class Scores:
    """A network's scores of files, kept in a folder by its weights, so that a run that was stopped goes on."""

    def __init__(self, network: nn.Module, folder: Path) -> None:
        self.network = network.eval()
        self.file = folder / f"scores-{weights_digest(network)[:16]}.json"
        self.known: dict[str, float] = json.loads(self.file.read_text()) if self.file.exists() else {}

    def of(self, items: Sequence[Item], root: Path) -> tuple[list[float], dict[str, float]]:
        """Scores of the encodes, in order, and of each content's reference beside itself."""
        together: dict[Path, list[Path]] = {}
        for item in items:
            together.setdefault(item.reference, [item.reference]).append(item.path)
        for reference, files in together.items():
            if not all(_key(file, root) in self.known for file in files):
                found = score_several(reference, files, model=self.network)
                self.known |= {_key(file, root): one.score for file, one in zip(files, found, strict=True)}
                write_json(self.file, self.known)
        tops = {item.content: self.known[_key(item.reference, root)] for item in items}
        return [self.known[_key(item.path, root)] for item in items], tops


def _key(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()


def repeated(network: nn.Module, items: Sequence[Item], threads: Sequence[int] = (1, 2, 4)) -> dict[str, Any]:
    """How far scores of the same files differ: asked twice, one by one, and with other numbers of threads.

    Returns:
        {runs, single, threads}: the largest difference each, in the network's own unit; and how many files.
    """
    reference = items[0].reference
    files = [item.path for item in items if item.reference == reference]

    def ask(together: bool = True) -> list[float]:
        if together:
            return [one.score for one in score_several(reference, files, model=network)]
        return [score_several(reference, [file], model=network)[0].score for file in files]

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads[0])
        first, again, single = ask(), ask(), ask(together=False)
        others = []
        for count in threads[1:]:
            torch.set_num_threads(count)
            others.append(ask())
    finally:
        torch.set_num_threads(before)

    def apart(a: list[float], b: list[float]) -> float:
        return max(abs(x - y) for x, y in zip(a, b, strict=True))

    return {
        "files": len(files),
        "runs": apart(first, again),
        "single": apart(first, single),
        "threads": max(apart(first, other) for other in others),
        "counts": list(threads),
    }


def training_of(folder: Path) -> dict[str, Any] | None:
    """Encoders that a network's training saw, by the recipe of the run that it lies in; None where there is none."""
    recipe = folder.parent / "recipe.yaml"
    if not recipe.exists():
        return None
    ladder = yaml.safe_load(recipe.read_text())["data"].get("ladder") or []
    rungs = [*ladder, *(rung["first"] for rung in ladder if rung.get("first"))]
    return {"codecs": sorted({rung["codec"] for rung in rungs})}
