"""What a network costs and what its scores are worth."""

from compressvqa.metrics.complexity import Complexity, profile
from compressvqa.metrics.correlation import Correlation, correlation, f_test, pair_accuracy
from compressvqa.metrics.latency import Latency, compare_latency, latency

__all__ = [
    "Complexity",
    "Correlation",
    "Latency",
    "compare_latency",
    "correlation",
    "f_test",
    "latency",
    "pair_accuracy",
    "profile",
]
