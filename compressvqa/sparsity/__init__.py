"""Training that makes weights or channels exactly zero: which ones are pulled, how, and how many are left."""

from compressvqa.sparsity.budget import BudgetController, BudgetLanding, usage_of
from compressvqa.sparsity.channels import Channels
from compressvqa.sparsity.density import DensityController, Landing
from compressvqa.sparsity.half_space import HalfSpace
from compressvqa.sparsity.obproxsg import OBProxSG
from compressvqa.sparsity.parameters import DEFAULT_EXCLUDE, DEFAULT_INCLUDE, regularised_groups
from compressvqa.sparsity.progressive import Progressive
from compressvqa.sparsity.shrink import orthant_step, soft_threshold

__all__ = [
    "DEFAULT_EXCLUDE",
    "DEFAULT_INCLUDE",
    "BudgetController",
    "BudgetLanding",
    "Channels",
    "DensityController",
    "HalfSpace",
    "Landing",
    "OBProxSG",
    "Progressive",
    "orthant_step",
    "regularised_groups",
    "soft_threshold",
    "usage_of",
]
