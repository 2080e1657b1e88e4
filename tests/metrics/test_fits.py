"""Mappings against planted parameters, against scipy's own optimisers, and under changes of scale."""

import json
import warnings

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from compressvqa.errors import DataError
from compressvqa.metrics import fit_scores
from compressvqa.metrics.fits import evaluate


def logistic4(x, b0, b1, b2, b3):
    return (b0 - b1) / (1 + np.exp((b2 - x) / abs(b3))) + b1


def logistic5(x, b1, b2, b3, b4, b5):
    return b1 * (0.5 - 1 / (1 + np.exp(b2 * (x - b3)))) + b4 * x + b5


def squares(fit, y):
    return float(np.sum((fit.fitted - y) ** 2))


@pytest.mark.parametrize("planted", [(4.6, 1.3, 62.0, 9.0), (1.0, 90.0, 70.0, 4.0), (5.0, 1.0, 40.0, 25.0)])
def test_planted_parameters_of_logistic4_come_back(planted):
    x = np.random.default_rng(0).uniform(20, 100, 80)
    fit = fit_scores(x, logistic4(x, *planted))
    assert fit.name == "logistic4"
    assert fit.parameters == pytest.approx(planted, rel=1e-5)


@pytest.mark.parametrize("planted", [(3.0, 0.4, 60.0, 0.01, 2.0), (-40.0, 0.2, 50.0, -0.1, 80.0)])
def test_planted_parameters_of_logistic5_come_back(planted):
    x = np.random.default_rng(1).uniform(20, 100, 80)
    fit = fit_scores(x, logistic5(x, *planted), "logistic5")
    assert fit.name == "logistic5"
    assert fit.parameters == pytest.approx(planted, rel=1e-4)


@pytest.mark.parametrize("name", ["logistic4", "logistic5"])
def test_planted_parameters_come_back_about_under_noise(name):
    generator = np.random.default_rng(2)
    x = generator.uniform(0, 1, 4000)
    planted, curve = {"logistic4": ((5, 1, 0.5, 0.1), logistic4), "logistic5": ((3, 12, 0.5, 1, 2), logistic5)}[name]
    fit = fit_scores(x, curve(x, *planted) + generator.normal(0, 0.1, x.size), name)
    assert fit.parameters == pytest.approx(planted, rel=0.1)


@pytest.mark.parametrize(("name", "curve"), [("logistic4", logistic4), ("logistic5", logistic5)])
@pytest.mark.parametrize("seed", range(4))
def test_scipy_finds_nothing_better(name, curve, seed):
    """Differential evolution, global and without our algebra, then curve_fit from there and from the VQEG start."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(20, 60, 50)
    y = logistic4(x, 4.5, 1.2, 42, 4) + generator.normal(0, 0.4, 50)
    ours = squares(fit_scores(x, y, name), y)

    def cost(parameters):
        with np.errstate(over="ignore"):
            return np.sum((curve(x, *parameters) - y) ** 2)

    ranges = {
        "logistic4": [(-5, 10), (-5, 10), (0, 80), (0.1, 40)],
        "logistic5": [(-10, 10), (0.02, 5), (0, 80), (-1, 1), (-20, 20)],
    }[name]
    found = scipy.optimize.differential_evolution(cost, ranges, seed=seed, maxiter=200, tol=1e-8, polish=True)
    starts = [found.x]
    if name == "logistic4":
        starts.append([y.max(), y.min(), x.mean(), x.std()])
    best = found.fun
    for start in starts:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                best = min(best, cost(scipy.optimize.curve_fit(curve, x, y, start, maxfev=20000)[0]))
            except RuntimeError:
                continue
    assert ours <= best * (1 + 1e-6)


numbers = st.floats(-100, 100).map(lambda value: round(value, 2))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=14), st.sampled_from(["logistic4", "logistic5"]))
def test_any_data_have_a_finite_fit_no_worse_than_a_line(data, name):
    x, y = (np.array(side) for side in zip(*data, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit, line = fit_scores(x, y, name), fit_scores(x, y, "linear")
    assert np.isfinite(fit.fitted).all() and np.isfinite(fit.parameters).all()
    assert squares(fit, y) <= squares(line, y) * (1 + 1e-5) + 1e-9 * (1 + np.ptp(y) ** 2)
    assert fit.predict(x) == pytest.approx(fit.fitted, abs=1e-5 * (1 + np.abs(y).max()))
    if fit.name == "logistic4":
        rising = np.diff(fit.fitted[np.argsort(x)])
        assert (rising >= -1e-9).all() or (rising <= 1e-9).all()
    json.dumps([fit.parameters], allow_nan=False)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([1e-6, 0.03, 1.0, 250.0, 1e7]),
    st.sampled_from([-1e3, 0.0, 5.0]),
    st.booleans(),
    st.sampled_from(["logistic4", "logistic5", "linear"]),
)
def test_scale_and_direction_of_the_scores_change_nothing(seed, scale, shift, turned, name):
    generator = np.random.default_rng(seed)
    x = generator.normal(0, 1, 30)
    y = 3 + 2 * np.tanh(1.5 * x) + generator.normal(0, 0.5, 30)
    other = (-x if turned else x) * scale + shift * scale
    a, b = fit_scores(x, y, name), fit_scores(other, y, name)
    assert squares(b, y) == pytest.approx(squares(a, y), rel=1e-4)
    upper = fit_scores(x, 7 * y - 50, name)
    assert squares(upper, 7 * y - 50) == pytest.approx(49 * squares(a, y), rel=1e-4)


def test_predictions_draw_the_curve_between_the_items():
    x = np.linspace(0, 10, 30)
    for name in ("logistic4", "logistic5", "linear"):
        fit = fit_scores(x, np.tanh(x - 4) + 0.05 * np.sin(20 * x), name)
        middle = fit.predict((x[1:] + x[:-1]) / 2)
        assert (middle >= np.minimum(fit.fitted[1:], fit.fitted[:-1]) - 1e-9).all()
        assert evaluate(fit.name, list(fit.parameters), x) == pytest.approx(fit.fitted)
        assert np.isfinite(fit.predict([-1e9, 1e9])).all()


def test_one_score_far_away_does_not_hide_the_bend():
    generator = np.random.default_rng(3)
    x = generator.uniform(0, 1, 60)
    y = logistic4(x, 5, 1, 0.5, 0.05) + generator.normal(0, 0.05, 60)
    fit = fit_scores(np.append(x, 1e4), np.append(y, 5.0))
    assert np.sqrt(squares(fit, np.append(y, 5.0)) / 61) < 0.07


def test_data_that_bend_the_other_way_get_a_line():
    x = np.linspace(-2, 2, 40)
    fit = fit_scores(x, x**3)
    line = fit_scores(x, x**3, "linear")
    assert squares(fit, x**3) <= squares(line, x**3) * (1 + 1e-6)


@pytest.mark.parametrize(("name", "least"), [("logistic4", 5), ("logistic5", 6)])
def test_too_few_items_get_a_line(name, least):
    y = [1.0, 1.1, 3.0, 5.0, 5.1, 5.2]
    assert fit_scores(range(least - 1), y[: least - 1], name).name == "linear"
    assert fit_scores(range(least), y[:least], name).name == name


def test_line_and_none():
    fit = fit_scores([1, 2, 3, 5], [3, 5, 7, 11], "linear")
    assert fit.parameters == pytest.approx((2, 1)) and fit.predict([10]) == pytest.approx([21])
    same = fit_scores([1, 2, 4], [3, 5, 7], "none")
    assert same.parameters == () and same.predict([9]).tolist() == [9] and same.fitted.tolist() == [1, 2, 4]
    flat = fit_scores([2, 2, 2], [1, 2, 3])
    assert (flat.name, flat.parameters) == ("linear", (0, 2))


def test_bad_parameters_are_named():
    with pytest.raises(DataError, match="logistic5 has 5 parameters, not 4"):
        evaluate("logistic5", (1, 2, 3, 4), [1.0])
    with pytest.raises(DataError, match="unknown fit 'spline'"):
        evaluate("spline", (), [1.0])
    with pytest.raises(DataError, match="position 1"):
        fit_scores([1, float("nan")], [1, 2])
