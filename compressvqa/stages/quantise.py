"""The stage that rounds a network to int8 after training, and says what it cost."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor, nn

from compressvqa.deploy.exporting import export
from compressvqa.deploy.exporting.int8 import FEWEST, LOST, OpenVinoInt8, single
from compressvqa.deploy.graphs import need
from compressvqa.registry import stages
from compressvqa.stages.base import StageConfig, StageContext, StageResult

FOLDER = "int8"


@stages.register("quantise", keeps_structure=True)
class QuantiseStage:
    """Writes the network in int8 (OpenVINO, by nncf) into the stage's folder, judged on training clips it was not
    calibrated on; the network itself goes on as it came, in float.
    """

    class Config(StageConfig):
        """Settings of rounding."""

        clips: int = Field(64, ge=FEWEST, description="training clips: every second one calibrates, the others judge")
        lost: float = Field(
            LOST, gt=0, lt=1, description="1 - SROCC between int8 and float that is allowed on the clips that judge"
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def check(self, network: nn.Module, teacher: nn.Module) -> None:
        """Looks, before any data is prepared, whether there is what writes int8.

        Raises:
            MissingExtraError: openvino or nncf is not installed.
        """
        need(OpenVinoInt8.packages, OpenVinoInt8.extra)

    def run(self, network: nn.Module, context: StageContext) -> StageResult:
        """Leaves `int8/` (model.xml, facts.json, example.py) beside the stage's checkpoint."""
        made = export(
            network.cpu(), context.folder / FOLDER, format="openvino", name=self.config.name, int8=self._clips(context),
            lost=self.config.lost, allow_random_weights=True,
        )  # fmt: skip
        rounded: dict[str, Any] = made.facts["int8"]
        size = sum(file.stat().st_size for file in made.folder.glob("model.*"))
        figures = {**rounded, "srocc_with_float": 1 - made.error, "bytes": size, "folder": FOLDER}
        return StageResult(network, figures)

    def _clips(self, context: StageContext) -> list[tuple[Tensor, ...]]:
        batches, found = context.batches(4), list[tuple[Tensor, ...]]()
        step = 0
        while len(found) < self.config.clips:
            found += single(context.objective.inputs(batches.batch_at(step)))
            step += 1
        return found[: self.config.clips]
