"""Cuts channels and blocks out of any network and proves that the result is right.

trace -> groups -> ratios and plan, importance -> surgery -> verify; whole blocks: blocks -> depth
"""

from compressvqa.pruning.density import LayerDensity, density
from compressvqa.pruning.depth import PrunedDepth, prune_depth
from compressvqa.pruning.groups import Group, find_groups
from compressvqa.pruning.importance import Importance
from compressvqa.pruning.plan import PruningPlan
from compressvqa.pruning.prune import Pruned, prune
from compressvqa.pruning.ratios import GroupDensity, RuleReport, compare_rules, density_ratios
from compressvqa.pruning.removed import Removed
from compressvqa.pruning.runtimes import Timing
from compressvqa.pruning.schedule import Schedule
from compressvqa.pruning.trace import Trace, trace

__all__ = [
    "Group",
    "GroupDensity",
    "Importance",
    "LayerDensity",
    "Pruned",
    "PrunedDepth",
    "PruningPlan",
    "Removed",
    "RuleReport",
    "Schedule",
    "Timing",
    "Trace",
    "compare_rules",
    "density",
    "density_ratios",
    "find_groups",
    "prune",
    "prune_depth",
    "trace",
]
