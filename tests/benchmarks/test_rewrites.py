"""The rewrites of the table are exact: each says what the network's own form of that part says, to 1e-5."""

import importlib.util
from pathlib import Path

import pytest
import torch

import compressvqa as cv

FILE = Path(__file__).parents[2] / "benchmarks" / "rewrites.py"


@pytest.fixture(scope="module")
def rewrites():
    spec = importlib.util.spec_from_file_location("rewrites", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["rankdvqa", "rankdvqa-nano"])
def test_every_rewrite_is_exact(rewrites, name: str) -> None:
    network = cv.create_model(name, weights="pretrained").eval()
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    found = rewrites.rewrites(network, 96)
    assert len(found) == 8
    for one in found:
        assert rewrites.difference(one) < rewrites.EXACT, one.name


def test_a_wrong_one_shows(rewrites) -> None:
    network = cv.create_model("rankdvqa-nano", weights="pretrained").eval()
    shaken = 0
    for one in rewrites.rewrites(network, 96):
        for _, constant in list(one.after.named_buffers(recurse=False))[:1]:
            with torch.no_grad():
                constant.flatten()[0].add_(0.05 * constant.abs().max())
            assert rewrites.difference(one) > rewrites.EXACT, one.name
            shaken += 1
    assert shaken == 6
