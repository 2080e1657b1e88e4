"""Training curves: what is drawn of a log, and how it is smoothed."""

import numpy as np
import pytest

from compressvqa.report import style
from compressvqa.report.curves import curve_figures, running_mean, series, thin


def titles(curves):
    with style.house_style():
        colours = style.stage_colours(list(curves))
        return [figure.axes[0].get_title(loc="left") for _, _, figure in curve_figures(curves, colours, label="mos")]


def test_a_panel_for_each_quantity_that_a_stage_has(results):
    assert titles(results["curves"]) == [
        "teacher: Loss (mean over 12 steps)",
        "teacher: Validation SROCC against MOS",
        "sparsify: Loss (mean over 8 steps)",
        "sparsify: Density (share of weights left)",
        "distill: Loss (mean over 10 steps)",
        "distill: Validation SROCC against MOS",
    ]


def test_too_little_is_no_curve():
    curves = {"a": [], "b": [{"step": 1, "loss": 0.5}], "c": [{"step": n, "loss": None} for n in range(9)]}
    assert titles(curves) == []


def test_a_flat_curve_is_drawn():
    assert len(titles({"a": [{"step": n, "loss": 0.0} for n in range(200)]})) == 1


def test_running_mean_against_a_loop():
    values = np.random.default_rng(0).random(50)
    expected = [values[max(0, i - 3) : i + 4].mean() for i in range(50)]
    np.testing.assert_allclose(running_mean(values, 7), expected)


@pytest.mark.parametrize("size", [1, 2, 5, 50])
def test_running_mean_keeps_length_and_constants(size):
    np.testing.assert_allclose(running_mean(np.full(50, 3.0), size), np.full(50, 3.0))


def test_thin_keeps_both_ends():
    steps, values = thin((np.arange(10_000.0), np.arange(10_000.0)), 100)
    assert len(steps) == 100
    assert (steps[0], steps[-1], values[-1]) == (0, 9999, 9999)


def test_series_leaves_out_what_is_no_number():
    steps, values = series([{"step": 1, "loss": float("nan")}, {"step": 2, "loss": 1}, {"loss": 3}], "loss")
    assert (steps.tolist(), values.tolist()) == ([2], [1])
