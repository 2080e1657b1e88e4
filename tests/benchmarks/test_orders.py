"""The benchmark of certain orders: a kept reference gives the network's own score; kept scores are not taken again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import compressvqa as cv
from compressvqa.deploy.native.build import NativeUnavailableError
from compressvqa.deploy.native.kernel import Kernel
from compressvqa.video.frames import Colour, Planes

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: names of tests come first

import orders


def stack(seed: int, luma: int | None = None) -> Planes:
    """Four frames; `luma` is the seed of the luma, where it is to be another clip's."""
    dice = np.random.default_rng(seed)
    u, v = (dice.integers(16, 240, (4, 48, 48)).astype(np.uint8) for _ in range(2))
    y = np.random.default_rng(seed if luma is None else luma).integers(16, 235, (4, 96, 96)).astype(np.uint8)
    return Planes(y, u, v, "420", Colour(8, "bt709", False))


@torch.inference_mode()
def test_a_reference_that_is_kept_is_that_of_the_pair():
    network = cv.create_model("rankdvqa", widths=(4, 6, 8, 8, 8, 8), merge_width=8, mlp_width=8).eval()
    try:
        score = orders._native(Kernel(network, precision="float32"))
    except NativeUnavailableError as error:
        pytest.skip(str(error))
    a, b, only_chroma = stack(1), stack(2), stack(3, luma=1)
    seen = []
    for reference, distorted in ((a, b), (a, a), (only_chroma, b), (b, a), (a, b)):
        expected = float(network(reference.to_rgb()[None], distorted.to_rgb()[None]))
        assert score(reference, distorted) == pytest.approx(expected, abs=1e-4)
        seen.append(expected)
    assert abs(seen[0] - seen[2]) > 1e-3, "the chroma of a reference changes nothing: the test can't fail"


def test_scores_are_taken_once(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return np.array([1.0]), np.array([0.1, 0.25])

    for _ in range(2):
        whole, distorted = orders.kept(tmp_path / "scores.json", make)
        assert whole.tolist() == [1.0] and distorted.tolist() == [0.1, 0.25]
    assert len(calls) == 1
