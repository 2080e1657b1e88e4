"""A network of random weights is known as one, however it is copied, cut, kept or cast; a trained one is not."""

from __future__ import annotations

import copy
import json

import pytest
import torch

import compressvqa as cv
from compressvqa.models.create import create_model
from compressvqa.random_weights import are_random

SMALL = {"widths": [4, 6, 8, 10, 12, 14], "merge_width": 8, "mlp_width": 8}


@pytest.fixture(scope="module")
def network():
    return create_model("rankdvqa", **SMALL)


def step(network):
    """One step of a training loop that is not ours."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    inputs = cv.example_inputs("rankdvqa", size=96)
    network(*inputs).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("way", [copy.deepcopy, lambda n: n.half(), lambda n: n.eval(), lambda n: n.double()])
def test_random_weights_stay_random(network, way):
    assert are_random(way(copy.deepcopy(network)))


def test_trained_weights_are_not_random(network, tmp_path):
    trained = copy.deepcopy(network)
    step(trained)
    assert not are_random(trained)
    torch.save(trained.state_dict(), tmp_path / "trained.pth")
    assert not are_random(create_model("rankdvqa", weights=tmp_path / "trained.pth", **SMALL))


def test_a_folder_remembers_it(network, tmp_path):
    cv.save(network, tmp_path / "random")
    assert json.loads((tmp_path / "random" / "config.json").read_text())["random_weights"] is True
    assert "never trained" in (tmp_path / "random" / "README.md").read_text()
    again = cv.load(tmp_path / "random")
    assert are_random(again)
    again.train()
    step(again)
    cv.save(again, tmp_path / "trained")
    assert not are_random(cv.load(tmp_path / "trained"))
    assert "never trained" not in (tmp_path / "trained" / "README.md").read_text()


def test_what_is_cut_out_of_random_weights_is_random_and_says_so(network, tmp_path):
    inputs = cv.example_inputs("rankdvqa", size=96)
    pruned = cv.prune(network, inputs, ratios=0.5, verify=False)
    assert are_random(pruned.model) and "the weights are random" in str(pruned)
    cv.save(pruned.model, tmp_path / "small")
    assert are_random(cv.load(tmp_path / "small"))
    trained = copy.deepcopy(network)
    step(trained)
    pruned = cv.prune(trained, inputs, ratios=0.5, verify=False)
    assert not are_random(pruned.model) and "the weights are random" not in str(pruned)
