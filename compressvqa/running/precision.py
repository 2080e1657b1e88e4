"""Device and precision of a run."""

from __future__ import annotations

import importlib.metadata
import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from compressvqa.environment import fast_bf16
from compressvqa.running.recipe import RuntimeChoice

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger("compressvqa")


def precision_of(runtime: RuntimeChoice) -> str:
    """What "auto" comes to on this machine."""
    if runtime.precision != "auto":
        return runtime.precision
    return "bf16" if (torch.cuda.is_available() and runtime.device != "cpu") or fast_bf16() else "32"


def fabric_of(runtime: RuntimeChoice, trained: nn.Module | None = None) -> Fabric:
    """Evaluation (nothing is trained) is in full precision, so that a table does not depend on the machine's bf16."""
    half = trained is not None and precision_of(runtime) == "bf16"
    if half and runtime.precision == "auto" and _over_time(trained) and _is_cpu(runtime):
        log.info("precision 32: gradients of convolutions over time are not right in bf16 on a processor")
        half = False
    precision: Any = "bf16-mixed" if half else "32-true"
    return fabric_class()(accelerator=runtime.device, devices=1, precision=precision)


def fabric_class() -> type[Fabric]:
    """Lightning Fabric, without what it imports in vain.

    It asks torchmetrics for its version, which imports torchvision and, where it is installed, transformers: more than
    a second. So torchmetrics, unless it is imported already, is a name with a version for that moment.
    """
    if "lightning_fabric" not in sys.modules and "torchmetrics" not in sys.modules:
        stand_in: Any = ModuleType("torchmetrics")
        stand_in.__version__ = importlib.metadata.version("torchmetrics")
        sys.modules["torchmetrics"] = stand_in
        try:
            import lightning_fabric  # noqa: F401
        finally:
            del sys.modules["torchmetrics"]
    from lightning_fabric import Fabric

    return Fabric


def _over_time(network: nn.Module | None) -> bool:
    """Whether it holds a Conv3d that spans frames: oneDNN's bf16 gradient of its weights is garbage for two frames."""
    layers = network.modules() if network is not None else []
    return any(isinstance(layer, nn.Conv3d) and layer.kernel_size[0] > 1 for layer in layers)


def _is_cpu(runtime: RuntimeChoice) -> bool:
    return runtime.device == "cpu" or not torch.cuda.is_available()
