"""The pyramid and the error map against scipy and against convolutions with zeros between the pixels."""

import numpy as np
import pytest
import torch
from models import naive

from compressvqa.models import sensitivity

SIZES = [(36, 36), (37, 44), (45, 58), (1, 5)]


@pytest.mark.parametrize("size", SIZES)
def test_halve_and_double(size):
    picture = torch.rand(2, *size, dtype=torch.float64)
    small = sensitivity.halve(picture)
    np.testing.assert_allclose(small, [naive.halve(one) for one in picture.numpy()], atol=1e-12)
    large = sensitivity.double(small, *size)
    np.testing.assert_allclose(large, [naive.double(one, *size) for one in small.numpy()], atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_double_is_a_transposed_convolution(size):
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=torch.float64) / 16
    small = torch.rand(1, 1, -(-size[0] // 2), -(-size[1] // 2), dtype=torch.float64)
    odd = tuple(1 - side % 2 for side in size)
    kernel = 4 * torch.outer(line, line)[None, None]
    expected = torch.nn.functional.conv_transpose2d(small, kernel, stride=2, padding=2, output_padding=odd)
    torch.testing.assert_close(sensitivity.double(small, *size), expected)


def test_high_pass_takes_away_what_is_flat_but_for_the_border():
    flat = torch.full((1, 1, 64, 64), 0.7)
    found = sensitivity.high_pass(flat)
    np.testing.assert_allclose(found[0, 0, 16:-16, 16:-16], 0, atol=1e-6)
    assert found[0, 0, 0, 0] > 0.1  # outside the picture stand zeros
    noise = torch.rand(41, 38, dtype=torch.float64)
    np.testing.assert_allclose(sensitivity.high_pass(noise), naive.high_pass(noise.numpy()), atol=1e-12)


def test_log_error():
    a, b = torch.rand(2, 30, 30, dtype=torch.float64)
    np.testing.assert_allclose(sensitivity.log_error(a, b), naive.log_error(a.numpy(), b.numpy()), atol=1e-12)
    assert torch.equal(sensitivity.log_error(a, a), torch.ones_like(a))


def test_few_at_a_time_calls_once_or_in_parts(monkeypatch):
    calls = []

    def work(a, b):
        calls.append(len(a))
        return (a + b).sum(dim=(1, 2, 3))

    a, b = torch.rand(2, 7, 1, 10, 10)
    whole = sensitivity.few_at_a_time(work, a, b)
    monkeypatch.setattr(sensitivity, "MOST_PIXELS", 250)
    assert torch.equal(sensitivity.few_at_a_time(work, a, b), whole)
    monkeypatch.setattr(sensitivity, "MOST_PIXELS", 99)  # less than a frame: one by one all the same
    assert torch.equal(sensitivity.few_at_a_time(work, a, b), whole)
    assert calls == [7, 2, 2, 2, 1, *[1] * 7]
