"""Which runtime scores: the one that is asked for, or the quickest of those that are there."""

from __future__ import annotations

from torch import nn

from compressvqa.deploy.runtime import BlockSize, Prepared, Runtime
from compressvqa.errors import RegistryError
from compressvqa.registry import runtimes

AUTO = "auto"


def check_runtime(name: str) -> None:
    """Refuses a name that is no runtime, or a runtime that is not installed, before anything is worked out.

    Raises:
        RegistryError: there is no such runtime.
        MissingExtraError: it needs a package that is not there; the extra is named.
    """
    if name != AUTO:
        made(name)


def made(name: str) -> Runtime:
    """A runtime by its name; see `check_runtime`."""
    if name not in runtimes:
        raise RegistryError(f"unknown runtime {name!r}", hint=", ".join([AUTO, *runtimes]))
    runtime: Runtime = runtimes[name].value()
    return runtime


def prepare(network: nn.Module, size: BlockSize, runtime: str = AUTO) -> Prepared:
    """A network ready for blocks of a size.

    Args:
        network: in evaluation mode, on the device that it is to run on.
        size: of the blocks.
        runtime: a registered runtime, or "auto".

    Raises:
        RuntimeRefusedError: the runtime that was asked for can't run this network.
    """
    if runtime == AUTO:
        runtime = "eager"
    return made(runtime).prepare(network, size)
