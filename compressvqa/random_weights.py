"""Are a network's weights still those that were drawn when it was made? A score by such a network means nothing.

A few values of every tensor are noted when the network is made. Weights that were loaded or trained differ from them,
whoever trained them; a network that was pruned gets a note of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

NOTE = "compressvqa_drawn"  # attribute on the instance: numbers only, so that every way to copy a network keeps it
_VALUES = 4  # noted of each tensor: training changes all of them, and also a large network is noted at once
_NEAR = 1e-2  # what half precision may move a value by


def note(model: nn.Module) -> None:
    """Notes that the weights of a network are random as they stand."""
    setattr(model, NOTE, some_values(model))


def are_random(model: nn.Module) -> bool:
    """Whether a network's weights are those that were noted. One that was never noted is taken for trained.

    A network without parameters is never random.

    >>> layer = nn.Linear(2, 1)
    >>> are_random(layer)
    False
    >>> note(layer)
    >>> are_random(layer)
    True
    >>> layer.weight.data += 0.1
    >>> are_random(layer)
    False
    """
    noted = getattr(model, NOTE, None)
    return isinstance(noted, tuple) and hold_still(model, noted)


def some_values(model: nn.Module) -> tuple[float, ...]:
    """A few values of every tensor of weights, by which `hold_still` knows them again."""
    return tuple(_some(model))


def hold_still(model: nn.Module, noted: tuple[float, ...]) -> bool:
    """Whether weights are those of which some values were noted, up to what half precision changes."""
    now = some_values(model)
    return (
        bool(noted)
        and len(now) == len(noted)
        and all(math.isclose(a, b, rel_tol=_NEAR, abs_tol=1e-6) for a, b in zip(now, noted, strict=True))
    )


def hand_on(original: nn.Module, smaller: nn.Module) -> list[str]:
    """Notes that what was cut out of random weights is random; returns what there is to say of it."""
    if are_random(original):
        note(smaller)
        return ["the weights are random, nothing has trained them: the scores of this network mean nothing"]
    if hasattr(smaller, NOTE):
        delattr(smaller, NOTE)
    return []


def _some(model: nn.Module) -> Iterator[float]:
    for parameter in model.parameters():
        if parameter.is_meta or isinstance(parameter, UninitializedParameter):
            continue  # nothing was drawn yet
        values = parameter.detach().flatten()[:: max(1, parameter.numel() // _VALUES)][:_VALUES]
        values = torch.view_as_real(values.resolve_conj()).flatten() if values.is_complex() else values
        yield from (float(value) for value in values.float().cpu().tolist())
