"""Mappings from scores to human scores: the monotone curves that viewers' use of a scale is allowed for with.

Both logistic curves are linear in all but two of their parameters, the place and the width of the bend. For given
place and width the others follow in closed form, so that the search is over two numbers only (variable projection:
Golub and Pereyra 1973): a grid over both first, then least squares from its best points. It finds the same curve
whatever the scale of the scores, and needs no starting values.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import scipy  # a part of it is imported when it is first used

from compressvqa.errors import DataError
from compressvqa.metrics.values import Array, Values, finite, pair

PARAMETERS = {"logistic4": 4, "logistic5": 5, "linear": 2, "none": 0}
_STARTS = 8  # points of the grid that least squares begins from
_WIDEST = 1e3  # width of the bend in ranges of the scores: all but a straight line
_FARTHEST = 12.0  # how many widths the bend may lie outside the scores: there the curve is exponential to five digits


@dataclass(frozen=True)
class Fit:
    """A mapping that was fitted.

    Attributes:
        name: "logistic4", "logistic5", "linear" or "none".
        parameters: on the scale of the scores as given. logistic4: b0, b1, b2, b3 of
            (b0 - b1) / (1 + exp((b2 - x) / |b3|)) + b1. logistic5: b1 to b5 of
            b1 * (1/2 - 1 / (1 + exp(b2 * (x - b3)))) + b4 * x + b5. linear: slope and offset. none: none.
        fitted: (n,), the scores after the mapping, in the order given.
    """

    name: str
    parameters: tuple[float, ...]
    fitted: Array = field(repr=False)

    def predict(self, x: Values) -> Array:
        """The mapping at any scores, for example to draw it.

        Args:
            x: (k,), on the scale of the scores that were fitted.

        Returns:
            (k,), on the scale of the human scores.
        """
        return evaluate(self.name, self.parameters, x)


def evaluate(name: str, parameters: tuple[float, ...] | list[float], x: Values) -> Array:
    """A mapping by name and parameters, as reports hold it.

    Raises:
        DataError: an unknown mapping, another number of parameters than it has, or NaN among x.

    >>> evaluate("logistic4", (5.0, 1.0, 60.0, 8.0), [60.0]).tolist()
    [3.0]
    """
    values = finite(x, "scores")
    known(name)
    if len(parameters) != PARAMETERS[name]:
        raise DataError(f"{name} has {PARAMETERS[name]} parameters, not {len(parameters)}")
    if name == "logistic4":
        high, low, middle, width = parameters
        return np.asarray((high - low) * scipy.special.expit((values - middle) / max(abs(width), 1e-300)) + low)
    if name == "logistic5":
        height, steepness, middle, slope, offset = parameters
        return np.asarray(height * (scipy.special.expit(steepness * (values - middle)) - 0.5) + slope * values + offset)
    if name == "linear":
        return parameters[0] * values + parameters[1]
    return values.copy()


def known(name: str) -> None:
    """Refuses an unknown mapping.

    Raises:
        DataError: it is unknown.
    """
    if name not in PARAMETERS:
        raise DataError(f"unknown fit {name!r}", hint=", ".join(PARAMETERS))


def fit_scores(scores: Values, mos: Values, name: str = "logistic4") -> Fit:
    """Fits a mapping from scores to human scores by least squares.

    Args:
        scores: (n,), rising or falling with the human scores.
        mos: (n,), human scores.
        name: "logistic4", monotone, of VQEG (2000 and later; also RankDVQA's); "logistic5", the logistic curve with a
            linear part of Sheikh, Sabir and Bovik (2006, IEEE TIP 15(11), section IV), which can turn back; "linear";
            or "none".

    Returns:
        the mapping. A logistic one is never further from the human scores than the straight line: where it would be
        (data that bend the other way), where the scores are constant, and where items are too few for it (at most as
        many as parameters), the line is given, and named so.

    Raises:
        DataError: lengths differ, fewer than two items, NaN or infinite values, or an unknown mapping.

    >>> fit = fit_scores([20, 40, 50, 60, 80, 100], [1.0, 1.3, 2.2, 3.4, 4.8, 4.9])
    >>> fit.name, [round(b, 1) for b in fit.parameters], fit.predict([50.0]).round(1).tolist()
    ('logistic4', [4.9, 0.9, 56.2, 7.4], [2.1])
    """
    x, y = pair(scores, mos)
    known(name)
    found = _fit(x.tobytes(), y.tobytes(), name)
    return replace(found, fitted=found.fitted.copy())


@functools.lru_cache(maxsize=64)
def _fit(scores: bytes, mos: bytes, name: str) -> Fit:
    """One fit of some scores, however many figures are drawn from it: correlations, intervals, tests, plots."""
    x, y = np.frombuffer(scores), np.frombuffer(mos)
    if name == "none":
        return Fit("none", (), x.copy())
    line = _linear(x, y)
    if name == "linear" or x.size <= PARAMETERS[name] or np.ptp(x) == 0 or np.ptp(y) == 0:
        return line
    curve = _bent(x, y, name)
    if curve is None or _squares(curve.fitted, y) > _squares(line.fitted, y) * (1 + 1e-6) + 1e-12 * _squares(
        y.mean(), y
    ):
        return line
    return curve


def _squares(fitted: Array | float, y: Array) -> float:
    return float(np.sum((fitted - y) ** 2))


def _linear(x: Array, y: Array) -> Fit:
    spread = x - x.mean()
    square = float(spread @ spread)
    slope = float(spread @ (y - y.mean())) / square if np.ptp(x) > 0 and square > 0 else 0.0
    # From the centred form: slope * x + offset would lose digits where the scores are far from zero.
    return Fit("linear", (slope, float(y.mean()) - slope * float(x.mean())), y.mean() + slope * spread)


def _bent(x: Array, y: Array, name: str) -> Fit | None:
    centre = float(np.median(x))
    quarters = np.quantile(x, (0.25, 0.75))
    # Of most scores: one far away must not squeeze the others.
    scale = float(quarters[1] - quarters[0]) / 1.349 or float(x.std())
    z, level, spread = (x - centre) / scale, float(y.mean()), float(y.std())
    target = (y - level) / spread
    project = _PROJECTIONS[name]
    half, between = float(np.ptp(z)) / 2, (float(z.min()) + float(z.max())) / 2

    def bend(place: Array) -> tuple[float, float]:
        """Middle and width from the two numbers that are searched over, so that their limits are a rectangle."""
        width = float(np.exp(place[1]))
        return between + float(place[0]) * (half + _FARTHEST * width), width

    def residual(place: Array) -> Array:
        weights, columns = project(z, *bend(place), target)
        return np.asarray(weights @ columns - target)

    # An eightieth of the smallest gap between scores: there the curve is a step between two neighbours.
    narrowest = min(0.01, max(float(np.diff(np.unique(z)).min()) / 80, 1e-9))
    widths = np.append(narrowest, np.geomspace(0.02, max(10.0, 6 * half), 13))
    middles = _middles(z)
    grid = np.empty((middles.size + 4, widths.size, 2))
    for column, width in enumerate(widths):
        grid[2:-2, column, 0] = (middles - between) / (half + _FARTHEST * width)
        grid[[0, 1, -2, -1], column, 0] = -1, -0.6, 0.6, 1  # beyond the scores: all but exponential
        grid[:, column, 1] = np.log(width)
    costs = np.array([[float(np.sum(residual(place) ** 2)) for place in row] for row in grid])
    straight = np.array([0.0, np.log(_WIDEST * half)])
    lowest, highest = np.array([-1.0, np.log(narrowest)]), np.array([1.0, np.log(max(2 * _WIDEST * half, 1.0))])
    best: tuple[float, Array] | None = None
    for start in [*grid[_valleys(costs)], straight]:
        found = scipy.optimize.least_squares(
            residual,
            np.clip(start, lowest, highest),
            bounds=(lowest, highest),
            x_scale=(0.1, 0.5),
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
        )
        if np.isfinite(found.cost) and (best is None or found.cost < best[0]):
            best = (float(found.cost), found.x)
    if best is None:
        return None
    middle, width = bend(best[1])
    weights, columns = project(z, middle, width, target)
    parameters = _RESCALED[name](weights * spread, middle, width, centre, scale, level)
    return Fit(name, tuple(float(value) for value in parameters), (weights @ columns) * spread + level)


def _middles(z: Array) -> Array:
    """Places for the bend: between neighbouring scores, so that a step is found."""
    values = np.unique(z)
    between = (values[1:] + values[:-1]) / 2
    return between if between.size <= 30 else np.asarray(np.quantile(between, np.linspace(0, 1, 30)))


def _valleys(costs: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The lowest points of the grid that no neighbour is below: from others the search would end in the same place."""
    around = np.pad(costs, 1, constant_values=np.inf)
    shifts = [(row, column) for row in (0, 1, 2) for column in (0, 1, 2) if (row, column) != (1, 1)]
    height, width = costs.shape
    lowest = np.min([around[row : row + height, column : column + width] for row, column in shifts], axis=0)
    rows, columns = np.nonzero(costs <= lowest)
    order = np.argsort(costs[rows, columns], kind="stable")[:_STARTS]
    return rows[order], columns[order]


# --- for a given place and width of the bend: (weights, columns), whose product is nearest to the target -------------

_Projection = Callable[[Array, float, float, Array], "tuple[Array, Array]"]


def _project4(z: Array, middle: float, width: float, target: Array) -> tuple[Array, Array]:
    bend = scipy.special.expit((z - middle) / width)
    spread = bend - bend.mean()
    square = float(spread @ spread)
    height = float(spread @ target) / square if square > 1e-18 * z.size else 0.0
    return np.array([height, -height * float(bend.mean())]), np.stack([bend, np.ones_like(z)])


def _project5(z: Array, middle: float, width: float, target: Array) -> tuple[Array, Array]:
    columns = np.stack([scipy.special.expit((z - middle) / width) - 0.5, z, np.ones_like(z)])
    centred = columns[:2] - columns[:2].mean(axis=1, keepdims=True)
    sizes = np.maximum(np.sqrt(np.sum(centred**2, axis=1)), 1e-9)
    # The cut keeps a bend that is all but straight from trading huge weights with the straight part.
    weights = np.linalg.lstsq((centred / sizes[:, None]).T, target, rcond=1e-7)[0] / sizes
    return np.append(weights, -float(weights @ columns[:2].mean(axis=1))), columns


_PROJECTIONS: dict[str, _Projection] = {"logistic4": _project4, "logistic5": _project5}


# --- parameters on the scale of the scores ---------------------------------------------------------------------------


def _rescaled4(
    weights: Array, middle: float, width: float, centre: float, scale: float, level: float
) -> tuple[float, ...]:
    low = float(weights[1]) + level
    return low + float(weights[0]), low, centre + scale * middle, scale * width


def _rescaled5(
    weights: Array, middle: float, width: float, centre: float, scale: float, level: float
) -> tuple[float, ...]:
    slope = float(weights[1]) / scale
    offset = float(weights[2]) + level - slope * centre
    return float(weights[0]), 1 / (scale * width), centre + scale * middle, slope, offset


_RESCALED: dict[str, Callable[..., tuple[float, ...]]] = {"logistic4": _rescaled4, "logistic5": _rescaled5}
