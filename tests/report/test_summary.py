"""Sentences say only what was measured."""

import math

import numpy as np
import pytest
from scipy import stats

from compressvqa.report.summary import counted, limits, srocc_interval, summary


def test_summary_with_everything(results):
    assert summary(results) == (
        "rankdvqa_mini went from the network of stage teacher to that of stage distilled, which has 9.9% of the "
        "parameters and 13.7% of the multiply-accumulates. On the machine of the run it is 3.9 times as fast (148.2 to "
        "38.4 ms). SROCC against VMAF 0.6.1 on 96 validation clips went from 0.93 [0.89, 0.96] to 0.90 [0.84, 0.94], "
        "96.6% of that of stage teacher."
    )


def test_summary_leaves_out_what_is_absent(results):
    for row in results["table"]:
        for key in ("latency_ms", "srocc", "macs"):
            del row[key]
    start = "rankdvqa_mini went from the network of stage teacher to that of stage distilled"
    assert summary(results) == f"{start}, which has 9.9% of the parameters."


def test_a_slower_network_is_called_slower(results):
    results["table"][-1]["latency_ms"] = 300
    assert "2.0 times as slow" in summary(results)


def test_one_stage(results):
    results["table"] = results["table"][:1]
    text = summary(results)
    assert "nothing to compare" in text
    assert "4.595 M parameters, 10.751 G multiply-accumulates and a median latency of 148.2 ms" in text


def test_limits_name_the_proxy(results):
    assert limits(results)[0].startswith("VMAF 0.6.1 labels, no human scores")
    results["label"] = "mos"
    assert not any("human" in line for line in limits(results))


def test_only_figures_of_the_table_are_explained(results):
    assert set(counted(results)) >= {"params", "macs", "srocc", "inputs"}
    assert set(counted({"table": [{"stage": "a", "params": 3}]})) == {"params"}


def test_interval_covers_the_true_correlation():
    """Of 95 % intervals of samples from a known population, about 95 % hold its rank correlation."""
    chance, rho, n = np.random.default_rng(0), 0.8, 60
    true = 6 / math.pi * math.asin(rho / 2)  # Spearman's of a bivariate normal
    hits = 0
    for _ in range(600):
        x, y = chance.multivariate_normal([0, 0], [[1, rho], [rho, 1]], n).T
        low, high = srocc_interval(stats.spearmanr(x, y).statistic, n)
        hits += low <= true <= high
    assert hits / 600 == pytest.approx(0.95, abs=0.025)


def test_interval_of_too_few():
    assert srocc_interval(0.5, 4) is None
    assert srocc_interval(1.0, 50) is None
