"""ST-GREED: features of two files, the regressor on them, and the scorer made of both."""

from compressvqa.scoring.greed.features import greed_features
from compressvqa.scoring.greed.fit import fit_greed, fit_manifest
from compressvqa.scoring.greed.model import GreedModel
from compressvqa.scoring.greed.scorer import StGreed
from compressvqa.scoring.greed.stream import FEATURE_NAMES

__all__ = ["FEATURE_NAMES", "GreedModel", "StGreed", "fit_greed", "fit_manifest", "greed_features"]
