"""A model states the ways in which it is called once; the stages and the command take them from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from typer.testing import CliRunner

import compressvqa as cv
from compressvqa.cli import app
from compressvqa.errors import DataError, PruneError
from compressvqa.models import also_of
from compressvqa.pruning import density_ratios, prune
from compressvqa.registry import models
from compressvqa.sparsity.aim import aim_of
from compressvqa.stages import PruneStage, StageContext

ALL = {"stem", "move", "still"}


class Motion(nn.Module):
    """A clip of one frame takes another way; a head is for training only."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.move, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 6), nn.Linear(6, 1)
        self.still, self.aux = nn.Linear(8, 6), nn.Linear(8, 2)

    def forward(self, clip: Tensor) -> Any:
        x = self.stem(clip.flatten(0, 1)).relu().mean((2, 3)).unflatten(0, clip.shape[:2])
        layer = self.move if clip.shape[1] > 1 else self.still
        score = self.head(layer(x).relu()).mean((1, 2))
        return (score, self.aux(x)) if self.training else score


def ways(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Any]:
    return [(inputs[0][:, :1],), "train"]


@pytest.fixture
def motion() -> Iterator[nn.Module]:
    models.register("motion-net", mode="NR", also=ways)(Motion)
    torch.manual_seed(0)
    yield cv.create_model("motion-net")
    models._entries.pop("motion-net")


def test_its_example_stays_a_tuple_and_other_networks_have_no_other_ways(motion: nn.Module) -> None:
    inputs = cv.example_inputs(motion, size=16, frames=3)
    assert [tuple(t.shape) for t in inputs] == [(1, 3, 3, 16, 16)]
    (still,), train = also_of(motion, inputs)
    assert (tuple(still.shape), train) == ((1, 1, 3, 16, 16), "train")
    assert also_of(nn.Linear(2, 2), ()) == also_of(cv.create_model("wadiqam-fr"), ()) == []


def test_a_fact_that_is_no_list_is_refused(motion: nn.Module) -> None:
    models["motion-net"].facts["also"] = lambda model, inputs: "train"
    with pytest.raises(DataError, match="the fact `also` of 'motion-net' gave 'train'"):
        also_of(motion, ())


def test_stages_and_the_command_take_all_its_ways(motion: nn.Module, tmp_path: Path) -> None:
    inputs = cv.example_inputs(motion, size=16, frames=3)
    with pytest.raises(PruneError, match="did not run"):
        prune(motion, inputs, ratios=0.5)  # with the example alone, everything may be read by what did not run
    also = also_of(motion, inputs)
    assert set(density_ratios(motion, "uniform", inputs=inputs, also=also)) == ALL
    channels = aim_of(motion, inputs, also=also, target_channels=0.5).channels
    assert {path for group in channels.groups for path in group.producers} == ALL
    context = StageContext(
        folder=tmp_path,
        objective=None,
        batches=lambda batch: None,  # type: ignore[arg-type, return-value]
        network_of=lambda name: motion,
        inputs=inputs,
        fabric=lambda: Fabric(accelerator="cpu"),
        log=lambda *figures: None,
        seed=0,
    )
    config = PruneStage.Config.model_validate({"name": "pruned", "rule": None, "target_params": 0.5})
    result = PruneStage(config).run(motion, context)
    assert set(result.figures["removed"]) == ALL
    assert "did not run" not in result.figures["plan"]
    small = result.network.eval()
    for clip in (inputs[0], inputs[0][:, :1]):
        assert small(clip).shape == (1,)
    cv.save(motion, tmp_path / "net")
    asked = ["prune", str(tmp_path / "net"), "--ratio", "0.5", "--size", "16", "--frames", "3", "--json"]
    said = CliRunner().invoke(app, asked)
    assert said.exit_code == 0, said.output
    assert set(json.loads(said.stdout)["removed"]) == ALL
