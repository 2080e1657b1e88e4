"""Which networks can be exported to ONNX, OpenVINO and torch.export, with which sizes free, and how far they differ.

Every network that ships, pruned ones, and at least twenty of the zoo. An export is run by a new process without this
package and held against PyTorch there, on textures from untouched to hardly known again; the table holds the largest
difference as a share of the range of scores (of which 1e-4 is allowed), or why there is none. Weights of networks that
don't ship are random, and parity does not hang on them. Rows that are there are kept, so that it can be stopped.

    python benchmarks/export_zoo.py [--only PATTERN] [--fresh]

Prints a table and writes it to benchmarks/results/export_zoo.{md,json}.
"""

from __future__ import annotations

import argparse
import fnmatch
import gc
import importlib.metadata
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import compressvqa as cv
from compressvqa.deploy.exporting import FORMATS
from compressvqa.environment import processor
from compressvqa.errors import CompressVQAError
from compressvqa.files import write_json, write_text

RESULTS = Path(__file__).parent / "results"
IMAGE_BACKBONES = (
    "resnet18", "mobilenetv2_050", "mobilenetv3_small_050", "tf_efficientnet_lite0", "regnetx_002", "ghostnet_050",
    "convnext_atto", "edgenext_xx_small", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224",
)  # fmt: skip
VIDEO_BACKBONES = ("r3d_18", "mc3_18", "r2plus1d_18")


def networks() -> dict[str, Callable[[], nn.Module]]:
    """{name of a row: makes the network}."""
    found: dict[str, Callable[[], nn.Module]] = {
        f"{name} (ships)": lambda name=name: cv.create_model(name, weights="pretrained")
        for name in cv.list_models(pretrained=True)
    }
    for name in ("c3dvqa", "deepqa", "deepvqa", "wadiqam-fr", "rankdvqa-stanet"):
        found[name] = lambda name=name: cv.create_model(name)
    for name in ("internvideo2-nano", "internvideo2-tiny", "internvideo2-s14"):
        found[name] = lambda name=name: cv.create_model(name)
    for backbone in IMAGE_BACKBONES:
        found[f"image-backbone {backbone}"] = lambda backbone=backbone: cv.create_model(
            "image-backbone", backbone=backbone, frames=4
        )
    for backbone in VIDEO_BACKBONES:
        found[f"video-backbone {backbone}"] = lambda backbone=backbone: cv.create_model(
            "video-backbone", backbone=backbone
        )
    for name in ("rankdvqa", "c3dvqa", "wadiqam-fr", "deepqa"):
        found[f"{name}, half of its channels"] = lambda name=name: _pruned(name)
    return found


def _pruned(name: str) -> nn.Module:
    network = cv.create_model(name)
    return cv.prune(network, cv.example_inputs(network, size=128), ratios=0.5).model


def row(name: str, make: Callable[[], nn.Module]) -> dict[str, Any]:
    """One network in all formats."""
    torch.manual_seed(0)
    found: dict[str, Any] = {}
    try:
        network = make()
    except CompressVQAError as error:
        return {"made": str(error)}
    for form in FORMATS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                made = cv.export(network, Path(folder) / "made", format=form, allow_random_weights=True)
                found[form] = {
                    "free": made.free,
                    "size": made.size,
                    "error": made.error,
                    "clips": made.clips,
                    "notes": made.notes,
                }
            except CompressVQAError as error:
                found[form] = {"refused": error.what}
        gc.collect()
    return found


def table(rows: dict[str, Any]) -> str:
    """The rows as markdown."""
    lines = ["| network | " + " | ".join(FORMATS) + " |", "|---|" + "---|" * len(FORMATS)]
    for name, found in rows.items():
        lines.append(f"| {name} | " + " | ".join(_cell(found.get(form)) for form in FORMATS) + " |")
    good = sum(all("error" in found.get(form, {}) for form in FORMATS) for found in rows.values())
    return "\n".join(lines) + (
        f"\n\n{good} of {len(rows)} networks in all three formats. A cell: the sizes that are free, or the one size of "
        "pictures, and the largest difference from PyTorch as a share of the range of scores, run by a new process. "
        f"{processor()}; {', '.join(f'{name} {version}' for name, version in _versions().items())}.\n"
    )


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    if "refused" in found:
        return f"refused: {found['refused']}".replace("|", "/")[:110]
    free = "any size, any batch" if found["size"] is None else "{1}x{0}".format(*found["size"])
    batch = "" if found["size"] is None else ", any batch" if "batch" in found["free"] else ", batch 1"
    return f"{free}{batch}: {found['error']:.0e}"


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("torch", "onnx", "onnxruntime", "openvino")}


def main() -> None:
    """Exports all that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="shell pattern of rows")
    parser.add_argument("--fresh", action="store_true", help="also those that are there")
    arguments = parser.parse_args()
    file = RESULTS / "export_zoo.json"
    kept: dict[str, Any] = json.loads(file.read_text())["rows"] if file.exists() else {}
    for name, make in networks().items():
        if not fnmatch.fnmatch(name, arguments.only) or (name in kept and not arguments.fresh):
            continue
        kept[name] = row(name, make)
        rows = {one: kept[one] for one in networks() if one in kept}
        write_json(file, {"rows": rows, "versions": _versions(), "processor": processor()})
        write_text(RESULTS / "export_zoo.md", table(rows))
        print(name, kept[name], flush=True)
    print(table({one: kept[one] for one in networks() if one in kept}))


if __name__ == "__main__":
    main()
