"""Judging metrics on data sets: scores that are kept, statistics, significance, cost."""

from compressvqa.evaluation.cache import ScoreCache
from compressvqa.evaluation.evaluate import evaluate, write_evaluation
from compressvqa.results import Evaluation

__all__ = ["Evaluation", "ScoreCache", "evaluate", "write_evaluation"]
