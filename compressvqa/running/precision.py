"""Device and precision of a run."""

from __future__ import annotations

import datetime
import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from compressvqa.arithmetic import Arithmetic, arithmetic_on
from compressvqa.running.recipe import RuntimeChoice
from compressvqa.training.sharding import shard
from compressvqa.training.world import World, launched, world

if TYPE_CHECKING:  # it takes a second and a half, which no other command should wait for
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.strategy import Strategy

log = logging.getLogger("compressvqa")

# Other processes wait for the first one while it judges a network, however long that takes.
_PATIENCE = datetime.timedelta(days=7)


def precision_of(runtime: RuntimeChoice) -> Arithmetic:
    """What "auto" comes to on this machine."""
    return arithmetic_on(runtime.precision, "cpu" if _is_cpu(runtime) else "cuda")


def fabric_of(runtime: RuntimeChoice, trained: nn.Module | None = None, *, whole_weights: bool = False) -> Fabric:
    """Evaluation (nothing is trained) is in full precision, so that a table does not depend on the machine's bf16.

    Args:
        runtime: of the recipe.
        trained: the network in training, if there is one.
        whole_weights: the training needs them in each process, whatever the recipe says of sharing them out.
    """
    half = trained is not None and precision_of(runtime) == "bf16"
    if half and runtime.precision == "auto" and _over_time(trained) and _is_cpu(runtime):
        log.info("precision 32: gradients of convolutions over time are not right in bf16 on a processor")
        half = False
    precision: Any = "bf16-mixed" if half else "32-true"
    from lightning_fabric import Fabric

    processes = launched()
    if processes is None:
        return Fabric(accelerator=runtime.device, devices=1, precision=precision)
    each, machines = processes
    shared = trained is not None and runtime.sharding == "full" and not whole_weights
    strategy = _sharded(each * machines) if shared else _replicated()
    fabric = Fabric(
        accelerator=runtime.device, devices=each, num_nodes=machines, strategy=strategy, precision=precision
    )
    fabric.launch()
    return fabric


def _replicated() -> Strategy:
    from lightning_fabric.strategies.ddp import DDPStrategy

    # Parameters that a batch does not reach have no gradient, as in one process.
    return DDPStrategy(find_unused_parameters=True, timeout=_PATIENCE)


def _sharded(processes: int) -> Strategy:
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    return ModelParallelStrategy(
        lambda network, mesh: shard(network, mesh["data_parallel"]),
        data_parallel_size=processes,
        tensor_parallel_size=1,
        timeout=_PATIENCE,
    )


def processes_of(runtime: RuntimeChoice) -> World:
    """The processes that torchrun started for this run, brought together; without it this one.

    Raises:
        RuntimeError: they do not find each other, or there is no such device.
    """
    if launched() is not None:
        fabric_of(runtime)
    return world()


def _over_time(network: nn.Module | None) -> bool:
    """Whether it holds a Conv3d that spans frames: oneDNN's bf16 gradient of its weights is garbage for two frames."""
    layers = network.modules() if network is not None else []
    return any(isinstance(layer, nn.Conv3d) and layer.kernel_size[0] > 1 for layer in layers)


def _is_cpu(runtime: RuntimeChoice) -> bool:
    return runtime.device == "cpu" or not torch.cuda.is_available()
