"""The exam of every registered importance: one finite number a channel, not moved by where a channel stands."""

import pytest
import torch
from torch import Tensor, nn

from compressvqa.pruning.cutting import importance
from compressvqa.pruning.cutting.importance import CannotJudgeError, Part
from compressvqa.registry import importances

NAMES = sorted(importances)
PARTS = [Part("conv.weight", "out", nn.Conv2d), Part("norm.weight", "with", nn.BatchNorm2d), Part("b", "in", nn.Linear)]


def slices(channels: int = 6) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(channels, elements, generator=generator) for elements in (9, 1, 4)]
    return weights, [torch.randn(w.shape, generator=generator) for w in weights]


def activations(weights: list[Tensor]) -> list[Tensor | None]:
    """One number a channel that only depends on the channel's weights, and nothing for the norm."""
    return [weights[0].square().sum(1), None, weights[2].abs().sum(1)]


def scores(name: str, weights: list[Tensor], gradients: list[Tensor]) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return importance.score(name, weights, list(gradients), generator, parts=PARTS, activations=activations(weights))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 6])
def test_one_finite_number_a_channel(name: str, channels: int) -> None:
    result = scores(name, *slices(channels))
    assert result.shape == (channels,) and bool(torch.isfinite(result).all())


@pytest.mark.parametrize("name", NAMES)
def test_weights_and_gradients_are_left_alone(name: str) -> None:
    weights, gradients = slices()
    before = [value.clone() for value in (*weights, *gradients)]
    scores(name, weights, gradients)
    assert all(torch.equal(a, b) for a, b in zip(before, (*weights, *gradients), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_zero_are_no_trouble(name: str) -> None:
    weights, gradients = slices()
    assert bool(torch.isfinite(scores(name, [w * 0 for w in weights], [g * 0 for g in gradients])).all())


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"random", "torch-pruning/Random"}))
def test_a_channel_is_judged_by_its_slices_and_not_by_its_place(name: str) -> None:
    weights, gradients = slices()
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    moved = scores(name, [w[order] for w in weights], [g[order] for g in gradients])
    assert torch.allclose(moved, scores(name, weights, gradients)[order])


@pytest.mark.parametrize("name", sorted(set(NAMES) & {"l1", "l2", "lamp", "taylor", "bn_scale", "activation"}))
def test_a_channel_without_weights_matters_least(name: str) -> None:
    weights, gradients = slices()
    for w in weights:
        w[2] = 0
    assert scores(name, weights, gradients).argmin() == 2


@pytest.mark.parametrize("name", sorted(set(NAMES) & {"bn_scale", "activation", "taylor"}))
def test_a_criterion_without_what_it_needs_says_so(name: str) -> None:
    weights, _ = slices()
    with pytest.raises(CannotJudgeError, match=f"importance '{name}' needs"):
        importance.score(name, weights, [None] * 3)
