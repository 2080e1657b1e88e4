"""What scores are worth: correlation with opinions, intervals, significance."""

from compressvqa.metrics.agreement import Agreement, agreement
from compressvqa.metrics.correlation import Correlation, correlation
from compressvqa.metrics.dependent import CorrelationTest, compare_correlations
from compressvqa.metrics.fits import Fit, fit_scores
from compressvqa.metrics.intervals import Interval, intervals
from compressvqa.metrics.judge import judge
from compressvqa.metrics.krasula import PairAnalysis, PairTest, analyse_pairs, compare_pairs, pair_rule
from compressvqa.metrics.ordering import ladder_accuracy, pair_accuracy, srocc_within
from compressvqa.metrics.significance import FTestTable, f_test, f_test_matrix, f_test_table, holm
from compressvqa.metrics.violations import Violations, top_violations, violations

__all__ = [
    "Agreement",
    "Correlation",
    "CorrelationTest",
    "FTestTable",
    "Fit",
    "Interval",
    "PairAnalysis",
    "PairTest",
    "Violations",
    "agreement",
    "analyse_pairs",
    "compare_correlations",
    "compare_pairs",
    "correlation",
    "f_test",
    "f_test_matrix",
    "f_test_table",
    "fit_scores",
    "holm",
    "intervals",
    "judge",
    "ladder_accuracy",
    "pair_accuracy",
    "pair_rule",
    "srocc_within",
    "top_violations",
    "violations",
]
