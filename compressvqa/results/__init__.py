"""What was found, as it is written, read and drawn from: one type for each file of results."""

from compressvqa.results.evaluation import SCHEMA, Evaluation, EvaluationError
from compressvqa.results.means import Mean, mean_of
from compressvqa.results.parts import (
    Confidence,
    Dataset,
    ItemScore,
    Logistic5,
    Model,
    Picture,
    Result,
    Scores,
    Significance,
)

__all__ = [
    "SCHEMA",
    "Confidence",
    "Dataset",
    "Evaluation",
    "EvaluationError",
    "ItemScore",
    "Logistic5",
    "Mean",
    "Model",
    "Picture",
    "Result",
    "Scores",
    "Significance",
    "mean_of",
]
