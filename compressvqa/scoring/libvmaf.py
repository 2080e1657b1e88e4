"""VMAF, PSNR, SSIM and what else libvmaf measures (`FEATURES`), and XPSNR beside them, all in one pass.

libvmaf is that of the ffmpeg which the package brings. Frames reach it through our own reader, one picture under the
other in one raw stream: it measures exactly what networks are shown, whether skipped, scaled, held or cut.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np

from compressvqa.errors import DataError
from compressvqa.fingerprint import content_digest
from compressvqa.progress import Progress
from compressvqa.registry import scorers
from compressvqa.scoring.features import CAMBI, FEATURES, Feature
from compressvqa.scoring.filter_graph import graph_of, read_logs
from compressvqa.scoring.scorer import Course, Facts, Scorer, Segment
from compressvqa.video import ffmpeg
from compressvqa.video.align import Blocks, blocks, reading
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.compare import Sight, look
from compressvqa.video.form import Form, alike
from compressvqa.video.frames import Planes, Samples, plane_shapes, sample_type
from compressvqa.video.raw import RawFormat
from compressvqa.video.vmaf import pixel_format

BLOCK = 12  # frames: `subsample` leaves out whole blocks, as it does for networks


class LibvmafScorer(Scorer):
    """Some of libvmaf's scores (`FEATURES`) in one pass; a file's score is the mean over its frames, but of XPSNR.

    Each pair is compared in its own form (`compressvqa.video.form`), whatever is scored beside it. PSNR is that of
    luma. Identical files get what libvmaf caps it at, 60, 72, 84 and 108 dB for a reference of 8, 10, 12 and 16 bit;
    no deeper file gets more. SSIM and MS-SSIM are of luma too. What can't be measured at 16 bit (XPSNR, PSNR-HVS) is
    measured at 12, in a pass of its own where others can.

    Args:
        names: keys of `FEATURES`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        unknown = [name for name in names if name not in FEATURES]
        if unknown:
            raise DataError(f"libvmaf is not asked for {unknown[0]!r}", hint=", ".join(FEATURES))
        self.names = tuple(names)
        source = f"libvmaf of ffmpeg {ffmpeg.version()}"
        self.facts = tuple(
            Facts(name, f"{source}:{name}", source=source, **FEATURES[name].scale.fields()) for name in names
        )

    def state(self) -> Any:
        """The program that measures, told by its content: two builds of one version may hold other libraries."""
        return ffmpeg.version(), content_digest(Path(ffmpeg.binary()))

    def score(
        self, reference: Clip | None, distorted: Sequence[Clip], pairing: Pairing, progress: Progress | None = None
    ) -> list[dict[str, Course]]:
        """As `Scorer.score`."""
        if reference is None:
            raise DataError(f"{', '.join(self.names)} compare with a reference, and there is none")
        ffmpeg.require(filter="libvmaf")
        sights = [look(reference, clip, pairing) for clip in distorted]
        _check(self.names, sights)
        found: dict[int, dict[str, Course]] = {}
        # Depth, matrix and length are a matter of each pair: only files that are compared alike are measured together.
        for places in alike([(sight.form, sight.frames, reading(sight)) for sight in sights]):
            clips, some = [distorted[place] for place in places], [sights[place] for place in places]
            found |= zip(places, self._together(reference, clips, some, pairing, progress), strict=True)
        names = {name: fact.name for name, fact in zip(self.names, self.facts, strict=True)}
        return [{names[name]: found[place][name] for name in self.names} for place in range(len(distorted))]

    def _together(
        self, reference: Clip, distorted: Sequence[Clip], sights: Sequence[Sight], pairing: Pairing,
        progress: Progress | None,
    ) -> list[dict[str, Course]]:  # fmt: skip
        """Files that are compared in one form: {key of `FEATURES`: course} of each."""
        form = sights[0].form
        assert form is not None
        found: list[dict[str, Course]] = [{} for _ in distorted]
        for names, at in _passes(self.names, form):
            courses = self._pass(names, at, reference, distorted, sights, pairing, progress)
            found = [{**known, **more} for known, more in zip(found, courses, strict=True)]
        return found

    def _pass(
        self, names: Sequence[str], form: Form, reference: Clip, distorted: Sequence[Clip], sights: Sequence[Sight],
        pairing: Pairing, progress: Progress | None,
    ) -> list[dict[str, Course]]:  # fmt: skip
        """What is measured at one depth, the pictures read once."""
        # Motion is measured from frame to frame, so none is left out here; subsampling picks from what was measured.
        in_step = blocks(reference, distorted, sights, replace(pairing, subsample=1), block=BLOCK)
        with tempfile.TemporaryDirectory(prefix="compressvqa-") as place:
            stack, counts = _Stack(sights, form), [0] * len(distorted)
            chunks = self._stacked(in_step, sights, stack, counts, progress)
            graph, outputs = graph_of([_feature_of(name) for name in names], len(distorted), stack.crop)
            maps = [word for output in outputs for word in ("-map", f"[{output}]", "-f", "null", "-")]
            ffmpeg.feed([*stack.input(), "-filter_complex", graph, *maps], chunks, folder=Path(place))
            logs = [read_logs(Path(place), side) for side in range(len(distorted))]
        settings = {"block": BLOCK, "subsample": pairing.subsample, "compared as": str(form), "runtime": "libvmaf"}
        courses = [
            {name: _course(log[:count], name, pairing.subsample, clip, settings, stack) for name in names}
            for log, count, clip in zip(logs, counts, distorted, strict=True)
        ]
        for side, (clip, sight) in enumerate(zip(distorted, sights, strict=True)):
            if counts[side] < max(counts):
                # It ended early, which nobody foresaw. Motion at its last frame looked at what comes after.
                (courses[side],) = self._pass(names, form, reference, [clip], [sight], pairing, None)
            else:
                said = in_step.said(side)
                for name, course in courses[side].items():
                    courses[side][name] = replace(course, settings={**course.settings, **said})
        return courses

    def _stacked(
        self, in_step: Blocks, sights: Sequence[Sight], stack: _Stack, counts: list[int], progress: Progress | None
    ) -> Iterator[bytes]:
        """Every frame of the reference with the same frames of all distorted files below it, as raw bytes."""
        total = max((sight.frames for sight in sights if sight.frames is not None), default=None)
        for group in in_step:
            assert group.reference is not None
            length = max(map(len, group.distorted))
            for number, planes in enumerate(group.reference[:length]):
                # A file that ended is filled up with the reference; what is measured there is not kept.
                rest = [side[number] if number < len(side) else planes for side in group.distorted]
                yield stack.join([planes, *rest])
            for side, frames in enumerate(group.distorted):
                counts[side] += len(frames)
            if progress is not None:
                progress(group.first + length, total)


class CambiScorer(LibvmafScorer):
    """CAMBI of the distorted file alone, at its own size and bit depth; a file's score is the mean over its frames."""

    def __init__(self) -> None:
        self.names = ("cambi",)
        source = f"libvmaf of ffmpeg {ffmpeg.version()}"
        self.facts = (Facts("cambi", f"{source}:cambi", "NR", source=source, **CAMBI.scale.fields()),)

    def score(
        self, reference: Clip | None, distorted: Sequence[Clip], pairing: Pairing, progress: Progress | None = None
    ) -> list[dict[str, Course]]:
        """As `Scorer.score`. libvmaf wants two pictures: each file is given to it twice."""
        del reference
        alone = replace(pairing, skip_reference=pairing.skip_distorted, align="no")
        return [super(CambiScorer, self).score(clip, [clip], alone, progress)[0] for clip in distorted]


for _name, _feature in FEATURES.items():
    scorers.register(_name, mode="FR", one_pass=True, scale=_feature.scale, summary=_feature.summary)(LibvmafScorer)
scorers.register("cambi", mode="NR", scale=CAMBI.scale, summary=CAMBI.summary)(CambiScorer)


def _feature_of(name: str) -> Feature:
    return CAMBI if name == "cambi" else FEATURES[name]


def _check(names: Sequence[str], sights: Sequence[Sight]) -> None:
    """Refuses pictures of which some score would mean nothing.

    Raises:
        DataError: grey pictures for a score of chroma, or pictures that are too small.
    """
    for name in names:
        feature, shown = _feature_of(name), sights[0].reference
        assert shown is not None
        if shown.chroma == "400" and not feature.grey:
            raise DataError(f"{name} is of chroma, and the reference is grey", where=shown.path)
        if min(shown.width, shown.height) < feature.smallest_side:
            raise DataError(f"{name} needs {feature.smallest_side} pixels a side, and the picture has "
                            f"{shown.width}x{shown.height}", where=shown.path)  # fmt: skip
        if max(shown.width, shown.height) < feature.smallest_width:
            raise DataError(f"{name} needs {feature.smallest_width} pixels along the larger side, and the picture has "
                            f"{max(shown.width, shown.height)}", where=shown.path)  # fmt: skip


def _passes(names: Sequence[str], form: Form) -> list[tuple[list[str], Form]]:
    """Which names are measured together, and in which form.

    A score must not depend on which others are asked for: those that need shallow pictures don't draw the others down.
    """
    found: dict[int, list[str]] = {}
    for name in names:
        found.setdefault(min(form.bitdepth, _feature_of(name).deepest), []).append(name)
    return [(some, replace(form, bitdepth=depth)) for depth, some in found.items()]


class _Stack:
    """Pictures in one form, one under the other: the reference, then the distorted ones."""

    def __init__(self, sights: Sequence[Sight], form: Form) -> None:
        shown = sights[0].reference
        assert shown is not None
        self.form, self.count = form, 1 + len(sights)
        self.height, self.width, self.chroma = form.height, form.width, form.chroma
        self.rows = self.height + self.height % 2  # stacked pictures begin on whole chroma samples
        self.raw = RawFormat(self.width, self.rows * self.count, cast(Any, self.chroma), form.bitdepth)
        self.is_grey = shown.chroma == "400"
        self.rate = shown.frame_rate or Fraction(25)  # XPSNR depends on it
        self._bring = form.bring()

    def input(self) -> list[str]:
        """ffmpeg's options of the stacked stream."""
        size = f"{self.width}x{self.rows * self.count}"
        rate = ["-framerate", f"{self.rate.numerator}/{self.rate.denominator}"]
        return ["-f", "rawvideo", "-pixel_format", pixel_format(self.raw), "-video_size", size, *rate, "-i", "pipe:0"]

    def crop(self, place: int) -> str:
        """The filter that cuts out one of the pictures."""
        return f"crop={self.width}:{self.height}:0:{place * self.rows}:exact=1"

    def join(self, pictures: Sequence[Planes]) -> bytes:
        """One raw frame of all pictures, one under the other."""
        same = [self._planes(picture) for picture in pictures]
        shapes = plane_shapes(self.rows, self.width, self.chroma)
        parts = []
        for number, (rows, _) in enumerate(shapes):
            for planes in same:
                plane = planes[number]
                parts.append(plane if plane.shape[0] == rows else np.concatenate([plane, plane[-1:]]))
        kind = sample_type(self.form.bitdepth)
        return b"".join(np.ascontiguousarray(part, dtype=kind).tobytes() for part in parts)

    def _planes(self, picture: Planes) -> list[Samples]:
        made = self._bring(picture)
        assert made.u is not None and made.v is not None
        return [made.y, made.u, made.v]


def _course(
    rows: Sequence[dict[str, Any]], name: str, subsample: int, clip: Clip, settings: dict[str, Any], stack: _Stack
) -> Course:
    feature, segments = _feature_of(name), []
    ceiling = 6 * stack.form.reference_depth + 12 if feature.value == "name=psnr" else math.inf
    for number, row in enumerate(rows):
        if (number // BLOCK) % subsample:
            continue
        value = feature.of(row, is_grey=stack.is_grey, ceiling=ceiling)
        if not math.isfinite(value):
            raise DataError(f"libvmaf gave no number for {name} at frame {number}", where=clip.path)
        segments.append(Segment(number, number, value))
    if not segments:
        raise DataError(f"libvmaf measured no frame of {name}", where=clip.path)
    return Course(feature.pool([part.score for part in segments]), tuple(segments), settings)
