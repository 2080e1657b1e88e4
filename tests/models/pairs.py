"""What every full-reference network's test asks for: clips of odd sizes, and the faults that all of them name."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from compressvqa.errors import DataError


def clips(frames=3, height=45, width=58, batch=1, seed=0):
    """A smooth reference and the same with noise, (batch, frames, 3, height, width) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch * frames, 3, 6, 7, generator=generator)
    reference = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    noise = 0.2 * torch.rand(reference.shape, generator=generator) - 0.1
    shape = (batch, frames, 3, height, width)
    return reference.reshape(shape), (reference + noise).clamp(0, 1).reshape(shape)


def numbers(network, seed=8):
    """The same network with every weight and bias drawn anew, so that none is 0 or 1, in evaluation mode.

    The seed is one with which no layer is dead: a comparison of two constants would prove nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            fan = max(1, parameter[0].numel()) if parameter.ndim > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (1.5 / fan) ** 0.5)
    return network.eval()


def score(network, *inputs):
    """Its score without gradients."""
    with torch.no_grad():
        return network(*inputs)


def exact(network, *inputs):
    """Its score in float64, as numpy has it."""
    return score(copy.deepcopy(network).double(), *(clip.double() for clip in inputs)).numpy()


def refuses_wrong_clips(network, side):
    """Checks the one-line errors that a full-reference network owes its users."""
    good = torch.zeros(1, 2, 3, side, side)
    faults = [
        (good[..., :-1], good[..., :-1], "are too small"),
        (good, good[:, :1], "differ in shape"),
        (good[0], good[0], "is not \\(batch"),
        (good[:, :, :1], good[:, :, :1], "is not \\(batch"),
        (good[:, :0], good[:, :0], "is not \\(batch"),
        (good.byte(), good.byte(), "floating point"),
    ]
    for reference, distorted, words in faults:
        with pytest.raises(DataError, match=words) as caught:
            network(reference, distorted)
        assert "\n" not in str(caught.value)
    assert score(network, good, good).shape == (1,)


def works_in_half_precision(network, inputs):
    """Checks autocast, float16 and bfloat16 against float64, and the gradients of float16."""
    true = exact(network, *inputs)
    assert true.dtype == np.float64
    room = 0.03 * float(np.abs(true).max()) + 0.01
    with torch.autocast("cpu", torch.bfloat16):
        mixed = score(network, *inputs)
    assert mixed.dtype == torch.float32
    np.testing.assert_allclose(mixed, true, atol=room)
    half = copy.deepcopy(network).half()
    found = half(*(clip.half() for clip in inputs))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.detach(), true, atol=room)
    found.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in half.parameters() if p.grad is not None)
