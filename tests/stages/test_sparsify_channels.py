"""Sparsity on channels as a recipe uses it: a budget goes in, zeros come out, and pruning them costs nothing."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from pydantic import ValidationError
from stages.test_stages import SMALL, Noise, weights

import compressvqa as cv
from compressvqa.pruning import prune
from compressvqa.stages import SparsifyStage, StageContext
from compressvqa.training import RankPairsObjective


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return cv.create_model("rankdvqa", **SMALL)


def context_in(folder: Path, network: torch.nn.Module, log: Any = lambda step, steps, figures: None) -> StageContext:
    folder.mkdir(exist_ok=True)
    return StageContext(
        folder=folder,
        objective=RankPairsObjective(RankPairsObjective.Config()),
        batches=Noise,
        network_of=lambda name: network,
        inputs=cv.example_inputs(network, size=96),
        fabric=lambda: Fabric(accelerator="cpu", devices=1),
        log=log,
        seed=3,
    )


def stage(sparsifier: str, **settings: Any) -> SparsifyStage:
    common = {"name": "sparse", "sparsifier": sparsifier, "steps": 10, "batch": 1, "lr": 1e-2}
    return SparsifyStage(SparsifyStage.Config(**common, options={"base": "adamw"}, **settings))


@pytest.mark.parametrize("sparsifier", ["half-space", "progressive"])
@pytest.mark.parametrize("target", [{"target_params": 0.4, "target_macs": 0.5}, {"target_channels": 0.5}])
def test_the_budget_is_met_and_pruning_loses_nothing(
    sparsifier: str, target: dict[str, float], network: torch.nn.Module, tmp_path: Path
) -> None:
    result = stage(sparsifier, **target).run(network, context_in(tmp_path, network))
    figures = result.figures
    assert 0.85 < figures["budget_used"] <= 1
    sparse = result.network.eval()
    inputs = cv.example_inputs(sparse, size=96)
    pruned = prune(sparse, inputs, ratios="zeros").model.eval()
    batch = Noise(2).batch_at(5)
    with torch.no_grad():
        one, other = (net(batch.reference_a, batch.distorted_a) for net in (sparse, pruned))
    assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)
    assert float(one.abs().max()) > 0
    if "target_params" in target:
        share = sum(p.numel() for p in pruned.parameters()) / sum(p.numel() for p in sparse.parameters())
        assert share <= 0.4


class KilledError(Exception):
    pass


@pytest.mark.parametrize("sparsifier", ["half-space", "progressive"])
def test_a_killed_stage_goes_on_to_the_same_weights(sparsifier: str, network: torch.nn.Module, tmp_path: Path) -> None:
    def run(folder: Path, log: Any = lambda step, steps, figures: None) -> torch.Tensor:
        net = copy.deepcopy(network)
        trained = stage(sparsifier, target_channels=0.5, checkpoint_seconds=1e-6)
        return weights(trained.run(net, context_in(folder, net, log)).network)

    def kill(step: int, steps: int, figures: dict[str, float]) -> None:
        if step == 6:  # the checkpoint of step 5 is there, that of step 6 is not
            raise KilledError

    whole = run(tmp_path / "whole")
    with pytest.raises(KilledError):
        run(tmp_path / "killed", kill)
    assert torch.equal(run(tmp_path / "killed"), whole)


def test_what_can_not_go_is_in_the_figures(network: torch.nn.Module, tmp_path: Path) -> None:
    result = stage("progressive", target_channels=0.7, protect=("extractor",)).run(
        network, context_in(tmp_path, network)
    )
    left_out = result.figures["left_out"]
    assert "protected by 'extractor'" in left_out["extractor.stages.0.0"]
    assert not any(name.startswith("extractor") for name in result.figures["zero_channels"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sparsifier": "obprox-sg", "target_params": 0.1}, "works on weights"),
        ({"sparsifier": "half-space", "target_density": 0.1}, "works on channels"),
        ({"sparsifier": "progressive"}, "needs target_params"),
        ({"sparsifier": "half-space", "target_channels": 0.5, "target_macs": 0.5}, "does not go with"),
        ({"sparsifier": "half-space", "warmup_share": 0.9, "hold": 0.2}, "leave no steps"),
        ({"sparsifier": "half-spice"}, "half-space"),
    ],
)
def test_settings_that_do_not_fit_are_faults_of_the_recipe(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SparsifyStage.Config(name="sparse", steps=10, **settings)
