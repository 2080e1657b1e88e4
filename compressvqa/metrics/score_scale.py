"""A scale that people can read: raw scores of a network mapped to 0 to 100 by a smooth curve that never turns.

A network that learnt from comparisons has no scale of its own: any shift of its scores ranks the same. The curve is
fitted to labels: log-odds of the readable score are a cubic of Fritsch and Carlson (1980) through a few knots, and
straight lines beyond them. So it rises everywhere, has no corner, and comes near 0 and 100 without an end at which
better files would be told apart no longer.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy  # a part of it is imported when it is first used

from compressvqa.errors import DataError
from compressvqa.metrics.values import Array, Values, finite, pair

LOWEST, HIGHEST = 0.0, 100.0
KNOTS = 6  # at most; a knot needs so many labels:
LABELS_A_KNOT = 20
LEAST_LABELS = 10
_FLATTEST = 0.05  # log-odds from one knot to the next, so that the curve rises where labels don't
_STIFFNESS = 0.02  # price of a bend beside an error of the whole scale
_SHARE_OF_IDENTITY = 0.1  # of the fit's weight that identical pairs have together


@dataclass(frozen=True)
class ScoreScale:
    """A monotone map of raw scores to 0 to 100, higher is better.

    Args:
        raw: raw scores of the knots, rising.
        readable: what they are mapped to, above 0 and below 100; rising, or falling where less raw score is better.
        fitted_to: the labels, in words that end "a score is read as ...": "VMAF (0.6.1) of 1,272 validation patches".

    Raises:
        DataError: fewer than two knots, or one that breaks these rules.

    >>> scale = ScoreScale((-1.0, 1.0), (25.0, 75.0))
    >>> scale(0.0), scale(1.0), round(scale(9.0), 2)
    (50.0, 75.0, 99.99)
    """

    raw: tuple[float, ...]
    readable: tuple[float, ...]
    fitted_to: str = ""

    def __post_init__(self) -> None:
        raw, readable = np.array(self.raw, dtype=float), np.array(self.readable, dtype=float)
        sound = raw.ndim == 1 and raw.size >= 2 and raw.shape == readable.shape
        sound = sound and bool(np.isfinite(raw).all() and (np.diff(raw) > 0).all())
        sound = sound and bool(((readable > LOWEST) & (readable < HIGHEST)).all())
        if not sound or not ((np.diff(readable) > 0).all() or (np.diff(readable) < 0).all()):
            raise DataError(f"no scale goes through {self.raw} and {self.readable}")

    def __call__(self, raw: float) -> float:
        """The readable score."""
        return float(self.map([raw])[0])

    def map(self, raw: Values) -> Array:
        """Readable scores: (n,) to (n,)."""
        return np.asarray(HIGHEST * scipy.special.expit(_odds(self.raw, self.readable)(finite(raw, "raw scores"))))

    def curve(self) -> tuple[Array, Array, Array]:
        """Raw scores, log-odds of the readable ones and slopes at the knots, (knots,) each: the curve itself.

        A cubic of Hermite lies between two knots, a straight line of the last slope beyond them.
        """
        odds = _odds(self.raw, self.readable)
        return odds.raw, odds.odds, odds.slopes

    def to_dict(self) -> dict[str, Any]:
        """As a config.json holds it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> ScoreScale:
        """The scale of a config.json.

        Raises:
            DataError: it is damaged.
        """
        try:
            raw, readable = (tuple(float(value) for value in found[key]) for key in ("raw", "readable"))
            return cls(raw, readable, str(found.get("fitted_to", "")))
        except DataError:
            raise
        except (TypeError, KeyError, ValueError) as error:
            raise DataError(f"the scale is damaged: {error}") from error


class _Odds:
    """Log-odds of the readable score: a cubic between knots, straight beyond."""

    def __init__(self, raw: Array, odds: Array) -> None:
        secants = np.diff(odds) / np.diff(raw)
        slopes = (
            scipy.interpolate.PchipInterpolator(raw, odds).derivative()(raw) if raw.size > 2 else np.full(2, secants[0])
        )
        slopes[[0, -1]] = secants[[0, -1]]  # not the estimate of that method, which may be 0 at an end
        self.raw, self.odds, self.slopes = raw, odds, slopes
        self.between = scipy.interpolate.CubicHermiteSpline(raw, odds, slopes)

    def __call__(self, x: Array) -> Array:
        inside = np.clip(x, self.raw[0], self.raw[-1])
        beyond = np.where(x < self.raw[0], self.slopes[0], self.slopes[-1])
        return np.asarray(self.between(inside) + beyond * (x - inside))


@functools.lru_cache(maxsize=64)
def _odds(raw: tuple[float, ...], readable: tuple[float, ...]) -> _Odds:
    return _Odds(np.array(raw), scipy.special.logit(np.array(readable) / HIGHEST))


def fit_scale(
    raw: Values,
    labels: Values,
    *,
    span: tuple[float, float] = (LOWEST, HIGHEST),
    identical: Sequence[float] = (),
    fitted_to: str = "",
) -> ScoreScale:
    """The scale by which raw scores agree best with labels: least squares over the knots, which can't but rise.

    Args:
        raw: (n,), scores of a network; higher is better.
        labels: (n,), of the same clips; higher is better.
        span: the labels that are read as 0 and 100.
        identical: raw scores of clips shown as their own reference; they are drawn towards 100, with a tenth of the
            weight together.
        fitted_to: see `ScoreScale`.

    Raises:
        DataError: lengths differ, fewer than 10 labels, an empty span, or scores that don't follow the labels.
    """
    x, y = pair(raw, labels)
    low, high = span
    if x.size < LEAST_LABELS or not low < high:
        raise DataError(f"{x.size} labels from {low:g} to {high:g} make no scale", hint=f"{LEAST_LABELS} or more")
    if np.ptp(x) == 0 or not np.corrcoef(np.argsort(np.argsort(x)), np.argsort(np.argsort(y)))[0, 1] > 0:
        raise DataError("the scores don't follow the labels: there is no scale to read them by")
    y = np.clip((y - low) / (high - low), 0, 1)
    weights = np.ones_like(x)
    if len(identical):
        same = finite(identical, "scores of identical clips")
        x, y = np.append(x, same), np.append(y, np.ones_like(same))
        share = _SHARE_OF_IDENTITY / (1 - _SHARE_OF_IDENTITY) * weights.size / same.size
        weights = np.append(weights, np.full_like(same, share))
    knots = _knots(x)
    scale = float(np.sqrt(weights.sum()))

    def odds_at(steps: Array) -> Array:
        return np.asarray(steps[0] + np.concatenate([[0.0], np.cumsum(_FLATTEST + np.exp(steps[1:]))]))

    def residual(steps: Array) -> Array:
        odds = odds_at(steps)
        errors = np.sqrt(weights) * (scipy.special.expit(_Odds(knots, odds)(x)) - y) / scale
        bends = np.diff(np.diff(odds) / np.diff(knots)) * (knots[-1] - knots[0]) / knots.size**2
        return np.concatenate([errors, _STIFFNESS * bends])

    first = np.concatenate([[-2.0], np.full(knots.size - 1, math.log(4.0 / (knots.size - 1)))])
    lowest, highest = np.full_like(first, -12.0), np.full_like(first, 4.0)
    highest[0] = 12.0
    found = scipy.optimize.least_squares(residual, first, bounds=(lowest, highest))
    readable = HIGHEST * scipy.special.expit(np.clip(odds_at(found.x), -16, 16))
    return ScoreScale(tuple(map(float, knots)), tuple(map(float, readable)), fitted_to)


def _knots(x: Array) -> Array:
    """Raw scores of the knots: shares of the scores, those in between no nearer to each other than chance allows."""
    count = int(np.clip(x.size // LABELS_A_KNOT, 2, KNOTS))
    knots = np.quantile(x, np.linspace(0.02, 0.98, count))
    apart = 0.02 * float(np.ptp(x))
    kept = [float(knots[0])]
    kept += [float(knot) for before, knot in itertools.pairwise(knots) if knot - before > apart]
    return np.array(kept if len(kept) > 1 else [x.min(), x.max()])
