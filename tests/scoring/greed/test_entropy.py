import math

import numpy as np
import pytest
from scipy import integrate, stats

from compressvqa.scoring.greed.entropy import ggd_entropy, scaled_entropy, shape_of_kurtosis

from . import naive

SHAPES = [0.4, 0.7, 1.0, 2.0, 5.0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("deviation", [0.3, 4.0])
def test_entropy_is_that_of_scipy_and_of_the_integral(shape: float, deviation: float) -> None:
    scale = deviation / stats.gennorm(shape).std()
    law = stats.gennorm(shape, scale=scale)
    ours = float(ggd_entropy(np.array(shape), np.array(deviation)))
    assert ours == pytest.approx(law.entropy(), abs=1e-9)
    integral, _ = integrate.quad(lambda x: -law.pdf(x) * law.logpdf(x), 0, law.isf(1e-13), limit=500)
    assert ours == pytest.approx(2 * integral, abs=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_is_found_again(shape: float) -> None:
    kurtosis = stats.gennorm.stats(shape, moments="k") + 3
    assert float(shape_of_kurtosis(np.array(kurtosis))) == pytest.approx(shape, abs=1e-4)


def test_shapes_stay_within_the_table() -> None:
    assert shape_of_kurtosis(np.array([np.nan, np.inf, 1e9, 1.0])).round(2).tolist() == [0.2, 0.2, 0.2, 10.0]


def test_scaled_entropy_is_the_naive_one() -> None:
    band = stats.gennorm(0.8).rvs((13, 22), random_state=1) * 3
    found = scaled_entropy(band)
    assert found.shape == (2, 4)
    assert np.allclose(found, naive.entropies(band), rtol=2e-3)


def test_bands_are_looked_at_one_by_one() -> None:
    bands = np.random.default_rng(2).standard_normal((3, 2, 10, 15)) * np.array([1, 4])[:, None, None]
    assert np.allclose(scaled_entropy(bands)[2, 1], scaled_entropy(bands[2, 1]))


def test_nothing_that_varies_has_no_entropy() -> None:
    still = scaled_entropy(np.zeros((10, 10)))
    assert still.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    half = np.zeros((10, 10))
    half[:, 5:] = np.random.default_rng(0).standard_normal((10, 5))
    assert (scaled_entropy(half)[:, 0] == 0).all() and np.isfinite(scaled_entropy(half)).all()


def test_a_band_of_two_values_by_hand() -> None:
    """Signs drawn at random: every block has the variance 400, and a kurtosis of 1 is past the table's last shape."""
    band = 20 * np.random.default_rng(3).choice([-1.0, 1.0], (50, 50))
    expected = math.log(401) * stats.gennorm.entropy(9.999, scale=20 / stats.gennorm(9.999).std())
    assert np.allclose(scaled_entropy(band), expected, rtol=1e-3)
