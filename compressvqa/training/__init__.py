"""One training loop, and the objectives that say how a batch becomes a loss."""

from compressvqa.training.loop import FitSettings, fit
from compressvqa.training.mos_difference import MosDifferenceObjective
from compressvqa.training.mos_regression import MosObjective
from compressvqa.training.optimizers import OptimizerChoice, ScheduleChoice
from compressvqa.training.rank_pairs import RankPairsObjective

__all__ = [
    "FitSettings",
    "MosDifferenceObjective",
    "MosObjective",
    "OptimizerChoice",
    "RankPairsObjective",
    "ScheduleChoice",
    "fit",
]
