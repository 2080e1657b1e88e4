"""Training with layers that round as int8 does."""

import contextlib

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from compressvqa.training.fake_int8 import FakeInt8


def rounded(values, low, step, fewest, most):
    """Values on a grid of steps from `low`, written out."""
    return torch.tensor([low + step * min(max(round((v - low) / step), fewest), most) for v in values.tolist()])


def test_a_layer_works_with_rounded_inputs_and_weights_of_each_channel():
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 3), torch.randn(4, 6)
    layer.weight.data[1] *= 100  # a channel whose range would swamp the others
    with FakeInt8():
        found = layer(x)
    weight = torch.stack([rounded(row, 0.0, row.abs().max().item() / 127, -127, 127) for row in layer.weight.detach()])
    step = (x.max() - x.min()).item() / 255
    zero = round(-x.min().item() / step)
    inputs = rounded(x.flatten(), -zero * step, step, 0, 255).view_as(x)
    assert torch.allclose(found, inputs @ weight.T + layer.bias, atol=1e-4)
    assert not torch.equal(found, layer(x))
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))  # outside it works as before


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 6, 3, groups=2), nn.ConvTranspose2d(4, 6, 3), nn.Conv2d(4, 6, 3)])
def test_gradients_pass_as_if_nothing_was_rounded(layer):
    torch.manual_seed(1)
    x = torch.rand(2, 4, 8, 8)
    layer(x).sum().backward()
    wanted = layer.weight.grad.clone()
    layer.weight.grad = None
    with FakeInt8():
        found = layer(x)
        found.sum().backward()
    assert 0 < (found - layer(x)).abs().max() < 0.05
    assert torch.nn.functional.cosine_similarity(wanted.flatten(), layer.weight.grad.flatten(), dim=0) > 0.999


def test_products_and_arguments_by_name():
    a, b = torch.rand(2, 3, 4), torch.rand(2, 4, 5)
    with FakeInt8():
        found = [a @ b, torch.matmul(a, b), torch.bmm(a, b)]
        named = F.conv2d(input=a[None], weight=torch.rand(2, 2, 1, 1), bias=None)
    assert all(torch.equal(one, found[0]) and 0 < (one - a @ b).abs().max() < 0.02 for one in found)
    assert named.shape == (1, 2, 3, 4)


def test_zeros_half_precision_and_whole_numbers_go_through():
    with FakeInt8():
        assert torch.equal(F.linear(torch.zeros(1, 3), torch.zeros(2, 3)), torch.zeros(1, 2))
        assert F.linear(torch.rand(1, 3).bfloat16(), torch.rand(2, 3).bfloat16()).dtype == torch.bfloat16
        assert torch.equal(torch.matmul(torch.ones(2, 2).int(), torch.ones(2, 2).int()), torch.full((2, 2), 2).int())


def test_a_network_that_learns_with_rounding_makes_up_for_it():
    """A weight of 0.4 beside one of 127 is rounded away; the bias can take its place, if training sees that."""
    x = torch.tensor([[0.0, 1.0], [1.0, 1.0]])

    def error_in_int8(rounding):
        layer = nn.Linear(2, 1)
        layer.weight.data, layer.bias.data = torch.tensor([[127.0, 0.4]]), torch.zeros(1)
        optimizer = torch.optim.SGD([layer.bias], lr=0.1)
        for _ in range(50):
            optimizer.zero_grad()
            with rounding():
                loss = F.mse_loss(layer(x), torch.tensor([[0.4], [127.4]]))
            loss.backward()
            optimizer.step()
        with torch.no_grad(), FakeInt8():
            return F.mse_loss(layer(x), torch.tensor([[0.4], [127.4]])).item()

    assert error_in_int8(contextlib.nullcontext) > 0.1
    assert error_in_int8(FakeInt8) < 0.01
