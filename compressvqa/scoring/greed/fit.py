"""Fitting ST-GREED's regressor to the scores of a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from compressvqa.errors import DataError
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.scoring.greed.features import features_of
from compressvqa.scoring.greed.filters import Array
from compressvqa.scoring.greed.model import GreedModel
from compressvqa.video.clip import Pairing

FOLDS = 5
# Cost in units of a standard deviation of the scores, and width of the kernel for features in [0, 1].
GRID = {"regression__C": [2.0**n for n in range(-2, 9, 2)], "regression__gamma": [2.0**n for n in range(-6, 5, 2)]}


def fit_greed(
    features: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    contents: Sequence[str] | None = None,
    label: str = "MOS",
    higher_is_better: bool = True,
) -> GreedModel:
    """Fits a support vector regression with a Gaussian kernel to features and scores of viewers.

    Features are scaled to [0, 1], as in the authors' program; the cost and the kernel's width are chosen by five-fold
    cross-validation on a grid of our own. Where `contents` are given, no content is on both sides of a fold.

    Args:
        features: (n, 16), see `greed_features`.
        scores: (n,), one for each.
        contents: the content of each item.
        label: what the scores are.
        higher_is_better: their direction; False for DMOS as most data sets define it.

    Raises:
        DataError: arrays that do not fit, values that are not numbers, scores that do not vary, or fewer than two
            contents or ten items.
    """
    from scipy.stats import spearmanr
    from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import MinMaxScaler
    from sklearn.svm import SVR

    x, y = np.asarray(features, np.float64), np.asarray(scores, np.float64)
    groups = list(range(len(y))) if contents is None else list(contents)
    _check(x, y, groups)
    middle, spread = float(y.mean()), float(y.std())
    targets = (y - middle) / spread
    folds = min(FOLDS, len(set(groups)))
    cut = KFold(folds, shuffle=True, random_state=0) if contents is None else GroupKFold(folds)
    splits = list(cut.split(x, targets, None if contents is None else groups))
    pipeline = Pipeline([("scale", MinMaxScaler()), ("regression", SVR(kernel="rbf"))])
    search = GridSearchCV(pipeline, GRID, scoring="neg_root_mean_squared_error", cv=splits).fit(x, targets)
    best, scaler = search.best_estimator_["regression"], search.best_estimator_["scale"]
    held_out = cross_val_predict(search.best_estimator_, x, targets, cv=splits)
    training: dict[str, Any] = {
        "items": len(y),
        "contents": None if contents is None else len(set(groups)),
        "cost": best.C,
        "folds": folds,
        "srocc_of_held_out_folds": float(spearmanr(held_out, y).statistic),
    }
    return GreedModel(
        low=scaler.data_min_,
        high=scaler.data_max_,
        support=best.support_vectors_,
        weights=best.dual_coef_[0] * spread,
        intercept=float(best.intercept_[0]) * spread + middle,
        gamma=float(best.gamma),
        label=label,
        higher_is_better=higher_is_better,
        training=training,
    )


def _check(x: Array, y: Array, groups: list[Any]) -> None:
    if y.ndim != 1 or x.shape != (len(y), 16) or len(groups) != len(y):
        what = f"features {x.shape}, scores {y.shape} and {len(groups)} contents do not fit together"
        raise DataError(what, hint="(n, 16), (n,) and n")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError("a feature or score is not a number")
    if len(y) < 2 * FOLDS or len(set(groups)) < 2:
        raise DataError(f"{len(y)} items of {len(set(groups))} contents are too few to fit ST-GREED",
                        hint=f"{2 * FOLDS} items of two contents or more")  # fmt: skip
    if np.ptp(y) == 0:
        raise DataError("all scores are the same: there is nothing to fit")


def fit_manifest(
    manifest: Manifest, pairing: Pairing | None = None, progress: Callable[[int, int], None] | None = None
) -> GreedModel:
    """`fit_greed` on the items of a data set.

    Args:
        manifest: a data set with references.
        pairing: how its files are brought together.
        progress: called with (items done, items in all).

    Raises:
        DataError: an item has no reference or can't be compared, or the data set is too small.
    """
    grouped: dict[str, list[Item]] = {}
    for item in manifest.items:
        if item.reference is None:
            raise DataError("has no reference, which ST-GREED needs", where=manifest.folder / item.distorted)
        grouped.setdefault(item.reference, []).append(item)
    items = [item for group in grouped.values() for item in group]
    features: list[Array] = []
    for group in grouped.values():
        reference = manifest.reference(group[0])
        assert reference is not None
        clips = [manifest.distorted(item) for item in group]
        features += [found.features for found in features_of(reference, clips, pairing or Pairing())]
        if progress is not None:
            progress(len(features), len(items))
    model = fit_greed(
        np.stack(features), [item.mos for item in items], contents=[item.scene for item in items],
        label=manifest.label, higher_is_better=manifest.higher_is_better,
    )  # fmt: skip
    model.training["data"] = manifest.name
    return model
