"""What int8 after training costs a shipped network by nncf's schemes: SROCC on validation patches, and CPU time.

    python benchmarks/int8_schemes.py TRAIN VALIDATION [--model rankdvqa-mini]

TRAIN and VALIDATION are `data/train` and `data/validation` of a run. 48 training patches calibrate, 200 validation
patches judge (the middle 128 pixels; the label is VMAF 0.6.1, a proxy). Prints a table and writes it to
benchmarks/results/int8_schemes.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino
import torch

import compressvqa as cv
from compressvqa.data.patches import PatchSet
from compressvqa.deploy.exporting.formats import ALL, OpenVino
from compressvqa.deploy.exporting.graph import ScoringGraph
from compressvqa.environment import processor
from compressvqa.files import write_text
from compressvqa.metrics import correlation

RESULTS = Path(__file__).parent / "results"
BOX = (64, 64, 128, 128)
MIXED, PERFORMANCE = nncf.QuantizationPreset.MIXED, nncf.QuantizationPreset.PERFORMANCE
SCHEMES: dict[str, dict[str, Any]] = {
    "all, performance": {"preset": PERFORMANCE},
    "all, mixed": {"preset": MIXED},
    "transformer, mixed (the one taken)": {"preset": MIXED, "model_type": nncf.ModelType.TRANSFORMER},
}


def patches(folder: Path, count: int) -> tuple[list[tuple[torch.Tensor, ...]], list[float | None]]:
    """Some patches with their references, and their labels."""
    found = PatchSet(folder)
    chosen = np.sort(np.random.default_rng(0).choice(len(found), count, replace=False))
    pairs = [found.load(int(number), box=BOX) for number in chosen]
    labels = [found.entries[number].labels["vmaf_v0.6.1"] for number in chosen]
    return [tuple(side.to_rgb()[None] for side in pair) for pair in pairs], labels


def scores(model: Any, clips: list[tuple[torch.Tensor, ...]]) -> tuple[np.ndarray, float]:
    """Scores on one thread, and CPU seconds."""
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    before = time.process_time()
    found = [float(compiled([side.numpy() for side in clip])[0].item()) for clip in clips]
    return np.array(found), time.process_time() - before


def main() -> None:
    """Rounds and judges."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="TRAIN VALIDATION")
    parser.add_argument("--model", default="rankdvqa-mini")
    arguments = parser.parse_args()
    if len(arguments.folders) != 2:
        print("needs two folders of patches: python benchmarks/int8_schemes.py TRAIN VALIDATION")
        return
    (calibration, _), (clips, labels) = patches(arguments.folders[0], 48), patches(arguments.folders[1], 200)
    network = cv.create_model(arguments.model, weights="pretrained").eval()
    with torch.no_grad():
        eager = np.array([float(network(*clip)) for clip in clips])
    model = OpenVino.model(ScoringGraph(network, None, full_reference=True), calibration[0], ALL)
    plain, base = scores(model, clips)
    lines = [
        "| scheme | SROCC with VMAF | SROCC with PyTorch | most off | CPU time of float32 |",
        "|---|---:|---:|---:|---:|",
    ]
    rows = {"float32": (plain, base)}
    for name, scheme in SCHEMES.items():
        data = nncf.Dataset([[side.numpy() for side in clip] for clip in calibration])
        rows[name] = scores(nncf.quantize(model, data, subset_size=len(calibration), **scheme), clips)
    for name, (found, took) in rows.items():
        label, same = (correlation(found, truth, "none").srocc for truth in (labels, eager))
        off = float(np.abs(found - eager).max())
        lines.append(f"| {name} | {label:.4f} | {same:.4f} | {off:.2g} | {took / base:.0%} |")
    table = "\n".join(lines) + (
        f"\n\n{arguments.model}, raw scores that span {np.ptp(eager):.1f}; 200 validation patches, 48 training patches "
        f"to calibrate; one thread, user and system time; {processor()}, shared with other work.\n"
    )
    write_text(RESULTS / "int8_schemes.md", table)
    print(table)


if __name__ == "__main__":
    main()
