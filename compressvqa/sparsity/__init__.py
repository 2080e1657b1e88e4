"""Training that makes weights exactly zero: which ones are regularised, how they shrink, how dense the end is."""

from compressvqa.sparsity.density import DensityController, Landing
from compressvqa.sparsity.obproxsg import OBProxSG
from compressvqa.sparsity.parameters import DEFAULT_EXCLUDE, DEFAULT_INCLUDE, regularised_groups
from compressvqa.sparsity.shrink import orthant_step, soft_threshold

__all__ = [
    "DEFAULT_EXCLUDE",
    "DEFAULT_INCLUDE",
    "DensityController",
    "Landing",
    "OBProxSG",
    "orthant_step",
    "regularised_groups",
    "soft_threshold",
]
