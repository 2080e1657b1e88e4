"""Runtimes: a network, prepared for one machine, scores blocks of frames as PyTorch would."""

from compressvqa.deploy import eager, graphs
from compressvqa.deploy.native import runtime as native
from compressvqa.deploy.prepare import AUTO, check_runtime, made, prepare
from compressvqa.deploy.runtime import BlockSize, Prepared, Runtime

__all__ = [
    "AUTO",
    "BlockSize",
    "Prepared",
    "Runtime",
    "check_runtime",
    "eager",
    "graphs",
    "made",
    "native",
    "prepare",
]
