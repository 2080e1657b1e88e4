"""Pictures of the clips that stand out: the lowest and highest score, and where a network errs the most.

Networks that give a score to each place of a frame show where they see the damage.
"""

from __future__ import annotations

import base64
import io
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from compressvqa.errors import CompressVQAError
from compressvqa.models.score_map import has_score_map, score_map
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.report.scatter import logistic4
from compressvqa.results import Dataset, Picture, Result, Scores
from compressvqa.scoring.blocks import BlockScorer
from compressvqa.scoring.network import NetworkScorer
from compressvqa.scoring.scorer import Facts
from compressvqa.video.clip import Pairing

log = logging.getLogger(__name__)
WIDTH = 480  # of the widest picture: what a page shows beside others
MOST_PIXELS = 1920 * 1088  # a map of a larger frame would need too much memory
STRONG = 0.55  # how much of a picture its map covers
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shown:
    """A frame of a clip: RGB pictures (H, W, 3) in [0, 1], and the score of each place (h, w) where there is one."""

    frame: int
    reference: Values | None
    distorted: Values
    places: Values | None


def pictures_of(
    scorer: NetworkScorer, manifest: Manifest, dataset: Dataset, result: Result, scores: Scores, pairing: Pairing
) -> tuple[Picture, ...]:
    """Pictures of the clips of one data set that stand out for one network.

    Args:
        scorer: the network.
        manifest: the data set, with its files.
        dataset: its facts.
        result: the network's figures on it: the fit says which clips it misjudges.
        scores: of the items.
        pairing: how files are brought together.
    """
    items = {(item.distorted, item.reference): item for item in manifest.items}
    chosen = standing_out(scores, result, higher_is_better=dataset.higher_is_better is not False,
                          rising=scorer.facts[0].higher_is_better)  # fmt: skip
    shown = []
    for why, score in chosen:
        try:
            shown.append((why, score, look_at(scorer, manifest, items[score.distorted, score.reference], pairing)))
        except CompressVQAError as error:
            log.warning("no picture of %s: %s", score.distorted, error)
    ends = _ends([one.places for _, _, one in shown], scorer.facts[0].higher_is_better)
    return tuple(
        Picture(
            model=result.model,
            dataset=dataset.name,
            distorted=score.distorted,
            why=why,
            frame=one.frame,
            score=score.score,
            mos=score.mos,
            label=dataset.title,
            reference=None if one.reference is None else jpeg(one.reference),
            shown=jpeg(one.distorted),
            damage=None if one.places is None or ends is None else jpeg(overlaid(one.distorted, one.places, ends)),
        )
        for why, score, one in shown
    )


def standing_out(scores: Scores, result: Result, *, higher_is_better: bool, rising: bool) -> list[tuple[Any, Any]]:
    """Clips that stand out: (why, item) each, no clip twice.

    "lowest" and "highest" are of quality as the network sees it; "over" and "under" are of the fitted score against
    the label, again in quality, and left out where nothing was fitted.
    """
    items = [item for item in scores.items if item.score is not None and item.mos is not None]
    if len(items) < 2:
        return []
    turn = 1 if rising else -1
    by_score = sorted(items, key=lambda item: turn * (item.score or 0.0))
    order = [("lowest", by_score[:1]), ("highest", by_score[-1:])]
    given = result.fit_parameters
    if result.fit == "logistic4" and given is not None and all(v is not None and math.isfinite(v) for v in given):
        fitted = logistic4(np.array([item.score for item in items], dtype=np.float64), [float(v or 0) for v in given])
        error = (fitted - np.array([item.mos for item in items])) * (1 if higher_is_better else -1)
        places = np.argsort(error)
        order += [("over", [items[k] for k in places[::-1]]), ("under", [items[k] for k in places])]
    found: list[tuple[Any, Any]] = []
    for why, candidates in order:
        new = next((item for item in candidates if item.distorted not in [one.distorted for _, one in found]), None)
        if new is not None:
            found.append((why, new))
    return found


def look_at(scorer: NetworkScorer, manifest: Manifest, item: Item, pairing: Pairing) -> Shown:
    """The frame of a clip that shows it best: the middle of the block that the network likes least, where it has a
    score for each place; else the middle of the first block.

    Raises:
        CompressVQAError: it can't be read.
    """
    looking = _Looking(scorer)
    looking.score(manifest.reference(item), [manifest.distorted(item)], pairing)
    assert looking.shown is not None  # a file without a frame was refused
    return looking.shown


class _Looking(BlockScorer):
    """Goes through a clip as a network does, and keeps what is to be shown of it."""

    def __init__(self, scorer: NetworkScorer) -> None:
        self._scorer = scorer
        facts = scorer.facts[0]
        self.facts = (Facts("look", "look", mode=facts.mode, higher_is_better=facts.higher_is_better),)
        self.block, self.smallest_side = scorer.block, scorer.smallest_side
        self.shown: Shown | None = None
        self._worst = math.inf
        self._frames = 0

    def measure(self, prepared: Tensor | None, distorted: Tensor) -> Tensor:
        first, frames = self._frames, distorted.shape[1]
        self._frames += frames
        places, mean = None, math.inf
        if has_score_map(self._scorer.network) and distorted.shape[-1] * distorted.shape[-2] <= MOST_PIXELS:
            clips = [clip.to(self._scorer.device) for clip in (prepared, distorted) if clip is not None]
            with self._scorer.running():
                places = score_map(self._scorer.network, *clips)[0].double().cpu()
            mean = float(places.mean()) * (1 if self.facts[0].higher_is_better else -1)
        if self.shown is None or mean < self._worst:
            middle = frames // 2
            self._worst = mean
            self.shown = Shown(
                first + middle,
                None if prepared is None else _picture(prepared[0, middle]),
                _picture(distorted[0, middle]),
                None if places is None else places.numpy(),
            )
        return torch.zeros(1)


def _picture(frame: Tensor) -> Values:
    """(3, H, W) to (H, W, 3), a copy: the block is written anew for the next one."""
    found: Values = frame.permute(1, 2, 0).double().cpu().clone().numpy()
    return found


def _ends(maps: Sequence[Values | None], rising: bool) -> tuple[float, float] | None:
    """The scores of a place that are drawn as most and as least damaged, alike for all maps."""
    known = [found.ravel() for found in maps if found is not None]
    if not known:
        return None
    low, high = np.percentile(np.concatenate(known), [2, 98])
    return (float(low), float(high)) if rising else (float(high), float(low))


def overlaid(picture: Values, places: Values, ends: tuple[float, float]) -> Values:
    """A picture in grey with the damage over it, warm where the score of the place is low.

    Args:
        picture: (H, W, 3) in [0, 1].
        places: (h, w), scores.
        ends: the score of the most damaged place and of the least damaged one.
    """
    worst, best = ends
    damage = np.clip((places - best) / (worst - best), 0, 1) if worst != best else np.zeros_like(places)
    size = (picture.shape[1], picture.shape[0])
    larger = np.array(Image.fromarray(damage.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    grey = (picture @ np.array([0.2126, 0.7152, 0.0722]))[..., None]
    warm = np.asarray(mpl.colormaps["inferno"](larger))[..., :3]
    cover = STRONG * larger[..., None]
    found: Values = grey * (1 - cover) + warm * cover
    return found


def jpeg(picture: Values) -> str:
    """(H, W, 3) in [0, 1] as JPEG in base64, at most `WIDTH` wide."""
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).round().astype(np.uint8))
    if image.width > WIDTH:
        image = image.resize((WIDTH, max(1, round(image.height * WIDTH / image.width))), Image.Resampling.LANCZOS)
    held = io.BytesIO()
    image.save(held, "JPEG", quality=82)
    return base64.b64encode(held.getvalue()).decode()
