"""The regressor of ST-GREED: a support vector regression, kept as plain numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from compressvqa.errors import WeightsError
from compressvqa.files import write_json
from compressvqa.scoring.greed.filters import Array
from compressvqa.untrusted import read_json

SCHEMA = 1
KIND = "st-greed"


@dataclass(frozen=True)
class GreedModel:
    """A support vector regression with a Gaussian kernel, from 16 features to a score.

    ``score = intercept + sum_i weights[i] * exp(-gamma * |x - support[i]| ** 2)`` with x the features scaled so that
    `low` becomes 0 and `high` 1.

    Args:
        low: (16,), the least of each feature in training.
        high: (16,), the largest.
        support: (n, 16), scaled features of the support vectors.
        weights: (n,), their weights, in units of the score.
        intercept: in units of the score.
        gamma: of the kernel.
        label: what the score is, as the data set calls it: "MOS", "DMOS".
        higher_is_better: direction of the score.
        training: what it was fitted to, for the log.
    """

    low: Array
    high: Array
    support: Array
    weights: Array
    intercept: float
    gamma: float
    label: str = "MOS"
    higher_is_better: bool = True
    training: dict[str, Any] = field(default_factory=dict)

    def predict(self, features: Array) -> Array:
        """Scores of features (..., 16)."""
        span = np.where(self.high > self.low, self.high - self.low, 1.0)
        scaled = (np.asarray(features, np.float64) - self.low) / span
        distance = ((scaled[..., None, :] - self.support) ** 2).sum(axis=-1)
        scores: Array = np.exp(-self.gamma * distance) @ self.weights + self.intercept
        return scores

    def save(self, path: str | Path) -> Path:
        """Writes it as JSON, whole or not at all."""
        values = {
            key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in asdict(self).items()
        }
        write_json(Path(path), {"kind": KIND, "schema": SCHEMA, **values})
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> GreedModel:
        """Reads what `save` wrote.

        Raises:
            WeightsError: no such file, or not such a file.
        """
        path = Path(path)
        hint = "a file that GreedModel.save wrote"
        values = read_json(path, WeightsError)
        if not isinstance(values, dict) or (values.pop("kind", None), values.pop("schema", None)) != (KIND, SCHEMA):
            raise WeightsError("is no model of ST-GREED", where=path, hint=hint)
        try:
            for key in ("low", "high", "support", "weights"):
                values[key] = np.asarray(values[key], np.float64)
            model = cls(**values)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise WeightsError(f"is a damaged model of ST-GREED ({error})", where=path) from error
        return model._checked(path)

    def _checked(self, path: Path) -> GreedModel:
        count = len(self.weights) if self.weights.ndim == 1 else -1
        shapes = (self.low.shape, self.high.shape, self.support.shape)
        fits = shapes == ((16,), (16,), (count, 16)) and type(self.higher_is_better) is bool
        numbers = all(isinstance(value, (int, float)) for value in (self.intercept, self.gamma))
        if not (fits and numbers and isinstance(self.training, dict)):
            raise WeightsError("is a damaged model of ST-GREED: a value of another shape", where=path)
        arrays = (self.low, self.high, self.support, self.weights, np.array([self.intercept, self.gamma]))
        if not all(np.isfinite(array).all() for array in arrays):
            raise WeightsError("is a damaged model of ST-GREED: a value is not a number", where=path)
        return self
