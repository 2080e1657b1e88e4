"""Scoring files by hand: one reference, one or several distorted files, one scorer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn

from compressvqa.deploy import check_runtime
from compressvqa.errors import DataError
from compressvqa.progress import Progress
from compressvqa.scoring.find import canonical, find_scorers
from compressvqa.scoring.kept_network import scorer_of
from compressvqa.scoring.network import DEFAULT
from compressvqa.scoring.pooling import Length, parse_pools, pool_by
from compressvqa.scoring.result import Score, subjects
from compressvqa.scoring.scorer import Course, Facts, Scorer
from compressvqa.scoring.tiles import MAX_PIXELS
from compressvqa.video import piped
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.compare import Sight, look
from compressvqa.video.promises import believed
from compressvqa.video.raw import RawFormat

# What a pairing may ask to be done to the frames; said with a score where it was.
CHANGES = ("align", "deinterlace", "rotate", "crop", "hdr")
PLAIN = Pairing()
File: TypeAlias = "str | Path | Clip"


def score(
    reference: File | None,
    distorted: File,
    *,
    model: str | Path | nn.Module | Scorer = DEFAULT,
    runtime: str = "auto",
    pairing: Pairing | None = None,
    raw: RawFormat | None = None,
    raw_distorted: RawFormat | None = None,
    stream: int | None = None,
    max_pixels: int | None = MAX_PIXELS,
    device: str = "auto",
    allow_random_weights: bool = False,
    sampled: int | None = None,
    progress: Progress | None = None,
) -> Score:
    """Scores a distorted file against its reference.

    The same files, network and device give the same score: nothing is drawn at random but by `sampled`.

    Args:
        reference: the reference video or picture: a local file; a folder of numbered pictures or a name for them
            (``frame_%04d.png``); "-" for a Y4M stream on standard input; or a `compressvqa.video.Clip`, which also says
            which stream of a file is meant, and the frame rate of pictures. A no-reference scorer does not read it;
            None is fine there.
        distorted: the distorted file, likewise.
        model: the folder of a saved network (or the run folder that holds it); a name whose weights ship with the
            package (``list_models(pretrained=True)``; by default the small network of the reference recipe); the name
            of another scorer ("vmaf_v0.6.1", "psnr", "lpips", "pyiqa/..."); NAME=FILE for a network and its weights; or
            a network, which is put in evaluation mode for the time of the call.
        runtime: what runs a network: "eager" (PyTorch as it is), another registered runtime (`compressvqa.deploy`),
            or "auto": the quickest on this machine of those that are installed.
        pairing: how the files are brought together: frames, skips, other sizes, rates and lengths.
        raw: what headerless .yuv files hold.
        raw_distorted: what distorted .yuv files hold, where they differ from the reference.
        stream: which video stream of files with several, counted from 0; None: the one that a player would show.
        max_pixels: a larger frame is cut into a grid of tiles that are scored one after the other and averaged by
            area, so that memory stays within what a frame of so many pixels takes. The score then differs from the
            whole frame's, since a network can't look across the edge of a tile, and the result says so. None: never
            cut. A network that is worked through strip by strip (RankDVQA on the CPU) is never cut either: its strips
            give the whole frame's score.
        device: "auto" (a GPU where there is one; a network that is given stays where it is), "cpu" or "cuda".
        allow_random_weights: also score by a network that was never trained, to try something out: its scores mean
            nothing.
        sampled: a seed: a network scores some blocks only, and patches of them, drawn by it. The score is then an
            estimate of the whole file's, the same at every call, and says what was looked at.
        progress: called with (frames done, frames in all or None) after each block.

    Raises:
        DataError: a file is missing, no video, cut off or damaged; frame counts differ; frames are too small; a
            transfer curve (PQ, HLG) that scores were not learnt on.
        WeightsError: no weights under this name or in this folder, random ones, or they give scores that are not
            numbers.
        RegistryError: unknown network or scorer.
    """
    (one,) = score_several(
        reference, [distorted], model=model, runtime=runtime, pairing=pairing, raw=raw, raw_distorted=raw_distorted,
        stream=stream, max_pixels=max_pixels, device=device, allow_random_weights=allow_random_weights,
        sampled=sampled, progress=progress,
    )  # fmt: skip
    return one


def score_several(
    reference: File | None,
    distorted: Sequence[File],
    *,
    model: str | Path | nn.Module | Scorer = DEFAULT,
    runtime: str = "auto",
    pairing: Pairing | None = None,
    raw: RawFormat | None = None,
    raw_distorted: RawFormat | None = None,
    stream: int | None = None,
    max_pixels: int | None = MAX_PIXELS,
    device: str = "auto",
    allow_random_weights: bool = False,
    sampled: int | None = None,
    progress: Progress | None = None,
) -> list[Score]:
    """Scores several distorted files against one reference, in their order; else as `score`.

    They are read side by side: the reference is decoded once, and worked through once by networks that can (RankDVQA).
    """
    check_runtime(runtime)
    settings: dict[str, Any] = {
        "max_pixels": max_pixels,
        "device": device,
        "runtime": runtime,
        "allow_random_weights": allow_random_weights,
        "sampled": sampled,
    }
    with _one(model, settings) as scorer:
        found = score_all(
            reference, distorted, [scorer], pairing=pairing, raw=raw, raw_distorted=raw_distorted, stream=stream,
            progress=progress,
        )  # fmt: skip
        return [one for one in found if one.name == scorer.facts[0].name]


def _one(model: str | Path | nn.Module | Scorer, settings: dict[str, Any]) -> AbstractContextManager[Scorer]:
    if isinstance(model, Scorer):
        return nullcontext(model)
    if isinstance(model, nn.Module):
        return nullcontext(find_scorers([model], **settings)[0])
    return scorer_of(model, settings)


def score_all(
    reference: File | None,
    distorted: Sequence[File],
    metrics: Sequence[str | Path | nn.Module | Scorer],
    *,
    pools: Sequence[str] = (),
    per: str | None = None,
    identical: bool = False,
    pairing: Pairing | None = None,
    raw: RawFormat | None = None,
    raw_distorted: RawFormat | None = None,
    stream: int | None = None,
    max_pixels: int | None = MAX_PIXELS,
    device: str = "auto",
    runtime: str = "auto",
    allow_random_weights: bool = False,
    sampled: int | None = None,
    progress: Progress | None = None,
) -> list[Score]:
    """Scores several distorted files by several metrics: the scores of the first file, of the second, ...

    What one pass can give is taken in one pass, for all files at once; else as `score`.

    Args:
        reference: the reference; not read where every metric is no-reference.
        distorted: the distorted files.
        metrics: names as `score` takes them for its model, networks, or scorers.
        pools: how the score of a file comes from its frames, see `compressvqa.scoring.parse_pools`: the first gives
            `Score.score`, all stand in `Score.pooled`. By default as each metric does it, mostly by the mean.
        per: also pool each "second", or so many frames ("24") or seconds ("0.5s"), see `Score.parts`.
        identical: also score the reference against itself (`Score.identical`).
        pairing: see `score`, likewise the rest.
        raw: what headerless files hold.
        raw_distorted: what distorted ones hold where they differ.
        stream: which of several video streams.
        max_pixels: of a tile.
        device: where networks run.
        runtime: what runs them.
        allow_random_weights: see `score`.
        sampled: see `score`.
        progress: called with (frames done, frames in all or None), for each pass anew.

    Raises:
        DataError: see `score`; or there is no such pooling.
    """
    if not distorted:
        raise DataError("there is no distorted file to score")
    asked, length = parse_pools(pools), None if per is None else Length.parse(per)
    names = [metric for metric in metrics if not isinstance(metric, Scorer)]
    scorers = [metric for metric in metrics if isinstance(metric, Scorer)]
    scorers += find_scorers(
        names, max_pixels=max_pixels, device=device, runtime=runtime, allow_random_weights=allow_random_weights,
        sampled=sampled,
    )  # fmt: skip
    pairing = pairing or Pairing()
    needs = [facts.name for scorer in scorers for facts in scorer.facts if facts.mode == "FR"]
    if needs and reference is None:
        raise DataError(f"{needs[0]} is full-reference and needs the reference video")
    left = _clip(reference, raw, stream) if reference is not None and (needs or identical) else None
    found: dict[int, dict[str, Score]] = {side: {} for side in range(len(distorted))}
    with piped.kept(left, [_clip(file, raw_distorted or raw, stream) for file in distorted]) as (left, right):
        for scorer in scorers:
            base = left if scorer.facts[0].mode == "FR" else None
            itself = _identical(scorer, left, pairing) if identical else {}
            courses = scorer.score(base, right, pairing, progress)
            for side, (clip, course) in enumerate(zip(right, courses, strict=True)):
                sight = _sight(base, clip, pairing, course.values())
                for facts in scorer.facts:
                    made = _score(facts, course[facts.name], sight, pairing, asked)
                    found[side][facts.name] = replace(made, per=length, identical=itself.get(facts.name))
    scores = [found[side][facts.name] for side in found for scorer in scorers for facts in scorer.facts]
    return in_order(scores, names)


def _sight(reference: Clip | None, clip: Clip, pairing: Pairing, courses: Iterable[Course]) -> Sight:
    """What is known of the files now; where they were read in parts, what their packets say."""
    with believed() if any(course.in_parts for course in courses) else nullcontext():
        return look(reference, clip, pairing)


def _clip(file: File, raw: RawFormat | None, stream: int | None) -> Clip:
    return file if isinstance(file, Clip) else Clip(Path(file), raw, stream)


def without_repeats(scores: Sequence[Score]) -> list[Score]:
    """Without what a metric that reads no reference said again of a file that is held against several."""
    found: dict[object, Score] = {}
    for score in scores:
        against = None if score.reference is None else score.reference.path
        found.setdefault((score.name, score.distorted.path, against), score)
    return list(found.values())


def in_order(scores: Sequence[Score], names: Sequence[str | Path | nn.Module]) -> list[Score]:
    """The scores of each file in the order in which metrics were named; those that share a pass stand together else."""
    wanted = {canonical(str(name)): place for place, name in reversed(list(enumerate(names)))}
    of = subjects(scores)
    files = {subject: place for place, subject in reversed(list(enumerate(of)))}
    its = {id(score): files[subject] for score, subject in zip(scores, of, strict=True)}
    # What has another name than was typed (a network of a folder) keeps its place among its like, at the front.
    return sorted(scores, key=lambda score: (its[id(score)], wanted.get(score.name, -1)))


def _identical(scorer: Scorer, reference: Clip | None, pairing: Pairing) -> dict[str, float]:
    """What the reference gets against itself."""
    if reference is None:
        raise DataError("what identical files get is measured on the reference, and there is none")
    alone = replace(pairing, skip_distorted=pairing.skip_reference)
    base = reference if scorer.facts[0].mode == "FR" else None
    (course,) = scorer.score(base, [reference], alone)
    return {name: one.score for name, one in course.items()}


def _score(facts: Facts, course: Course, sight: Sight, pairing: Pairing, pools: tuple[str, ...]) -> Score:
    asked = {name: getattr(pairing, name) for name in ("frames", "skip_reference", "skip_distorted")}
    asked |= {name: getattr(pairing, name) for name in CHANGES if getattr(pairing, name) != getattr(PLAIN, name)}
    value: float | None = course.score
    if pools:
        if not course.segments:
            raise DataError(f"{facts.name} is one number a file: there are no frames to pool by {pools[0]}")
        value = pool_by(pools[0], [part.score for part in course.segments])
    return Score(
        math.nan if value is None else value,
        course.segments,
        facts.to_dict(),
        sight.reference,
        sight.distorted,
        sight.differences,
        {**course.settings, **asked},
        pools,
        raw_score=course.raw,
    )
