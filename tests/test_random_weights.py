"""A network of random weights is known as one, however it is copied, cut, kept or cast; a trained one is not."""

from __future__ import annotations

import copy
import json
import logging
import sys

import pytest
import torch
from torch import nn

import compressvqa as cv
from compressvqa import random_weights
from compressvqa.cli import main
from compressvqa.errors import WeightsError
from compressvqa.models import RankDVQA
from compressvqa.models.create import create_model
from compressvqa.models.factory import is_untrained
from compressvqa.random_weights import are_random
from tests.clips import make

SMALL = {"widths": [4, 6, 8, 10, 12, 14], "merge_width": 8, "mlp_width": 8}


@pytest.fixture(scope="module")
def network():
    return create_model("rankdvqa", **SMALL)


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command; returns its exit code and what it printed on both streams."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["compressvqa", *arguments])
        monkeypatch.setattr(logging.getLogger("compressvqa"), "handlers", [])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    return call


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


# --- whoever scores by them is told so -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    make(folder / "r.y4m", size="128x96", frames=3)
    return [str(folder / "r.y4m")] * 2


def test_scores_by_random_weights_are_refused_unless_asked_for(network, files, tmp_path, run):
    folder = cv.save(network, tmp_path / "random")
    for given in (network, folder, str(folder)):
        with pytest.raises(WeightsError, match=r"weights of rankdvqa are random.*--allow-random-weights"):
            cv.score(*files, model=given)
        assert "random weights" in cv.score(*files, model=given, allow_random_weights=True).model["note"]
    code, printed, error = run("score", *files, "--model", str(folder))
    assert (code, printed) == (2, "") and error.count("\n") == 1 and f"{folder}: the weights of rankdvqa" in error
    code, printed, _ = run("score", *files, "--model", str(folder), "--allow-random-weights", "--json")
    assert code == 0 and "never trained" in json.loads(printed)["model"]["note"]
    manifest = tmp_path / "set" / "manifest.csv"
    manifest.parent.mkdir()
    manifest.write_text("ref,dist,mos\n" + "".join(f"{file},{file},{mos}\n" for mos, file in enumerate(files)))
    code, printed, error = run("evaluate", str(folder), str(manifest), "--cache", str(tmp_path / "kept"))
    assert (code, printed) == (2, "") and error.count("\n") == 1 and "are random" in error


def test_what_was_cut_out_of_random_weights_is_refused_too(network, files):
    pruned = cv.prune(network, cv.example_inputs("rankdvqa", size=96), ratios=0.5, verify=False)
    with pytest.raises(WeightsError, match="are random"):
        cv.score(*files, model=pruned.model)


def test_a_network_that_reads_its_weights_while_it_is_built_is_trained(network, files, tmp_path):
    trained = copy.deepcopy(network)
    step(trained)
    torch.save(trained.state_dict(), tmp_path / "mine.pth")

    @cv.register_model("reads-its-own", mode="FR")
    def reads_its_own():
        """RankDVQA with weights of its own."""
        made = RankDVQA(**SMALL)
        made.load_state_dict(torch.load(tmp_path / "mine.pth", weights_only=True))
        return made

    @cv.register_model("reads-some", mode="FR")
    def reads_some():
        """RankDVQA with an extractor that is trained, and a head that is not."""
        made = reads_its_own()
        made.scales[0].head.reset_parameters()
        return made

    assert cv.score(*files, model=cv.create_model("reads-its-own")).score
    cv.save(cv.create_model("reads-its-own"), tmp_path / "folder")
    assert cv.score(*files, model=tmp_path / "folder").score
    with pytest.raises(WeightsError, match="are random"):
        cv.score(*files, model=cv.create_model("reads-some"))


def test_a_network_without_weights_was_never_drawn(files):
    @cv.register_model("plain-error", mode="FR")
    class PlainError(torch.nn.Module):
        """Mean absolute difference."""

        def forward(self, reference, distorted):
            return -(reference - distorted).abs().mean((1, 2, 3, 4))

    assert cv.score(*files, model=cv.create_model("plain-error")).score == 0


def test_looking_whether_weights_were_drawn_draws_nothing(network):
    state = torch.random.get_rng_state()
    assert is_untrained(network)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_lazy_layer_has_drawn_nothing_yet():
    model = nn.Sequential(nn.Linear(2, 3), nn.LazyLinear(1))
    random_weights.note(model)
    assert random_weights.are_random(model)
    model(torch.ones(1, 2))
    random_weights.note(model)
    assert random_weights.are_random(model)
