"""Pictures of a prepared set of patches: the middle frame of each, with the patch's label, as a data set to learn from.

Recipes of image networks (`ssl_kd_iqa`, `reference/image`) read it by `--set data.source=` and `data.validation=`.

    python benchmarks/pictures_of_patches.py runs/teacher/data/train --out runs/pictures/train --each 28
    python benchmarks/pictures_of_patches.py runs/teacher/data/validation --out runs/pictures/validation

Of each content there are at most --each, drawn with a seed. The scores are VMAF of the whole patch, a proxy: the data
set says so.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from compressvqa.data import PatchSet
from compressvqa.labels import label_title
from compressvqa.opinions import Item, Manifest, write_manifest


def pictures(patches: PatchSet, out: Path, label: str, each: int | None, seed: int) -> Manifest:
    """Writes a PNG of each chosen patch and the table of them; returns the data set."""
    dice = np.random.default_rng(seed)
    places: dict[str, list[int]] = {}
    labels = patches.label(label)
    for number, (entry, value) in enumerate(zip(patches.entries, labels, strict=True)):
        if value is not None:
            places.setdefault(entry.content, []).append(number)
    items = []
    out.mkdir(parents=True, exist_ok=True)
    for content in sorted(places):
        known = places[content]
        for number in sorted(dice.permutation(known)[:each].tolist()):
            _, distorted = patches.load(number)
            frame = distorted.to_rgb()[patches.frames // 2].movedim(0, -1)
            name = f"{number:06d}.png"
            Image.fromarray((frame * 255).round().byte().numpy()).save(out / name)
            items.append(Item(name, float(labels[number] or 0.0), content=content))
    made = Manifest(
        out.name, out, tuple(items), "proxy", label_title(label), True, (0.0, 100.0),
        ("pictures are the middle frames of patches, scores those of whole patches",),
    )  # fmt: skip
    write_manifest(made, out / "pictures.csv")
    return made


def main() -> None:
    """Writes pictures and their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patches", type=Path, help="folder of a prepared set: `train` or `validation`")
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures and pictures.csv")
    parser.add_argument("--label", default="vmaf_v0.6.1")
    parser.add_argument("--each", type=int, help="at most so many pictures of a content")
    parser.add_argument("--seed", type=int, default=0)
    choice = parser.parse_args()
    made = pictures(PatchSet(choice.patches), choice.out, choice.label, choice.each, choice.seed)
    print(f"{choice.out / 'pictures.csv'}: {len(made.items)} of {len({item.scene for item in made.items})} contents")


if __name__ == "__main__":
    main()
