"""Cuts channels and blocks out of any network and proves that the result is right.

trace -> groups -> ratios and plan, importance -> surgery -> verify; whole blocks: blocks -> depth
anybody's pruning: verification
"""

from compressvqa.pruning.cutting.removed import Removed
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.grouping import find_groups
from compressvqa.pruning.dependency.trace import Trace, trace
from compressvqa.pruning.depth.depth import PrunedDepth, prune_depth
from compressvqa.pruning.prune import prune
from compressvqa.pruning.pruned import Pruned
from compressvqa.pruning.recording.entries import Entry
from compressvqa.pruning.schedule import Schedule
from compressvqa.pruning.settings import Importance, Settings, WrittenSettings
from compressvqa.pruning.verification import Verification, verify
from compressvqa.pruning.widths.density import LayerDensity, density
from compressvqa.pruning.widths.plan import PruningPlan
from compressvqa.pruning.widths.ratios import GroupDensity, RuleReport, compare_rules, density_ratios
from compressvqa.pruning.widths.runtimes import Timing

__all__ = [
    "Entry",
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
    "Settings",
    "Timing",
    "Trace",
    "Verification",
    "WrittenSettings",
    "compare_rules",
    "density",
    "density_ratios",
    "find_groups",
    "prune",
    "prune_depth",
    "trace",
    "verify",
]
