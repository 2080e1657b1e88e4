"""Scoring files by hand: one reference, one or several distorted files, one scorer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from torch import nn

from compressvqa.errors import DataError
from compressvqa.progress import Progress
from compressvqa.scoring.find import find_scorers
from compressvqa.scoring.result import Score
from compressvqa.scoring.scorer import Facts, Scorer
from compressvqa.scoring.tiles import MAX_PIXELS
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.compare import look
from compressvqa.video.raw import RawFormat

File: TypeAlias = "str | Path"


def score(
    reference: File | None,
    distorted: File,
    *,
    model: File | nn.Module | Scorer = "rankdvqa-mini",
    runtime: str = "auto",
    pairing: Pairing | None = None,
    raw: RawFormat | None = None,
    raw_distorted: RawFormat | None = None,
    max_pixels: int | None = MAX_PIXELS,
    device: str = "auto",
    progress: Progress | None = None,
) -> Score:
    """Scores a distorted file against its reference.

    The same files, network and device give the same score: nothing is drawn at random.

    Args:
        reference: the reference video or picture, a local file. A no-reference scorer does not read it; None is fine
            there.
        distorted: the distorted file.
        model: the folder of a saved network (or the run folder that holds it); a name whose weights ship with the
            package; the name of another scorer ("vmaf_v0.6.1", "psnr", "lpips", "pyiqa/..."); NAME=FILE for a network
            and its weights; or a network, which is put in evaluation mode for the time of the call.
        runtime: "auto" or "torch".
        pairing: how the files are brought together: frames, skips, other sizes, rates and lengths.
        raw: what headerless .yuv files hold.
        raw_distorted: what distorted .yuv files hold, where they differ from the reference.
        max_pixels: a larger frame is cut into a grid of tiles that are scored one after the other and averaged by
            area, so that memory stays within what a frame of so many pixels takes (RankDVQA, 1080p: 5 GB). The score
            then differs from the whole frame's, since a network can't look across the edge of a tile (an untrained
            RankDVQA, 1080p in four tiles: by 3 %), and the result says so. None: never cut.
        device: "auto" (a GPU where there is one; a network that is given stays where it is), "cpu" or "cuda".
        progress: called with (frames done, frames in all or None) after each block.

    Raises:
        DataError: a file is missing, no video, cut off or damaged; frame counts differ; frames are too small; a
            transfer curve (PQ, HLG) that scores were not learnt on.
        WeightsError: no weights under this name or in this folder, or they give scores that are not numbers.
        RegistryError: unknown network or scorer.
    """
    (one,) = score_several(
        reference, [distorted], model=model, runtime=runtime, pairing=pairing, raw=raw, raw_distorted=raw_distorted,
        max_pixels=max_pixels, device=device, progress=progress,
    )  # fmt: skip
    return one


def score_several(
    reference: File | None,
    distorted: Sequence[File],
    *,
    model: File | nn.Module | Scorer = "rankdvqa-mini",
    runtime: str = "auto",
    pairing: Pairing | None = None,
    raw: RawFormat | None = None,
    raw_distorted: RawFormat | None = None,
    max_pixels: int | None = MAX_PIXELS,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[Score]:
    """Scores several distorted files against one reference, in their order; else as `score`.

    They are read side by side: the reference is decoded once, and worked through once by networks that can (RankDVQA).
    """
    if runtime not in ("auto", "torch"):
        raise DataError(f"there is no runtime {runtime!r}", hint="auto, torch")
    if not distorted:
        raise DataError("there is no distorted file to score")
    scorer = model if isinstance(model, Scorer) else find_scorers([model], max_pixels=max_pixels, device=device)[0]
    facts, pairing, left = scorer.facts[0], pairing or Pairing(), None
    if facts.mode == "FR":
        if reference is None:
            raise DataError(f"{facts.name} is full-reference and needs the reference video")
        left = Clip(Path(reference), raw)
    right = [Clip(Path(file), raw_distorted or raw) for file in distorted]
    sights = [look(left, clip, pairing) for clip in right]
    asked = {name: getattr(pairing, name) for name in ("frames", "skip_reference", "skip_distorted")}
    courses = [course[facts.name] for course in scorer.score(left, right, pairing, progress)]
    return [
        Score(
            course.score,
            course.segments,
            _said(facts),
            sight.reference,
            sight.distorted,
            sight.differences,
            {**course.settings, **asked},
        )
        for sight, course in zip(sights, courses, strict=True)
    ]


def _said(facts: Facts) -> dict[str, object]:
    return {
        "name": facts.name,
        "mode": facts.mode,
        "higher_is_better": facts.higher_is_better,
        "score_range": None if facts.score_range is None else list(facts.score_range),
        "source": facts.source,
        "params": facts.params,
    }
