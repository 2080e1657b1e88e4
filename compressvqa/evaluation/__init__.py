"""Judging metrics on data sets: scores that are kept, statistics, significance, cost."""

from compressvqa.evaluation.cache import ScoreCache
from compressvqa.evaluation.evaluate import Evaluation, evaluate

__all__ = ["Evaluation", "ScoreCache", "evaluate"]
