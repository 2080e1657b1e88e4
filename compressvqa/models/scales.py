"""The scale by which people read a network's raw scores: kept with the network, as long as its weights stay.

A network returns raw scores, in training and outside of it; the scale is applied where scores are shown
(`compressvqa.scoring`). It belongs to the weights that it was fitted to: once they are trained further or cut, it is
gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from compressvqa.errors import DataError
from compressvqa.metrics.score_scale import ScoreScale, fit_scale
from compressvqa.metrics.values import Values
from compressvqa.random_weights import hold_still, some_values

_HELD = "compressvqa_scale"  # attribute on the instance, so that it survives deepcopy


@dataclass(frozen=True)
class _Held:
    """A scale, and by what its network is known again."""

    scale: ScoreScale
    weights: tuple[float, ...]


def scale_of(model: nn.Module) -> ScoreScale | None:
    """The scale of a network's raw scores; None where none was fitted, or its weights have changed since."""
    held = getattr(model, _HELD, None)
    return held.scale if isinstance(held, _Held) and hold_still(model, held.weights) else None


def set_scale(model: nn.Module, scale: ScoreScale | None) -> None:
    """Gives a network the scale of its raw scores as its weights stand, or takes it away."""
    if scale is not None:
        setattr(model, _HELD, _Held(scale, some_values(model)))
    elif hasattr(model, _HELD):
        delattr(model, _HELD)


def fit_to_labels(
    model: nn.Module,
    scores: Values,
    labels: Values,
    *,
    span: tuple[float, float] | None,
    fitted_to: str,
    identical: Sequence[float] = (),
) -> dict[str, Any]:
    """Gives a network the scale by which its scores agree best with labels; see `compressvqa.metrics.score_scale`.

    Args:
        model: the network, which keeps the scale.
        scores: (n,), its raw scores of some clips.
        labels: (n,), of the same clips; higher is better.
        span: the labels that are read as 0 and 100; None: nobody said, and there is no scale.
        fitted_to: what the labels are, in words.
        identical: its raw scores of clips shown as their own reference.

    Returns:
        {"fitted_to", "rmse" of the readable scores on 0 to 100, "identical": {"lowest", "median"} of what the curve
        says of identical clips}, or {"none": why none was fitted}: a scale that the network has stays then.
    """
    if span is None:
        return {"none": "the lowest and the highest possible label are not known"}
    try:
        scale = fit_scale(scores, labels, span=span, identical=identical, fitted_to=fitted_to)
    except DataError as error:
        return {"none": error.what}
    set_scale(model, scale)
    truth = 100 * (np.asarray(labels, dtype=float) - span[0]) / (span[1] - span[0])
    found: dict[str, Any] = {
        "fitted_to": fitted_to,
        "rmse": float(np.sqrt(np.mean((scale.map(scores) - truth) ** 2))),
    }
    if len(identical):
        same = scale.map(identical)
        found["identical"] = {"lowest": float(same.min()), "median": float(np.median(same))}
    return found
