"""Progressive zeroing: exact widths on time, fading in a straight line, and the least salient channels first."""

import itertools

import pytest
import torch
from sparsity.stacks import group, stack
from torch import nn

from compressvqa.errors import RecipeError
from compressvqa.sparsity import Channels, Progressive


def columns(weights):
    """One group whose channels are the columns of a weight."""
    weight = nn.Parameter(torch.tensor(weights, dtype=torch.float64))
    count = weight.shape[1]
    return weight, Channels({"w": weight}, [group("w", count, ("w", 1, [[i] for i in range(count)]))])


def test_a_channel_fades_in_a_straight_line_to_exactly_zero():
    weight, channels = columns([[4.0, 1.0], [4.0, 1.0]])
    optimizer = Progressive([weight], 0.1, channels=channels, widths={"w": 1}, warmup_steps=2, prune_steps=4, periods=1)
    seen = []
    for _ in range(8):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
        seen.append(weight.detach()[0].tolist())
    assert [b for _, b in seen] == pytest.approx([1, 1, 0.75, 0.5, 0.25, 0, 0, 0])
    assert seen[5][1] == 0 and seen[7] == [4.0, 0.0]


def test_saliency_weighs_size_and_what_the_loss_says():
    """Shares of the mean. Size: (2, 1, 1, 4) / 2. First-order change |x g| over two steps: (0, 3, 0, 3) / 1.5.

    Together (1, 2.5, 0.5, 4): of the two that go, the smallest is first, then the one that the loss does not miss.
    """
    weight, channels = columns([[2.0, 1.0, 1.0, 4.0]])
    optimizer = Progressive([weight], 0.0, channels=channels, widths={"w": 2}, warmup_steps=1, prune_steps=2, periods=2)
    order = []
    for _ in range(3):
        weight.grad = torch.tensor([[0.0, 3.0, 0.0, 0.75]], dtype=torch.float64)
        optimizer.step()
        order.append((weight.detach() == 0).flatten().tolist())
    assert order == [[False] * 4, [False, False, True, False], [True, False, True, False]]


@pytest.mark.parametrize("base", ["sgd", "adamw"])
@pytest.mark.parametrize(("steps", "periods"), [(12, 3), (7, 10), (1, 1)])
def test_every_group_ends_at_its_width_and_stays_there(base, steps, periods):
    parameters, channels = stack()
    optimizer = Progressive(
        parameters.values(), 0.05, channels=channels, widths={"a": 1, "b": 2}, base=base,
        warmup_steps=3, prune_steps=steps, periods=periods,
    )  # fmt: skip
    generator, zeros = torch.Generator().manual_seed(2), []
    for _ in range(3 + steps + 4):
        for p in parameters.values():
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
        optimizer.step()
        zeros.append(channels.removed(channels.zeros()).tolist())
    assert zeros[2] == [0, 0]
    assert all(z == [2, 2] for z in zeros[2 + steps :])
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in itertools.pairwise(zeros))


def test_a_group_that_is_not_named_keeps_all():
    parameters, channels = stack()
    optimizer = Progressive(
        parameters.values(), 0.01, channels=channels, widths={"b": 3}, warmup_steps=0, prune_steps=2
    )
    for _ in range(4):
        for p in parameters.values():
            p.grad = torch.ones_like(p)
        optimizer.step()
    assert channels.removed(channels.zeros()).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"widths": {"c": 1}}, "no group has this name"),
        ({"widths": {"w": 9}}, "can't keep 9 of 2"),
        ({"prune_steps": 0}, "prune_steps"),
        ({"periods": 0}, "periods"),
        ({"base": "adam"}, "base step"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, said):
    weight, channels = columns([[1.0, 2.0]])
    settings = {"widths": {}, "warmup_steps": 0, "prune_steps": 1, **wrong}
    with pytest.raises(RecipeError, match=said):
        Progressive([weight], 0.1, channels=channels, **settings)
