"""What every stage has in common: its settings, its surroundings, its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from compressvqa.training.loop import Batches

if TYPE_CHECKING:  # a run imports it when it needs it, see running/precision.py
    from lightning_fabric import Fabric


class StageConfig(BaseModel):
    """Base of the settings of every stage."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        max_length=100,  # file systems take 255 bytes, and more is put before and after it
        description="the stage's name: its folder, its row in the table",
    )
    network: str = Field(
        "model",
        description="which of the recipe's networks the stage works on: `model`, `teacher`, or a name under `teachers`",
    )
    start: str | None = Field(
        None,
        description="the earlier stage whose network it starts from, or `initial`: as the recipe builds it; "
        "null: the stage before on the same network",
    )
    data: Literal["data", "unlabelled"] = Field(
        "data", description="what it learns from: the recipe's `data`, or the clips under `unlabelled`"
    )

    @property
    def teaching(self) -> dict[str, float]:
        """Who teaches, {earlier stage or network of the recipe: weight}; the one under `teacher` where there is one."""
        teacher = getattr(self, "teacher", None)
        return {} if teacher is None else {teacher: 1.0}


@dataclass
class StageContext:
    """What a stage may use.

    Args:
        folder: the stage's own folder, for checkpoints and caches.
        objective: the recipe's objective.
        batches: ``batches(batch_size)`` gives the endless training batches, a pure function of (seed, step).
        network_of: the network that an earlier stage, named by its name, ended with; else the recipe's network of that
            name as it is built.
        inputs: example inputs of the network, for tracing and counting.
        fabric: makes a fresh Fabric (device and precision) for a training.
        log: ``log(step, steps, figures)`` writes a training step's figures and moves the progress bar.
        seed: the stage's own seed.
    """

    folder: Path
    objective: Any
    batches: Callable[[int], Batches]
    network_of: Callable[[str], nn.Module]
    inputs: tuple[Tensor, ...]
    fabric: Callable[[], Fabric]
    log: Callable[[int, int, dict[str, float]], None]
    seed: int

    def on_device(self) -> StageContext:
        """The same with inputs and batches on the device of the run, for work that is no training."""
        fabric, batches = self.fabric(), self.batches
        inputs = tuple(tensor.to(fabric.device) for tensor in self.inputs)
        return replace(self, inputs=inputs, batches=lambda batch: _Moved(batches(batch), fabric))


class _Moved:
    """Batches on the device of a Fabric."""

    def __init__(self, batches: Batches, fabric: Fabric) -> None:
        self._batches, self._fabric = batches, fabric

    def batch_at(self, step: int) -> Any:
        return self._fabric.to_device(self._batches.batch_at(step))


@dataclass
class StageResult:
    """The network that a stage ends with, and figures for the report (plain JSON values)."""

    network: nn.Module
    figures: dict[str, Any] = field(default_factory=dict)


class Stage(Protocol):
    """A registered stage: built from its `Config`, run once.

    It may also have ``check(network, teacher)``, called with the networks as built before any data is prepared, and
    ``data_kinds``, the kinds of `data` that it can learn from.
    """

    Config: type[StageConfig]

    def run(self, network: nn.Module, context: StageContext) -> StageResult:
        """Does the stage's work; may train `network` in place, and must be able to go on after a kill."""
