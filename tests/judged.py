"""A small real evaluation: two networks and two metrics on three data sets, made once for all tests of reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from evaluation.conftest import make_set

from compressvqa.evaluation import evaluate
from compressvqa.models import create_model, save
from compressvqa.opinions import Manifest
from compressvqa.results import Evaluation

VIEWERS = ("noise", "dmos")
PROXY = "ladders"
NETWORKS = ("teacher", "student")


def data_sets(folder: Path) -> list[Manifest]:
    """The same clips judged by viewers, by other viewers on a scale that falls, and by PSNR as a proxy.

    One file of the second can't be read.
    """
    noise = make_set(folder / "noise")
    falling = make_set(folder / "dmos", "dmos")
    chance = np.random.default_rng(7)
    items = tuple(
        replace(item, mos=20 + 60 * (5 - item.mos) / 5 + 9 * chance.normal(), std=6.0) for item in falling.items
    )
    (folder / "dmos" / "d1-2.y4m").write_bytes(b"YUV4MPEG2 W112 H96\nFRAME\n")
    proxy = replace(
        noise, name=PROXY, kind="proxy", label="PSNR", scale=None, notes=("Encodes of three clips.",),
        items=tuple(replace(item, mos=40 - 4 * item.rung, std=None, ratings=None) for item in noise.items),
    )  # fmt: skip
    return [noise, replace(falling, label="DMOS", higher_is_better=False, items=items, scale=(0, 100)), proxy]


def networks(folder: Path) -> dict[str, Path]:
    """Two networks with random weights, {name: folder}; the teacher happens to agree with viewers."""
    torch.manual_seed(5)
    widths = {"teacher": (4, 6, 8, 10, 12, 14), "student": (4, 4, 6, 6, 8, 8)}
    return {
        name: save(create_model("rankdvqa", widths=widths[name], merge_width=8, mlp_width=8), folder / name)
        for name in NETWORKS
    }


def judged(folder: Path) -> Evaluation:
    """The evaluation, with times."""
    made = networks(folder / "models")
    return evaluate(
        [*made.values(), "psnr", "ssim"], data_sets(folder), teacher="teacher", baseline="teacher",
        cache=folder / "kept", resamples=100, latency=True, pictures=True, allow_random_weights=True,
    )  # fmt: skip
