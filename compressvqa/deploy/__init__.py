"""Runtimes: a network, prepared for one machine, scores blocks of frames as PyTorch would."""

from compressvqa.deploy import eager
from compressvqa.deploy.native import runtime as native
from compressvqa.deploy.runtime import BlockSize, Prepared, Runtime

__all__ = ["BlockSize", "Prepared", "Runtime", "eager", "native"]
