"""ST-GREED as a scorer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from compressvqa.errors import DataError, WeightsError
from compressvqa.fingerprint import content_digest
from compressvqa.progress import Progress
from compressvqa.registry import scorers
from compressvqa.scoring.greed.features import features_of
from compressvqa.scoring.greed.model import GreedModel
from compressvqa.scoring.scorer import Course, Facts, Scorer, Segment
from compressvqa.video.clip import Clip, Pairing

FEATURES_VERSION = 1  # a new number where the features of the same files change
HINT = "st-greed=FILE; compressvqa.scoring.greed.fit_manifest(manifest).save(FILE) makes one from a data set"


@scorers.register("st-greed", mode="FR", takes_file=True)
class StGreed(Scorer):
    """ST-GREED: entropic differences in space and time, regressed on scores of viewers.

    The authors' own regressor belongs to the features of their own program and is not used; see `greed_features`.

    Args:
        model: the file of a fitted regressor, see `fit_greed`.

    Raises:
        WeightsError: no file is given, or it holds no such model.
    """

    def __init__(self, model: str | Path | None = None) -> None:
        if model is None:
            raise WeightsError("st-greed needs a regressor that was fitted to viewers' scores; none ships", hint=HINT)
        self._model = GreedModel.load(model)
        digest = content_digest(Path(model))[:24]
        self.facts = (
            Facts(
                "st-greed",
                identity=f"st-greed:{FEATURES_VERSION}:{digest}",
                higher_is_better=self._model.higher_is_better,
                source=str(model),
            ),
        )

    def score(
        self, reference: Clip | None, distorted: Sequence[Clip], pairing: Pairing, progress: Progress | None = None
    ) -> list[dict[str, Course]]:
        """As `Scorer.score`. A course is one segment: the regressor was fitted to whole clips."""
        if reference is None:
            raise DataError("st-greed needs the reference video")
        found = []
        for clip, side in zip(distorted, features_of(reference, distorted, pairing, progress), strict=True):
            value = float(self._model.predict(side.features))
            if not math.isfinite(value):
                raise WeightsError(f"st-greed scores {clip.path} as {value}", where=self.facts[0].source)
            settings = {"subsample": pairing.subsample, "label": self._model.label, "training": self._model.training}
            found.append({self.facts[0].name: Course(value, (Segment(0, side.frames - 1, value),), settings)})
        return found
